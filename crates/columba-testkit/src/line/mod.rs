//! One connection between a client and a broker: takes bytes in at one end, does to them what the faults say, and hands them
//! out at the other when they arrive. It does no I/O and reads no clock.

mod lane;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use std::{error, fmt};

use bytes::Bytes;
use columba_codec::{Ack, EncodeError, FixedHeader, Packet, PacketId, Publish, QoS, Version};

pub use self::lane::Cargo;
use self::lane::{Lane, Parcel, Portion};
use crate::fault::{Exchange, Passing, standard_answer};
use crate::net::{Decision, Hold, Net, topic_of};
use crate::transcript::{Direction, Entry, Name, What};

/// How much a lane takes in before its sender has to wait.
const BACKLOG: usize = 64 << 10;
/// How much is recorded of a packet over the limit.
const HEAD: usize = 64;

/// One connection between a client and a broker, on which faults happen: for programs that move bytes themselves, as
/// [`TestBroker`](crate::TestBroker) and [`World`](crate::World) do.
///
/// What one end sends is [carried](Self::carry); what has arrived at the other is [polled](Self::poll), now or when
/// [`next_arrival`](Self::next_arrival) says. In between the line does what the faults of its [`Net`] say, packet by packet,
/// and writes the transcript. Whoever moves it owns the time, which counts from any beginning that all lines of a net share,
/// and closes the ends.
///
/// Something that is [held](Self::is_held) is worth another poll when a packet has arrived on any line of the net, and when a
/// fault was released or removed.
///
/// Its memory is bounded if its sender waits while it is [full](Self::is_full), and packets are
/// [limited](Net::limit_packets).
///
/// ```
/// use std::time::Duration;
/// use columba_testkit::codec::{Packet, PacketType};
/// use columba_testkit::{Cargo, Direction, Line, Net, Version, on};
///
/// let net = Net::new(1);
/// net.add(on(PacketType::PingReq).delay(Duration::from_secs(2)));
/// let mut line = Line::new(&net, "sensor", Version::V5);
///
/// let now = Duration::ZERO;
/// line.carry(now, Direction::ToBroker, &[0xc0, 0], Duration::ZERO);
/// assert_eq!(line.poll(now, Direction::ToBroker), None);
/// let later = line.next_arrival(Direction::ToBroker).unwrap();
/// assert_eq!(later, Duration::from_secs(2));
/// assert_eq!(line.poll(later, Direction::ToBroker), Some(Cargo::Bytes([0xc0, 0].to_vec().into())));
/// assert_eq!(net.transcript().entries()[0].text(), "PINGREQ");
/// ```
#[derive(Debug)]
pub struct Line {
    net: Net,
    /// In the transcript.
    name: Arc<Name>,
    version: Version,
    /// The id in its CONNECT, or the one it was assigned.
    client: Box<str>,
    up: Lane,
    down: Lane,
    /// Packets that have arrived, in both directions.
    passed: u64,
    /// Packet identifiers of messages that were published in the client's name, which it knows nothing of.
    foreign: Foreign,
}

/// Packet identifiers in use.
#[derive(Debug)]
struct Foreign {
    ids: BTreeSet<u16>,
    /// There is no free one above.
    free: u16,
}

/// Why a message was not published in a client's name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// It cannot be encoded.
    Encode(EncodeError),
    /// 65,535 such messages wait for the broker's acknowledgement.
    NoPacketId,
}

impl Line {
    /// A connection on which nothing has been sent. `name` is for the transcript until the client has said its id; `version`
    /// holds until its CONNECT says another.
    pub fn new(net: &Net, name: &str, version: Version) -> Self {
        Self {
            net: net.clone(),
            name: net.transcript().add_connection(name),
            version,
            client: Box::default(),
            up: Lane::default(),
            down: Lane::default(),
            passed: 0,
            foreign: Foreign { ids: BTreeSet::new(), free: u16::MAX },
        }
    }

