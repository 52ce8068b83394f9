//! What a world holds, and how it moves: the part of a shell, for all brokers and all links at once.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use columba_codec::{Connect, FixedHeader, Packet, Publish, TopicFilter, TopicName, Version};
use columba_core::{
    Action, AuthRequest, Chunks, CloseCause, Config, ConnectionKey, Event, Flow, Intake, Peer, Ticket, Time,
    Verdict,
};

use super::edge::{Edge, EdgeEvent};
use super::link::Link;
use super::shards::Shards;
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
    /// The same between shards.
    shard_latency: (Duration, Duration),
    output: Chunks,
    /// What passes the brokers' ends of links, if somebody wants to know.
    pub(super) edges: Option<Vec<EdgeEvent>>,
}

type Authenticate = Box<dyn Fn(&AuthRequest) -> Verdict>;

pub(super) struct Broker {
    pub(super) shards: Shards,
    pub(super) events: VecDeque<Event>,
    /// Answers the broker's questions; without one they are kept among the events.
    pub(super) authenticate: Option<Authenticate>,
    config: Config,
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
            shard_latency: options.shard_latency,
            output: Chunks::new(),
            edges: None,
        }
    }

    pub(super) fn start_broker(&mut self, config: Config, shards: usize) -> usize {
        let number = self.brokers.len();
        let shards = Shards::new(shards, &config, seed_of(self.seed, number));
        self.brokers.push(Broker { shards, events: VecDeque::new(), authenticate: None, config });
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
        let link = self.links.len();
        let shards = &mut self.brokers[broker].shards;
        let shard = link % shards.count();
        let key = shards.open(shard, self.now, peer, link);
        let line = Line::new(&self.net, name, version);
        line.note(self.elapsed(), Direction::ToBroker, "opened");
        self.links.push(Link::new(broker, shard, key, line));
        self.active.push(link);
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
        broker.shards = Shards::new(broker.shards.count(), &broker.config, seed);
        broker.events.clear();
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

    pub(super) fn settle_shards(&mut self) -> bool {
        let mut busy = false;
        while let Some(at) = self.brokers.iter().filter_map(|broker| broker.shards.next_mail()).min() {
            busy = true;
            self.advance(at - self.now);
        }
        busy
    }

    pub(super) fn until_next(&self) -> Option<Duration> {
        self.next_due().map(|at| at - self.now)
    }

    /// Of the world's first broker.
    pub(super) fn check_condition(&self, condition: &Condition) -> Result<(), String> {
        let shards = &self.brokers[0].shards;
        let sessions: Vec<_> = shards.clients().collect();
        let of = |client: &str| shards.home_of(client).subscriptions(client);
        let subscriptions = condition.client().map(of).unwrap_or_default();
        self.net.transcript().with(|entries, _| {
            condition.check(&View { entries, sessions: &sessions, subscriptions: &subscriptions })
        })
    }

    fn next_due(&self) -> Option<Time> {
        let deadlines = self.brokers.iter().filter_map(|broker| broker.shards.next_due());
        let links = self.active.iter().map(|&at| &self.links[at]);
        let arrivals = links.filter_map(|link| Some(START + link.next_arrival()?));
        deadlines.chain(arrivals).min()
    }

    #[track_caller]
    fn run_due(&mut self) {
        for at in 0..self.brokers.len() {
            self.exchange(at);
            for shard in 0..self.brokers[at].shards.count() {
                let core = self.brokers[at].shards.core(shard);
                if core.poll_timeout().is_some_and(|due| due <= self.now) {
                    core.handle_timeout(self.now);
                    let again = core.poll_timeout().is_some_and(|due| due <= self.now);
                    self.check(!again, || "a deadline that was served is still there".to_owned());
                    self.exchange(at);
                }
            }
        }
        self.pump();
    }

    fn latency(&mut self) -> Duration {
        draw(&mut self.rng, self.latency)
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
        let mut busy = self.exchange(at);
        for shard in 0..self.brokers[at].shards.count() {
            busy |= self.pump_shard(at, shard);
        }
        busy
    }

    fn pump_shard(&mut self, at: usize, shard: usize) -> bool {
        let mut busy = false;
        while let Some(key) = self.brokers[at].shards.core(shard).poll_ready() {
            busy = true;
            if let Some(link) = self.link_of(at, shard, key) {
                self.serve(link);
            }
        }
        while let Some(key) = self.brokers[at].shards.core(shard).poll_abort() {
            busy = true;
            if let Some(link) = self.link_of(at, shard, key) {
                self.end(link, "aborted");
            }
        }
        let broker = &mut self.brokers[at];
        let core = broker.shards.core(shard);
        while let Some(event) = core.poll_event() {
            match (event, &broker.authenticate) {
                (Event::Authenticate { ticket, request }, Some(authenticate)) => {
                    busy = true;
                    core.answer(self.now, ticket, authenticate(&request));
                }
                (event, _) => broker.events.push_back(event),
            }
        }
        busy
    }

    /// Carries what shards of a broker have for each other. False if that is nothing.
    fn exchange(&mut self, broker: usize) -> bool {
        let Self { brokers, rng, now, shard_latency, .. } = self;
        let mut busy = false;
        while brokers[broker].shards.carry(*now, || draw(rng, *shard_latency)) {
            busy = true;
        }
        busy
    }

    fn link_of(&self, broker: usize, shard: usize, key: ConnectionKey) -> Option<usize> {
        let link = self.brokers[broker].shards.link_of(shard, key)?;
        let is_it = |it: &&Link| it.broker_open && it.shard == shard && it.key == key;
        self.links.get(link).filter(is_it).map(|_| link)
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
                self.pass(at, || Edge::Ended);
                self.close(at, CloseCause::Transport);
            }
        }
    }

    /// Hands what has arrived to the broker, which leaves what it cannot take yet.
    fn feed(&mut self, at: usize) {
        let link = &mut self.links[at];
        if !link.broker_open || link.input.is_empty() {
            return;
        }
        let shards = &mut self.brokers[link.broker].shards;
        let mut intake = shards.core(link.shard).receive(self.now, link.key, &mut link.input);
        if let Intake::Moved(to) = intake
            && let Some(peer) = shards.core(link.shard).release(self.now, link.key)
        {
            (link.shard, link.key) = (to, shards.open(to, self.now, peer, at));
            intake = shards.core(to).receive(self.now, link.key, &mut link.input);
        }
        let broker = link.broker;
        self.check(!matches!(intake, Intake::Moved(_)), || "a connection is moved twice".to_owned());
        self.exchange(broker);
    }

    fn close(&mut self, link: usize, cause: CloseCause) {
        let Link { broker, shard, key, .. } = self.links[link];
        self.brokers[broker].shards.core(shard).close(self.now, key, cause);
        self.exchange(broker);
    }

    /// A connection is ready: it has something to send, or takes input again.
    fn serve(&mut self, at: usize) {
        loop {
            let Link { broker, shard, key, stalled, ref line, .. } = self.links[at];
            if stalled || line.is_full(Direction::ToClient) {
                // It takes nothing: the broker waits.
                return;
            }
            let core = self.brokers[broker].shards.core(shard);
            let flow = core.poll_transmit(self.now, key, &mut self.output);
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
        self.close(at, CloseCause::Asked);
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
        self.shard_latency = self.latency;
        for broker in &mut self.brokers {
            broker.shards.hurry(self.now);
        }
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
        let shards = &mut self.brokers[broker].shards;
        shards.set_authorize(|_: columba_core::Client<'_>, _: Action<'_>| true);
        let ids: Vec<_> = shards.clients().map(|client| client.client_id).collect();
        for id in ids {
            self.visit(broker, &id, &[]);
        }
        // Now the last wills have been published.
        let topics: Vec<_> = self.retained(broker, None).into_iter().map(|(topic, _)| topic).collect();
        if !topics.is_empty() {
            self.visit(broker, "columba-testkit", &topics);
        }
        let shards = &self.brokers[broker].shards;
        let metrics = shards.metrics();
        let left = [
            ("connections", metrics.connections),
            ("sessions", metrics.sessions),
            ("subscriptions", metrics.subscriptions),
            ("retained messages", metrics.retained),
            ("bytes of retained messages", metrics.retained_bytes),
            ("messages", metrics.stored),
            ("bytes of messages", metrics.stored_bytes),
            ("deadlines", usize::from(shards.next_due().is_some())),
        ];
        self.check(left.iter().all(|&(_, count)| count == 0), || {
            format!("everybody has left, and the broker still holds {left:?}")
        });
    }

    /// Topic and payload of what is retained, in order of topics; all shards have the same.
    #[track_caller]
    pub(super) fn retained(&self, broker: usize, filter: Option<TopicFilter<'_>>) -> Vec<(String, Vec<u8>)> {
        let mut all = self.brokers[broker].shards.retained(filter);
        let first = all.next().unwrap_or_default();
        for other in all {
            self.check(first == other, || {
                format!("shards differ in what is retained: {first:?} and {other:?}")
            });
        }
        first
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

fn draw(rng: &mut Rng, (from, to): (Duration, Duration)) -> Duration {
    if to.is_zero() {
        return Duration::ZERO;
    }
    let spread = to.saturating_sub(from).as_micros();
    let extra = rng.below(u64::try_from(spread).unwrap_or(u64::MAX).saturating_add(1));
    from + Duration::from_micros(extra)
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
        f.debug_struct("Broker").field("metrics", &self.shards.metrics()).finish_non_exhaustive()
    }
}
