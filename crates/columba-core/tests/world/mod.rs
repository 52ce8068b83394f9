//! One broker with its clients and their time. Clients are scripts: they send what a test says and keep what comes,
//! and every packet that comes is held against the rules that no broker may break ([`rules`]). When an expectation
//! fails, the whole conversation is printed. When a world ends, the broker must be back to holding nothing.

mod client;
mod describe;
mod rules;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use columba_core::codec::{Connect, FixedHeader, MessageProperties, Packet, Publish, QoS, Version, Will};
use columba_core::{
    AuthRequest, Authorize, Chunks, CloseCause, Config, ConnectionKey, Core, Event, Flow, Metrics, Peer,
    RestoreError, Seed, Ticket, Time, Verdict,
};

pub(crate) use self::client::{Client, level, name};
pub(crate) use self::describe::describe;
use self::rules::Rules;

pub(crate) use columba_core::codec::Version::{V3_1, V3_1_1, V5};

/// Every version, for behaviour that all share.
pub(crate) const ALL: [Version; 3] = [V3_1, V3_1_1, V5];

/// How much of a conversation is printed.
const MAX_TRANSCRIPT: usize = 300;

/// One broker with its clients.
pub(crate) struct World {
    state: Rc<RefCell<State>>,
}

struct State {
    core: Core,
    now: Time,
    links: Vec<Link>,
    events: VecDeque<Event>,
    transcript: VecDeque<String>,
    quiet: bool,
    packets_taken: u64,
    bytes_taken: u64,
}

/// One of the two ways to ask for output.
type Poll = fn(&mut Core, Time, ConnectionKey, &mut Chunks) -> Flow;

/// One transport, as its client sees it.
struct Link {
    name: String,
    version: Version,
    key: ConnectionKey,
    open: bool,
    /// The client does not read at the moment.
    stalled: bool,
    /// Sent by the client and not taken by the broker.
    input: BytesMut,
    inbox: VecDeque<Received>,
    next_id: u16,
    rules: Rules,
}

/// A packet as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The packet in short, as in `PUBLISH a/b=hello q1 #1`.
    pub(crate) text: String,
    pub(crate) bytes: Vec<u8>,
    version: Version,
}

/// For CONNECT: the session is to last.
pub(crate) fn persistent(connect: &mut Connect<'_>) {
    connect.clean_start = false;
    if connect.version == V5 {
        connect.properties.session_expiry = Some(3600);
    }
}

