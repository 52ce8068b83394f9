//! Conditions that a test waits for: on what went over the links, and on what the broker holds. They look and change nothing.

use std::collections::VecDeque;
use std::fmt::Write as _;

use columba_codec::{Connect, Packet, Publish, QoS, ReasonCode, TopicFilter, TopicName, Version};
use columba_core::{ClientInfo, SubscriptionInfo};

use crate::transcript::{Direction, Entry, Transcript, What};

/// Something that is so or not yet. Made by [`published`], [`delivered`], [`connected`], [`disconnected`], [`subscribed`],
/// [`session`], [`sequence`] and [`FaultHandle::happened`](crate::FaultHandle::happened).
#[must_use = "a condition is checked by `expect`"]
pub struct Condition {
    text: String,
    /// Whose subscriptions it looks at.
    client: Option<Box<str>>,
    check: Check,
}

type Check = Box<dyn Fn(&View<'_>) -> Result<(), String> + Send>;

/// What a condition sees.
pub(crate) struct View<'a> {
    pub(crate) entries: &'a VecDeque<Entry>,
    pub(crate) sessions: &'a [ClientInfo],
    /// Of the client that the condition names.
    pub(crate) subscriptions: &'a [SubscriptionInfo],
}

/// A condition on messages.
#[must_use = "a condition is checked by `expect`"]
pub struct Messages {
    direction: Direction,
    filter: String,
    text: String,
    tests: Vec<MessageTest>,
    client: Option<Box<str>>,
    times: Option<usize>,
}