    /// A connection on which much has been sent, without this line: `client` is its client id, if that is known; `up` and
    /// `down` are what has come so far of the packet that is on its way to the broker and to the client. These bytes have gone
    /// on already, and faults begin with the packet that follows. Topic aliases that were set before are not known to faults
    /// with a [topic](crate::Rule::topic).
    pub fn join(net: &Net, client: &str, version: Version, up: &[u8], down: &[u8]) -> Self {
        let mut line = Self::new(net, client, version);
        line.client = client.into();
        let limit = net.packet_limit();
        line.up.join(up, limit);
        line.down.join(down, limit);
        line
    }

    /// Its number in the transcript ([`Entry::connection`]).
    pub fn number(&self) -> usize {
        self.name.number()
    }

    /// Its name in the transcript: the client id, or what it was opened as.
    pub fn name(&self) -> Arc<str> {
        self.name.get()
    }

    /// The client id in its CONNECT, or the one that the broker has assigned. Empty as long as there is none.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The protocol version of its CONNECT.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Takes in what one end sends, under way for `latency`.
    pub fn carry(&mut self, now: Duration, direction: Direction, bytes: &[u8], latency: Duration) {
        let at = now.saturating_add(latency);
        let lane = self.lane(direction);
        let foreign = lane.take_in(bytes);
        if foreign > 0 {
            let is_packet = lane.is_at_border();
            self.pass(at, direction, Bytes::copy_from_slice(&bytes[..foreign]), is_packet);
        }
        let limit = self.net.packet_limit();
        while let Some(portion) = self.lane(direction).next(limit) {
            self.portion(now, at, direction, portion);
        }
        // An answer to what the client does not know of is not for it, not even its beginning.
        if self.net.is_calm() && self.foreign.ids.is_empty() {
            let rest = self.lane(direction).let_go();
            self.pass(at, direction, rest, false);
        }
    }

    /// One end has closed, which arrives after what it has sent.
    pub fn end(&mut self, now: Duration, direction: Direction, latency: Duration) {
        self.lane(direction).push(now.saturating_add(latency), None, false, Cargo::End);
    }

    /// What has arrived at the other end; `None` if nothing (more) has.
    pub fn poll(&mut self, now: Duration, direction: Direction) -> Option<Cargo> {
        let parcel = self.lane_of(direction).under_way.front()?;
        if parcel.at > now || self.holds(parcel) {
            return None;
        }
        let lane = self.lane(direction);
        let parcel = lane.under_way.pop_front()?;
        if let Cargo::Bytes(bytes) = &parcel.cargo {
            lane.backlog -= bytes.len();
        }
        if parcel.is_packet {
            self.net.passed();
            self.passed += 1;
        }
        Some(parcel.cargo)
    }

    /// When the next thing arrives in this direction; `None` if nothing will by itself.
    pub fn next_arrival(&self, direction: Direction) -> Option<Duration> {
        let parcel = self.lane_of(direction).under_way.front()?;
        (!self.holds(parcel)).then_some(parcel.at)
    }

    /// Something waits for other packets or for its release, or has done so and was not polled since.
    pub fn is_held(&self) -> bool {
        [&self.up, &self.down]
            .iter()
            .any(|lane| lane.under_way.front().is_some_and(|parcel| parcel.hold.is_some()))
    }

    /// Wakes this, once, when something that is [held](Self::is_held) is worth another poll. The last one given counts, and
    /// none when the line is gone.
    pub fn wake_when_released(&self, waker: &Waker) {
        self.net.register(self.number(), waker);
    }

    /// The sender has to wait before it may send more: 64 KiB are under way. It may go on when some have been polled.
    pub fn is_full(&self, direction: Direction) -> bool {
        self.lane_of(direction).backlog >= BACKLOG
    }

    /// Adds something about the connection to the transcript: that it was opened, cut, closed.
    pub fn note(&self, at: Duration, direction: Direction, what: &'static str) {
        self.net.transcript().add(Entry::new(&self.name, at, direction, What::Link(what)));
    }

    fn lane(&mut self, direction: Direction) -> &mut Lane {
        if direction == Direction::ToBroker { &mut self.up } else { &mut self.down }
    }