/// A will without options.
pub(crate) fn will<'a>(topic: &'a str, payload: &'a str) -> Will<'a> {
    Will {
        topic: client::name(topic),
        payload: payload.as_bytes(),
        qos: QoS::AtMostOnce,
        retain: false,
        delay: None,
        properties: MessageProperties::default(),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A broker with other settings than the default.
    pub(crate) fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        adjust(&mut config);
        // Not zero: nothing may take the start for a special time.
        Self::around(Core::new(config, Seed::from(1)), Time::from_secs(1000))
    }

    /// A broker that goes on from a snapshot, on a clock that has just begun.
    pub(crate) fn restore(config: Config, snapshot: &[u8], away: Duration) -> Result<Self, RestoreError> {
        let now = Time::from_secs(5);
        Ok(Self::around(Core::restore(config, Seed::from(2), now, snapshot, away)?, now))
    }

    fn around(core: Core, now: Time) -> Self {
        let state = State {
            core,
            now,
            links: Vec::new(),
            events: VecDeque::new(),
            transcript: VecDeque::new(),
            quiet: false,
            packets_taken: 0,
            bytes_taken: 0,
        };
        Self { state: Rc::new(RefCell::new(state)) }
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let state = self.state.borrow();
        state.core.snapshot(state.now)
    }

    /// What becomes of this broker if it dies now and is back so many seconds later.
    pub(crate) fn restarted(&self, away: u64) -> Self {
        self.restarted_with(away, |_| ())
    }

    /// The same with other settings.
    pub(crate) fn restarted_with(&self, away: u64, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.state.borrow().core.config().clone();
        adjust(&mut config);
        let world = Self::restore(config, &self.snapshot(), Duration::from_secs(away))
            .expect("what is written can be read");
        world.core(|_, _| ());
        world
    }

    /// Lets `authorize` decide who may do what.
    pub(crate) fn authorize(&self, authorize: impl Authorize + 'static) {
        self.state.borrow_mut().core.set_authorize(Box::new(authorize));
    }

    /// Keeps no record of the conversation: there will be a lot of it.
    pub(crate) fn quiet(&self) {
        self.state.borrow_mut().quiet = true;
    }

    /// Opens a transport and sends nothing.
    pub(crate) fn open(&self, name: &str, version: Version) -> Client {
        self.open_from(name, version, Peer::default())
    }

    pub(crate) fn open_from(&self, name: &str, version: Version, peer: Peer) -> Client {
        let link = self.state.borrow_mut().open(name, version, peer);
        Client::new(&self.state, link)
    }

    /// Sends CONNECT, as `adjust` changes it, and leaves the answer to the test.
    pub(crate) fn try_connect(
        &self,
        id: &str,
        version: Version,
        adjust: impl FnOnce(&mut Connect<'_>),
    ) -> Client {
        let client = self.open(id, version);
        client.connect(id, adjust);
        client
    }

    /// Connects, with clean start unless `adjust` says otherwise, and takes the CONNACK.
    #[track_caller]
    pub(crate) fn connect(
        &self,
        id: &str,
        version: Version,
        adjust: impl FnOnce(&mut Connect<'_>),
    ) -> Client {
        let client = self.try_connect(id, version, adjust);
        client.accepted();
        client
    }

    /// Lets time pass, waking the broker at each of its deadlines on the way.
    pub(crate) fn advance(&self, seconds: u64) {
        self.advance_by(Duration::from_secs(seconds));
    }

    pub(crate) fn advance_by(&self, duration: Duration) {
        self.state.borrow_mut().advance(duration);
    }

    /// Lets time pass, and the broker is not woken.
    pub(crate) fn advance_asleep(&self, duration: Duration) {
        let mut state = self.state.borrow_mut();
        state.now = state.now + duration;
    }

    /// Seconds from now to the broker's next deadline.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let state = self.state.borrow();
        state.core.poll_timeout().map(|at| (at - state.now).as_secs())
    }

    /// Looks at the broker, or calls it as its owner would.
    pub(crate) fn core<T>(&self, call: impl FnOnce(&mut Core, Time) -> T) -> T {
        let mut state = self.state.borrow_mut();
        let now = state.now;
        let result = call(&mut state.core, now);
        state.pump();
        result
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.state.borrow().core.metrics()
    }

    /// The events since the last call.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.state.borrow_mut().events.drain(..).collect()
    }

    /// The oldest question of the broker about who may come in.
    #[track_caller]
    pub(crate) fn question(&self) -> (Ticket, AuthRequest) {
        let mut state = self.state.borrow_mut();
        state.question().unwrap_or_else(|| state.fail("the broker has no question"))
    }

    /// The ticket of that question, if there is one.
    pub(crate) fn next_ticket(&self) -> Option<Ticket> {
        self.state.borrow_mut().question().map(|(ticket, _)| ticket)
    }

    pub(crate) fn answer(&self, ticket: Ticket, verdict: Verdict) {
        self.core(|core, now| core.answer(now, ticket, verdict));
    }
}

impl Drop for World {
    /// Everybody leaves, sessions end, what is retained is cleared: nothing may be left, and what was sent was counted.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.state.borrow_mut().wind_down();
        }
    }
}

