//! What a world holds, and how it moves: the part of a shell, for all brokers and all links at once.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use columba_codec::{Connect, FixedHeader, Packet, Publish, TopicName, Version};
use columba_core::{
    Action, AuthRequest, Chunks, CloseCause, Config, ConnectionKey, Core, Event, Flow, Peer, Ticket, Time,
    Verdict,
};

use super::edge::{Edge, EdgeEvent};
use super::link::Link;
use super::{WorldOptions, seed_of};
use crate::expect::{Condition, View};
use crate::line::{Cargo, Line};
use crate::net::Net;
use crate::rng::Rng;
use crate::transcript::{Direction, Transcript, each_packet};

/// Not zero: nothing may take the start for a special time.
const START: Time = Time::from_secs(1000);

#[derive(Debug)]
pub(super) struct State {
    pub(super) now: Time,
    pub(super) brokers: Vec<Broker>,
    pub(super) links: Vec<Link>,
    /// Those that something may still happen to.
    active: Vec<usize>,
    pub(super) net: Net,
    seed: u64,
    rng: Rng,
    latency: (Duration, Duration),
    output: Chunks,
    /// What passes the brokers' ends of links, if somebody wants to know.
    pub(super) edges: Option<Vec<EdgeEvent>>,
}

type Authenticate = Box<dyn Fn(&AuthRequest) -> Verdict>;

pub(super) struct Broker {
    pub(super) core: Core,
    pub(super) events: VecDeque<Event>,
    /// Answers the broker's questions; without one they are kept among the events.
    pub(super) authenticate: Option<Authenticate>,
    config: Config,
    /// Links by the number of their connection.
    links: Vec<usize>,
}

impl State {
    pub(super) fn new(options: &WorldOptions) -> Self {
        let net = Net::new(options.seed);
        if !options.transcript {
            net.transcript().switch_off();
        }
        Self {
            now: START,
            brokers: Vec::new(),
            links: Vec::new(),
            active: Vec::new(),
            net,
            seed: options.seed,
            rng: Rng::new(options.seed),
            latency: options.latency,
            output: Chunks::new(),
            edges: None,
        }
    }

    pub(super) fn start_broker(&mut self, config: Config) -> usize {
        let number = self.brokers.len();
        let core = Core::new(config.clone(), seed_of(self.seed, number));
        let (events, links) = (VecDeque::new(), Vec::new());
        self.brokers.push(Broker { core, events, authenticate: None, config, links });
        number
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - START
    }

    pub(super) fn transcript(&self) -> Transcript {
        self.net.transcript().clone()
    }

    // Connections.

    pub(super) fn open(&mut self, broker: usize, name: &str, version: Version, peer: Peer) -> usize {
        let key = self.brokers[broker].core.open(self.now, peer);
        let link = self.links.len();
        let line = Line::new(&self.net, name, version);
        line.note(self.elapsed(), Direction::ToBroker, "opened");
        self.links.push(Link::new(broker, key, line));
        self.active.push(link);
        let by_key = &mut self.brokers[broker].links;
        if by_key.len() <= key.index() {
            by_key.resize(key.index() + 1, usize::MAX);
        }
        by_key[key.index()] = link;
        self.pump();
        link
    }

    /// The client sends.
    pub(super) fn send(&mut self, link: usize, bytes: &[u8]) {
        if self.links[link].client_open {
            let (now, latency) = (self.elapsed(), self.latency());
            self.links[link].line.carry(now, Direction::ToBroker, bytes, latency);
            self.pump();
        }
    }

    /// The client is gone without a word.
    pub(super) fn cut(&mut self, link: usize) {
        let (now, latency) = (self.elapsed(), self.latency());
        let link = &mut self.links[link];
        if link.client_open {
            link.client_open = false;
            link.line.note(now, Direction::ToBroker, "cut");
            link.line.end(now, Direction::ToBroker, latency);
            self.pump();
        }
    }

    pub(super) fn stall(&mut self, link: usize, stalled: bool) {
        self.links[link].stalled = stalled;
        if !stalled && self.links[link].broker_open {
            self.serve(link);
        }
        self.pump();
    }

    /// Moves what has come for a client.
    pub(super) fn take_delivered(&mut self, link: usize, buffer: &mut BytesMut) {
        let delivered = &mut self.links[link].delivered;
        buffer.extend_from_slice(delivered);
        delivered.clear();
    }

