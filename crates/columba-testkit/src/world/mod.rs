//! The simulated world: brokers, clients and the links between them, on one thread, under a clock that moves only when
//! told to. Nothing here reads the real time or waits.

mod edge;
mod link;
mod shards;
mod state;

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use columba_codec::{Connect, Packet, Publish, ReasonCode, TopicFilter, Version};
use columba_core::{
    AuthRequest, Authorize, ClientInfo, Config, Core, Event, Metrics, Peer, Seed, SubscriptionInfo, Ticket,
    Time, Verdict,
};

pub use self::edge::{Edge, EdgeEvent};
use self::state::State;
use crate::client::Client;
use crate::expect::{Condition, came_since};
use crate::fault::Fault;
use crate::net::FaultHandle;
use crate::transcript::{Direction, Transcript};
use crate::wire::Wire;

/// One broker or several, their clients, and time.
///
/// It is its own first broker: what [`SimulatedBroker`] can do, a world can.
///
/// ```
/// use std::time::Duration;
/// use columba_testkit::{Version, World, persistent};
///
/// let world = World::new();
/// let device = world.connect("device", Version::V5, persistent);
/// device.subscribe("command", 1);
/// device.drop_link();
/// world.connect("app", Version::V3_1_1, |_| ()).publish("command", 1, "on");
///
/// world.advance(Duration::from_secs(3_500)); // takes no time
/// let device = world.connect("device", Version::V5, persistent);
/// device.expect("PUBLISH command=on q1 #1");
/// ```
#[derive(Debug)]
pub struct World {
    first: SimulatedBroker,
}

/// A handle to one broker of a world.
#[derive(Clone, Debug)]
pub struct SimulatedBroker {
    state: Rc<RefCell<State>>,
    broker: usize,
}

/// What a [`World`] is made with.
#[derive(Debug)]
#[non_exhaustive]
pub struct WorldOptions {
    /// Settings of the first broker.
    pub config: Config,
    /// Decides everything that is random: latencies, faults with a probability, assigned client ids. Default 1.
    pub seed: u64,
    /// How long what is sent is under way, from and to; each portion draws its own, and what is sent on one link arrives in
    /// order. Default nothing: everything arrives at once.
    pub latency: (Duration, Duration),
    /// Shards of the first broker, 1 to [`MAX_SHARDS`](columba_core::MAX_SHARDS): what clients see is the same. Default 1.
    /// More than one needs the feature `shards`, which is on by default.
    pub shards: usize,
    /// How long what one shard has for another is under way, from and to; meanwhile more collects, and follows when that
    /// has come. Default nothing.
    pub shard_latency: (Duration, Duration),
    /// Whether to record what happens. Default true; off, a long simulation is faster and no failure shows anything.
    pub transcript: bool,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            config: Config::default(),
            seed: 1,
            latency: (Duration::ZERO, Duration::ZERO),
            shards: 1,
            shard_latency: (Duration::ZERO, Duration::ZERO),
            transcript: true,
        }
    }
}