impl State {
    fn open(&mut self, name: &str, version: Version, peer: Peer) -> usize {
        let key = self.core.open(self.now, peer);
        let number = self.links.len();
        self.links.push(Link {
            name: format!("{name}@{number}"),
            version,
            key,
            open: true,
            stalled: false,
            input: BytesMut::new(),
            inbox: VecDeque::new(),
            next_id: 1,
            rules: Rules::new(version),
        });
        self.pump();
        number
    }

    fn question(&mut self) -> Option<(Ticket, AuthRequest)> {
        let at = self.events.iter().position(|event| matches!(event, Event::Authenticate { .. }))?;
        match self.events.remove(at)? {
            Event::Authenticate { ticket, request } => Some((ticket, *request)),
            _ => None,
        }
    }

    fn send(&mut self, link: usize, bytes: &[u8]) {
        let text = self.links[link].rules.sent(bytes);
        self.note(link, "->", &text);
        self.links[link].input.extend_from_slice(bytes);
        self.feed(link);
        self.pump();
    }

    /// Hands what the client has sent to the broker, which leaves what it cannot take yet.
    fn feed(&mut self, link: usize) {
        let link = &mut self.links[link];
        if link.open && !link.input.is_empty() {
            let _ = self.core.receive(self.now, link.key, &mut link.input);
        }
    }

    /// The shell's work after each call: carries bytes and events until nothing moves any more.
    fn pump(&mut self) {
        loop {
            let mut idle = true;
            while let Some(key) = self.core.poll_ready() {
                idle = false;
                if let Some(link) = self.links.iter().position(|link| link.open && link.key == key) {
                    self.serve(link);
                }
            }
            while let Some(key) = self.core.poll_abort() {
                idle = false;
                if let Some(link) = self.links.iter().position(|link| link.open && link.key == key) {
                    self.note(link, "<-", "(aborted)");
                    self.closed(link, CloseCause::Asked);
                }
            }
            while let Some(event) = self.core.poll_event() {
                self.events.push_back(event);
            }
            if idle {
                break;
            }
        }
    }

    /// A connection is ready: it has something to send or takes input again.
    fn serve(&mut self, link: usize) {
        if self.links[link].stalled {
            return;
        }
        loop {
            match self.transmit(link, Core::poll_transmit) {
                Flow::More => {}
                Flow::Idle => break,
                Flow::Close => {
                    self.note(link, "<-", "(closed)");
                    return self.closed(link, CloseCause::Asked);
                }
            }
        }
        self.feed(link);
    }

    /// Takes what one call hands out.
    fn transmit(&mut self, link: usize, poll: Poll) -> Flow {
        let mut out = Chunks::new();
        // Something may be there already, from a call before.
        out.put(b"before");
        let flow = poll(&mut self.core, self.now, self.links[link].key, &mut out);
        out.advance(6);
        self.take(link, &out.to_vec());
        flow
    }