    /// The link of the client that is connected under this id.
    fn client(&mut self, client_id: &str) -> Option<&mut Link> {
        self.links.iter_mut().rev().find(|link| link.client_open && link.line.client() == client_id)
    }

    #[track_caller]
    pub(super) fn inject(&mut self, client_id: &str, direction: Direction, packet: &Packet<'_>) {
        let now = self.elapsed();
        let Some(link) = self.client(client_id) else { panic!("no client {client_id:?} is connected") };
        link.line.inject(now, direction, packet).expect("the test injects what can be encoded");
        self.pump();
    }

    #[track_caller]
    pub(super) fn publish_as(&mut self, client_id: &str, publish: &Publish<'_>) {
        let now = self.elapsed();
        let Some(link) = self.client(client_id) else { panic!("no client {client_id:?} is connected") };
        link.line.publish(now, publish).expect("the test publishes what can be encoded");
        self.pump();
    }

    pub(super) fn cut_client(&mut self, client_id: &str) -> bool {
        let now = self.elapsed();
        let Some(link) = self.client(client_id) else { return false };
        link.line.note(now, Direction::ToBroker, "cut");
        link.line.cut(now);
        self.pump();
        true
    }

    pub(super) fn restart(&mut self, broker: usize) {
        for link in &mut self.links {
            if link.broker == broker && (link.broker_open || link.client_open) {
                link.broker_open = false;
                link.line.note(self.now - START, Direction::ToClient, "cut");
                link.line.cut(self.now - START);
            }
        }
        let seed = seed_of(self.rng.next(), broker);
        let broker = &mut self.brokers[broker];
        broker.core = Core::new(broker.config.clone(), seed);
        broker.events.clear();
        broker.links.clear();
        self.pump();
    }

    // Time.

    pub(super) fn advance(&mut self, duration: Duration) {
        let target = self.now + duration;
        while let Some(at) = self.next_due().filter(|&at| at <= target) {
            self.now = self.now.max(at);
            self.run_due();
        }
        self.now = target;
    }

    pub(super) fn advance_to_next(&mut self) -> Option<Duration> {
        let before = self.now;
        self.now = self.now.max(self.next_due()?);
        self.run_due();
        Some(self.now - before)
    }