    const fn lane_of(&self, direction: Direction) -> &Lane {
        if matches!(direction, Direction::ToBroker) { &self.up } else { &self.down }
    }

    fn holds(&self, parcel: &Parcel) -> bool {
        parcel.hold.is_some_and(|hold| self.net.holds(hold, self.passed))
    }
}

/// Faults by hand. They happen at once, and stay done.
impl Line {
    /// Both ends lose the connection now, and what is under way.
    pub fn cut(&mut self, now: Duration) {
        self.sever(now, Direction::ToBroker);
        self.sever(now, Direction::ToClient);
    }

    /// The client loses the connection now, and the broker is not told: it takes it for open. What is under way to the broker
    /// still arrives.
    pub fn half_open(&mut self, now: Duration) {
        self.sever(now, Direction::ToClient);
        self.up.is_dead = true;
    }

    /// Nothing arrives any more in either direction, not even the end, and neither side is told. What is under way is lost.
    pub fn blackhole(&mut self) {
        self.up.die();
        self.down.die();
    }

    /// From now on so many bytes a second go in this direction; 0 is none.
    pub fn slow(&mut self, direction: Direction, bytes_per_second: u32) {
        self.lane(direction).rate = Some(bytes_per_second);
    }

    /// Sends a packet in the name of the end that it does not go to. Its answer goes to that end.
    ///
    /// # Errors
    /// It cannot be encoded in the protocol version of the connection; nothing is sent.
    pub fn inject(
        &mut self,
        now: Duration,
        direction: Direction,
        packet: &Packet<'_>,
    ) -> Result<(), EncodeError> {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes)?;
        self.insert(now, direction, bytes.into(), "injected");
        Ok(())
    }

    /// Publishes a message in the client's name and sees it through: what the broker answers does not reach the client. The
    /// line chooses the packet identifier.
    ///
    /// # Errors
    /// It cannot be encoded, or there are too many already that the broker has not acknowledged; nothing is sent.
    pub fn publish(&mut self, now: Duration, publish: &Publish<'_>) -> Result<(), PublishError> {
        let mut publish = publish.clone();
        publish.packet_id = None;
        if publish.qos > QoS::AtMostOnce {
            publish.packet_id = PacketId::new(self.foreign.next());
            publish.packet_id.ok_or(PublishError::NoPacketId)?;
        }
        let id = publish.packet_id;
        self.inject(now, Direction::ToBroker, &Packet::Publish(publish)).map_err(PublishError::Encode)?;
        self.foreign.ids.extend(id.map(PacketId::get));
        Ok(())
    }
}

/// Inside.
impl Line {
    fn portion(&mut self, now: Duration, at: Duration, direction: Direction, portion: Portion) {
        match portion {
            Portion::Packet { bytes, ahead: 0 } => self.packet(now, at, direction, bytes),
            Portion::Packet { bytes, ahead } => {
                // Part of it has gone on: too late for a fault.
                if let Some(packet) = read(&bytes, self.version) {
                    self.learn(direction, &packet);
                }
                self.record(now, direction, &bytes, None);
                self.pass(at, direction, bytes.slice(ahead..), true);
            }
            Portion::Large { bytes, ahead, total } => {
                let fate = format!("{total} bytes, too large for a fault");
                self.record(now, direction, &bytes.slice(..bytes.len().min(HEAD)), Some(fate));
                let is_packet = self.lane(direction).is_at_border();
                self.pass(at, direction, bytes.slice(ahead..), is_packet);
            }
            Portion::Raw { bytes, ahead } => {
                self.record(now, direction, &bytes, None);
                self.pass(at, direction, bytes.slice(ahead..), false);
            }
        }
    }

