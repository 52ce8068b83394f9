//! One interface to every client under test.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::{Broker, DEADLINE, Message, mosquitto, rumqtt, script};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// `mosquitto_pub` and `mosquitto_sub`, a process for each message and each subscriber.
    Mosquitto,
    /// paho-mqtt in a Python process.
    Paho,
    /// MQTT.js in a Node process.
    MqttJs,
    Rumqttc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V31,
    V311,
    V5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    Tcp,
    Tls,
    WebSocket,
    /// WebSocket over TLS.
    WebSocketTls,
    Unix,
}

/// A client program, the protocol version it speaks and what it speaks it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub library: Library,
    pub version: Version,
    pub transport: Transport,
}

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct Open<'a> {
    pub id: &'a str,
    /// Ask for a session that outlives the connection.
    pub keep_session: bool,
    pub will: Option<Message>,
    pub subscribe: &'a [(&'a str, u8)],
}

/// What a client program reports.
#[derive(Debug)]
pub(crate) enum Event {
    /// Connected, and every subscription is acknowledged. Not every program tells whether there was a session.
    Ready {
        session_present: Option<bool>,
    },
    Message(Message),
    /// The QoS handshake of the last [`Wire::publish`] is complete.
    Published,
    Failed(String),
}

/// The hands of a client: what differs between the programs.
pub(crate) trait Wire: Send {
    fn publish(&mut self, message: &Message);
    /// Sends DISCONNECT and waits until the connection is closed.
    fn leave(self: Box<Self>);
    /// Cuts the connection without a DISCONNECT.
    fn kill(self: Box<Self>);
    /// Whatever the program printed that may explain a failure.
    fn complaints(&self) -> String {
        String::new()
    }
}

/// A connected client.
pub struct Client {
    kind: Kind,
    id: String,
    wire: Box<dyn Wire>,
    events: Receiver<Event>,
    /// Came in while something else was awaited.
    waiting: VecDeque<Message>,
    session_present: Option<bool>,
}

impl Transport {
    pub const ALL: [Self; 5] = [Self::Tcp, Self::Tls, Self::WebSocket, Self::WebSocketTls, Self::Unix];

    /// The word for it on columba's command line and in what it prints.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::WebSocket => "ws",
            Self::WebSocketTls => "wss",
            Self::Unix => "unix",
        }
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::WebSocketTls)
    }

    pub(crate) fn is_web_socket(self) -> bool {
        matches!(self, Self::WebSocket | Self::WebSocketTls)
    }
}

impl Kind {
    pub const fn new(library: Library, version: Version) -> Self {
        Self { library, version, transport: Transport::Tcp }
    }

    #[must_use]
    pub const fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Connects and subscribes; returns once the broker has acknowledged both.
    pub fn open(self, broker: &Broker, open: &Open<'_>) -> Client {
        let (wire, events) = match self.library {
            Library::Mosquitto => mosquitto::open(self, broker, open),
            Library::Paho | Library::MqttJs => script::open(self, broker, open),
            Library::Rumqttc => rumqtt::open(self, broker, open),
        };
        let mut client = Client {
            kind: self,
            id: open.id.to_owned(),
            wire,
            events,
            waiting: VecDeque::new(),
            session_present: None,
        };
        client.session_present = client.wait_for("ready", |event| match event {
            Event::Ready { session_present } => Some(*session_present),
            _ => None,
        });
        client
    }
}

impl Client {
    /// What CONNACK said; `None` if the program does not tell.
    pub fn session_present(&self) -> Option<bool> {
        self.session_present
    }

    /// Publishes and waits for the end of the QoS handshake.
    pub fn publish(&mut self, message: &Message) {
        self.wire.publish(message);
        self.wait_for("published", |event| matches!(event, Event::Published).then_some(()));
    }

    /// The next message; panics if none comes before the deadline.
    pub fn receive(&mut self) -> Message {
        self.receive_within(DEADLINE).unwrap_or_else(|| self.fail("waits for a message in vain"))
    }

    pub fn receive_within(&mut self, limit: Duration) -> Option<Message> {
        if let Some(message) = self.waiting.pop_front() {
            return Some(message);
        }
        let end = Instant::now() + limit;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Event::Message(message)) => return Some(message),
                Ok(Event::Ready { .. } | Event::Published) => {}
                Ok(Event::Failed(reason)) => self.fail(&reason),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => self.fail("ended"),
            }
        }
    }

    pub fn leave(self) {
        self.wire.leave();
    }

    pub fn kill(self) {
        self.wire.kill();
    }

    fn wait_for<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    if let Some(picked) = pick(&event) {
                        return picked;
                    }
                    match event {
                        Event::Message(message) => self.waiting.push_back(message),
                        Event::Failed(reason) => self.fail(&reason),
                        Event::Ready { .. } | Event::Published => {}
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("is not {what} in time")),
                Err(RecvTimeoutError::Disconnected) => self.fail(&format!("ended before it was {what}")),
            }
        }
    }

    fn fail(&self, reason: &str) -> ! {
        panic!("client {:?} ({}): {reason}\n{}", self.id, self.kind, self.wire.complaints());
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("kind", &self.kind).field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { library, version, transport } = self;
        write!(f, "{library:?} {version:?} over {transport:?}")
    }
}
