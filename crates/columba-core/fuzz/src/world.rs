//! A shell around one core: transports that are buffers, and a clock that is a number. It carries bytes and events
//! until nothing moves any more and holds all that it sees against the [model](crate::model).

use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use columba_core::codec::{Connect, FixedHeader, Packet, PacketType, Publish, QoS, TopicName, Version};
use columba_core::{
    Chunks, ClientInfo, CloseCause, Config, ConnectionKey, Core, Event, Flow, Intake, Peer, Seed, Ticket,
    Time,
};

use crate::model::{Conversation, Session};

/// Turns after which a loop of the shell does not end.
const MAX_TURNS: usize = 50_000;
/// The broker wakes up so often at most while time passes in one step.
const MAX_WAKES: usize = 10_000;
/// Answers of a client that it remembers to give.
const MAX_ANSWERS: usize = 1000;
/// What CONNACK, AUTH and DISCONNECT may take, and what a broker adds to a message.
const SLACK: usize = 8192;

pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) now: Time,
    /// Those that are open.
    pub(crate) links: Vec<Link>,
    pub(crate) tickets: VecDeque<Ticket>,
    /// The key of a connection that is closed.
    pub(crate) ghost: Option<ConnectionKey>,
    sessions: BTreeMap<String, Session>,
    packets_taken: u64,
    bytes_taken: u64,
}

