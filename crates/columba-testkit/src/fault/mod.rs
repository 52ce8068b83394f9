//! What a test does to packets on their way: which ones ([`Rule`]), when, and what ([`Fault`]). It describes; [`crate::net`]
//! decides and [`crate::line`] acts.

mod exchange;

use std::fmt;
use std::time::Duration;

use columba_codec::{Packet, PacketType, ReasonCode, TopicFilter, TopicName};

pub use self::exchange::Exchange;
pub(crate) use self::exchange::standard_answer;
use crate::rng::Rng;
use crate::transcript::Direction;

/// Which packets a fault is for, and when. Made by [`on`] or [`on_any`]; one of its last methods makes it a [`Fault`].
///
/// ```
/// use std::time::Duration;
/// use columba_testkit::{codec::PacketType, on, on_any};
///
/// // The second PUBACK that the broker sends to "sensor" never arrives.
/// let lost = on(PacketType::PubAck).from_broker().client("sensor").nth(2).lose();
/// // In the second minute, one packet in ten comes a second late.
/// let late = on_any()
///     .with_probability(0.1)
///     .between(Duration::from_secs(60), Duration::from_secs(120))
///     .delay(Duration::from_secs(1));
/// # drop((lost, late));
/// ```
#[must_use = "a rule does nothing before it is made a fault and given to a broker or a world"]
pub struct Rule {
    packet: Option<PacketType>,
    direction: Option<Direction>,
    client: Option<Box<str>>,
    topic: Option<Box<str>>,
    predicate: Option<Predicate>,
    trigger: Trigger,
    probability: Option<f64>,
    window: Option<(Duration, Duration)>,
}

