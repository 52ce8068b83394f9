//! Messages sent to a client and not yet acknowledged, in the order they were sent: the order in which they are
//! sent again to a client that comes back [MQTT-4.6.0-1].

use std::collections::VecDeque;

use columba_codec::{PacketId, QoS};

use crate::session::Delivery;

#[derive(Debug, Default)]
pub(crate) struct Inflight {
    /// In order of sending; an acknowledged entry stays, empty, until it is the first.
    entries: VecDeque<Entry>,
    /// Entries that are not empty.
    live: u32,
    /// The packet identifier given last.
    last_id: u16,
    /// How many of the first entries have been looked at for sending again; all of them, unless the client has
    /// just come back.
    resent: usize,
    /// PUBLISH packets on this connection that wait for their end: what Receive Maximum bounds [MQTT-3.3.4-9].
    outstanding: u16,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u16,
    pub(crate) state: State,
    /// PUBLISH was sent on this connection.
    counted: bool,
    pub(crate) delivery: Delivery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// PUBLISH sent; PUBACK or PUBREC is due.
    Published,
    /// PUBREL sent; PUBCOMP is due. The message itself is let go.
    Released,
    /// Over.
    Done,
}

impl Inflight {
    pub(crate) const fn len(&self) -> usize {
        self.live as usize
    }

    pub(crate) const fn outstanding(&self) -> u16 {
        self.outstanding
    }

    /// Whether every entry has been sent on this connection.
    pub(crate) fn all_resent(&self) -> bool {
        self.resent >= self.entries.len()
    }

    /// Whether one more message can be given a packet identifier.
    pub(crate) const fn has_free_id(&self) -> bool {
        self.live < u16::MAX as u32
    }

    /// Gives the next free packet identifier to `delivery` and counts it as sent [MQTT-2.2.1-4].
    pub(crate) fn push(&mut self, delivery: Delivery) -> PacketId {
        let id = self.next_id();
        let caught_up = self.all_resent();
        self.entries.push_back(Entry { id: id.get(), state: State::Published, counted: true, delivery });
        if caught_up {
            self.resent = self.entries.len();
        }
        self.live += 1;
        self.outstanding += 1;
        id
    }

    /// The entry with this packet identifier.
    pub(crate) fn get_mut(&mut self, id: PacketId) -> Option<&mut Entry> {
        let at = self.position(id.get())?;
        self.entries.get_mut(at)
    }

    /// Ends the exchange with this packet identifier and returns what was delivered.
    pub(crate) fn complete(&mut self, id: PacketId) -> Option<Entry> {
        let at = self.position(id.get())?;
        let entry = self.entries[at];
        self.entries[at].state = State::Done;
        self.live -= 1;
        self.outstanding -= u16::from(entry.counted);
        if at == 0 {
            while self.entries.front().is_some_and(|entry| entry.state == State::Done) {
                self.entries.pop_front();
                self.resent = self.resent.saturating_sub(1);
            }
        } else if self.entries.len() > 64 && self.entries.len() > 2 * self.live as usize {
            self.compact();
        }
        if self.entries.is_empty() && self.entries.capacity() > 16 {
            self.entries = VecDeque::new();
        }
        Some(entry)
    }

    /// A new connection: everything has to be sent again [MQTT-4.4.0-1], and nothing counts yet.
    pub(crate) fn restart(&mut self) {
        self.resent = 0;
        self.outstanding = 0;
        for entry in &mut self.entries {
            entry.counted = false;
        }
    }

    /// The next entry to send again, while the client takes more than `outstanding` of them.
    pub(crate) fn next_resend(&mut self, quota: u16) -> Option<Entry> {
        while let Some(entry) = self.entries.get_mut(self.resent) {
            match entry.state {
                State::Done => self.resent += 1,
                State::Released => {
                    self.resent += 1;
                    return Some(*entry);
                }
                State::Published if self.outstanding >= quota => return None,
                State::Published => {
                    entry.counted = true;
                    self.outstanding += 1;
                    self.resent += 1;
                    return Some(*entry);
                }
            }
        }
        None
    }

    /// All entries that are not over.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.state != State::Done)
    }

    fn next_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let in_use = self.live > 0 && self.position(self.last_id).is_some();
            if let Some(id) = PacketId::new(self.last_id).filter(|_| !in_use) {
                return id;
            }
        }
    }

    fn position(&self, id: u16) -> Option<usize> {
        // Identifiers are given in sequence: the distance from the first one is the place, unless entries in
        // between are gone or identifiers were passed over.
        let first = self.entries.front()?.id;
        let guess = usize::from(id.wrapping_sub(first));
        let is_it = |entry: &Entry| entry.id == id && entry.state != State::Done;
        if self.entries.get(guess).is_some_and(is_it) {
            return Some(guess);
        }
        if guess >= self.entries.len() && self.in_sequence(first) {
            return None;
        }
        self.entries.iter().position(is_it)
    }

    /// Whether the entries carry consecutive identifiers, so that a guess beyond them is a proof.
    fn in_sequence(&self, first: u16) -> bool {
        let last = self.entries.back().map_or(first, |entry| entry.id);
        last >= first && usize::from(last - first) + 1 == self.entries.len()
    }

    /// Drops the empty entries.
    fn compact(&mut self) {
        let resent = self.entries.iter().take(self.resent).filter(|entry| entry.state != State::Done).count();
        self.entries.retain(|entry| entry.state != State::Done);
        self.resent = resent;
    }
}

impl Entry {
    pub(crate) const fn qos(&self) -> QoS {
        self.delivery.qos()
    }
}
