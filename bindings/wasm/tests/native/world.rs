//! Cores and clients with packets between them, one at a time, and connections that break where a test wants it.

use bytes::BytesMut;
use columba_codec::{
    FixedHeader, PacketType, QoS, ReasonCode, SubscribeItem, SubscriptionOptions, TopicFilter, Version,
};
use columba_core::{Chunks, CloseCause, Config, ConnectionKey, Core, Flow, Intake, Peer, Seed, Time};
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
}

/// A client and its connection.
pub(crate) struct End {
    pub(crate) client: Client,
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
        Self { now: Time::from_secs(1000), cores, ends: Vec::new() }
    }

    /// A client that is not connected.
    pub(crate) fn add(&mut self, options: ClientOptions) -> usize {
        let rules = Rules::new(options.version);
        let client = Client::new(options).expect("the options are good");
        self.ends.push(End {
            client,
            core: 0,
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
        it.client.open(self.now);
        self.run();
    }

    /// A client with these options, connected.
    pub(crate) fn join(&mut self, options: ClientOptions) -> usize {
        let end = self.add(options);
        self.connect(end);
        assert_eq!(self.client(end).state(), State::Online, "{:?}", self.ends[end].events);
        end
    }

    pub(crate) fn client(&mut self, end: usize) -> &mut Client {
        &mut self.ends[end].client
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
            let mut moved = false;
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
            let clients = self.ends.iter().filter_map(|end| end.client.poll_timeout());
            let next = clients.chain(self.cores.iter().filter_map(Core::poll_timeout)).min();
            self.now = next.filter(|&at| at <= goal).unwrap_or(goal).max(self.now);
            let now = self.now;
            for end in &mut self.ends {
                end.client.handle_timeout(now);
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
        let flow = it.client.poll_transmit(now, &mut out);
        let mut moved = it.take_events() || !out.is_empty();
        let mut rest = &out[..];
        while let Some((packet, after)) = split(rest) {
            rest = after;
            let it = &mut self.ends[end];
            let Some(key) = it.link else { return true };
            let arrives = it.passes(packet, true);
            if arrives {
                it.input.extend_from_slice(packet);
                let intake = self.cores[it.core].receive(now, key, &mut it.input);
                assert_ne!(intake, Intake::Paused);
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
        while self.cores[core].poll_event().is_some() {}
        while let Some(key) = self.cores[core].poll_abort() {
            moved |= self.close(core, key);
        }
        while let Some(key) = self.cores[core].poll_ready() {
            moved = true;
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
                it.client.receive(now, packet);
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
            it.client.close(self.now);
            it.take_events();
        }
    }
}

impl End {
    fn take_events(&mut self) -> bool {
        let before = self.events.len();
        while let Some(event) = self.client.poll_event() {
            self.events.push(event);
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
