//! Cores and clients with packets between them, one at a time, and connections that break where a test wants it.

use bytes::BytesMut;
use columba_codec::{
    FixedHeader, PacketType, QoS, ReasonCode, SubscribeItem, SubscriptionOptions, TopicFilter, Version,
};
use columba_core::{Chunks, CloseCause, Config, ConnectionKey, Core, Flow, Peer, Seed, Time};
use columba_wasm::bridge::{Bridge, BridgeEvent, BridgeOptions, Side};
use columba_wasm::client::{Client, ClientEvent, ClientOptions, Message, OutgoingMessage, State};

use crate::rules::Rules;

pub(crate) const ALL: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];
pub(crate) const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Where a connection breaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// After so many packets, both ways together.
    pub(crate) after: usize,
    /// The last of them does not arrive.
    pub(crate) lost: bool,
}

/// Cores and clients.
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) cores: Vec<Core>,
    pub(crate) ends: Vec<End>,
    pub(crate) bridge: Option<Bridge>,
    pub(crate) bridge_events: Vec<BridgeEvent>,
    /// Whether the remote broker can be reached.
    pub(crate) reachable: bool,
    /// Takes the events of the remote core.
    pub(crate) judge: Option<Judge>,
}

type Judge = Box<dyn Fn(&mut Core, Time)>;

/// A client and its connection.
pub(crate) struct End {
    who: Who,
    core: usize,
    link: Option<ConnectionKey>,
    input: BytesMut,
    pub(crate) events: Vec<ClientEvent>,
    pub(crate) cut: Option<Cut>,
    /// Packets on its connections so far.
    pub(crate) packets: usize,
    rules: Rules,
    /// All packets, in short.
    pub(crate) log: Vec<String>,
}