    fn take(&mut self, link: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let header = FixedHeader::read(bytes, usize::MAX);
            let Some(header) = header.ok().flatten().filter(|header| header.total() <= bytes.len()) else {
                self.fail(&format!("the broker sent something that is no packet: {bytes:02x?}"));
            };
            let (packet, rest) = bytes.split_at(header.total());
            bytes = rest;
            self.packets_taken += 1;
            self.bytes_taken += packet.len() as u64;
            let received =
                Received { text: String::new(), bytes: packet.into(), version: self.links[link].version };
            let text = describe(&received.packet());
            self.note(link, "<-", &text);
            if let Err(problem) = self.links[link].rules.received(&received.packet(), packet.len()) {
                self.fail(&format!("{}: {problem}", self.links[link].name));
            }
            self.links[link].inbox.push_back(Received { text, ..received });
        }
    }

    fn closed(&mut self, link: usize, cause: CloseCause) {
        self.links[link].open = false;
        self.core.close(self.now, self.links[link].key, cause);
        self.pump();
    }

    fn advance(&mut self, duration: Duration) {
        let target = self.now + duration;
        while let Some(at) = self.core.poll_timeout().filter(|&at| at <= target) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.pump();
            if self.core.poll_timeout().is_some_and(|next| next <= self.now) {
                self.fail("a deadline that was served is still there");
            }
        }
        self.now = target;
        self.transcript.push_back(format!("{:>9} ms", self.now.as_micros() / 1000));
    }

    fn note(&mut self, link: usize, direction: &str, text: &str) {
        if self.quiet {
            return;
        }
        if self.transcript.len() == MAX_TRANSCRIPT {
            self.transcript.pop_front();
        }
        self.transcript.push_back(format!("{:>10} {direction} {text}", self.links[link].name));
    }

    #[track_caller]
    fn fail(&self, problem: &str) -> ! {
        let lines: Vec<&str> = self.transcript.iter().map(String::as_str).collect();
        panic!("{problem}\n{}\n", lines.join("\n"));
    }

    /// Connects with a clean start, clears what is retained under `topics` and leaves.
    fn visit(&mut self, id: &str, topics: &[String]) {
        let link = self.open(id, V5, Peer { trusted: true, ..Peer::default() });
        let mut bytes = Vec::new();
        encode(&Packet::Connect(Box::new(Connect::new(V5, id))), V5, &mut bytes);
        for topic in topics {
            let clear = Publish { retain: true, ..Publish::new(client::name(topic), b"") };
            encode(&Packet::Publish(clear), V5, &mut bytes);
        }
        self.send(link, &bytes);
        if self.links[link].open {
            self.closed(link, CloseCause::Transport);
        }
    }

    fn wind_down(&mut self) {
        for link in 0..self.links.len() {
            if self.links[link].open {
                self.links[link].stalled = false;
                self.closed(link, CloseCause::Transport);
            }
        }
        self.core.set_authorize(Box::new(|_: columba_core::Client<'_>, _: columba_core::Action<'_>| true));
        let ids: Vec<_> = self.core.clients().map(|client| client.client_id).collect();
        for id in ids {
            self.visit(&id, &[]);
        }
        // Now the last wills have been published.
        let mut topics = Vec::new();
        self.core.retained(None, |topic, _| topics.push(topic.to_owned()));
        if !topics.is_empty() {
            self.visit("last", &topics);
        }
        let metrics = self.core.metrics();
        if (metrics.packets_sent, metrics.bytes_sent) != (self.packets_taken, self.bytes_taken) {
            self.fail(&format!(
                "{} packets came, and the broker has counted {metrics:?}",
                self.packets_taken
            ));
        }
        let left = [
            ("connections", metrics.connections),
            ("sessions", metrics.sessions),
            ("subscriptions", metrics.subscriptions),
            ("retained", metrics.retained),
            ("retained bytes", metrics.retained_bytes),
            ("stored", metrics.stored),
            ("stored bytes", metrics.stored_bytes),
            ("deadlines", usize::from(self.core.poll_timeout().is_some())),
        ];
        if left.iter().any(|&(_, count)| count > 0) {
            self.fail(&format!("everybody has left, and the broker still holds {left:?}"));
        }
    }
}

impl Received {
    /// The packet itself.
    pub(crate) fn packet(&self) -> Packet<'_> {
        decode(&self.bytes, self.version)
    }
}

fn decode(bytes: &[u8], version: Version) -> Packet<'_> {
    let header = FixedHeader::read(bytes, usize::MAX).ok().flatten().expect("a whole packet");
    match Packet::decode(header, &bytes[header.len..], version) {
        Ok(packet) => packet,
        Err(error) => panic!("the broker sent a packet that is none: {error}: {bytes:02x?}"),
    }
}

pub(crate) fn encode(packet: &Packet<'_>, version: Version, out: &mut Vec<u8>) {
    packet.encode(version, out).expect("the test sends what can be encoded");
}