impl World {
    /// A world with one broker that has default settings.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// A world whose broker has other settings.
    pub fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        Self::with_options(|options| adjust(&mut options.config))
    }

    /// A world with other options.
    ///
    /// # Panics
    /// If the number of shards is out of range, or needs the feature `shards`.
    pub fn with_options(adjust: impl FnOnce(&mut WorldOptions)) -> Self {
        let mut options = WorldOptions::default();
        adjust(&mut options);
        let config = options.config.clone();
        let state = Rc::new(RefCell::new(State::new(&options)));
        let broker = state.borrow_mut().start_broker(config, options.shards);
        Self { first: SimulatedBroker { state, broker } }
    }

    /// Starts another broker.
    pub fn start_broker(&self, config: Config) -> SimulatedBroker {
        let broker = self.state.borrow_mut().start_broker(config, 1);
        SimulatedBroker { state: self.state.clone(), broker }
    }

    /// Lets time pass. Whatever falls due on the way happens at its instant: deadlines of brokers, arrivals on links.
    pub fn advance(&self, duration: Duration) {
        self.state.borrow_mut().advance(duration);
    }

    /// Lets time pass up to the next thing that falls due, and returns how much; `None` if nothing will ever happen.
    pub fn advance_to_next(&self) -> Option<Duration> {
        self.state.borrow_mut().advance_to_next()
    }

    /// Lets time pass, and no broker is woken before somebody sends something.
    pub fn advance_asleep(&self, duration: Duration) {
        self.state.borrow_mut().skip(duration);
    }

    /// Lets time pass until nothing is under way between shards. False if nothing is.
    pub fn settle_shards(&self) -> bool {
        self.state.borrow_mut().settle_shards()
    }

    /// Time since the world began.
    pub fn now(&self) -> Duration {
        self.state.borrow().elapsed()
    }

    /// What has happened so far.
    pub fn transcript(&self) -> Transcript {
        self.state.borrow().transcript()
    }

    /// Records from now on what passes the brokers' ends of links, for [`edge_events`](Self::edge_events).
    pub fn watch_edges(&self) {
        self.state.borrow_mut().edges.get_or_insert_default();
    }

    /// What has passed the brokers' ends of links since the last call, if that is [watched](Self::watch_edges).
    pub fn edge_events(&self) -> Vec<EdgeEvent> {
        self.state.borrow_mut().edges.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// From now on this happens to packets on all links, after the faults that were added before.
    pub fn fault(&self, fault: Fault) -> FaultHandle {
        self.state.borrow().net.add(fault)
    }

    /// No fault happens any more; what was held goes on. What a fault did to a connection stays done.
    pub fn clear_faults(&self) {
        let mut state = self.state.borrow_mut();
        state.net.clear();
        state.pump();
    }

    /// Sends a packet to its broker in the name of a client that is connected. What the broker answers goes to the client.
    ///
    /// # Panics
    /// If no such client is connected, or the packet cannot be encoded.
    #[track_caller]
    pub fn inject(&self, client_id: &str, packet: &Packet<'_>) {
        self.state.borrow_mut().inject(client_id, Direction::ToBroker, packet);
    }

    /// Sends a packet to a client that is connected, in its broker's name.
    ///
    /// # Panics
    /// If no such client is connected, or the packet cannot be encoded.
    #[track_caller]
    pub fn inject_to(&self, client_id: &str, packet: &Packet<'_>) {
        self.state.borrow_mut().inject(client_id, Direction::ToClient, packet);
    }

    /// Publishes a message in the name of a client that is connected, and sees it through. The client notices nothing.
    ///
    /// # Panics
    /// If no such client is connected, or the topic is none.
    #[track_caller]
    pub fn publish_as(&self, client_id: &str, topic: &str, qos: u8, payload: impl AsRef<[u8]>) {
        let mut publish = Publish::new(crate::name(topic), payload.as_ref());
        publish.qos = crate::level(qos);
        self.state.borrow_mut().publish_as(client_id, &publish);
    }

    /// Cuts the connection of a client without a word to either side. False if it has none.
    pub fn cut(&self, client_id: &str) -> bool {
        self.state.borrow_mut().cut_client(client_id)
    }

    /// Expects that this is so now.
    ///
    /// # Panics
    /// If it is not; shows what is there instead and the end of the transcript.
    #[track_caller]
    pub fn expect(&self, condition: impl Into<Condition>) {
        self.expect_within(Duration::ZERO, condition);
    }

    /// Expects that this is so, or comes to be so when time passes, so much at the most. No more time passes than that takes.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn expect_within(&self, duration: Duration, condition: impl Into<Condition>) {
        let condition = condition.into();
        let deadline = self.now() + duration;
        loop {
            let Err(problem) = self.state.borrow().check_condition(&condition) else { return };
            let now = self.now();
            let step = self.state.borrow().until_next().filter(|&step| now + step <= deadline);
            match step {
                Some(step) => self.advance(step),
                None => panic!(
                    "{problem}
{}
",
                    self.transcript().tail()
                ),
            }
        }
    }

    /// Expects that this client is sent nothing while so much time passes.
    ///
    /// # Panics
    /// If something is sent.
    #[track_caller]
    pub fn expect_quiet(&self, client: &str, duration: Duration) {
        let transcript = self.transcript();
        let mark = transcript.with(|entries, forgotten| entries.len() + forgotten);
        self.advance(duration);
        let came = came_since(&transcript, client, mark);
        assert!(
            came.is_empty(),
            "{client:?} was to be sent nothing, and was sent {came:?}\n{}\n",
            transcript.tail()
        );
    }

    /// Ends everything: connections are cut, sessions ended, retained messages cleared.
    ///
    /// # Panics
    /// If a broker still holds something then.
    #[track_caller]
    pub fn wind_down(&self) {
        self.state.borrow_mut().wind_down();
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for World {
    type Target = SimulatedBroker;

    fn deref(&self) -> &SimulatedBroker {
        &self.first
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.state.borrow().transcript().show();
        }
    }
}

impl SimulatedBroker {
    /// Opens a connection and sends nothing. `name` is for the transcript.
    pub fn open(&self, name: &str, version: Version) -> Client {
        self.open_from(name, version, Peer { transport: "simulated", ..Peer::default() })
    }

    /// Opens a connection that comes from this peer.
    pub fn open_from(&self, name: &str, version: Version, peer: Peer) -> Client {
        let link = self.state.borrow_mut().open(self.broker, name, version, peer);
        Client::new(End { state: self.state.clone(), link }, version, None)
    }