    /// A whole packet came in: faults have their say.
    fn packet(&mut self, now: Duration, at: Duration, direction: Direction, frame: Bytes) {
        let Some(packet) = read(&frame, self.version) else {
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
                self.lane(direction).aliases.get(alias.get()).map(Into::into)
            }
            _ => topic_of(&packet).map(Box::<str>::from),
        };
        let client = self.client.clone();
        let passing = Passing { direction, client: &client, packet: &packet, topic: topic.as_deref(), now };
        let (decision, fate) = self.net.decide(&passing, self.passed, self.version);
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
            Decision::Delay(by) => self.pass(at.saturating_add(by), direction, frame, true),
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
            Decision::HalfOpen => self.half_open(now),
            Decision::Blackhole => self.blackhole(),
            Decision::Hold(hold) => self.hold(at, direction, hold, frame),
            Decision::Slow(rate) => {
                self.slow(direction, rate);
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
        self.end(at, direction, Duration::ZERO);
        self.lane(direction).is_dead = true;
    }

    /// What a packet tells about its connection.
    fn learn(&mut self, direction: Direction, packet: &Packet<'_>) {
        match packet {
            Packet::Connect(connect) => {
                self.version = connect.version;
                self.rename(connect.client_id);
            }
            Packet::ConnAck(ack) => {
                if let Some(id) = ack.properties.assigned_client_id {
                    self.rename(id);
                }
            }
            Packet::Publish(Publish { topic: Some(topic), topic_alias: Some(alias), .. }) => {
                self.lane(direction).aliases.set(alias.get(), topic.as_str());
            }
            _ => {}
        }
    }

    fn rename(&mut self, client: &str) {
        if !client.is_empty() && *self.client != *client {
            self.client = client.into();
            self.name.set(client);
        }
    }

    /// The broker answers what was published in the client's name.
    fn answer_to_foreign(&mut self, now: Duration, frame: &Bytes, packet: &Packet<'_>) -> bool {
        let (Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack)) = packet else { return false };
        if !self.foreign.ids.contains(&ack.packet_id.get()) {
            return false;
        }
        self.record(now, Direction::ToClient, frame, Some("to an injected message".to_owned()));
        match packet {
            Packet::PubRec(ack) if !ack.reason.is_error() => {
                let release = Packet::PubRel(Ack::new(ack.packet_id));
                // An acknowledgement can always be encoded.
                let _ = self.inject(now, Direction::ToBroker, &release);
            }
            _ => {
                self.foreign.release(ack.packet_id.get());
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
            self.lane(direction).push(at, None, is_packet, Cargo::Bytes(bytes));
        }
    }

    fn hold(&mut self, at: Duration, direction: Direction, hold: Hold, frame: Bytes) {
        self.lane(direction).push(at, Some(hold), true, Cargo::Bytes(frame));
    }

    fn record(&self, at: Duration, direction: Direction, bytes: &Bytes, fate: Option<String>) {
        let version = self.version;
        // On a connection that is silent, or gone for one side, nothing arrives any more.
        let fate = fate.or_else(|| self.lane_of(direction).is_dead.then(|| "lost".to_owned()));
        let fate: Option<Arc<str>> = fate.map(Into::into);
        self.net.transcript().add_packets(bytes, |packet| {
            let what = What::Packet { version, bytes: Bytes::copy_from_slice(packet) };
            let mut entry = Entry::new(&self.name, at, direction, what);
            entry.fate.clone_from(&fate);
            entry
        });
    }
}

impl Foreign {
    /// The highest that is free, as clients begin at the other end; 0 if none is.
    fn next(&mut self) -> u16 {
        self.free = (1..=self.free).rev().find(|id| !self.ids.contains(id)).unwrap_or(0);
        self.free
    }

    fn release(&mut self, id: u16) {
        self.ids.remove(&id);
        self.free = self.free.max(id);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.net.forget(self.number());
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => write!(f, "the message cannot be encoded: {error}"),
            Self::NoPacketId => f.write_str("too many messages wait for an acknowledgement"),
        }
    }
}

impl error::Error for PublishError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::NoPacketId => None,
        }
    }
}

fn read(frame: &[u8], version: Version) -> Option<Packet<'_>> {
    let header = FixedHeader::read(frame, usize::MAX).ok().flatten()?;
    Packet::decode(header, &frame[header.len..], version).ok()
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
