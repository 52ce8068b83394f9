//! Owns what the clients of one thread do: publishers with their windows, subscribers with their acknowledgements, the answers
//! to CONNECT and SUBSCRIBE. Never decides when something is sent.

use std::collections::VecDeque;

use columba_codec::{FixedHeader, Packet, PacketId, PacketType, QoS, Version};

use crate::batch::{Batch, Stamp, filler};
use crate::faults::Faults;
use crate::histogram::Histogram;
use crate::ledger::Ledger;
use crate::net::{Handler, Link, Net, Who};

/// Of one subscriber, at QoS 2: a bit for each packet identifier.
const IDS: usize = 65_536 / 64;
/// Unanswered PINGREQ of a publisher that nothing else answers.
const PINGS: u32 = 4;
/// Every so many messages one is decoded in full.
const INSPECTED: u64 = 64;

#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) version: Version,
    /// At which messages arrive if they arrive as they should.
    pub(crate) qos: QoS,
    pub(crate) run: u32,
    pub(crate) ledger: Ledger,
    pub(crate) faults: Faults,
    pub(crate) publishers: Vec<Publisher>,
    /// Publishers that have something to send, as far as is known.
    pub(crate) ready: VecDeque<u32>,
    /// By number of the subscriber: QoS 2 messages that were received and not released.
    unreleased: Vec<Vec<u64>>,
    pub(crate) published: u64,
    /// Deliveries that what was published leads to.
    pub(crate) expected: u64,
    /// QoS 1 and 2 messages, and PINGREQ, without an answer yet.
    pub(crate) unanswered: u64,
    pub(crate) accepted: u64,
    pub(crate) was_present: bool,
    pub(crate) receive_maximum: u16,
    pub(crate) subscribed: u64,
    /// The connection whose end no scenario wanted.
    pub(crate) broken: Option<String>,
    /// When the last message or acknowledgement came.
    pub(crate) progress: u64,
    pub(crate) handshakes: Histogram,
    pub(crate) latency: Histogram,
    pub(crate) lateness: Histogram,
    /// Messages of this time count for the latency.
    pub(crate) measured: std::ops::Range<u64>,
    pub(crate) wants_retained: bool,
}

#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) link: usize,
    lanes: Lanes,
    pub(crate) sent: u64,
    pub(crate) limit: u64,
    /// Deliveries that each message leads to.
    fan: u64,
    window: Window,
    pings: u32,
    is_ready: bool,
    /// Open loop: messages whose time has come.
    pub(crate) due: u64,
}

/// The topics of a publisher, which it serves by turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// From one to the next; has no divisor in common with the count.
    pub(crate) stride: u32,
    /// Its first one's place among the topics of the batch.
    pub(crate) topic: u32,
}

/// Packet identifiers of a publisher, the one that has rested longest first.
#[derive(Debug, Default)]
struct Window {
    free: VecDeque<PacketId>,
    /// By identifier: what is awaited.
    awaited: Vec<Option<PacketType>>,
}

/// By what the time of a message is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Time {
    /// It is sent when it can be.
    Now(u64),
    /// It was due at an instant of a schedule: message k of all publishers at `begin + k * interval`.
    Schedule { now: u64, begin: u64, interval: f64, publisher: u64, publishers: u64 },
}

impl Flow {
    pub(crate) fn new(version: Version, qos: QoS, run: u32, ledger: Ledger) -> Self {
        Self {
            version,
            qos,
            run,
            ledger,
            faults: Faults::default(),
            publishers: Vec::new(),
            ready: VecDeque::new(),
            unreleased: Vec::new(),
            published: 0,
            expected: 0,
            unanswered: 0,
            accepted: 0,
            was_present: false,
            receive_maximum: u16::MAX,
            subscribed: 0,
            broken: None,
            progress: 0,
            handshakes: Histogram::new(),
            latency: Histogram::new(),
            lateness: Histogram::new(),
            measured: 0..0,
            wants_retained: false,
        }
    }

    /// The connection of publisher number `self.publishers.len()`, which publishes up to `limit` messages.
    pub(crate) fn add_publisher(&mut self, link: usize, lanes: Lanes, fan: u64, window: u16, limit: u64) {
        let window = window.min(self.receive_maximum);
        self.publishers.push(Publisher {
            link,
            lanes,
            sent: 0,
            limit,
            fan,
            window: Window::new(window),
            pings: 0,
            is_ready: false,
            due: 0,
        });
        self.make_ready(self.publishers.len() - 1);
    }