enum Who {
    Client(Box<Client>),
    /// One of the two of the bridge.
    Bridge(Side),
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        adjust(&mut config);
        Self::of([config])
    }

    pub(crate) fn of(configs: impl IntoIterator<Item = Config>) -> Self {
        let cores = configs.into_iter().map(|config| Core::new(config, Seed::from(1))).collect();
        let (ends, bridge_events) = (Vec::new(), Vec::new());
        Self {
            now: Time::from_secs(1000),
            cores,
            ends,
            bridge: None,
            bridge_events,
            reachable: true,
            judge: None,
        }
    }

    /// Two brokers, and this bridge between them: its local end is the client 0, its remote end the client 1.
    pub(crate) fn bridged(configs: [Config; 2], options: &BridgeOptions) -> Self {
        let mut world = Self::of(configs);
        world.bridge = Some(Bridge::new(options, 3).expect("the options are good"));
        world.push(Who::Bridge(Side::Local), Version::V5, 0);
        world.push(Who::Bridge(Side::Remote), options.version, 1);
        world
    }

    /// A client that is not connected.
    pub(crate) fn add(&mut self, options: ClientOptions) -> usize {
        self.add_to(0, options)
    }

    pub(crate) fn add_to(&mut self, core: usize, options: ClientOptions) -> usize {
        let version = options.version;
        let client = Client::new(options).expect("the options are good");
        self.push(Who::Client(Box::new(client)), version, core)
    }

    fn push(&mut self, who: Who, version: Version, core: usize) -> usize {
        let rules = Rules::new(version);
        self.ends.push(End {
            who,
            core,
            link: None,
            input: BytesMut::new(),
            events: Vec::new(),
            cut: None,
            packets: 0,
            rules,
            log: Vec::new(),
        });
        self.ends.len() - 1
    }

    /// Connects a client and lets everything happen that follows.
    pub(crate) fn connect(&mut self, end: usize) {
        let it = &mut self.ends[end];
        let key = self.cores[it.core].open(self.now, Peer::default());
        it.link = Some(key);
        it.input.clear();
        match (&mut it.who, &mut self.bridge) {
            (Who::Client(client), _) => client.open(self.now),
            (Who::Bridge(side), Some(bridge)) => bridge.open(self.now, *side),
            _ => unreachable!(),
        }
        self.run();
    }

    /// A client with these options, connected.
    pub(crate) fn join(&mut self, options: ClientOptions) -> usize {
        self.join_to(0, options)
    }

    pub(crate) fn join_to(&mut self, core: usize, options: ClientOptions) -> usize {
        let end = self.add_to(core, options);
        self.connect(end);
        assert_eq!(self.client(end).state(), State::Online, "{:?}", self.ends[end].events);
        end
    }

    pub(crate) fn client(&mut self, end: usize) -> &mut Client {
        match &mut self.ends[end].who {
            Who::Client(client) => client,
            Who::Bridge(_) => panic!("that is the bridge"),
        }
    }

    pub(crate) fn bridge(&mut self) -> &mut Bridge {
        self.bridge.as_mut().expect("there is a bridge")
    }

    pub(crate) fn subscribe(&mut self, end: usize, filter: &str, qos: QoS) {
        let now = self.now;
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let filter = TopicFilter::parse(filter).expect("a filter");
        let item = SubscribeItem { filter, options };
        let token = self.client(end).subscribe(now, &[item], None, &[]).expect("subscribed");
        self.run();
        let is_granted = |event: &ClientEvent| {
            matches!(event,
            ClientEvent::Subscribed { token: other, codes } if *other == token && codes[0].code() == qos as u8)
        };
        assert!(self.ends[end].events.iter().any(is_granted));
    }

    /// Publishes and lets everything happen that follows.
    pub(crate) fn publish(&mut self, end: usize, topic: &str, qos: QoS, payload: &str) {
        let now = self.now;
        self.client(end).publish(now, message(topic, qos, payload)).expect("published");
        self.run();
    }

    /// Moves packets until none moves any more.
    pub(crate) fn run(&mut self) {
        for _ in 0..100_000 {
            let mut moved = self.run_bridge();
            for end in 0..self.ends.len() {
                moved |= self.run_client(end);
            }
            for core in 0..self.cores.len() {
                moved |= self.run_core(core);
            }
            if !moved {
                return;
            }
        }
        panic!("it never ends");
    }

    /// Lets time pass, waking whoever wants to be.
    pub(crate) fn advance(&mut self, seconds: u64) {
        let goal = self.now + std::time::Duration::from_secs(seconds);
        loop {
            let clients = self.ends.iter().filter_map(|end| match &end.who {
                Who::Client(client) => client.poll_timeout(),
                Who::Bridge(_) => None,
            });
            let clients = clients.chain(self.bridge.iter().filter_map(Bridge::poll_timeout));
            let next = clients.chain(self.cores.iter().filter_map(Core::poll_timeout)).min();
            self.now = next.filter(|&at| at <= goal).unwrap_or(goal).max(self.now);
            let now = self.now;
            for end in &mut self.ends {
                if let Who::Client(client) = &mut end.who {
                    client.handle_timeout(now);
                }
            }
            if let Some(bridge) = &mut self.bridge {
                bridge.handle_timeout(now);
            }
            for core in &mut self.cores {
                core.handle_timeout(now);
            }
            self.run();
            if next.is_none_or(|at| at > goal) {
                return;
            }
        }
    }

    /// The connection is gone, and both sides learn it.
    pub(crate) fn cut(&mut self, end: usize) {
        self.drop_link(end);
        self.run();
    }

    /// The messages that have come to a client, and are taken.
    pub(crate) fn messages(&mut self, end: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        self.ends[end].events.retain(|event| match event {
            ClientEvent::Message(message) => {
                messages.push(message.clone());
                false
            }
            _ => true,
        });
        messages
    }

    /// Their payloads.
    pub(crate) fn payloads(&mut self, end: usize) -> Vec<String> {
        let text = |message: &Message| String::from_utf8(message.payload().to_vec()).expect("text");
        self.messages(end).iter().map(text).collect()
    }

    /// The outcomes of what a client published, and are taken.
    pub(crate) fn outcomes(&mut self, end: usize) -> Vec<Result<ReasonCode, columba_wasm::client::NotSent>> {
        let mut outcomes = Vec::new();
        self.ends[end].events.retain(|event| match event {
            ClientEvent::Published { outcome, .. } => {
                outcomes.push(*outcome);
                false
            }
            _ => true,
        });
        outcomes
    }

    fn run_client(&mut self, end: usize) -> bool {
        let now = self.now;
        let it = &mut self.ends[end];
        let mut out = Vec::new();
        let flow = match (&mut it.who, &mut self.bridge) {
            (Who::Client(client), _) => client.poll_transmit(now, &mut out),
            (Who::Bridge(side), Some(bridge)) => bridge.poll_transmit(now, *side, &mut out),
            _ => unreachable!(),
        };
        let mut moved = it.take_events() || !out.is_empty();
        let mut rest = &out[..];
        while let Some((packet, after)) = split(rest) {
            rest = after;
            let it = &mut self.ends[end];
            let Some(key) = it.link else { return true };
            let arrives = it.passes(packet, true);
            if arrives {
                it.input.extend_from_slice(packet);
                // Paused: until a verdict or a transmission makes it ready.
                let _ = self.cores[it.core].receive(now, key, &mut it.input);
            }
            if self.ends[end].is_due() {
                // What the client has given away is sent as far as it knows.
                while let Some((packet, after)) = split(rest) {
                    rest = after;
                    self.ends[end].rules.check(packet, true, false);
                }
                self.drop_link(end);
                return true;
            }
        }
        if flow == Flow::Close && self.ends[end].link.is_some() {
            self.drop_link(end);
            moved = true;
        }
        moved
    }

    fn run_core(&mut self, core: usize) -> bool {
        let mut moved = false;
        match &self.judge {
            Some(judge) if core == 1 => judge(&mut self.cores[core], self.now),
            _ => while self.cores[core].poll_event().is_some() {},
        }
        while let Some(key) = self.cores[core].poll_abort() {
            moved |= self.close(core, key);
        }
        while let Some(key) = self.cores[core].poll_ready() {
            moved = true;
            if let Some(end) = self.end_of(core, key) {
                let _ = self.cores[core].receive(self.now, key, &mut self.ends[end].input);
            }
            let mut out = Chunks::new();
            while self.cores[core].poll_transmit(self.now, key, &mut out) == Flow::More {}
            let is_closed = self.cores[core].poll_transmit(self.now, key, &mut out) == Flow::Close;
            self.deliver(core, key, &out.to_vec());
            if is_closed {
                self.close(core, key);
            }
        }
        moved
    }

    fn deliver(&mut self, core: usize, key: ConnectionKey, out: &[u8]) {
        let now = self.now;
        let Some(end) = self.end_of(core, key) else { return };
        let mut rest = out;
        while let Some((packet, after)) = split(rest) {
            rest = after;
            let it = &mut self.ends[end];
            if it.link.is_none() {
                return;
            }
            if it.passes(packet, false) {
                match (&mut it.who, &mut self.bridge) {
                    (Who::Client(client), _) => client.receive(now, packet),
                    (Who::Bridge(side), Some(bridge)) => bridge.receive(now, *side, packet),
                    _ => unreachable!(),
                }
                it.take_events();
            }
            if it.is_due() {
                return self.drop_link(end);
            }
        }
    }

    fn end_of(&self, core: usize, key: ConnectionKey) -> Option<usize> {
        self.ends.iter().position(|end| end.core == core && end.link == Some(key))
    }

    fn close(&mut self, core: usize, key: ConnectionKey) -> bool {
        match self.end_of(core, key) {
            Some(end) => {
                self.drop_link(end);
                true
            }
            None => false,
        }
    }

    fn drop_link(&mut self, end: usize) {
        let it = &mut self.ends[end];
        if let Some(key) = it.link.take() {
            it.log.push("-- closed".to_owned());
            self.cores[it.core].close(self.now, key, CloseCause::Transport);
            match (&mut it.who, &mut self.bridge) {
                (Who::Client(client), _) => client.close(self.now),
                (Who::Bridge(side), Some(bridge)) => bridge.close(self.now, *side),
                _ => unreachable!(),
            }
            it.take_events();
        }
    }

    /// Opens the transports that the bridge asks for.
    fn run_bridge(&mut self) -> bool {
        let Some(event) = self.bridge.as_mut().and_then(Bridge::poll_event) else {
            return false;
        };
        match event {
            BridgeEvent::Open(Side::Local) => self.connect(0),
            BridgeEvent::Open(Side::Remote) if self.reachable => self.connect(1),
            BridgeEvent::Open(side) => {
                let now = self.now;
                self.bridge().close(now, side);
            }
            other => self.bridge_events.push(other),
        }
        true
    }
}