/// A transport, as its client sees it.
pub(crate) struct Link {
    pub(crate) key: ConnectionKey,
    /// What the client speaks, whatever its CONNECT says.
    pub(crate) version: Version,
    pub(crate) stalled: bool,
    /// Bytes that go to the broker at once; 0 is all.
    pub(crate) pace: usize,
    /// Acknowledgements that are due.
    pub(crate) answers: VecDeque<(PacketType, u16)>,
    pub(crate) conversation: Conversation,
    client_id: Option<String>,
    /// Sent by the client and not taken by the broker.
    input: BytesMut,
    paused: bool,
    closing: bool,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            core: Core::new(config, Seed::from(1)),
            // Not zero: nothing may take the start for a special time.
            now: Time::from_secs(1000),
            links: Vec::new(),
            tickets: VecDeque::new(),
            ghost: None,
            sessions: BTreeMap::new(),
            packets_taken: 0,
            bytes_taken: 0,
        }
    }

    pub(crate) fn open(&mut self, version: Version, trusted: bool) -> ConnectionKey {
        let key = self.core.open(self.now, Peer { trusted, ..Peer::default() });
        print(|| format!("{key:?} opens, {version:?}"));
        self.links.push(Link {
            key,
            version,
            stalled: false,
            pace: 0,
            answers: VecDeque::new(),
            conversation: Conversation::new(),
            client_id: None,
            input: BytesMut::new(),
            paused: false,
            closing: false,
        });
        self.pump();
        key
    }

    pub(crate) fn find(&self, key: ConnectionKey) -> Option<usize> {
        self.links.iter().position(|link| link.key == key)
    }

    /// The client sends these bytes, at its pace.
    pub(crate) fn send(&mut self, key: ConnectionKey, bytes: &[u8]) {
        let Some(at) = self.find(key) else { return };
        print(|| format!("{key:?} -> {bytes:02x?}"));
        // So slow that it takes long is of no use.
        let least = bytes.len().div_ceil(32).max(1);
        let pace = if self.links[at].pace == 0 { bytes.len() } else { self.links[at].pace };
        for piece in bytes.chunks(pace.max(least)) {
            let Some(at) = self.find(key) else { return };
            self.links[at].input.extend_from_slice(piece);
            if !self.links[at].paused {
                self.feed(at);
            }
            self.pump();
        }
    }

    /// A client in the same process publishes.
    pub(crate) fn publish(&mut self, key: ConnectionKey, publish: &Publish<'_>) {
        let Some(at) = self.find(key) else { return };
        print(|| format!("{key:?} -> {publish:?}"));
        let payload = Bytes::copy_from_slice(publish.payload);
        let intake = self.core.receive_publish(self.now, key, publish, &payload);
        self.note_events();
        if intake == Intake::Open {
            self.with_session(at, |link, session| {
                link.conversation.taken_packet(&Packet::Publish(publish.clone()), session);
            });
        }
        self.pump();
    }

    pub(crate) fn close(&mut self, key: ConnectionKey, cause: CloseCause) {
        let Some(at) = self.find(key) else { return };
        print(|| format!("{key:?} closes, {cause:?}"));
        self.links.swap_remove(at);
        self.core.close(self.now, key, cause);
        self.ghost = Some(key);
    }

    pub(crate) fn resume(&mut self, key: ConnectionKey) {
        let Some(at) = self.find(key) else { return };
        print(|| format!("{key:?} reads again"));
        self.links[at].stalled = false;
        self.serve(key);
        self.pump();
    }

    /// Lets time pass, waking the broker at each of its deadlines on the way.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let target = self.now + duration;
        for _ in 0..MAX_WAKES {
            let Some(at) = self.core.poll_timeout().filter(|&at| at <= target) else { break };
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.pump();
            let next = self.core.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that was served is still there");
        }
        self.now = target;
        print(|| format!("it is {:?}", self.now));
    }

    /// The shell's work after each call.
    pub(crate) fn pump(&mut self) {
        for _ in 0..MAX_TURNS {
            self.note_events();
            if let Some(key) = self.core.poll_ready() {
                assert!(self.find(key).is_some(), "{key:?} is ready and closed");
                self.serve(key);
            } else if let Some(key) = self.core.poll_abort() {
                self.close(key, CloseCause::Asked);
            } else {
                return self.settled();
            }
        }
        panic!("there is always something to do");
    }

    /// A connection has something to send or takes input again.
    fn serve(&mut self, key: ConnectionKey) {
        let Some(at) = self.find(key) else { return };
        if !self.links[at].stalled {
            let mut turns = 0..MAX_TURNS;
            loop {
                assert!(turns.next().is_some(), "{key:?} always has more to send");
                match self.transmit(key, Core::poll_transmit) {
                    Flow::More => {}
                    Flow::Idle => break,
                    Flow::Close => return self.close(key, CloseCause::Asked),
                }
            }
        }
        self.feed(at);
    }

    /// Takes what one call hands out.
    pub(crate) fn transmit(
        &mut self,
        key: ConnectionKey,
        poll: fn(&mut Core, Time, ConnectionKey, &mut Chunks) -> Flow,
    ) -> Flow {
        let mut out = Chunks::new();
        let flow = poll(&mut self.core, self.now, key, &mut out);
        let limits = &self.core.config().limits;
        let most = limits.output_backlog
            + limits.transmit_budget
            + 2 * limits.control_size as usize
            + 2 * limits.packet_size as usize
            + SLACK;
        assert!(out.len() <= most, "{} bytes at once, of {most}", out.len());
        self.note_events();
        if let Some(at) = self.find(key) {
            self.take(at, &out.to_vec());
        }
        flow
    }

    fn take(&mut self, at: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let header = FixedHeader::read(bytes, usize::MAX).ok().flatten();
            let header = header.filter(|header| header.total() <= bytes.len()).expect("a whole packet");
            let (packet, rest) = bytes.split_at(header.total());
            bytes = rest;
            self.packets_taken += 1;
            self.bytes_taken += packet.len() as u64;
            self.with_session(at, |link, session| {
                print(|| format!("{:?} <- {packet:02x?}", link.key));
                let packet = link.conversation.sent(packet, session);
                if link.answers.len() < MAX_ANSWERS {
                    link.answers.extend(answer(&packet));
                }
            });
        }
    }

    /// Hands what the client has sent to the broker, which leaves what it cannot take yet.
    fn feed(&mut self, at: usize) {
        let link = &mut self.links[at];
        link.paused = false;
        let before = link.input.clone();
        if before.is_empty() {
            return;
        }
        let counted = self.core.metrics().packets_received;
        let intake = self.core.receive(self.now, link.key, &mut link.input);
        let counted = self.core.metrics().packets_received - counted;
        match intake {
            Intake::Open => {
                // What is left is a part of a packet.
                let header = FixedHeader::read(&link.input, usize::MAX).expect("the broker has looked at it");
                assert!(header.is_none_or(|header| header.total() > link.input.len()), "{:?}", link.input);
            }
            Intake::Paused => link.paused = true,
            Intake::Closed => {
                assert!(link.input.is_empty(), "input is left on a closing connection");
                link.closing = true;
            }
            Intake::Moved(_) => panic!("there are no shards"),
        }
        print(|| format!("{:?} {intake:?}, {counted} packets", link.key));
        self.note_events();
        self.with_session(at, |link, session| link.conversation.taken(&before, counted, session));
    }

    /// Events are noted right after the call that they came from, before what it took or sent is looked at.
    fn note_events(&mut self) {
        while let Some(event) = self.core.poll_event() {
            print(|| format!("{event:?}"));
            match event {
                Event::Authenticate { ticket, .. } => self.tickets.push_back(ticket),
                Event::Connected { connection, client_id, session_present, .. } => {
                    let at = self.find(connection).expect("whoever is online has a connection");
                    self.links[at].client_id = Some(client_id.to_string());
                    let session = self.sessions.entry(client_id.to_string()).or_default();
                    if !session_present {
                        *session = Session::default();
                    }
                    session.restart();
                    self.links[at].conversation.resumes = session_present;
                }
                Event::SessionEnded { client_id, .. } => {
                    let ended = self.sessions.remove(&*client_id);
                    assert!(ended.is_some(), "the session of {client_id:?} ends and was none");
                }
                _ => {}
            }
        }
    }

    /// The link with the session of its client, or an empty one where it has none.
    fn with_session(&mut self, at: usize, call: impl FnOnce(&mut Link, &mut Session)) {
        let link = &mut self.links[at];
        let session = link.client_id.as_ref().and_then(|id| self.sessions.get_mut(id));
        let mut none = Session::default();
        let session = session.unwrap_or(&mut none);
        session.may_forget |= link.conversation.has_maximum_packet_size();
        call(link, session);
    }

    /// Nothing moves any more: nobody who reads is left waiting.
    fn settled(&self) {
        for link in self.links.iter().filter(|link| !link.stalled) {
            assert!(!link.closing, "{:?} is closing, and the shell was not told to close it", link.key);
            let waits = link.paused && self.tickets.is_empty();
            assert!(!waits, "{:?} is paused, and nothing is under way that would end that", link.key);
            if !link.paused {
                link.conversation.settled();
            }
        }
    }

    /// What holds between any two calls.
    pub(crate) fn check(&self) {
        let (metrics, limits) = (self.core.metrics(), &self.core.config().limits);
        assert_eq!(metrics.connections, self.links.len());
        assert_eq!(metrics.sessions, self.sessions.len());
        assert!(metrics.sessions <= limits.sessions, "{metrics:?} {limits:?}");
        assert!(metrics.stored_bytes <= limits.stored_bytes, "{metrics:?} {limits:?}");
        assert!(metrics.retained <= limits.retained_messages, "{metrics:?} {limits:?}");
        assert!(metrics.retained_bytes <= limits.retained_bytes, "{metrics:?} {limits:?}");
        assert!(metrics.retained <= metrics.stored, "{metrics:?}");
        assert_eq!((metrics.packets_sent, metrics.bytes_sent), (self.packets_taken, self.bytes_taken));
        assert_eq!(metrics.events_lost, 0);
        let mut subscriptions = 0;
        for client in self.core.clients() {
            assert!(client.queued <= limits.queued_messages, "{client:?} {limits:?}");
            assert!(client.queued_bytes <= limits.queued_bytes, "{client:?} {limits:?}");
            assert!(client.subscriptions <= limits.subscriptions, "{client:?} {limits:?}");
            subscriptions += client.subscriptions;
            self.check_moves(&client);
        }
        assert_eq!(subscriptions, metrics.subscriptions);
    }

    /// A client that reads has been sent all that it has room for.
    fn check_moves(&self, client: &ClientInfo) {
        let is_own = |link: &&Link| link.client_id.as_deref() == Some(&*client.client_id);
        let mut own = self.links.iter().filter(is_own);
        let Some(link) = own.find(|link| client.connection.is_some() && !link.closing && !link.stalled)
        else {
            return;
        };
        let session = &self.sessions[&*client.client_id];
        if session.has_room(link.conversation.receive_maximum.min(self.core.config().limits.inflight.into()))
        {
            assert!(client.queued == 0 && session.is_resent(), "messages wait: {client:?} {session:?}");
        }
    }

    /// Everybody leaves, sessions end, what is retained is cleared: nothing may be left.
    pub(crate) fn wind_down(mut self) {
        while let Some(link) = self.links.first() {
            self.close(link.key, CloseCause::Transport);
            self.pump();
        }
        let ids: Vec<_> = self.core.clients().map(|client| client.client_id).collect();
        for id in ids {
            self.visit(&id, &[]);
        }
        // Now the last wills have been published.
        let mut topics = Vec::new();
        self.core.retained(None, |topic, _| topics.push(topic.to_owned()));
        self.visit("last", &topics);
        self.check();
        let metrics = self.core.metrics();
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
        assert!(left.iter().all(|&(_, count)| count == 0), "all have left, and the broker holds {left:?}");
    }

    /// Connects with a clean session, clears what is retained under `topics` and leaves. 3.1.1 has the shortest
    /// packets, so that no limit is in the way.
    fn visit(&mut self, id: &str, topics: &[String]) {
        let key = self.open(Version::V3_1_1, true);
        let mut bytes = Vec::new();
        let connect = Packet::Connect(Box::new(Connect::new(Version::V3_1_1, id)));
        connect.encode(Version::V3_1_1, &mut bytes).expect("it has been a client id before");
        for topic in topics {
            let topic = TopicName::parse(topic).expect("it is retained");
            let clear = Publish { retain: true, ..Publish::new(topic, b"") };
            clear.encode(Version::V3_1_1, &mut bytes).expect("it is shorter than what it clears");
        }
        self.send(key, &bytes);
        self.close(key, CloseCause::Transport);
        self.pump();
    }
}

/// What a client has to answer.
fn answer(packet: &Packet<'_>) -> Option<(PacketType, u16)> {
    match packet {
        Packet::Publish(publish) => match (publish.qos, publish.packet_id?.get()) {
            (QoS::ExactlyOnce, id) => Some((PacketType::PubRec, id)),
            (_, id) => Some((PacketType::PubAck, id)),
        },
        Packet::PubRel(ack) => Some((PacketType::PubComp, ack.packet_id.get())),
        Packet::PubRec(ack) if !ack.reason.is_error() => Some((PacketType::PubRel, ack.packet_id.get())),
        _ => None,
    }
}

/// For whoever looks for the reason of a failure.
pub(crate) fn print(text: impl FnOnce() -> String) {
    static IS_WANTED: OnceLock<bool> = OnceLock::new();
    if *IS_WANTED.get_or_init(|| std::env::var_os("COLUMBA_FUZZ_PRINT").is_some()) {
        eprintln!("{}", text());
    }
}
