//! A broker for clients that are not simulated: a user's own, over TCP, WebSocket or memory, in real time or under a clock
//! that the test moves. Faults and the transcript are the same as in a simulated world.

mod builder;
mod clock;
mod expectation;
mod host;
mod pipe;
mod proxy;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use columba::codec::{Connect, Packet, Publish};
use columba::memory::{Pipe, pipe};
use columba::{
    Broker, BrokerBuilder, ClientInfo, Listener, Metrics, Peer, SubscriptionInfo, Transport, Version,
};
use columba_net::{TcpListener, WsListener};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

pub use self::builder::TestBrokerBuilder;
use self::clock::Clock;
pub use self::expectation::Expectation;
use self::host::Host;
use self::pipe::PipeWire;
use self::proxy::{Connection, Proxy};
use crate::client::Client;
use crate::fault::Fault;
use crate::line::Line;
use crate::net::{FaultHandle, Net};
use crate::transcript::{Direction, Transcript};

/// How long an expectation waits, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a connection in memory holds in each direction that nobody has read.
const PIPE_SIZE: usize = 64 << 10;

/// A broker for one test. It runs on threads that all test brokers share, apart from the test's own, so it works in a plain
/// `#[test]` as on any executor. Dropping it ends it: when that returns no connection, port or task is left.
///
/// It opens a port when it is first asked for one, so a test that stays in memory needs none.
///
/// ```
/// use columba_testkit::{TestBroker, Version};
///
/// let broker = TestBroker::start();
/// println!("{} {}", broker.url(), broker.ws_url()); // mqtt://127.0.0.1:40321 ws://127.0.0.1:33445/mqtt
///
/// let client = broker.connect("a", Version::V5, |_| ());
/// client.subscribe("t", 1);
/// client.publish("t", 1, "x");
/// client.expect("PUBLISH t=x q1 #1");
/// ```
#[derive(Debug)]
pub struct TestBroker {
    inner: Arc<Inner>,
    port: u16,
    tcp: Mutex<Option<SocketAddr>>,
    ws: Mutex<Option<SocketAddr>>,
    host: Arc<Host>,
}

/// What the broker's handle and its listeners share.
#[derive(Debug)]
struct Inner {
    broker: Broker,
    net: Net,
    clock: Clock,
    connections: Mutex<Vec<Arc<Connection>>>,
    tasks: Mutex<JoinSet<()>>,
    offline: AtomicBool,
    /// Not the host itself: the last one to hold that must not be one of its own threads.
    handle: Handle,
}

/// A listener whose connections go through lines.
struct Tapped<L> {
    listener: L,
    inner: Arc<Inner>,
}

impl TestBroker {
    /// Starts a broker with default settings.
    ///
    /// # Panics
    /// If the system gives no threads.
    pub fn start() -> Self {
        Self::builder().start()
    }

    fn launch(builder: BrokerBuilder, clock: Clock, seed: u64, port: u16) -> Self {
        let host = Host::shared();
        let (broker, driver) = match clock.timer() {
            Some(timer) => builder.timer(timer).build(),
            None => builder.timer(columba::tokio::Timer::default()).build(),
        };
        host.enter(|| drop(columba::tokio::spawn(driver)));
        let inner = Inner {
            broker,
            net: Net::new(seed),
            clock,
            connections: Mutex::default(),
            tasks: Mutex::new(JoinSet::new()),
            offline: AtomicBool::new(false),
            handle: host.handle(),
        };
        Self { inner: Arc::new(inner), port, tcp: Mutex::default(), ws: Mutex::default(), host }
    }

    /// Ends it as a server is ended that has time: MQTT 5 clients are told with DISCONNECT 0x8B, and get up to `grace` to take
    /// what is on its way. (Dropping it ends it at once.)
    pub fn shutdown(self, grace: Duration) {
        let inner = self.inner.clone();
        self.host.wait(async move {
            inner.broker.shutdown(grace).await;
            let mut tasks = std::mem::take(&mut *lock(&inner.tasks));
            // A line that a fault keeps open does not end by itself.
            let _ = tokio::time::timeout(grace, async { while tasks.join_next().await.is_some() {} }).await;
        });
    }

