//! One broker with its clients and their time. Clients are scripts: they send what a test says and keep what comes,
//! and every packet that comes is held against the rules that no broker may break ([`rules`]). When an expectation
//! fails, the whole conversation is printed. When a world ends, the broker must be back to holding nothing. A broker may
//! be of several shards, and their clients do not notice.

mod client;
mod describe;
mod rules;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use columba_core::codec::{Connect, FixedHeader, MessageProperties, Packet, Publish, QoS, Version, Will};
use columba_core::{
    AuthRequest, Authorize, Batch, Chunks, CloseCause, Config, ConnectionKey, Core, Event, Flow, Intake,
    Metrics, Peer, RestoreError, Seed, Ticket, Time, Verdict,
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
    /// The shards; mostly one.
    cores: Vec<Core>,
    now: Time,
    links: Vec<Link>,
    /// What happened, and in which shard.
    events: VecDeque<(usize, Event)>,
    /// Questions that were taken, and the shards that asked.
    asked: Vec<(Ticket, usize)>,
    /// What shards have for each other waits here, by sender and receiver, while the way between them is held up.
    under_way: BTreeMap<(usize, usize), VecDeque<Batch>>,
    held_up: bool,
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
    /// The shard it is with.
    core: usize,
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
        Self::around(vec![Core::new(config, Seed::from(1))], Time::from_secs(1000))
    }

    /// The same of so many shards.
    pub(crate) fn sharded(count: usize, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        adjust(&mut config);
        let cores = (0..count).map(|own| {
            let mut core = Core::new(config.clone(), Seed::from(1));
            core.join_shards(own, count);
            core
        });
        Self::around(cores.collect(), Time::from_secs(1000))
    }

    /// A broker that goes on from a snapshot, on a clock that has just begun.
    pub(crate) fn restore(config: Config, snapshot: &[u8], away: Duration) -> Result<Self, RestoreError> {
        let now = Time::from_secs(5);
        Ok(Self::around(vec![Core::restore(config, Seed::from(2), now, snapshot, away)?], now))
    }

    fn around(cores: Vec<Core>, now: Time) -> Self {
        let state = State {
            cores,
            now,
            links: Vec::new(),
            events: VecDeque::new(),
            asked: Vec::new(),
            under_way: BTreeMap::new(),
            held_up: false,
            transcript: VecDeque::new(),
            quiet: false,
            packets_taken: 0,
            bytes_taken: 0,
        };
        Self { state: Rc::new(RefCell::new(state)) }
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let state = self.state.borrow();
        state.cores[0].snapshot(state.now)
    }

    /// What becomes of this broker if it dies now and is back so many seconds later.
    pub(crate) fn restarted(&self, away: u64) -> Self {
        self.restarted_with(away, |_| ())
    }

    /// The same with other settings.
    pub(crate) fn restarted_with(&self, away: u64, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.state.borrow().cores[0].config().clone();
        adjust(&mut config);
        let world = Self::restore(config, &self.snapshot(), Duration::from_secs(away))
            .expect("what is written can be read");
        world.core(|_, _| ());
        world
    }

    /// Lets `authorize` decide who may do what.
    pub(crate) fn authorize(&self, authorize: impl Authorize + 'static) {
        self.state.borrow_mut().cores[0].set_authorize(Box::new(authorize));
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
        state.deadline().map(|at| (at - state.now).as_secs())
    }

    /// Looks at the broker, or calls it as its owner would. Where there are shards, it is the first of them.
    pub(crate) fn core<T>(&self, call: impl FnOnce(&mut Core, Time) -> T) -> T {
        self.shard(0, call)
    }

    /// The same for the shard of this number.
    pub(crate) fn shard<T>(&self, number: usize, call: impl FnOnce(&mut Core, Time) -> T) -> T {
        let mut state = self.state.borrow_mut();
        let now = state.now;
        let result = call(&mut state.cores[number], now);
        state.pump();
        result
    }

    /// From now on shards hear of each other only by [`carry`](Self::carry).
    pub(crate) fn hold_up(&self) {
        self.state.borrow_mut().held_up = true;
    }

    /// Carries one batch from one shard to another; false if there is none.
    pub(crate) fn carry(&self, from: usize, to: usize) -> bool {
        let mut state = self.state.borrow_mut();
        let now = state.now;
        let Some(batch) = state.under_way.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return false;
        };
        state.cores[to].receive_shard(now, from, &batch);
        state.pump();
        true
    }

    /// Carries all there is, and all that comes of it.
    pub(crate) fn carry_all(&self) {
        let shards = self.state.borrow().cores.len();
        let pairs = || (0..shards).flat_map(|from| (0..shards).map(move |to| (from, to)));
        while pairs().filter(|&(from, to)| self.carry(from, to)).count() > 0 {}
    }

    /// A client id whose sessions are in this shard, made of `name`.
    pub(crate) fn id_in(&self, shard: usize, name: &str) -> String {
        let state = self.state.borrow();
        let ids = (0..).map(|number| format!("{name}{number}"));
        ids.filter(|id| state.cores[0].placement().shard_of(id) == shard).take(1).collect()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.state.borrow().cores[0].metrics()
    }

    /// The events since the last call.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.state.borrow_mut().events.drain(..).map(|(_, event)| event).collect()
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
        let at = {
            let mut state = self.state.borrow_mut();
            let at = state.asked.iter().position(|(asked, _)| *asked == ticket);
            at.map_or(0, |at| state.asked.remove(at).1)
        };
        self.shard(at, |core, now| core.answer(now, ticket, verdict));
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
        let key = self.cores[0].open(self.now, peer);
        let number = self.links.len();
        self.links.push(Link {
            name: format!("{name}@{number}"),
            version,
            core: 0,
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
        let at = self.events.iter().position(|(_, event)| matches!(event, Event::Authenticate { .. }))?;
        match self.events.remove(at)? {
            (core, Event::Authenticate { ticket, request }) => {
                self.asked.push((ticket, core));
                Some((ticket, *request))
            }
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
        let Self { links, cores, now, .. } = self;
        let link = &mut links[link];
        while link.open && !link.input.is_empty() {
            let Intake::Moved(shard) = cores[link.core].receive(*now, link.key, &mut link.input) else {
                break;
            };
            let peer = cores[link.core].release(*now, link.key).expect("it asked for it");
            link.core = shard;
            link.key = cores[shard].open(*now, peer);
        }
    }

    /// The shell's work after each call: carries bytes and events until nothing moves any more.
    fn pump(&mut self) {
        loop {
            let mut idle = true;
            for core in 0..self.cores.len() {
                idle &= !self.pump_core(core);
            }
            if idle {
                break;
            }
        }
    }

    /// The same for one shard; false if there was nothing.
    fn pump_core(&mut self, core: usize) -> bool {
        let mut busy = false;
        let find = |state: &Self, key| {
            state.links.iter().position(|link| link.open && link.core == core && link.key == key)
        };
        while let Some(key) = self.cores[core].poll_ready() {
            busy = true;
            if let Some(link) = find(self, key) {
                self.serve(link);
            }
        }
        while let Some(key) = self.cores[core].poll_abort() {
            busy = true;
            if let Some(link) = find(self, key) {
                self.note(link, "<-", "(aborted)");
                self.closed(link, CloseCause::Asked);
            }
        }
        while let Some(event) = self.cores[core].poll_event() {
            self.events.push_back((core, event));
        }
        for to in 0..self.cores.len() {
            if self.held_up && self.under_way.get(&(core, to)).is_some_and(|waiting| waiting.len() > 1) {
                continue;
            }
            let Some(batch) = self.cores[core].poll_shard(to) else {
                continue;
            };
            if self.held_up {
                self.under_way.entry((core, to)).or_default().push_back(batch);
            } else {
                busy = true;
                self.cores[to].receive_shard(self.now, core, &batch);
            }
        }
        busy
    }

    fn deadline(&self) -> Option<Time> {
        self.cores.iter().filter_map(Core::poll_timeout).min()
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
        let Link { core, key, .. } = self.links[link];
        let flow = poll(&mut self.cores[core], self.now, key, &mut out);
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
        let Link { core, key, .. } = self.links[link];
        self.cores[core].close(self.now, key, cause);
        self.pump();
    }

    fn advance(&mut self, duration: Duration) {
        let target = self.now + duration;
        while let Some(at) = self.deadline().filter(|&at| at <= target) {
            self.now = self.now.max(at);
            for core in &mut self.cores {
                core.handle_timeout(self.now);
            }
            self.pump();
            if self.deadline().is_some_and(|next| next <= self.now) {
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
        self.held_up = false;
        for ((from, to), batches) in std::mem::take(&mut self.under_way) {
            for batch in batches {
                self.cores[to].receive_shard(self.now, from, &batch);
            }
        }
        self.pump();
        for link in 0..self.links.len() {
            if self.links[link].open {
                self.links[link].stalled = false;
                self.closed(link, CloseCause::Transport);
            }
        }
        for core in &mut self.cores {
            core.set_authorize(Box::new(|_: columba_core::Client<'_>, _: columba_core::Action<'_>| true));
        }
        let ids: Vec<_> = self.cores.iter().flat_map(Core::clients).map(|client| client.client_id).collect();
        for id in ids {
            self.visit(&id, &[]);
        }
        // Now the last wills have been published. What has expired is gone in all shards once they hear what time it is.
        for core in &mut self.cores {
            core.handle_timeout(self.now);
        }
        let mut topics = Vec::new();
        self.cores[0].retained(None, |topic, _| topics.push(topic.to_owned()));
        for core in &self.cores[1..] {
            let mut here = Vec::new();
            core.retained(None, |topic, _| here.push(topic.to_owned()));
            here.sort();
            topics.sort();
            if here != topics {
                self.fail(&format!("one shard retains {topics:?}, another {here:?}"));
            }
        }
        if !topics.is_empty() {
            self.visit("last", &topics);
        }
        let metrics: Vec<_> = self.cores.iter().map(Core::metrics).collect();
        let sent = metrics.iter().fold((0, 0), |(packets, bytes), metrics| {
            (packets + metrics.packets_sent, bytes + metrics.bytes_sent)
        });
        if sent != (self.packets_taken, self.bytes_taken) {
            self.fail(&format!(
                "{} packets came, and the broker has counted {metrics:?}",
                self.packets_taken
            ));
        }
        for metrics in &metrics {
            self.nothing_is_left(metrics);
        }
        if self.deadline().is_some() {
            self.fail("everybody has left, and the broker still has a deadline");
        }
    }

    fn nothing_is_left(&self, metrics: &Metrics) {
        let left = [
            ("connections", metrics.connections),
            ("sessions", metrics.sessions),
            ("subscriptions", metrics.subscriptions),
            ("retained", metrics.retained),
            ("retained bytes", metrics.retained_bytes),
            ("stored", metrics.stored),
            ("stored bytes", metrics.stored_bytes),
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