    /// Sends CONNECT, as `adjust` changes it, and leaves the answer to the test.
    pub fn try_connect(&self, id: &str, version: Version, adjust: impl FnOnce(&mut Connect<'_>)) -> Client {
        let client = self.open(id, version);
        client.connect(id, adjust);
        client
    }

    /// Connects, with clean start unless `adjust` says otherwise, and takes the CONNACK.
    ///
    /// # Panics
    /// If the broker does not accept.
    #[track_caller]
    pub fn connect(&self, id: &str, version: Version, adjust: impl FnOnce(&mut Connect<'_>)) -> Client {
        let client = self.try_connect(id, version, adjust);
        client.accepted();
        client
    }

    /// Lets `authenticate` decide who may come in, at once; [`question`](Self::question) then has none left. The broker
    /// asks where [`Config::authenticate`] is on.
    pub fn authenticate(&self, authenticate: impl Fn(&AuthRequest) -> Verdict + 'static) {
        self.state.borrow_mut().brokers[self.broker].authenticate = Some(Box::new(authenticate));
    }

    /// Lets `authorize` decide who may do what.
    pub fn authorize(&self, authorize: impl Authorize + 'static) {
        self.state.borrow_mut().brokers[self.broker].shards.set_authorize(authorize);
    }

    /// Calls the broker as its owner would, or looks at it; of one with several shards the first.
    pub fn core<T>(&self, call: impl FnOnce(&mut Core, Time) -> T) -> T {
        let mut state = self.state.borrow_mut();
        let now = state.now;
        let result = call(state.brokers[self.broker].shards.core(0), now);
        state.pump();
        result
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> Metrics {
        self.state.borrow().brokers[self.broker].shards.metrics()
    }

    /// The session of this client.
    pub fn session(&self, client_id: &str) -> Option<ClientInfo> {
        self.state.borrow().brokers[self.broker].shards.home_of(client_id).client(client_id)
    }

    /// The subscriptions of this client.
    pub fn subscriptions(&self, client_id: &str) -> Vec<SubscriptionInfo> {
        self.state.borrow().brokers[self.broker].shards.home_of(client_id).subscriptions(client_id)
    }

    /// Topic and payload of the retained messages that match, in order of topics.
    ///
    /// # Panics
    /// If `filter` is none, or shards differ.
    #[track_caller]
    pub fn retained(&self, filter: &str) -> Vec<(String, Vec<u8>)> {
        let filter = TopicFilter::parse(filter).expect("a topic filter");
        self.state.borrow().retained(self.broker, Some(filter))
    }

    /// The events since the last call, questions that are not answered included.
    pub fn events(&self) -> Vec<Event> {
        self.state.borrow_mut().brokers[self.broker].events.drain(..).collect()
    }

    /// Takes the oldest question of the broker about who may come in. There is one where
    /// [`Config::authenticate`] is on. A broker with several shards is answered by [`authenticate`](Self::authenticate).
    pub fn question(&self) -> Option<(Ticket, AuthRequest)> {
        self.state.borrow_mut().brokers[self.broker].question()
    }

    /// Answers a question.
    pub fn answer(&self, ticket: Ticket, verdict: Verdict) {
        self.core(|core, now| core.answer(now, ticket, verdict));
    }

    /// Ends a client's connection with this reason. False if it has none.
    pub fn disconnect(&self, client_id: &str, reason: ReasonCode) -> bool {
        let mut state = self.state.borrow_mut();
        let now = state.now;
        let shards = &mut state.brokers[self.broker].shards;
        let home = shards.number_of(client_id);
        let was_there = shards.core(home).disconnect(now, client_id, reason);
        state.pump();
        was_there
    }

    /// The broker dies and starts again at once, with the same settings and nothing in memory. All its connections are
    /// cut.
    pub fn restart(&self) {
        self.state.borrow_mut().restart(self.broker);
    }
}

/// A client's end of a link.
struct End {
    state: Rc<RefCell<State>>,
    link: usize,
}

impl Wire for End {
    fn send(&mut self, bytes: &[u8]) {
        self.state.borrow_mut().send(self.link, bytes);
    }

    fn receive(&mut self, buffer: &mut BytesMut, _: Duration) {
        self.state.borrow_mut().take_delivered(self.link, buffer);
    }

    fn waits(&self) -> bool {
        false
    }

    fn is_open(&self) -> bool {
        self.state.borrow().links[self.link].client_open
    }

    fn cut(&mut self) {
        self.state.borrow_mut().cut(self.link);
    }

    fn stall(&mut self, stalled: bool) {
        self.state.borrow_mut().stall(self.link, stalled);
    }

    fn conversation(&self) -> String {
        self.state.borrow().transcript().tail()
    }
}

/// The seed of a broker of a world.
const fn seed_of(seed: u64, broker: usize) -> Seed {
    Seed(seed as u128 | (broker as u128 + 1) << 64)
}