    pub(crate) fn make_ready(&mut self, publisher: usize) {
        let publisher_state = &mut self.publishers[publisher];
        if !publisher_state.is_ready {
            publisher_state.is_ready = true;
            self.ready.push_back(publisher as u32);
        }
    }

    pub(crate) fn next_ready(&mut self) -> Option<usize> {
        let publisher = self.ready.pop_front()? as usize;
        self.publishers[publisher].is_ready = false;
        Some(publisher)
    }

    /// Whether all has been published that was to be.
    pub(crate) fn is_published(&self) -> bool {
        self.publishers.iter().all(|publisher| publisher.sent >= publisher.limit)
    }

    /// How many messages have been sent on each of so many lanes.
    pub(crate) fn sent(&self, lanes: usize) -> Vec<u64> {
        let mut sent = vec![0; lanes];
        for publisher in &self.publishers {
            let count = u64::from(publisher.lanes.count);
            for turn in 0..count {
                let lane = publisher.lanes.at(turn).0 as usize;
                sent[lane] += publisher.sent / count + u64::from(turn < publisher.sent % count);
            }
        }
        sent
    }

    /// Writes up to `wanted` messages of one publisher. Returns how many went, and whether more could.
    pub(crate) fn send(
        &mut self,
        net: &mut Net,
        batch: &mut Batch,
        index: usize,
        wanted: u64,
        time: Time,
    ) -> (u64, bool) {
        let publisher = &mut self.publishers[index];
        let link = &mut net.links[publisher.link];
        if !link.is_clear() {
            return (0, false);
        }
        let is_acknowledged = batch.shape().qos > QoS::AtMostOnce;
        let is_asking = publisher.fan == 0 && !is_acknowledged;
        let mut count = wanted.min(batch.count() as u64).min(publisher.limit - publisher.sent);
        if is_acknowledged {
            count = count.min(publisher.window.free.len() as u64);
        } else if is_asking && publisher.pings == PINGS {
            count = 0;
        }
        if count == 0 {
            return (0, false);
        }
        for place in 0..count {
            let turn = publisher.sent + place;
            let (lane, topic) = publisher.lanes.at(turn);
            let id = publisher.window.free.get(place as usize).copied().filter(|_| is_acknowledged);
            let number = turn / u64::from(publisher.lanes.count);
            let stamp = Stamp { run: self.run, lane, number, time: time.of(turn) };
            batch.set(place as usize, topic as usize, id, stamp);
        }
        let bytes = batch.bytes(count as usize);
        let written = match link.write(bytes) {
            Ok(written) => written,
            Err(error) => {
                self.broken.get_or_insert_with(|| format!("writing failed: {error}"));
                return (0, false);
            }
        };
        // What has begun has been sent: its end waits on the link.
        let sent = written.div_ceil(batch.packet_len());
        link.put_framed(&bytes[written..sent * batch.packet_len()]);
        if is_acknowledged {
            let awaited =
                if batch.shape().qos == QoS::AtLeastOnce { PacketType::PubAck } else { PacketType::PubRec };
            publisher.window.take(sent, awaited);
            self.unanswered += sent as u64;
        }
        if is_asking && sent > 0 {
            publisher.pings += 1;
            self.unanswered += 1;
            link.put(&[0xC0, 0]);
        }
        for turn in publisher.sent..publisher.sent + sent as u64 {
            if let Some((due, late)) = time.lateness(turn)
                && self.measured.contains(&due)
            {
                self.lateness.record(late);
            }
        }
        publisher.sent += sent as u64;
        self.published += sent as u64;
        self.expected += sent as u64 * publisher.fan;
        let at = publisher.link;
        let can_more = net.flush(self, at) && net.links[at].is_clear();
        (sent as u64, can_more)
    }

    /// A PUBLISH for a subscriber. Its stamp says all that is checked of every message, so its topic and properties are
    /// stepped over; now and then one is decoded in full, to hold the broker to the format.
    #[inline]
    fn deliver(&mut self, link: &mut Link, header: FixedHeader, body: &[u8], now: u64) -> Result<(), String> {
        let Who::Subscriber(subscriber) = link.who else {
            return Err("a PUBLISH to who has not subscribed".into());
        };
        if self.ledger.delivered.is_multiple_of(INSPECTED) {
            Packet::decode(header, body, self.version)
                .map_err(|error| format!("a broken PUBLISH: {error}"))?;
        }
        let qos = (header.flags >> 1) & 0b11;
        let (id, payload) = split(body, qos, self.version).ok_or("a PUBLISH that is cut off")?;
        let mut is_new = true;
        match (qos, id) {
            (1, Some(id)) => link.acknowledge(PacketType::PubAck, id),
            (2, Some(id)) => {
                is_new = self.note_unreleased(subscriber, id);
                link.acknowledge(PacketType::PubRec, id);
            }
            _ => {}
        }
        self.progress = now;
        let Some(stamp) = Stamp::read(payload).filter(|stamp| stamp.run == self.run) else {
            self.faults.note("messages of somebody else");
            return Ok(());
        };
        if !is_new {
            return Ok(());
        }
        if qos != self.qos as u8 {
            self.faults.note("messages at another QoS than they should have");
        }
        let last = payload.len() - 1;
        if payload.len() > Stamp::LEN && payload[last] != filler(last) {
            self.faults.note("damaged payloads");
        }
        if self.wants_retained && header.flags & 1 == 0 {
            self.faults.note("retained messages that are not marked so");
        }
        self.ledger.take(subscriber, stamp.lane, stamp.number);
        if self.measured.contains(&stamp.time) {
            self.latency.record(now.saturating_sub(stamp.time));
        }
        Ok(())
    }