impl End {
    fn take_events(&mut self) -> bool {
        let before = self.events.len();
        if let Who::Client(client) = &mut self.who {
            self.events.extend(std::iter::from_fn(|| client.poll_event()));
        }
        self.events.len() > before
    }

    /// Counts a packet and holds it against the rules. Whether it arrives.
    fn passes(&mut self, packet: &[u8], to_core: bool) -> bool {
        self.packets += 1;
        let lost = self.cut.is_some_and(|cut| cut.lost && cut.after == self.packets);
        let text = self.rules.check(packet, to_core, !lost);
        self.log.push(format!(
            "{} {text}{}",
            if to_core { ">" } else { "<" },
            if lost { " LOST" } else { "" }
        ));
        !lost
    }

    /// Whether the connection breaks now.
    fn is_due(&mut self) -> bool {
        let is_due = self.cut.is_some_and(|cut| cut.after <= self.packets);
        if is_due {
            self.cut = None;
        }
        is_due
    }
}

/// A message to be published.
pub(crate) fn message(topic: &str, qos: QoS, payload: &str) -> OutgoingMessage {
    let mut message = OutgoingMessage::new(topic, payload.as_bytes().to_vec()).expect("a topic");
    message.qos = qos;
    message
}

/// A message to be published and retained.
pub(crate) fn retained(topic: &str, payload: &str) -> OutgoingMessage {
    let mut message = message(topic, QoS::AtLeastOnce, payload);
    message.retain = true;
    message
}

/// Options of a client whose session outlives its connections.
pub(crate) fn persistent(version: Version, id: &str) -> ClientOptions {
    let mut options = ClientOptions::new(version, id);
    options.clean_start = false;
    options.session_expiry = Some(3600);
    options
}

/// The first packet and the rest.
pub(crate) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let header = FixedHeader::read(bytes, usize::MAX).expect("a packet").expect("a whole header");
    assert!(header.total() <= bytes.len(), "both sides send whole packets");
    Some(bytes.split_at(header.total()))
}

/// The name of a packet.
pub(crate) fn name(packet: &[u8]) -> &'static str {
    PacketType::from_u8(packet[0] >> 4).map_or("?", PacketType::name)
}