    /// The broker itself: clients in this process, events, metrics, as futures.
    pub fn broker(&self) -> &Broker {
        &self.inner.broker
    }

    /// What has happened so far on all connections but those of clients in this process.
    pub fn transcript(&self) -> Transcript {
        self.inner.net.transcript().clone()
    }
}

/// Ways in.
impl TestBroker {
    /// Its address for TCP: on the loopback, with the port it really has.
    ///
    /// # Panics
    /// If the port cannot be opened.
    pub fn address(&self) -> SocketAddr {
        let mut known = lock(&self.tcp);
        *known.get_or_insert_with(|| {
            self.listen(self.port, |listener| (listener.local_addr(), self.tap(listener)))
        })
    }

    /// Its port for TCP.
    ///
    /// # Panics
    /// If the port cannot be opened.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Its address for TCP as `mqtt://127.0.0.1:40321`.
    ///
    /// # Panics
    /// If the port cannot be opened.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }

    /// Its address for WebSocket as `ws://127.0.0.1:40322/mqtt`.
    ///
    /// # Panics
    /// If the port cannot be opened.
    pub fn ws_url(&self) -> String {
        let mut known = lock(&self.ws);
        let address = *known.get_or_insert_with(|| {
            self.listen(0, |listener| (listener.local_addr(), self.tap(WsListener::new(listener))))
        });
        format!("ws://{address}/mqtt")
    }

    /// A connection in memory for a client of the test's own: a stream of bytes with the traits of `futures::io`.
    pub fn pipe(&self) -> Pipe {
        let (client, far) = pipe(PIPE_SIZE);
        let peer = Peer { transport: "memory", ..Peer::default() };
        if let Some(broker) = self.inner.clone().put_between(Box::new(far), "?") {
            // A broker that is gone closes the connection.
            let _ = self.inner.broker.attach(broker, peer);
        }
        client
    }

    /// Opens a connection in memory for a scripted client, and sends nothing. Its calls block: they are for a test's own
    /// thread, or an executor that has others.
    pub fn open(&self, name: &str, version: Version) -> Client {
        let (client, far) = pipe(PIPE_SIZE);
        let peer = Peer { transport: "memory", ..Peer::default() };
        if let Some(broker) = self.inner.clone().put_between(Box::new(far), name) {
            let _ = self.inner.broker.attach(broker, peer);
        }
        Client::new(PipeWire::new(client, self.transcript()), version, None)
    }