    /// Whether this is not a message sent again before it was released.
    fn note_unreleased(&mut self, subscriber: u32, id: PacketId) -> bool {
        let (word, bit) = place(id);
        let unreleased = unreleased_of(&mut self.unreleased, subscriber);
        let is_new = unreleased[word] & bit == 0;
        unreleased[word] |= bit;
        is_new
    }

    /// PUBACK, PUBREC or PUBCOMP for a publisher.
    fn answered(
        &mut self,
        link: &mut Link,
        header: FixedHeader,
        body: &[u8],
        now: u64,
    ) -> Result<(), String> {
        let name = header.packet_type.name();
        let Who::Publisher(index) = link.who else {
            return Err(format!("a {name} to who has not published"));
        };
        let (id, is_refused) = match *body {
            [high, low] => (u16::from_be_bytes([high, low]), false),
            [high, low, reason, ..] => (u16::from_be_bytes([high, low]), reason >= 0x80),
            _ => return Err(format!("a {name} that is cut off")),
        };
        let publisher = &mut self.publishers[index as usize];
        let awaited = publisher.window.awaited.get_mut(usize::from(id));
        let Some((id, awaited)) = PacketId::new(id).zip(awaited) else {
            return Err(format!("a {name} for what was not sent"));
        };
        if *awaited != Some(header.packet_type) {
            return Err(format!("a {name} that was not due"));
        }
        self.progress = now;
        if header.packet_type == PacketType::PubRec && !is_refused {
            *awaited = Some(PacketType::PubComp);
            link.acknowledge(PacketType::PubRel, id);
            return Ok(());
        }
        *awaited = None;
        publisher.window.free.push_back(id);
        self.unanswered -= 1;
        if is_refused {
            self.faults.note("messages that the broker refused");
        }
        self.make_ready(index as usize);
        Ok(())
    }

    /// What is not a matter of messages.
    #[cold]
    fn control(&mut self, link: &mut Link, header: FixedHeader, body: &[u8], now: u64) -> Result<(), String> {
        let name = header.packet_type.name();
        let packet = Packet::decode(header, body, self.version);
        match packet.map_err(|error| format!("a broken {name}: {error}"))? {
            Packet::ConnAck(answer) if answer.reason.is_error() => {
                return Err(format!("the broker refuses the connection: {:?}", answer.reason));
            }
            Packet::ConnAck(answer) => {
                self.accepted += 1;
                self.was_present = answer.session_present;
                let maximum = answer.properties.receive_maximum.map_or(u16::MAX, Into::into);
                self.receive_maximum = self.receive_maximum.min(maximum);
                self.handshakes.record(now - link.opened);
            }
            Packet::SubAck(answer) => {
                for reason in &answer.reasons {
                    self.subscribed += 1;
                    if reason.is_error() {
                        return Err(format!("the broker refuses a subscription: {reason:?}"));
                    }
                    if reason.code() < self.qos as u8 {
                        self.faults.note("subscriptions with a lower QoS than asked for");
                    }
                }
            }
            Packet::Disconnect(packet) => return Err(format!("DISCONNECT: {:?}", packet.reason)),
            Packet::PingResp => self.pinged(link),
            _ => return Err(format!("a {name} from the broker")),
        }
        self.progress = now;
        Ok(())
    }

    fn pinged(&mut self, link: &Link) {
        let Who::Publisher(index) = link.who else { return };
        let Some(publisher) = self.publishers.get_mut(index as usize) else { return };
        if publisher.pings > 0 {
            publisher.pings -= 1;
            self.unanswered -= 1;
            self.make_ready(index as usize);
        }
    }
}

