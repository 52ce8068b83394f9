//! One connection between a client and a broker: takes bytes in at one end, does to them what the faults say, and hands them
//! out at the other when they arrive. It does no I/O and reads no clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use columba::codec::{Ack, FixedHeader, Packet, PacketId, Publish};
use columba::{QoS, Version};

use crate::fault::{Exchange, Passing, standard_answer};
use crate::net::{Decision, Hold, Net, topic_of};
use crate::transcript::{Direction, Entry, What};

/// How much a lane takes in before its sender has to wait.
const BACKLOG: usize = 64 << 10;

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    net: Net,
    /// In the transcript.
    pub(crate) number: usize,
    pub(crate) version: Version,
    /// The id in its CONNECT, or the one it was assigned.
    pub(crate) client: Box<str>,
    up: Lane,
    down: Lane,
    /// Packet identifiers of messages that were published in the client's name, which it knows nothing of.
    foreign: BTreeSet<u16>,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    /// Came in, and is not a whole packet yet.
    partial: BytesMut,
    /// How much of that has gone on already.
    ahead: usize,
    /// What came is no MQTT; it goes on as it is.
    is_raw: bool,
    under_way: VecDeque<Parcel>,
    backlog: usize,
    /// When the last parcel arrives, and with a rate, when the next may.
    last: Duration,
    rate: Option<u32>,
    /// Nothing goes on any more.
    is_dead: bool,
    aliases: BTreeMap<u16, Box<str>>,
}

#[derive(Debug)]
struct Parcel {
    at: Duration,
    hold: Option<Hold>,
    /// A packet ends here.
    is_packet: bool,
    cargo: Cargo,
}

/// What arrives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cargo {
    Bytes(Bytes),
    /// The sender has closed.
    End,
    /// The connection was cut.
    Cut,
}

impl Line {
    pub(crate) fn new(net: &Net, name: &str, version: Version) -> Self {
        Self {
            net: net.clone(),
            number: net.transcript.add_connection(name),
            version,
            client: Box::default(),
            up: Lane::default(),
            down: Lane::default(),
            foreign: BTreeSet::new(),
        }
    }

    /// Takes in what one end sends, under way for `latency`.
    pub(crate) fn carry(&mut self, now: Duration, direction: Direction, bytes: &[u8], latency: Duration) {
        let lane = self.lane(direction);
        if lane.is_raw {
            return self.pass(now + latency, direction, Bytes::copy_from_slice(bytes), false);
        }
        lane.partial.extend_from_slice(bytes);
        while let Some(frame) = self.next_frame(direction, now) {
            let ahead = std::mem::take(&mut self.lane(direction).ahead);
            if ahead > 0 {
                // Part of it has gone on: too late for a fault.
                self.record(now, direction, &frame, None);
                self.pass(now + latency, direction, frame.slice(ahead..), true);
            } else {
                self.packet(now, direction, frame, latency);
            }
        }
        if self.net.is_calm() {
            let lane = self.lane(direction);
            let rest = Bytes::copy_from_slice(&lane.partial[lane.ahead..]);
            lane.ahead = lane.partial.len();
            self.pass(now + latency, direction, rest, false);
        }
    }

    /// One end has closed.
    pub(crate) fn end(&mut self, now: Duration, direction: Direction, latency: Duration) {
        self.push(now + latency, direction, None, false, Cargo::End);
    }

    /// What has arrived at the other end.
    pub(crate) fn poll(&mut self, now: Duration, direction: Direction) -> Option<Cargo> {
        let net = self.net.clone();
        let lane = self.lane(direction);
        let parcel = lane.under_way.front()?;
        if parcel.at > now || parcel.hold.is_some_and(|hold| net.holds(hold)) {
            return None;
        }
        let parcel = lane.under_way.pop_front()?;
        if let Cargo::Bytes(bytes) = &parcel.cargo {
            lane.backlog -= bytes.len();
        }
        if parcel.is_packet {
            self.net.passed(self.number);
        }
        Some(parcel.cargo)
    }