type Predicate = Box<dyn Fn(&Packet<'_>) -> bool + Send>;
type Handler = Box<dyn FnMut(&Packet<'_>, &mut Exchange) + Send>;

/// A rule and what happens to the packets it is for.
#[must_use = "a fault does nothing before it is given to a broker or a world"]
pub struct Fault {
    rule: Rule,
    pub(crate) action: Action,
}

/// Of the packets that match, counted from 1.
#[derive(Clone, Copy, Debug)]
enum Trigger {
    Always,
    Nth(u64),
    First(u64),
    Every(u64),
}

pub(crate) enum Action {
    Delay(Duration),
    Lose,
    Duplicate,
    Corrupt,
    Truncate(usize),
    Split,
    Cut,
    CutAfter,
    HalfOpen,
    Blackhole,
    Hold,
    Behind(u64),
    Slow(u32),
    Answer(ReasonCode),
    Handle(Handler),
}

/// A packet on its way, as rules see it.
pub(crate) struct Passing<'a> {
    pub(crate) direction: Direction,
    pub(crate) client: &'a str,
    pub(crate) packet: &'a Packet<'a>,
    /// The topic of a PUBLISH, its alias resolved.
    pub(crate) topic: Option<&'a str>,
    pub(crate) now: Duration,
}

/// Packets of this type.
pub fn on(packet: PacketType) -> Rule {
    Rule { packet: Some(packet), ..on_any() }
}

/// Packets of all types.
pub fn on_any() -> Rule {
    Rule {
        packet: None,
        direction: None,
        client: None,
        topic: None,
        predicate: None,
        trigger: Trigger::Always,
        probability: None,
        window: None,
    }
}

/// Which packets.
impl Rule {
    /// Only those that clients send.
    pub fn from_client(self) -> Self {
        Self { direction: Some(Direction::ToBroker), ..self }
    }

    /// Only those that the broker sends.
    pub fn from_broker(self) -> Self {
        Self { direction: Some(Direction::ToClient), ..self }
    }

    /// Only those of this client's connections.
    pub fn client(self, id: &str) -> Self {
        Self { client: Some(id.into()), ..self }
    }

    /// Only PUBLISH with a topic that matches this filter.
    ///
    /// # Panics
    /// If it is no topic filter.
    pub fn topic(self, filter: &str) -> Self {
        assert!(TopicFilter::parse(filter).is_ok(), "{filter:?} is no topic filter");
        Self { topic: Some(filter.into()), ..self }
    }

    /// Only those of which this is true.
    pub fn matching(self, predicate: impl Fn(&Packet<'_>) -> bool + Send + 'static) -> Self {
        Self { predicate: Some(Box::new(predicate)), ..self }
    }
}

/// When. Without one of these: every time.
impl Rule {
    /// The first time only.
    pub fn once(self) -> Self {
        self.nth(1)
    }

    /// The `n`th time only, counted from 1 among the packets that match.
    pub fn nth(self, n: u64) -> Self {
        Self { trigger: Trigger::Nth(n), ..self }
    }

    /// The first `n` times.
    pub fn times(self, n: u64) -> Self {
        Self { trigger: Trigger::First(n), ..self }
    }

    /// Every `n`th time.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn every(self, n: u64) -> Self {
        assert!(n > 0, "every 0th time is never");
        Self { trigger: Trigger::Every(n), ..self }
    }

    /// In this share of the cases that are left, 0 to 1, decided by the seed.
    pub fn with_probability(self, probability: f64) -> Self {
        Self { probability: Some(probability), ..self }
    }

    /// Between these two instants, counted from the start of the broker or the world. Packets outside are not counted.
    pub fn between(self, from: Duration, to: Duration) -> Self {
        Self { window: Some((from, to)), ..self }
    }
}

/// What happens to the packet.
impl Rule {
    /// It comes so much later, and so does what follows it in its direction: a stream keeps its order.
    pub fn delay(self, by: Duration) -> Fault {
        self.then(Action::Delay(by))
    }

    /// It does not come, and nobody is told: an acknowledgement is swallowed, a message lost.
    pub fn lose(self) -> Fault {
        self.then(Action::Lose)
    }

    /// It comes twice.
    pub fn duplicate(self) -> Fault {
        self.then(Action::Duplicate)
    }

    /// One bit behind its fixed header is wrong; which one the seed decides. A packet that has nothing there comes whole.
    pub fn corrupt(self) -> Fault {
        self.then(Action::Corrupt)
    }

    /// Only its first `keep` bytes come. Whoever reads takes what follows for the rest.
    pub fn truncate(self, keep: usize) -> Fault {
        self.then(Action::Truncate(keep))
    }

    /// It comes in single bytes.
    pub fn split(self) -> Fault {
        self.then(Action::Split)
    }

    /// The connection ends for both sides in its stead.
    pub fn cut(self) -> Fault {
        self.then(Action::Cut)
    }

    /// It comes, and then the connection ends for both sides; what was under way the other way is lost.
    pub fn cut_after(self) -> Fault {
        self.then(Action::CutAfter)
    }

    /// The connection ends for the client, and the broker is not told: no FIN, no reset. It has only its keep alive to
    /// find out.
    pub fn half_open(self) -> Fault {
        self.then(Action::HalfOpen)
    }

    /// From here on nothing passes in either direction, not even the end of the connection, and nobody is told.
    pub fn blackhole(self) -> Fault {
        self.then(Action::Blackhole)
    }

    /// It waits, with all that follows it in its direction, until [`FaultHandle::release`](crate::FaultHandle::release).
    pub fn hold(self) -> Fault {
        self.then(Action::Hold)
    }

    /// It waits until so many packets have passed on other connections: it is overtaken.
    pub fn behind(self, packets: u64) -> Fault {
        self.then(Action::Behind(packets))
    }

    /// From here on its direction carries only so many bytes a second, and the sender has to wait: a slow reader. With 0
    /// nothing moves any more.
    pub fn slow(self, bytes_per_second: u32) -> Fault {
        self.then(Action::Slow(bytes_per_second))
    }

    /// The receiver does not get it, and the sender gets the answer that this kind of packet has, with this reason code:
    /// PUBACK or PUBREC to PUBLISH, SUBACK to SUBSCRIBE with the code for each filter, CONNACK to CONNECT, and so on. Before
    /// MQTT 5 CONNACK has the code's old counterpart, and acknowledgements say nothing. A CONNECT that is refused ends the
    /// connection; so does a packet that has no answer, with DISCONNECT.
    pub fn answer(self, reason: ReasonCode) -> Fault {
        self.then(Action::Answer(reason))
    }

    /// A handler sees it and may take over: answer the sender, hand something else to the receiver, close. If it does none of
    /// these the packet passes. It must not add or remove faults, which wait for it to end.
    ///
    /// ```
    /// use columba_testkit::codec::{Packet, PacketType};
    /// use columba_testkit::on;
    ///
    /// let fault = on(PacketType::PingReq).handle(|_, exchange| exchange.answer(&Packet::PingResp));
    /// # drop(fault);
    /// ```
    pub fn handle(self, handler: impl FnMut(&Packet<'_>, &mut Exchange) + Send + 'static) -> Fault {
        self.then(Action::Handle(Box::new(handler)))
    }

    fn then(self, action: Action) -> Fault {
        Fault { rule: self, action }
    }
}

impl Rule {
    fn matches(&self, passing: &Passing<'_>) -> bool {
        let is_on_topic = |filter: &str| {
            let filter = TopicFilter::parse(filter).ok();
            let topic = passing.topic.and_then(|topic| TopicName::parse(topic).ok());
            filter.zip(topic).is_some_and(|(filter, topic)| filter.matches(topic))
        };
        self.packet.is_none_or(|packet| packet == passing.packet.packet_type())
            && self.direction.is_none_or(|direction| direction == passing.direction)
            && self.client.as_deref().is_none_or(|client| client == passing.client)
            && self.topic.as_deref().is_none_or(is_on_topic)
            && self.window.is_none_or(|(from, to)| (from..to).contains(&passing.now))
            && self.predicate.as_ref().is_none_or(|predicate| predicate(passing.packet))
    }
}

impl Fault {
    /// Whether it is for this packet; `seen` counts those it could have been for.
    pub(crate) fn applies(&self, passing: &Passing<'_>, seen: &mut u64, rng: &mut Rng) -> bool {
        if !self.rule.matches(passing) {
            return false;
        }
        *seen += 1;
        let is_time = match self.rule.trigger {
            Trigger::Always => true,
            Trigger::Nth(n) => *seen == n,
            Trigger::First(n) => *seen <= n,
            Trigger::Every(n) => seen.is_multiple_of(n),
        };
        is_time && self.rule.probability.is_none_or(|probability| rng.chance(probability))
    }
}

impl Action {
    /// In the transcript.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Delay(by) => format!("delayed by {by:?}"),
            Self::Lose => "lost".into(),
            Self::Duplicate => "duplicated".into(),
            Self::Corrupt => "corrupted".into(),
            Self::Truncate(keep) => format!("truncated to {keep} bytes"),
            Self::Split => "in single bytes".into(),
            Self::Cut => "cut before it".into(),
            Self::CutAfter => "cut after it".into(),
            Self::HalfOpen => "half-open from here".into(),
            Self::Blackhole => "blackhole from here".into(),
            Self::Hold => "held".into(),
            Self::Behind(packets) => format!("held behind {packets} packets"),
            Self::Slow(rate) => format!("{rate} bytes/s from here"),
            Self::Answer(reason) => format!("answered {:02x} in its stead", reason.code()),
            Self::Handle(_) => "handled".into(),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("packet", &self.packet)
            .field("direction", &self.direction)
            .field("client", &self.client)
            .field("topic", &self.topic)
            .field("trigger", &self.trigger)
            .field("probability", &self.probability)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("rule", &self.rule).field("action", &self.action.name()).finish()
    }
}
