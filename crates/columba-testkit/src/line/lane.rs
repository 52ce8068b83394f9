//! One direction of a line: what came in and is not a whole packet yet, and what is under way. It knows no faults.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use columba_codec::{FixedHeader, PacketType};

use crate::net::Hold;

/// How many bytes of topics are known by their aliases. Those beyond stay unknown; a peer decides how many there are.
const MAX_ALIASES: usize = 256 << 10;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Came in, and is not a whole packet yet.
    partial: BytesMut,
    /// How much of that has gone on already.
    ahead: usize,
    /// So much is still to come of a packet that goes on as it comes.
    rest: usize,
    /// What came is no MQTT; it goes on as it is.
    is_raw: bool,
    pub(super) under_way: VecDeque<Parcel>,
    pub(super) backlog: usize,
    /// When the last parcel arrives, and with a rate, when the next may.
    last: Duration,
    pub(super) rate: Option<u32>,
    /// Nothing goes on any more.
    pub(super) is_dead: bool,
    pub(super) aliases: Aliases,
}

#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) at: Duration,
    pub(super) hold: Option<Hold>,
    /// A packet ends here.
    pub(super) is_packet: bool,
    pub(super) cargo: Cargo,
}

/// What arrives at an end of a [`Line`](crate::Line).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cargo {
    /// These bytes: of one packet, or of none.
    Bytes(Bytes),
    /// The sender has closed; nothing follows.
    End,
    /// The connection was cut, without a goodbye; nothing follows.
    Cut,
}

/// Something that came in, `ahead` bytes of which have gone on already.
pub(super) enum Portion {
    /// A whole packet.
    Packet { bytes: Bytes, ahead: usize },
    /// The beginning of a packet of so many bytes in `total`, which is over the limit; what follows is part of it.
    Large { bytes: Bytes, ahead: usize, total: usize },
    /// No MQTT.
    Raw { bytes: Bytes, ahead: usize },
}

/// Topics by their aliases.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    topics: BTreeMap<u16, Box<str>>,
    bytes: usize,
}

impl Lane {
    /// Begins in the middle of a packet, or in a row of them, that has gone on so far.
    pub(super) fn join(&mut self, bytes: &[u8], limit: usize) {
        self.partial.extend_from_slice(bytes);
        while self.next(limit).is_some() {}
        self.ahead = self.partial.len();
    }

    /// Takes in what came, but for the first so many bytes, which belong to nothing that is looked at.
    pub(super) fn take_in(&mut self, bytes: &[u8]) -> usize {
        let foreign = if self.is_raw { bytes.len() } else { self.rest.min(bytes.len()) };
        self.rest -= foreign.min(self.rest);
        self.partial.extend_from_slice(&bytes[foreign..]);
        foreign
    }

    /// A packet that goes on as it comes has come whole.
    pub(super) const fn is_at_border(&self) -> bool {
        self.rest == 0 && !self.is_raw
    }

    /// The next thing that something can be said about.
    pub(super) fn next(&mut self, limit: usize) -> Option<Portion> {
        if self.partial.is_empty() {
            return None;
        }
        let ahead = self.ahead;
        let Ok(header) = FixedHeader::read(&self.partial, usize::MAX) else {
            self.is_raw = true;
            self.ahead = 0;
            return Some(Portion::Raw { bytes: self.partial.split().freeze(), ahead });
        };
        let header = header?;
        let (total, came) = (header.total(), header.total().min(self.partial.len()));
        if came < total && total <= limit {
            return None;
        }
        self.ahead = 0;
        let bytes = self.partial.split_to(came).freeze();
        if total <= limit {
            return Some(Portion::Packet { bytes, ahead });
        }
        self.rest = total - came;
        if header.packet_type == PacketType::Publish {
            // It may have given an alias another topic.
            self.aliases = Aliases::default();
        }
        Some(Portion::Large { bytes, ahead, total })
    }

    /// What came of a packet that is not whole, and has not gone on. From now on it has.
    pub(super) fn let_go(&mut self) -> Bytes {
        let rest = Bytes::copy_from_slice(&self.partial[self.ahead..]);
        self.ahead = self.partial.len();
        rest
    }

    /// Puts something under way.
    pub(super) fn push(&mut self, at: Duration, hold: Option<Hold>, is_packet: bool, cargo: Cargo) {
        if self.is_dead {
            return;
        }
        let mut at = at.max(self.last);
        if let Cargo::Bytes(bytes) = &cargo {
            self.backlog += bytes.len();
            at = match self.rate {
                Some(0) => Duration::MAX,
                Some(rate) => at.saturating_add(time_for(bytes.len(), rate)),
                None => at,
            };
        }
        self.last = at;
        self.under_way.push_back(Parcel { at, hold, is_packet, cargo });
    }

    /// Nothing goes on any more.
    pub(super) fn die(&mut self) {
        self.under_way.clear();
        self.backlog = 0;
        self.is_dead = true;
    }
}

impl Aliases {
    pub(super) fn set(&mut self, alias: u16, topic: &str) {
        if let Some(old) = self.topics.remove(&alias) {
            self.bytes -= old.len();
        }
        // An alias of which nothing is known is better than one with its last topic.
        if self.bytes + topic.len() <= MAX_ALIASES {
            self.bytes += topic.len();
            self.topics.insert(alias, topic.into());
        }
    }

    pub(super) fn get(&self, alias: u16) -> Option<&str> {
        self.topics.get(&alias).map(|topic| &**topic)
    }
}

/// How long so many bytes take at so many a second.
fn time_for(bytes: usize, rate: u32) -> Duration {
    Duration::from_micros(bytes as u64 * 1_000_000 / u64::from(rate))
}
