//! What MQTT promises, as a plain model that sees what passes the broker's end of every link and says what is wrong with
//! it. It is written from the standards and the documentation alone and never looks at how the broker does anything.

mod arrive;
mod deliver;
mod filter;
mod group;
mod lifecycle;
mod link;
mod publish;
mod retained;
mod session;
mod settle;

use std::collections::BTreeMap;

use columba_testkit::codec::{FixedHeader, Packet};
use columba_testkit::{Edge, EdgeEvent, ReasonCode, describe};

use self::group::Shared;
use self::link::{Link, Phase};
use self::retained::Retained;
use self::session::{Micros, Session};
use crate::op::Setup;

/// KNOWN DEVIATION, so not asked for. After a reconnect PUBRELs must come in the order of the PUBRECs [MQTT-4.6.0-4]; the
/// broker sends them in the order in which the messages were sent. Seen only by clients that answer out of order, which breaks
/// [MQTT-4.6.0-3].
const PUBREL_ORDER_IS_LOST: bool = true;

/// Nothing, or what is wrong.
pub(crate) type Outcome = Result<(), String>;

/// The model.
#[derive(Debug)]
pub(crate) struct Oracle {
    setup: Setup,
    now: Micros,
    links: Vec<Link>,
    /// By number of the client.
    sessions: Vec<Option<Session>>,
    retained: Retained,
    /// Messages for shared subscriptions that are not finished.
    shared: Vec<Shared>,
    /// When which payload was accepted first, and how often it was.
    firsts: BTreeMap<Vec<u8>, (u64, usize)>,
    /// Counts whatever needs an order.
    order: u64,
    /// A digest of everything that has passed.
    digest: u64,
    /// A mistake found where none can be returned.
    mistake: Option<String>,
}

impl Oracle {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            setup: setup.clone(),
            now: 0,
            links: Vec::new(),
            sessions: setup.versions.iter().map(|_| None).collect(),
            retained: Retained::default(),
            shared: Vec::new(),
            firsts: BTreeMap::new(),
            order: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            mistake: None,
        }
    }

    /// A digest of everything that has passed: the same for the same workload.
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    /// Something passed the broker's end of a link.
    pub(crate) fn observe(&mut self, event: &EdgeEvent) -> Outcome {
        let at = Micros::try_from(event.at.as_micros()).unwrap_or(Micros::MAX);
        self.digest_event(at, event);
        self.pass_time(at);
        while self.links.len() <= event.link {
            self.links.push(Link::new());
        }
        match &event.edge {
            Edge::Arrived(bytes) => self.arrived(event.link, bytes),
            Edge::Ended => {
                self.links[event.link].closed = true;
                self.end_connection(event.link, None);
                Ok(())
            }
            Edge::Sent(bytes) => self.each_sent(event.link, bytes),
            Edge::Closed => {
                let link = &mut self.links[event.link];
                link.closed = true;
                match link.phase {
                    Phase::Over(_) => Ok(()),
                    phase => {
                        Err(format!("the broker closes connection {} without cause ({phase:?})", event.link))
                    }
                }
            }
        }?;
        self.mistake.take().map_or(Ok(()), Err)
    }

    /// The broker's owner is about to disconnect this client. Whether it is connected.
    pub(crate) fn kick(&mut self, client: usize, reason: ReasonCode) -> bool {
        let link = self.sessions[client].as_ref().and_then(|session| session.link);
        if let Some(link) = link {
            self.end_connection(link, Some(reason));
        }
        link.is_some()
    }

    /// Time has passed up to here.
    pub(crate) fn pass_time(&mut self, to: Micros) {
        while let Some((at, due)) = self.next_due().filter(|&(at, _)| at <= to) {
            self.now = self.now.max(at);
            self.fall_due(due);
        }
        self.now = self.now.max(to);
    }

    /// Whether a session of this client can be gone on with.
    pub(crate) fn has_session(&self, client: usize) -> bool {
        self.sessions[client].is_some()
    }

    fn each_sent(&mut self, link: usize, mut bytes: &[u8]) -> Outcome {
        while !bytes.is_empty() {
            let header = FixedHeader::read(bytes, usize::MAX).ok().flatten();
            let Some(header) = header.filter(|header| header.total() <= bytes.len()) else {
                return Err("the broker sent a part of a packet".into());
            };
            let (packet, rest) = bytes.split_at(header.total());
            let version = self.links[link].version;
            let decoded = Packet::decode(header, &packet[header.len..], version);
            self.sent(link, &decoded.map_err(|error| error.to_string())?)?;
            bytes = rest;
        }
        Ok(())
    }

    fn sent(&mut self, link: usize, packet: &Packet<'_>) -> Outcome {
        match packet {
            Packet::Publish(publish) => {
                let outcome = self.delivered(link, publish);
                outcome.map_err(|problem| format!("to {}: {}: {problem}", self.name(link), describe(packet)))
            }
            Packet::Disconnect(disconnect) => match self.links[link].phase {
                Phase::Over(Some(reason)) if reason == disconnect.reason => Ok(()),
                phase => Err(format!("to {}: {}, but {phase:?}", self.name(link), describe(packet))),
            },
            _ => {
                let answer = self.links[link].answered(packet);
                answer.map(drop).map_err(|problem| format!("to {}: {problem}", self.name(link)))
            }
        }
    }

    fn name(&self, link: usize) -> String {
        self.links[link].client.map_or_else(|| "?".into(), |client| format!("c{client}"))
    }

    const fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    fn digest_event(&mut self, at: Micros, event: &EdgeEvent) {
        let (kind, bytes): (u64, &[u8]) = match &event.edge {
            Edge::Arrived(bytes) => (1, bytes),
            Edge::Ended => (2, &[]),
            Edge::Sent(bytes) => (3, bytes),
            Edge::Closed => (4, &[]),
        };
        let mut add = |word: u64| {
            self.digest = (self.digest.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        };
        add(at);
        add((event.link as u64) << 8 | kind);
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            add(u64::from_le_bytes(word));
        }
    }
}