    /// Sends CONNECT as a scripted client, as `adjust` changes it, and leaves the answer to the test.
    pub fn try_connect(&self, id: &str, version: Version, adjust: impl FnOnce(&mut Connect<'_>)) -> Client {
        let client = self.open(id, version);
        client.connect(id, adjust);
        client
    }

    /// Connects a scripted client, with clean start unless `adjust` says otherwise, and takes the CONNACK.
    ///
    /// # Panics
    /// If the broker does not accept.
    #[track_caller]
    pub fn connect(&self, id: &str, version: Version, adjust: impl FnOnce(&mut Connect<'_>)) -> Client {
        let client = self.try_connect(id, version, adjust);
        client.accepted();
        client
    }

    fn listen<L: Listener>(
        &self,
        port: u16,
        make: impl FnOnce(TcpListener) -> (SocketAddr, L),
    ) -> SocketAddr {
        let bind = || -> io::Result<TcpListener> {
            let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
            socket.set_nonblocking(true)?;
            TcpListener::from_tokio(tokio::net::TcpListener::from_std(socket)?)
        };
        let listener = match self.host.enter(bind) {
            Ok(listener) => listener,
            Err(error) => panic!("a test broker cannot listen on port {port} of the loopback: {error}"),
        };
        let (address, listener) = make(listener);
        // A broker that is gone listens to nobody.
        let _ = self.inner.broker.serve(listener);
        address
    }

    fn tap<L: Listener>(&self, listener: L) -> Tapped<L> {
        Tapped { listener, inner: self.inner.clone() }
    }
}

/// Faults.
impl TestBroker {
    /// From now on this happens to packets on all connections, after the faults that were added before.
    pub fn fault(&self, fault: Fault) -> FaultHandle {
        self.inner.net.add(fault)
    }

    /// No fault happens any more; what was held goes on. What a fault did to a connection stays done.
    pub fn clear_faults(&self) {
        self.inner.net.clear();
    }

    /// Cuts the connection of a client without a word to either side. False if it has none. When this returns the broker has
    /// noticed.
    pub fn cut(&self, client_id: &str) -> bool {
        let found = self.inner.connection(client_id);
        if let Some(connection) = &found {
            connection.cut(self.inner.clock.now());
            self.wait_for_ends(vec![connection.clone()]);
        }
        found.is_some()
    }

    /// Cuts all connections, and cuts new ones as they are opened, until it is [`online`](Self::go_online) again. Sessions
    /// live on. When this returns the broker has noticed.
    pub fn go_offline(&self) {
        let open = self.inner.open_connections();
        self.inner.offline.store(true, Ordering::Release);
        let now = self.inner.clock.now();
        open.iter().for_each(|connection| connection.cut(now));
        let cut = open.clone();
        drop(open);
        self.wait_for_ends(cut);
    }

    /// Takes connections again.
    pub fn go_online(&self) {
        self.inner.offline.store(false, Ordering::Release);
    }

    /// Sends a packet to the broker in the name of a client that is connected. What the broker answers goes to the client.
    ///
    /// # Panics
    /// If no such client is connected, or the packet cannot be encoded.
    #[track_caller]
    pub fn inject(&self, client_id: &str, packet: &Packet<'_>) {
        self.change(client_id, |line, now| line.inject(now, Direction::ToBroker, packet))
            .expect("the test injects what can be encoded");
    }

    /// Sends a packet to a client that is connected, in the broker's name.
    ///
    /// # Panics
    /// If no such client is connected, or the packet cannot be encoded.
    #[track_caller]
    pub fn inject_to(&self, client_id: &str, packet: &Packet<'_>) {
        self.change(client_id, |line, now| line.inject(now, Direction::ToClient, packet))
            .expect("the test injects what can be encoded");
    }

    /// Publishes a message in the name of a client that is connected, and sees it through. The client notices nothing.
    ///
    /// # Panics
    /// If no such client is connected, or the topic is none.
    #[track_caller]
    pub fn publish_as(&self, client_id: &str, topic: &str, qos: u8, payload: impl AsRef<[u8]>) {
        let mut publish = Publish::new(crate::name(topic), payload.as_ref());
        publish.qos = crate::level(qos);
        self.change(client_id, |line, now| line.publish(now, &publish))
            .expect("the test publishes what can be encoded");
    }

    /// The broker has noticed that these have ended.
    fn wait_for_ends(&self, connections: Vec<Arc<Connection>>) {
        let broker = self.inner.broker.clone();
        self.host.wait(async move {
            let deadline = Instant::now() + PATIENCE;
            while !connections.iter().all(|connection| connection.has_ended()) && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            // The end of a connection is served in the round after the one that is under way, at the latest.
            for _ in 0..3 {
                let _ = broker.metrics().await;
                tokio::task::yield_now().await;
            }
        });
    }

    #[track_caller]
    fn change<T>(&self, client_id: &str, change: impl FnOnce(&mut Line, Duration) -> T) -> T {
        let Some(connection) = self.inner.connection(client_id) else {
            panic!("no client {client_id:?} is connected\n{}", self.transcript().tail());
        };
        let now = self.inner.clock.now();
        connection.change(|line| change(line, now))
    }
}

/// Time, and looking in. These calls block for as long as the broker takes to answer.
impl TestBroker {
    /// Lets time pass on a [manual clock](TestBrokerBuilder::manual_clock). Whatever falls due on the way happens in its order.
    /// What a client has just sent over a socket may be on its way still, a DISCONNECT, say: where that matters, expect its
    /// effect first.
    ///
    /// # Panics
    /// If the broker's clock is the system's.
    #[track_caller]
    pub fn advance(&self, duration: Duration) {
        let clock = &self.inner.clock;
        let target = clock.now() + duration;
        assert!(clock.is_manual(), "only a broker with a manual clock can be advanced");
        self.settle();
        while let Some(at) = self.next_due().filter(|&at| at <= target) {
            clock.set(at);
            self.settle();
        }
        clock.set(target);
        self.settle();
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.inner.clock.now()
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> Metrics {
        self.ask_metrics().unwrap_or_default()
    }

    /// All sessions.
    pub fn sessions(&self) -> Vec<ClientInfo> {
        let broker = self.inner.broker.clone();
        self.host.wait(async move { broker.clients().await.ok() }).flatten().unwrap_or_default()
    }

    /// The session of this client.
    pub fn session(&self, client_id: &str) -> Option<ClientInfo> {
        self.sessions().into_iter().find(|session| *session.client_id == *client_id)
    }

    /// The subscriptions of this client.
    pub fn subscriptions(&self, client_id: &str) -> Vec<SubscriptionInfo> {
        let (broker, client_id) = (self.inner.broker.clone(), client_id.to_owned());
        self.host
            .wait(async move { broker.subscriptions(client_id).await.ok() })
            .flatten()
            .unwrap_or_default()
    }

    /// The broker has done what was due, and set its next deadline.
    fn settle(&self) {
        let clock = &self.inner.clock;
        loop {
            // The round that is under way may have looked at the clock before it was set. The next one serves what is due, and
            // is over when the third has begun. An answer alone tells nothing: a round gives as many as it is asked for.
            let third = clock.rounds() + 3;
            while clock.rounds() < third {
                if self.ask_metrics().is_none() {
                    return;
                }
            }
            if clock.deadline().is_none_or(|deadline| deadline > clock.now()) {
                return;
            }
        }
    }

    /// `None` when the broker is gone.
    fn ask_metrics(&self) -> Option<Metrics> {
        let broker = self.inner.broker.clone();
        self.host.wait(async move { broker.metrics().await.ok() }).flatten()
    }

    fn next_due(&self) -> Option<Duration> {
        let now = self.inner.clock.now();
        let open = self.inner.open_connections();
        let arrivals = open.iter().filter_map(|connection| connection.next_arrival()).filter(|&at| at > now);
        arrivals.chain(self.inner.clock.deadline()).min()
    }
}

impl Inner {
    /// Puts a line between a client's transport and the end that is returned, which is the broker's. `None` while the broker
    /// takes no connections.
    fn put_between(self: Arc<Self>, client: Box<dyn Transport>, name: &str) -> Option<Pipe> {
        let mut open = self.open_connections();
        // Under the lock: who goes offline cuts what is there, and all that comes later must see it.
        let is_offline = self.offline.load(Ordering::Acquire);
        // The version is known when CONNECT comes.
        let line = Line::new(&self.net, name, Version::V3_1_1);
        if is_offline {
            line.note(self.clock.now(), Direction::ToBroker, "refused: offline");
            return None;
        }
        let (near, far) = pipe(PIPE_SIZE);
        line.note(self.clock.now(), Direction::ToBroker, "opened");
        let connection = Arc::new(Connection::new(line));
        open.push(connection.clone());
        drop(open);
        let proxy = Proxy::new(connection.clone(), self.clock.clone(), client, near);
        let weak = Arc::downgrade(&self);
        let task = async move {
            proxy.await;
            if let Some(inner) = weak.upgrade() {
                inner.open_connections().retain(|other| !Arc::ptr_eq(other, &connection));
            }
        };
        drop(lock(&self.tasks).spawn_on(task, &self.handle));
        Some(far)
    }

    fn open_connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        lock(&self.connections)
    }

    /// The latest connection under this client id.
    fn connection(&self, client_id: &str) -> Option<Arc<Connection>> {
        let open = self.open_connections();
        open.iter().rev().find(|connection| connection.line().client() == client_id).cloned()
    }
}

impl<L: Listener> Listener for Tapped<L> {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Transport>, Peer)>> {
        loop {
            let (transport, peer) = std::task::ready!(self.listener.poll_accept(cx))?;
            if let Some(broker) = self.inner.clone().put_between(transport, "?") {
                return Poll::Ready(Ok((Box::new(broker), peer)));
            }
        }
    }

    fn address(&self) -> String {
        self.listener.address()
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.transcript().show();
        }
        let inner = self.inner.clone();
        self.host.wait(async move {
            // This drops the listeners and the broker's ends.
            inner.broker.shutdown(Duration::ZERO).await;
            let mut tasks = std::mem::take(&mut *lock(&inner.tasks));
            tasks.shutdown().await;
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