impl Handler for Flow {
    #[inline]
    fn packet(&mut self, link: &mut Link, header: FixedHeader, body: &[u8], now: u64) -> Result<(), String> {
        match header.packet_type {
            PacketType::Publish => self.deliver(link, header, body, now),
            PacketType::PubAck | PacketType::PubRec | PacketType::PubComp => {
                self.answered(link, header, body, now)
            }
            PacketType::PubRel => {
                let (Who::Subscriber(subscriber), [high, low, ..]) = (link.who, body) else {
                    return Err("a broken PUBREL".into());
                };
                let id =
                    PacketId::new(u16::from_be_bytes([*high, *low])).ok_or("a PUBREL without identifier")?;
                let (word, bit) = place(id);
                unreleased_of(&mut self.unreleased, subscriber)[word] &= !bit;
                link.acknowledge(PacketType::PubComp, id);
                Ok(())
            }
            _ => self.control(link, header, body, now),
        }
    }

    fn writable(&mut self, link: &Link) {
        if let Who::Publisher(index) = link.who
            && (index as usize) < self.publishers.len()
        {
            self.make_ready(index as usize);
        }
    }

    fn closed(&mut self, link: &Link, reason: Option<String>) {
        if let Some(reason) = reason {
            self.broken.get_or_insert_with(|| match link.who {
                Who::Publisher(number) => format!("publisher {number}: {reason}"),
                Who::Subscriber(number) => format!("subscriber {number}: {reason}"),
                Who::Other(number) => format!("client {number}: {reason}"),
            });
        }
    }
}

impl Publisher {
    /// Deliveries of a message, to divide by.
    pub(crate) fn fan(&self) -> u64 {
        self.fan.max(1)
    }
}

impl Lanes {
    pub(crate) const fn one(lane: u32, topic: u32) -> Self {
        Self { first: lane, count: 1, stride: 1, topic }
    }

    /// Lane and topic of a publisher's message.
    #[inline]
    fn at(self, turn: u64) -> (u32, u32) {
        if self.count == 1 {
            return (self.first, self.topic);
        }
        let offset = (turn % u64::from(self.count) * u64::from(self.stride) % u64::from(self.count)) as u32;
        (self.first + offset, self.topic + offset)
    }
}

impl Window {
    fn new(size: u16) -> Self {
        Self {
            free: (1..=size).filter_map(PacketId::new).collect(),
            awaited: vec![None; usize::from(size) + 1],
        }
    }

    fn take(&mut self, count: usize, awaited: PacketType) {
        for id in self.free.drain(..count) {
            self.awaited[usize::from(id.get())] = Some(awaited);
        }
    }
}

impl Time {
    #[inline]
    fn of(self, turn: u64) -> u64 {
        match self {
            Self::Now(now) => now,
            Self::Schedule { begin, interval, publisher, publishers, .. } => {
                begin + ((turn * publishers + publisher) as f64 * interval) as u64
            }
        }
    }

    /// When a message was due, and how much later it was sent.
    fn lateness(self, turn: u64) -> Option<(u64, u64)> {
        match self {
            Self::Now(_) => None,
            Self::Schedule { now, .. } => {
                let due = self.of(turn);
                Some((due, now.saturating_sub(due)))
            }
        }
    }
}

/// Packet identifier and payload of a PUBLISH.
#[inline]
fn split(body: &[u8], qos: u8, version: Version) -> Option<(Option<PacketId>, &[u8])> {
    let (topic_len, rest) = body.split_first_chunk()?;
    let mut rest = rest.get(usize::from(u16::from_be_bytes(*topic_len))..)?;
    let mut id = None;
    if qos > 0 {
        let (number, behind) = rest.split_first_chunk()?;
        id = Some(PacketId::new(u16::from_be_bytes(*number))?);
        rest = behind;
    }
    if version == Version::V5 {
        let (mut len, mut shift) = (0, 0);
        loop {
            let (&byte, behind) = rest.split_first()?;
            rest = behind;
            len |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 || shift > 21 {
                break;
            }
        }
        rest = rest.get(len..)?;
    }
    Some((id, rest))
}

fn unreleased_of(all: &mut Vec<Vec<u64>>, subscriber: u32) -> &mut [u64] {
    let subscriber = subscriber as usize;
    if subscriber >= all.len() {
        all.resize(subscriber + 1, Vec::new());
    }
    let unreleased = &mut all[subscriber];
    if unreleased.is_empty() {
        unreleased.resize(IDS, 0);
    }
    unreleased
}

const fn place(id: PacketId) -> (usize, u64) {
    (id.get() as usize / 64, 1 << (id.get() % 64))
}