type ConnectTest = Box<dyn Fn(&Connect<'_>) -> bool + Send>;
type SessionTest = Box<dyn Fn(&ClientInfo) -> bool + Send>;
type MessageTest = Box<dyn Fn(&Publish<'_>) -> bool + Send>;

/// A condition on a CONNECT that was accepted.
#[must_use = "a condition is checked by `expect`"]
pub struct Connected {
    client: Box<str>,
    text: String,
    tests: Vec<ConnectTest>,
    times: Option<usize>,
}

/// A condition on the end of a connection.
#[must_use = "a condition is checked by `expect`"]
pub struct Disconnected {
    client: Box<str>,
    reason: Option<ReasonCode>,
}

/// A condition on a subscription.
#[must_use = "a condition is checked by `expect`"]
pub struct Subscribed {
    client: Box<str>,
    filter: String,
    qos: Option<u8>,
}

/// A condition on a session.
#[must_use = "a condition is checked by `expect`"]
pub struct SessionState {
    client: Box<str>,
    text: String,
    is_there: bool,
    tests: Vec<SessionTest>,
}

/// A client has sent a PUBLISH on a topic that matches this filter.
///
/// # Panics
/// If it is no topic filter.
pub fn published(filter: &str) -> Messages {
    Messages::new(Direction::ToBroker, filter, "published on")
}

/// The broker has sent a PUBLISH on a topic that matches this filter.
///
/// # Panics
/// If it is no topic filter.
pub fn delivered(filter: &str) -> Messages {
    Messages::new(Direction::ToClient, filter, "delivered on")
}

/// A CONNECT of this client was accepted.
pub fn connected(client: &str) -> Connected {
    Connected { client: client.into(), text: format!("{client:?} connected"), tests: Vec::new(), times: None }
}

/// A connection of this client has ended, and it has no other.
pub fn disconnected(client: &str) -> Disconnected {
    Disconnected { client: client.into(), reason: None }
}

/// This client has a subscription with this topic filter.
pub fn subscribed(client: &str, filter: &str) -> Subscribed {
    Subscribed { client: client.into(), filter: filter.to_owned(), qos: None }
}

/// This client has a session.
pub fn session(client: &str) -> SessionState {
    SessionState {
        client: client.into(),
        text: format!("a session of {client:?}"),
        is_there: true,
        tests: Vec::new(),
    }
}

/// These packets and no others went over the connections of this client: `-> CONNECT` was sent by it, `<- CONNACK 00` to it.
/// Each is compared with as many words of the packet's [description](crate::describe) as it has.
pub fn sequence(client: &str, packets: &[&str]) -> Condition {
    let (client, packets) = (client.to_owned(), packets.iter().map(ToString::to_string).collect::<Vec<_>>());
    let text = format!("exactly these packets of {client:?}: {}", packets.join(", "));
    Condition::new(text, move |view| {
        let found: Vec<String> = view.of(&client).filter_map(arrow).collect();
        let agrees = |expected: &String, found: &String| {
            found.strip_prefix(expected.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let same = packets.len() == found.len() && packets.iter().zip(&found).all(|(a, b)| agrees(a, b));
        if same { Ok(()) } else { Err(format!("found {}", found.join(", "))) }
    })
}

impl Condition {
    fn new(text: String, check: impl Fn(&View<'_>) -> Result<(), String> + Send + 'static) -> Self {
        Self { text, client: None, check: Box::new(check) }
    }

    /// A fault has happened so often.
    pub(crate) fn happened(times: u64, hits: impl Fn() -> u64 + Send + 'static) -> Self {
        Self::new(format!("a fault to happen {times} times"), move |_| match hits() {
            hits if hits >= times => Ok(()),
            hits => Err(format!("it has happened {hits} times")),
        })
    }

    /// What is there instead, for a person.
    pub(crate) fn check(&self, view: &View<'_>) -> Result<(), String> {
        (self.check)(view).map_err(|found| format!("expected {}\n{found}", self.text))
    }

    /// Whose subscriptions it has to see.
    pub(crate) fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }
}

impl View<'_> {
    /// What happened on this client's connections.
    fn of<'a>(&'a self, client: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| *entry.client() == *client)
    }

    fn session(&self, client: &str) -> Option<&ClientInfo> {
        self.sessions.iter().find(|session| *session.client_id == *client)
    }
}

impl Messages {
    fn new(direction: Direction, filter: &str, verb: &str) -> Self {
        assert!(TopicFilter::parse(filter).is_ok(), "{filter:?} is no topic filter");
        let text = format!("a message {verb} {filter}");
        Self { direction, filter: filter.to_owned(), text, tests: Vec::new(), client: None, times: None }
    }

    fn test(mut self, text: &str, test: impl Fn(&Publish<'_>) -> bool + Send + 'static) -> Self {
        let _ = write!(self.text, ", {text}");
        self.tests.push(Box::new(test));
        self
    }

    /// By this client, or to it.
    pub fn client(mut self, client: &str) -> Self {
        let _ = write!(self.text, ", client {client:?}");
        self.client = Some(client.into());
        self
    }

    /// With this payload.
    pub fn payload(self, payload: impl AsRef<[u8]>) -> Self {
        let payload = payload.as_ref().to_vec();
        let text = format!("payload {:?}", String::from_utf8_lossy(&payload));
        self.test(&text, move |publish| publish.payload == payload)
    }

    /// With this QoS.
    pub fn qos(self, qos: QoS) -> Self {
        self.test(&format!("QoS {}", qos as u8), move |publish| publish.qos == qos)
    }

    /// With the RETAIN flag so.
    pub fn retain(self, retain: bool) -> Self {
        self.test(&format!("RETAIN {}", u8::from(retain)), move |publish| publish.retain == retain)
    }

    /// With the DUP flag so.
    pub fn dup(self, dup: bool) -> Self {
        self.test(&format!("DUP {}", u8::from(dup)), move |publish| publish.dup == dup)
    }

    /// With this user property.
    pub fn user_property(self, name: &str, value: &str) -> Self {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.test(&format!("user property {name}:{value}"), move |publish| {
            publish
                .properties
                .user_properties
                .iter()
                .any(|property| *property.0 == *name && *property.1 == *value)
        })
    }

    /// Of which this is true: any property, say.
    pub fn matching(self, test: impl Fn(&Publish<'_>) -> bool + Send + 'static) -> Self {
        self.test("of which a function of the test is true", test)
    }

    /// Exactly so many times. Without this: once or more.
    pub fn times(mut self, times: usize) -> Self {
        let _ = write!(self.text, ", exactly {times} times");
        self.times = Some(times);
        self
    }

    fn find(&self, view: &View<'_>) -> Result<(), String> {
        let filter = TopicFilter::parse(&self.filter).expect("it was checked");
        let mut others = Vec::new();
        let mut count = 0;
        // Aliases stand for a topic within a connection and a direction.
        let mut aliases = std::collections::HashMap::new();
        for entry in view.entries.iter().filter(|entry| entry.direction == self.direction) {
            let Some(Packet::Publish(publish)) = entry.packet() else { continue };
            let alias = publish.topic_alias.map(|alias| (entry.connection, alias));
            let topic = match (publish.topic, alias) {
                (Some(topic), Some(alias)) => {
                    aliases.insert(alias, topic.as_str().to_owned());
                    topic.as_str().to_owned()
                }
                (Some(topic), None) => topic.as_str().to_owned(),
                (None, alias) => alias.and_then(|alias| aliases.get(&alias).cloned()).unwrap_or_default(),
            };
            let name = entry.client();
            let is_on_topic = TopicName::parse(&topic).is_ok_and(|topic| filter.matches(topic));
            let is_clients = self.client.as_deref().is_none_or(|client| *name == *client);
            if is_on_topic && is_clients && self.tests.iter().all(|test| test(&publish)) {
                count += 1;
            } else {
                others.push(format!("  {name}: {}", entry.text()));
            }
        }
        if self.times.map_or(count > 0, |times| times == count) {
            return Ok(());
        }
        let shown = others.len().saturating_sub(10);
        Err(format!("found {count}; other messages:\n{}", others[shown..].join("\n")))
    }
}

impl Connected {
    fn test(mut self, text: &str, test: impl Fn(&Connect<'_>) -> bool + Send + 'static) -> Self {
        let _ = write!(self.text, ", {text}");
        self.tests.push(Box::new(test));
        self
    }

    /// With this protocol version.
    pub fn version(self, version: Version) -> Self {
        self.test(&version.to_string(), move |connect| connect.version == version)
    }

    /// With clean start (clean session) so.
    pub fn clean_start(self, clean: bool) -> Self {
        self.test(&format!("clean start {clean}"), move |connect| connect.clean_start == clean)
    }

    /// With this keep alive in seconds.
    pub fn keep_alive(self, seconds: u16) -> Self {
        self.test(&format!("keep alive {seconds}"), move |connect| connect.keep_alive == seconds)
    }

    /// With this user name.
    pub fn username(self, name: &str) -> Self {
        let name = name.to_owned();
        self.test(&format!("user {name:?}"), move |connect| connect.username == Some(&name))
    }

    /// With a will on this topic.
    pub fn will(self, topic: &str) -> Self {
        let topic = topic.to_owned();
        self.test(&format!("a will on {topic}"), move |connect| {
            connect.will.as_ref().is_some_and(|will| will.topic.as_str() == topic)
        })
    }

    /// Of which this is true: any property, say.
    pub fn matching(self, test: impl Fn(&Connect<'_>) -> bool + Send + 'static) -> Self {
        self.test("of which a function of the test is true", test)
    }

    /// Exactly so many times: 2 after it has come back once. Without this: once or more.
    pub fn times(mut self, times: usize) -> Self {
        let _ = write!(self.text, ", exactly {times} times");
        self.times = Some(times);
        self
    }

    fn find(&self, view: &View<'_>) -> Result<(), String> {
        let mut asking = Vec::new();
        let mut accepted = 0;
        for entry in view.of(&self.client) {
            match entry.packet() {
                Some(Packet::Connect(connect)) if self.tests.iter().all(|test| test(&connect)) => {
                    asking.push(entry.connection);
                }
                Some(Packet::ConnAck(ack))
                    if !ack.reason.is_error() && asking.contains(&entry.connection) =>
                {
                    accepted += 1;
                }
                _ => {}
            }
        }
        if self.times.map_or(accepted > 0, |times| times == accepted) {
            return Ok(());
        }
        Err(format!("it has {accepted} times"))
    }
}

impl Disconnected {
    /// With this reason code in a DISCONNECT, by either side.
    pub fn reason(mut self, reason: ReasonCode) -> Self {
        self.reason = Some(reason);
        self
    }

    fn find(&self, view: &View<'_>) -> Result<(), String> {
        if view.session(&self.client).is_some_and(|session| session.connection.is_some()) {
            return Err("it is connected".to_owned());
        }
        let is_accepted =
            |entry: &Entry| matches!(entry.packet(), Some(Packet::ConnAck(ack)) if !ack.reason.is_error());
        let was_connected = view.of(&self.client).any(is_accepted);
        let reasons: Vec<ReasonCode> = view
            .of(&self.client)
            .filter_map(|entry| match entry.packet() {
                Some(Packet::Disconnect(disconnect)) => Some(disconnect.reason),
                _ => None,
            })
            .collect();
        match self.reason {
            _ if !was_connected => Err("it was never connected".to_owned()),
            Some(reason) if !reasons.contains(&reason) => Err(format!("DISCONNECTs so far: {reasons:?}")),
            _ => Ok(()),
        }
    }
}

impl Subscribed {
    /// At this QoS.
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = Some(qos as u8);
        self
    }
}

impl SessionState {
    fn test(mut self, text: &str, test: impl Fn(&ClientInfo) -> bool + Send + 'static) -> Self {
        let _ = write!(self.text, ", {text}");
        self.tests.push(Box::new(test));
        self
    }

    /// There is none.
    pub fn absent(mut self) -> Self {
        self.text = format!("no session of {:?}", self.client);
        self.is_there = false;
        self
    }

    /// Its client is connected, or not.
    pub fn connected(self, connected: bool) -> Self {
        let text = if connected { "connected" } else { "not connected" };
        self.test(text, move |session| session.connection.is_some() == connected)
    }

    /// So many messages were sent and are not acknowledged.
    pub fn inflight(self, messages: usize) -> Self {
        self.test(&format!("{messages} in flight"), move |session| session.inflight == messages)
    }

    /// So many messages wait to be sent.
    pub fn queued(self, messages: usize) -> Self {
        self.test(&format!("{messages} queued"), move |session| session.queued == messages)
    }

    /// It has so many subscriptions.
    pub fn subscriptions(self, count: usize) -> Self {
        self.test(&format!("{count} subscriptions"), move |session| session.subscriptions == count)
    }

    /// Of which this is true.
    pub fn matching(self, test: impl Fn(&ClientInfo) -> bool + Send + 'static) -> Self {
        self.test("of which a function of the test is true", test)
    }

    fn find(&self, view: &View<'_>) -> Result<(), String> {
        match view.session(&self.client) {
            None if self.is_there => Err("there is none".to_owned()),
            Some(session) if !self.is_there || !self.tests.iter().all(|test| test(session)) => {
                Err(format!("found {session:?}"))
            }
            _ => Ok(()),
        }
    }
}

impl From<Messages> for Condition {
    fn from(messages: Messages) -> Self {
        Self::new(messages.text.clone(), move |view| messages.find(view))
    }
}

impl From<Connected> for Condition {
    fn from(connected: Connected) -> Self {
        Self::new(connected.text.clone(), move |view| connected.find(view))
    }
}

impl From<Disconnected> for Condition {
    fn from(disconnected: Disconnected) -> Self {
        let mut text = format!("{:?} disconnected", disconnected.client);
        if let Some(reason) = disconnected.reason {
            let _ = write!(text, " with {:02x} {reason}", reason.code());
        }
        Self::new(text, move |view| disconnected.find(view))
    }
}

impl From<Subscribed> for Condition {
    fn from(subscribed: Subscribed) -> Self {
        let Subscribed { client, filter, qos } = subscribed;
        let mut text = format!("{client:?} subscribed to {filter}");
        if let Some(qos) = qos {
            let _ = write!(text, " at QoS {qos}");
        }
        let condition = Self::new(text, move |view| {
            let agrees = |info: &SubscriptionInfo| {
                info.filter == filter && qos.is_none_or(|qos| info.options.qos as u8 == qos)
            };
            if view.subscriptions.iter().any(agrees) {
                return Ok(());
            }
            let found: Vec<String> = view
                .subscriptions
                .iter()
                .map(|info| format!("{} at QoS {}", info.filter, info.options.qos as u8))
                .collect();
            Err(format!("found [{}]", found.join(", ")))
        });
        Self { client: Some(client), ..condition }
    }
}

impl From<SessionState> for Condition {
    fn from(state: SessionState) -> Self {
        Self::new(state.text.clone(), move |view| state.find(view))
    }
}

/// A packet with its direction, as [`sequence`] names it.
fn arrow(entry: &Entry) -> Option<String> {
    let arrow = if entry.direction == Direction::ToBroker { "->" } else { "<-" };
    matches!(entry.what, What::Packet { .. }).then(|| format!("{arrow} {}", entry.text()))
}

/// What went to this client after `mark` entries.
pub(crate) fn came_since(transcript: &Transcript, client: &str, mark: usize) -> Vec<String> {
    transcript.with(|entries, forgotten| {
        let new = entries.iter().skip(mark.saturating_sub(forgotten));
        let new = new.filter(|entry| entry.direction == Direction::ToClient && entry.packet().is_some());
        new.filter(|entry| *entry.client() == *client).map(Entry::text).collect()
    })
}