    pub(super) fn skip(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    pub(super) fn until_next(&self) -> Option<Duration> {
        self.next_due().map(|at| at - self.now)
    }

    /// Of the world's first broker.
    pub(super) fn check_condition(&self, condition: &Condition) -> Result<(), String> {
        let core = &self.brokers[0].core;
        let sessions: Vec<_> = core.clients().collect();
        let subscriptions = condition.client().map(|client| core.subscriptions(client)).unwrap_or_default();
        self.net.transcript().with(|entries, _| {
            condition.check(&View { entries, sessions: &sessions, subscriptions: &subscriptions })
        })
    }

    fn next_due(&self) -> Option<Time> {
        let deadlines = self.brokers.iter().filter_map(|broker| broker.core.poll_timeout());
        let links = self.active.iter().map(|&at| &self.links[at]);
        let arrivals = links.filter_map(|link| Some(START + link.next_arrival()?));
        deadlines.chain(arrivals).min()
    }

    #[track_caller]
    fn run_due(&mut self) {
        for at in 0..self.brokers.len() {
            let core = &mut self.brokers[at].core;
            if core.poll_timeout().is_some_and(|due| due <= self.now) {
                core.handle_timeout(self.now);
                let again = core.poll_timeout().is_some_and(|due| due <= self.now);
                self.check(!again, || "a deadline that was served is still there".to_owned());
            }
        }
        self.pump();
    }

    fn latency(&mut self) -> Duration {
        let (from, to) = self.latency;
        if to.is_zero() {
            return Duration::ZERO;
        }
        let spread = to.saturating_sub(from).as_micros();
        let extra = self.rng.below(u64::try_from(spread).unwrap_or(u64::MAX).saturating_add(1));
        from + Duration::from_micros(extra)
    }

    // Moving.

    /// Carries everything that can be carried at this instant.
    pub(super) fn pump(&mut self) {
        loop {
            let mut idle = true;
            for at in 0..self.brokers.len() {
                idle &= !self.pump_broker(at);
            }
            // Nobody is added on the way.
            for n in 0..self.active.len() {
                idle &= !self.arrive(self.active[n]);
            }
            if idle {
                let links = &self.links;
                self.active.retain(|&at| links[at].broker_open || links[at].client_open);
                return;
            }
        }
    }

    fn pump_broker(&mut self, at: usize) -> bool {
        let mut busy = false;
        while let Some(key) = self.brokers[at].core.poll_ready() {
            busy = true;
            if let Some(link) = self.link_of(at, key) {
                self.serve(link);
            }
        }
        while let Some(key) = self.brokers[at].core.poll_abort() {
            busy = true;
            if let Some(link) = self.link_of(at, key) {
                self.end(link, "aborted");
            }
        }
        let broker = &mut self.brokers[at];
        while let Some(event) = broker.core.poll_event() {
            match (event, &broker.authenticate) {
                (Event::Authenticate { ticket, request }, Some(authenticate)) => {
                    busy = true;
                    broker.core.answer(self.now, ticket, authenticate(&request));
                }
                (event, _) => broker.events.push_back(event),
            }
        }
        busy
    }

    fn link_of(&self, broker: usize, key: ConnectionKey) -> Option<usize> {
        let link = *self.brokers[broker].links.get(key.index())?;
        self.links.get(link).filter(|link| link.broker_open && link.key == key).map(|_| link)
    }

    /// What has arrived at either end of a link.
    fn arrive(&mut self, at: usize) -> bool {
        let now = self.elapsed();
        let mut busy = false;
        while let Some(cargo) = self.links[at].line.poll(now, Direction::ToBroker) {
            busy = true;
            self.arrive_at_broker(at, cargo);
        }
        while !self.links[at].stalled {
            let link = &mut self.links[at];
            let Some(cargo) = link.line.poll(now, Direction::ToClient) else { break };
            busy = true;
            match cargo {
                Cargo::Bytes(bytes) if link.client_open => link.delivered.extend_from_slice(&bytes),
                Cargo::Bytes(_) => {}
                Cargo::End | Cargo::Cut => link.client_open = false,
            }
            if link.broker_open && !link.line.is_full(Direction::ToClient) {
                self.serve(at);
            }
        }
        busy
    }

    fn arrive_at_broker(&mut self, at: usize, cargo: Cargo) {
        let link = &mut self.links[at];
        if !link.broker_open {
            return;
        }
        match cargo {
            Cargo::Bytes(bytes) => {
                link.promise(&bytes);
                link.input.extend_from_slice(&bytes);
                self.pass(at, || Edge::Arrived(bytes));
                self.feed(at);
            }
            Cargo::End | Cargo::Cut => {
                link.broker_open = false;
                let (broker, key) = (link.broker, link.key);
                self.pass(at, || Edge::Ended);
                self.brokers[broker].core.close(self.now, key, CloseCause::Transport);
            }
        }
    }

    /// Hands what has arrived to the broker, which leaves what it cannot take yet.
    fn feed(&mut self, at: usize) {
        let link = &mut self.links[at];
        if link.broker_open && !link.input.is_empty() {
            let _ = self.brokers[link.broker].core.receive(self.now, link.key, &mut link.input);
        }
    }

    /// A connection is ready: it has something to send, or takes input again.
    fn serve(&mut self, at: usize) {
        loop {
            let Link { broker, key, stalled, ref line, .. } = self.links[at];
            if stalled || line.is_full(Direction::ToClient) {
                // It takes nothing: the broker waits.
                return;
            }
            let flow = self.brokers[broker].core.poll_transmit(self.now, key, &mut self.output);
            if !self.output.is_empty() {
                let bytes = self.output.to_vec();
                self.output.clear();
                self.transmit(at, &bytes);
            }
            match flow {
                Flow::More => {}
                Flow::Idle => break,
                Flow::Close => return self.end(at, "closed"),
            }
        }
        self.feed(at);
    }

    /// The broker sends.
    fn transmit(&mut self, at: usize, bytes: &[u8]) {
        let (now, latency) = (self.elapsed(), self.latency());
        self.pass(at, || Edge::Sent(Bytes::copy_from_slice(bytes)));
        let link = &mut self.links[at];
        let version = link.line.version();
        let mut broken = None;
        each_packet(bytes, |bytes| {
            let outcome =
                read(bytes, version).and_then(|packet| link.promises.received(&packet, bytes.len()));
            broken = broken.take().or(outcome.err());
        });
        link.line.carry(now, Direction::ToClient, bytes, latency);
        let name = link.line.name();
        self.check(broken.is_none(), || format!("{name}: {}", broken.unwrap_or_default()));
    }

    /// The broker has closed a connection.
    fn end(&mut self, at: usize, what: &'static str) {
        let (now, latency) = (self.elapsed(), self.latency());
        self.pass(at, || Edge::Closed);
        let link = &mut self.links[at];
        link.line.note(now, Direction::ToClient, what);
        link.line.end(now, Direction::ToClient, latency);
        link.broker_open = false;
        let (broker, key) = (link.broker, link.key);
        self.brokers[broker].core.close(self.now, key, CloseCause::Asked);
    }

    /// Notes what passes the broker's end of a link.
    fn pass(&mut self, link: usize, edge: impl FnOnce() -> Edge) {
        let at = self.elapsed();
        if let Some(edges) = &mut self.edges {
            edges.push(EdgeEvent { at, link, edge: edge() });
        }
    }

    #[track_caller]
    fn check(&self, condition: bool, problem: impl FnOnce() -> String) {
        assert!(condition, "{}\n{}\n", problem(), self.net.transcript().tail());
    }
}

impl Broker {
    pub(super) fn question(&mut self) -> Option<(Ticket, AuthRequest)> {
        let at = self.events.iter().position(|event| matches!(event, Event::Authenticate { .. }))?;
        match self.events.remove(at)? {
            Event::Authenticate { ticket, request } => Some((ticket, *request)),
            _ => None,
        }
    }
}

/// The end of everything.
impl State {
    #[track_caller]
    pub(super) fn wind_down(&mut self) {
        for link in 0..self.links.len() {
            self.links[link].stalled = false;
            self.cut(link);
        }
        self.latency = (Duration::ZERO, Duration::ZERO);
        for link in &mut self.links {
            // Faults are over: a broker that was not told is told now.
            link.line.cut(self.now - START);
        }
        self.net.clear();
        self.pump();
        for broker in 0..self.brokers.len() {
            self.empty(broker);
        }
    }