    /// When the next thing arrives in this direction; `None` if nothing will by itself.
    pub(crate) fn next_arrival(&self, direction: Direction) -> Option<Duration> {
        let lane = if direction == Direction::ToBroker { &self.up } else { &self.down };
        let parcel = lane.under_way.front()?;
        (!parcel.hold.is_some_and(|hold| self.net.holds(hold))).then_some(parcel.at)
    }

    /// Something waits for other packets or for its release.
    pub(crate) fn is_held(&self) -> bool {
        [&self.up, &self.down]
            .iter()
            .any(|lane| lane.under_way.front().is_some_and(|parcel| parcel.hold.is_some()))
    }

    /// The sender has to wait before it may send more.
    pub(crate) fn is_full(&self, direction: Direction) -> bool {
        let lane = if direction == Direction::ToBroker { &self.up } else { &self.down };
        lane.backlog >= BACKLOG
    }

    /// Sends a packet to the broker in the client's name.
    pub(crate) fn inject(&mut self, now: Duration, direction: Direction, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).expect("the test injects what can be encoded");
        self.insert(now, direction, bytes.into(), "injected");
    }

    /// Publishes a message in the client's name; what the broker answers never reaches the client.
    pub(crate) fn publish(&mut self, now: Duration, publish: &Publish<'_>) {
        let mut publish = publish.clone();
        if publish.qos > QoS::AtMostOnce {
            let mut candidates = (1..=u16::MAX).rev();
            let id = candidates.find(|id| !self.foreign.contains(id)).expect("not all are in use");
            self.foreign.insert(id);
            publish.packet_id = PacketId::new(id);
        }
        self.inject(now, Direction::ToBroker, &Packet::Publish(publish));
    }

    fn lane(&mut self, direction: Direction) -> &mut Lane {
        if direction == Direction::ToBroker { &mut self.up } else { &mut self.down }
    }

    /// The next whole packet that came in.
    fn next_frame(&mut self, direction: Direction, now: Duration) -> Option<Bytes> {
        let lane = self.lane(direction);
        if let Ok(header) = FixedHeader::read(&lane.partial, usize::MAX) {
            let total = header.filter(|header| header.total() <= lane.partial.len())?.total();
            return Some(lane.partial.split_to(total).freeze());
        }
        lane.is_raw = true;
        let ahead = std::mem::take(&mut lane.ahead);
        let rest = lane.partial.split().freeze();
        self.record(now, direction, &rest, None);
        self.pass(now, direction, rest.slice(ahead..), false);
        None
    }

    /// A whole packet came in: faults have their say.
    fn packet(&mut self, now: Duration, direction: Direction, frame: Bytes, latency: Duration) {
        let at = now + latency;
        let decoded = FixedHeader::read(&frame, usize::MAX).ok().flatten();
        let version = self.version;
        let packet = decoded.and_then(|header| Packet::decode(header, &frame[header.len..], version).ok());
        let Some(packet) = packet else {
            self.record(now, direction, &frame, None);
            return self.pass(at, direction, frame, true);
        };
        self.learn(direction, &packet);
        if direction == Direction::ToClient && self.answer_to_foreign(now, &frame, &packet) {
            return;
        }
        if self.net.is_calm() {
            self.record(now, direction, &frame, None);
            return self.pass(at, direction, frame, true);
        }
        let topic = match &packet {
            Packet::Publish(Publish { topic: None, topic_alias: Some(alias), .. }) => {
                self.lane(direction).aliases.get(&alias.get()).cloned()
            }
            _ => topic_of(&packet).map(Into::into),
        };
        let client = self.client.clone();
        let passing = Passing { direction, client: &client, packet: &packet, topic: topic.as_deref(), now };
        let (decision, fate) = self.net.decide(&passing, self.number, self.version);
        self.record(now, direction, &frame, fate);
        self.act(decision, now, at, direction, &frame, &packet);
    }

    fn act(
        &mut self,
        decision: Decision,
        now: Duration,
        at: Duration,
        direction: Direction,
        frame: &Bytes,
        packet: &Packet<'_>,
    ) {
        let frame = frame.clone();
        match decision {
            Decision::Pass => self.pass(at, direction, frame, true),
            Decision::Delay(by) => self.pass(at + by, direction, frame, true),
            Decision::Lose => {}
            Decision::Duplicate => {
                self.pass(at, direction, frame.clone(), true);
                self.pass(at, direction, frame, true);
            }
            Decision::Corrupt(random) => self.pass(at, direction, corrupt(&frame, random), true),
            Decision::Truncate(keep) => self.pass(at, direction, frame.slice(..keep.min(frame.len())), true),
            Decision::Split => {
                let last = frame.len() - 1;
                (0..=last).for_each(|n| self.pass(at, direction, frame.slice(n..=n), n == last));
            }
            Decision::Cut => self.cut(now),
            Decision::CutAfter => {
                self.pass(at, direction, frame, true);
                self.end_after(at, direction);
                self.sever(now, direction.opposite());
            }
            Decision::HalfOpen => {
                self.sever(now, Direction::ToClient);
                self.lane(Direction::ToBroker).is_dead = true;
            }
            Decision::Blackhole => {
                self.up.die();
                self.down.die();
            }
            Decision::Hold(hold) => self.push(at, direction, Some(hold), true, Cargo::Bytes(frame)),
            Decision::Slow(rate) => {
                self.lane(direction).rate = Some(rate);
                self.pass(at, direction, frame, true);
            }
            Decision::Answer(reason) => {
                let (answer, ends) = standard_answer(packet, reason, self.version);
                self.insert(now, direction.opposite(), answer.into(), "by a fault");
                if ends {
                    self.end_after(now, direction.opposite());
                    self.sever(now, direction);
                }
            }
            Decision::Handled(exchange) => self.handled(exchange, now, at, direction, frame),
        }
    }

    fn handled(
        &mut self,
        exchange: Exchange,
        now: Duration,
        at: Duration,
        direction: Direction,
        frame: Bytes,
    ) {
        if exchange.passes {
            return self.pass(at, direction, frame, true);
        }
        self.insert(now, direction.opposite(), exchange.answers.into(), "by a handler");
        self.insert(at, direction, exchange.forwards.into(), "by a handler");
        if exchange.closes {
            self.end_after(now, direction.opposite());
            self.end_after(at, direction);
        }
    }

    /// Both ends lose the connection now, and what is under way.
    pub(crate) fn cut(&mut self, now: Duration) {
        self.sever(now, Direction::ToBroker);
        self.sever(now, Direction::ToClient);
    }

    /// One end loses the connection now.
    fn sever(&mut self, now: Duration, direction: Direction) {
        self.lane(direction).die();
        self.lane(direction).under_way.push_back(Parcel {
            at: now,
            hold: None,
            is_packet: false,
            cargo: Cargo::Cut,
        });
    }

    /// One end loses the connection when it has got what is under way.
    fn end_after(&mut self, at: Duration, direction: Direction) {
        self.push(at, direction, None, false, Cargo::End);
        self.lane(direction).is_dead = true;
    }

    /// What a packet tells about its connection.
    fn learn(&mut self, direction: Direction, packet: &Packet<'_>) {
        match packet {
            Packet::Connect(connect) => {
                self.version = connect.version;
                self.name(connect.client_id);
            }
            Packet::ConnAck(ack) => {
                if let Some(id) = ack.properties.assigned_client_id {
                    self.name(id);
                }
            }
            Packet::Publish(Publish { topic: Some(topic), topic_alias: Some(alias), .. }) => {
                self.lane(direction).aliases.insert(alias.get(), topic.as_str().into());
            }
            _ => {}
        }
    }

    fn name(&mut self, client: &str) {
        if !client.is_empty() && *self.client != *client {
            self.client = client.into();
            self.net.transcript.rename(self.number, client);
        }
    }

    /// The broker answers what was published in the client's name.
    fn answer_to_foreign(&mut self, now: Duration, frame: &Bytes, packet: &Packet<'_>) -> bool {
        let (Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack)) = packet else { return false };
        if !self.foreign.contains(&ack.packet_id.get()) {
            return false;
        }
        self.record(now, Direction::ToClient, frame, Some("to an injected message".to_owned()));
        match packet {
            Packet::PubRec(ack) if !ack.reason.is_error() => {
                let release = Packet::PubRel(Ack::new(ack.packet_id));
                self.inject(now, Direction::ToBroker, &release);
            }
            _ => {
                self.foreign.remove(&ack.packet_id.get());
            }
        }
        true
    }

    /// Puts something under way that the sender has not sent.
    fn insert(&mut self, now: Duration, direction: Direction, bytes: Bytes, why: &str) {
        if !bytes.is_empty() {
            self.record(now, direction, &bytes, Some(why.to_owned()));
            self.pass(now, direction, bytes, true);
        }
    }

    fn pass(&mut self, at: Duration, direction: Direction, bytes: Bytes, is_packet: bool) {
        if !bytes.is_empty() {
            self.push(at, direction, None, is_packet, Cargo::Bytes(bytes));
        }
    }

    fn push(
        &mut self,
        at: Duration,
        direction: Direction,
        hold: Option<Hold>,
        is_packet: bool,
        cargo: Cargo,
    ) {
        let lane = self.lane(direction);
        if lane.is_dead {
            return;
        }
        let mut at = at.max(lane.last);
        if let Cargo::Bytes(bytes) = &cargo {
            lane.backlog += bytes.len();
            at = match lane.rate {
                Some(0) => Duration::MAX,
                Some(rate) => at.saturating_add(time_for(bytes.len(), rate)),
                None => at,
            };
        }
        lane.last = at;
        lane.under_way.push_back(Parcel { at, hold, is_packet, cargo });
    }

    fn record(&self, at: Duration, direction: Direction, bytes: &Bytes, fate: Option<String>) {
        let (connection, version) = (self.number, self.version);
        let fate = fate.map(Into::into);
        self.net.transcript.add_packets(bytes, |packet| Entry {
            at,
            connection,
            direction,
            what: What::Packet { version, bytes: Bytes::copy_from_slice(packet) },
            fate: fate.clone(),
        });
    }

    /// Adds something about the connection to the transcript.
    pub(crate) fn note(&self, at: Duration, direction: Direction, what: &'static str) {
        let connection = self.number;
        self.net.transcript.add(Entry { at, connection, direction, what: What::Link(what), fate: None });
    }
}

impl Lane {
    /// Nothing goes on any more.
    fn die(&mut self) {
        self.under_way.clear();
        self.backlog = 0;
        self.is_dead = true;
    }
}

/// How long so many bytes take at so many a second.
fn time_for(bytes: usize, rate: u32) -> Duration {
    Duration::from_micros(bytes as u64 * 1_000_000 / u64::from(rate))
}

/// The same with one bit wrong.
fn corrupt(frame: &Bytes, random: u64) -> Bytes {
    let start = FixedHeader::read(frame, usize::MAX).ok().flatten().map_or(0, |header| header.len);
    let bits = (frame.len() - start) as u64 * 8;
    if bits == 0 {
        return frame.clone();
    }
    let bit = random % bits;
    let mut bytes = frame.to_vec();
    bytes[start + usize::try_from(bit / 8).unwrap_or(0)] ^= 1 << (bit % 8);
    bytes.into()
}