    #[track_caller]
    fn empty(&mut self, broker: usize) {
        let core = &mut self.brokers[broker].core;
        core.set_authorize(Box::new(|_: columba_core::Client<'_>, _: Action<'_>| true));
        let ids: Vec<_> = core.clients().map(|client| client.client_id).collect();
        for id in ids {
            self.visit(broker, &id, &[]);
        }
        // Now the last wills have been published.
        let mut topics = Vec::new();
        self.brokers[broker].core.retained(None, |topic, _| topics.push(topic.to_owned()));
        if !topics.is_empty() {
            self.visit(broker, "columba-testkit", &topics);
        }
        let core = &self.brokers[broker].core;
        let metrics = core.metrics();
        let left = [
            ("connections", metrics.connections),
            ("sessions", metrics.sessions),
            ("subscriptions", metrics.subscriptions),
            ("retained messages", metrics.retained),
            ("bytes of retained messages", metrics.retained_bytes),
            ("messages", metrics.stored),
            ("bytes of messages", metrics.stored_bytes),
            ("deadlines", usize::from(core.poll_timeout().is_some())),
        ];
        self.check(left.iter().all(|&(_, count)| count == 0), || {
            format!("everybody has left, and the broker still holds {left:?}")
        });
    }

    /// Connects with a clean start, clears what is retained under `topics` and leaves.
    fn visit(&mut self, broker: usize, id: &str, topics: &[String]) {
        let peer = Peer { transport: "simulated", trusted: true, ..Peer::default() };
        let link = self.open(broker, id, Version::V5, peer);
        let mut packets = vec![Packet::Connect(Box::new(Connect::new(Version::V5, id)))];
        for topic in topics {
            if let Ok(topic) = TopicName::parse(topic) {
                packets.push(Packet::Publish(Publish { retain: true, ..Publish::new(topic, b"") }));
            }
        }
        for packet in packets {
            let mut bytes = Vec::new();
            // What cannot be encoded is not sent, and the floor shows it.
            if packet.encode(Version::V5, &mut bytes).is_ok() {
                self.send(link, &bytes);
            }
        }
        self.cut(link);
    }
}

fn read(bytes: &[u8], version: Version) -> Result<Packet<'_>, String> {
    let problem = || format!("the broker sent something that is no packet: {bytes:02x?}");
    let header = FixedHeader::read(bytes, usize::MAX).ok().flatten().ok_or_else(problem)?;
    if header.total() != bytes.len() {
        return Err(problem());
    }
    Packet::decode(header, &bytes[header.len..], version).map_err(|error| format!("{error}: {}", problem()))
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("metrics", &self.core.metrics()).finish_non_exhaustive()
    }
}
