//! A scripted client: it sends what a test says and keeps what comes, packet by packet. It decides nothing by itself.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use columba_codec::{
    Ack, Auth, Connect, Disconnect, List, Packet, PacketId, PacketType, Publish, QoS, ReasonCode, Subscribe,
    SubscribeItem, SubscriptionId, SubscriptionOptions, TopicFilter, TopicName, Unsubscribe, Version,
};

use crate::promises::Promises;
use crate::received::Received;
use crate::wire::Wire;

/// How long a client on a socket waits for what it expects, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client that is a script. It acknowledges nothing unless told to.
///
/// What goes in and out is packets; expectations name them as [`describe`](crate::describe) does. An expectation that is
/// not met panics and shows the conversation. In a simulated world everything that can happen at this instant has
/// happened when a call returns, so nothing is ever waited for; on a socket an expectation waits up to
/// [`patience`](Self::patience), 5 seconds by default.
pub struct Client {
    script: RefCell<Script>,
    version: Version,
    /// Without one what comes is checked elsewhere.
    promises: Option<RefCell<Promises>>,
}

struct Script {
    wire: Box<dyn Wire>,
    buffer: BytesMut,
    inbox: VecDeque<Received>,
    aliases: BTreeMap<u16, String>,
    next_id: u16,
    patience: Duration,
    /// A CONNACK of success came.
    connected: bool,
}

impl Client {
    pub(crate) fn new(wire: impl Wire + 'static, version: Version, promises: Option<Promises>) -> Self {
        let script = Script {
            wire: Box::new(wire),
            buffer: BytesMut::new(),
            inbox: VecDeque::new(),
            aliases: BTreeMap::new(),
            next_id: 1,
            patience: PATIENCE,
            connected: false,
        };
        Self { script: RefCell::new(script), version, promises: promises.map(RefCell::new) }
    }

    /// The protocol version it speaks.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Whether it speaks MQTT 5.
    pub fn is_v5(&self) -> bool {
        self.version == Version::V5
    }

    /// How long it waits on a socket for what it expects. Default 5 s. In a simulated world nothing is waited for.
    pub fn patience(&self, patience: Duration) {
        self.script.borrow_mut().patience = patience;
    }

    // What a client sends.

    /// Sends these bytes, whatever they are.
    pub fn send_bytes(&self, bytes: &[u8]) {
        if let Some(promises) = &self.promises {
            promises.borrow_mut().sent(bytes);
        }
        self.script.borrow_mut().wire.send(bytes);
    }

    /// Sends a packet.
    ///
    /// # Panics
    /// If the packet cannot be encoded.
    pub fn send(&self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).expect("the test sends what can be encoded");
        self.send_bytes(&bytes);
    }

    /// Sends CONNECT with a clean start, as `adjust` changes it.
    pub fn connect(&self, id: &str, adjust: impl FnOnce(&mut Connect<'_>)) {
        let mut connect = Connect::new(self.version, id);
        adjust(&mut connect);
        self.send(&Packet::Connect(Box::new(connect)));
    }

    /// Sends PUBLISH, as `adjust` changes it, and waits for nothing. Returns its packet identifier, 0 at QoS 0.
    pub fn start(
        &self,
        topic: &str,
        qos: u8,
        payload: impl AsRef<[u8]>,
        adjust: impl FnOnce(&mut Publish<'_>),
    ) -> u16 {
        let mut publish = Publish::new(name(topic), payload.as_ref());
        publish.qos = level(qos);
        publish.packet_id = (qos > 0).then(|| self.next_id());
        adjust(&mut publish);
        let id = publish.packet_id.map_or(0, PacketId::get);
        self.send(&Packet::Publish(publish));
        id
    }

    /// Publishes a message and sees it through to its last acknowledgement.
    #[track_caller]
    pub fn publish(&self, topic: &str, qos: u8, payload: impl AsRef<[u8]>) {
        self.publish_with(topic, qos, payload, |_| ());
    }

    /// Publishes a message to be retained and sees it through.
    #[track_caller]
    pub fn retain(&self, topic: &str, qos: u8, payload: impl AsRef<[u8]>) {
        self.publish_with(topic, qos, payload, |publish| publish.retain = true);
    }

    /// Publishes a message, as `adjust` changes it, and sees it through.
    #[track_caller]
    pub fn publish_with(
        &self,
        topic: &str,
        qos: u8,
        payload: impl AsRef<[u8]>,
        adjust: impl FnOnce(&mut Publish<'_>),
    ) {
        let id = self.start(topic, qos, payload, adjust);
        match qos {
            0 => {}
            1 => self.acknowledged("PUBACK", id),
            _ => {
                self.acknowledged("PUBREC", id);
                self.ack(PacketType::PubRel, id);
                self.take(&format!("PUBCOMP #{id}"));
            }
        }
    }

    /// Subscribes and takes the SUBACK, which must grant what was asked for.
    #[track_caller]
    pub fn subscribe(&self, filter: &str, qos: u8) {
        self.subscribe_with(filter, qos, None, |_| ());
    }

    /// Subscribes with an identifier and other options, and takes the SUBACK.
    #[track_caller]
    pub fn subscribe_with(
        &self,
        filter: &str,
        qos: u8,
        subscription_id: Option<u32>,
        adjust: impl FnOnce(&mut SubscriptionOptions),
    ) {
        let mut options = SubscriptionOptions { qos: level(qos), ..SubscriptionOptions::default() };
        adjust(&mut options);
        let reasons = self.ask(&[(filter, options)], subscription_id);
        self.check(reasons == [qos], || format!("subscribing to {filter}: {reasons:02x?}"));
    }

    /// Sends SUBSCRIBE and waits for nothing.
    ///
    /// # Panics
    /// If a filter is none.
    pub fn start_subscribe(
        &self,
        filters: &[(&str, SubscriptionOptions)],
        subscription_id: Option<u32>,
    ) -> PacketId {
        let packet_id = self.next_id();
        let items: Vec<_> = filters
            .iter()
            .map(|&(filter, options)| SubscribeItem { filter: parse(filter), options })
            .collect();
        self.send(&Packet::Subscribe(Subscribe {
            packet_id,
            subscription_id: subscription_id.map(|id| SubscriptionId::new(id).expect("in range")),
            user_properties: List::EMPTY,
            filters: List::from_slice(&items),
        }));
        packet_id
    }

    /// Sends SUBSCRIBE and returns the reason codes of its SUBACK.
    #[track_caller]
    pub fn ask(&self, filters: &[(&str, SubscriptionOptions)], subscription_id: Option<u32>) -> Vec<u8> {
        let id = self.start_subscribe(filters, subscription_id);
        let received = self.take_first(&format!("SUBACK #{id}"));
        match received.packet() {
            Packet::SubAck(ack) => ack.reasons.iter().map(ReasonCode::code).collect(),
            _ => Vec::new(),
        }
    }

    /// Sends UNSUBSCRIBE and waits for nothing.
    ///
    /// # Panics
    /// If a filter is none.
    pub fn start_unsubscribe(&self, filters: &[&str]) -> PacketId {
        let packet_id = self.next_id();
        let filters: Vec<_> = filters.iter().map(|filter| parse(filter)).collect();
        self.send(&Packet::Unsubscribe(Unsubscribe {
            packet_id,
            user_properties: List::EMPTY,
            filters: List::from_slice(&filters),
        }));
        packet_id
    }

    /// Sends UNSUBSCRIBE and returns the reason codes of its UNSUBACK: none before 5.0.
    #[track_caller]
    pub fn unsubscribe(&self, filters: &[&str]) -> Vec<u8> {
        let id = self.start_unsubscribe(filters);
        let received = self.take_first(&format!("UNSUBACK #{id}"));
        match received.packet() {
            Packet::UnsubAck(ack) => ack.reasons.iter().map(ReasonCode::code).collect(),
            _ => Vec::new(),
        }
    }

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub fn ack(&self, packet: PacketType, id: u16) {
        self.ack_with(packet, id, ReasonCode::Success);
    }

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP with a reason code.
    ///
    /// # Panics
    /// If `id` is 0, or `packet` another one.
    pub fn ack_with(&self, packet: PacketType, id: u16, reason: ReasonCode) {
        let ack = Ack { reason, ..Ack::new(PacketId::new(id).expect("not 0")) };
        self.send(&match packet {
            PacketType::PubAck => Packet::PubAck(ack),
            PacketType::PubRec => Packet::PubRec(ack),
            PacketType::PubRel => Packet::PubRel(ack),
            PacketType::PubComp => Packet::PubComp(ack),
            other => panic!("{other:?} acknowledges no message"),
        });
    }

    /// Sends PINGREQ and takes the PINGRESP from among what has come.
    #[track_caller]
    pub fn ping(&self) {
        self.send(&Packet::PingReq);
        self.take("PINGRESP");
    }

    /// Sends AUTH.
    pub fn auth(&self, reason: ReasonCode, method: Option<&str>, data: Option<&[u8]>) {
        let user_properties = List::EMPTY;
        self.send(&Packet::Auth(Auth { reason, method, data, reason_string: None, user_properties }));
    }

    /// Says goodbye and goes: sends DISCONNECT and expects the connection to be closed.
    #[track_caller]
    pub fn disconnect(&self) {
        self.disconnect_with(ReasonCode::Success, None);
        self.expect_closed();
    }

    /// Sends DISCONNECT.
    pub fn disconnect_with(&self, reason: ReasonCode, session_expiry: Option<u32>) {
        self.send(&Packet::Disconnect(Disconnect { session_expiry, ..Disconnect::new(reason) }));
    }

    /// Its connection fails: it is gone without a word.
    pub fn drop_link(&self) {
        self.script.borrow_mut().wire.cut();
    }

    /// Reads nothing any more, until [`resume`](Self::resume).
    pub fn stall(&self) {
        self.script.borrow_mut().wire.stall(true);
    }

    /// Reads again.
    pub fn resume(&self) {
        self.script.borrow_mut().wire.stall(false);
    }

    // What a client receives.

    /// The next packet, whatever it is.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn next(&self) -> Received {
        self.poll_beyond(0);
        let received = self.script.borrow_mut().inbox.pop_front();
        received.unwrap_or_else(|| self.fail("nothing has come"))
    }

    /// Takes everything that comes until the broker closes the connection, as bytes and whatever they mean: a broker that
    /// does not know the client's version may answer in another.
    ///
    /// # Panics
    /// If it stays open.
    #[track_caller]
    pub fn bytes_until_closed(&self) -> Vec<u8> {
        let mut script = self.script.borrow_mut();
        let Script { wire, buffer, patience, .. } = &mut *script;
        // Only who waits looks at a clock.
        let deadline = wire.waits().then(|| Instant::now() + *patience);
        loop {
            let left = deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            wire.receive(buffer, left);
            if !wire.is_open() || !wire.waits() || left.is_zero() {
                break;
            }
        }
        let (bytes, is_open) = (buffer.split().to_vec(), wire.is_open());
        drop(script);
        self.check(!is_open, || "the connection is still open".to_owned());
        bytes
    }

    /// The next packet if one has come.
    #[track_caller]
    pub fn try_next(&self) -> Option<Received> {
        self.receive(Duration::ZERO);
        self.script.borrow_mut().inbox.pop_front()
    }

    /// Takes the next packet, which must be this.
    ///
    /// # Panics
    /// If another comes, or none.
    #[track_caller]
    pub fn expect(&self, expected: &str) {
        self.poll_beyond(0);
        let front = self.script.borrow().inbox.front().map(|received| received.text().to_owned());
        self.check(front.as_deref() == Some(expected), || match front {
            Some(found) => format!("expected {expected:?}, got {found:?}"),
            None => format!("expected {expected:?}, and nothing has come"),
        });
        let _ = self.next();
    }

    /// Takes these packets, in this order, and nothing else may have come.
    ///
    /// # Panics
    /// If others come, or not all.
    #[track_caller]
    pub fn expect_all(&self, expected: &[impl AsRef<str>]) {
        for packet in expected {
            self.expect(packet.as_ref());
        }
        self.expect_nothing();
    }

    /// Nothing has come that is not taken, and nothing is on its way. On a socket two pings make sure of it: what the
    /// broker had to send goes before the second answer.
    ///
    /// # Panics
    /// If something has come.
    #[track_caller]
    pub fn expect_nothing(&self) {
        self.settle();
        let inbox = self.texts();
        self.check(inbox.is_empty(), || format!("expected nothing, got {inbox:?}"));
    }

    /// The broker has closed the connection, and everything that came before is taken.
    ///
    /// # Panics
    /// If something has come, or the connection is open.
    #[track_caller]
    pub fn expect_closed(&self) {
        self.poll_beyond(0);
        let inbox = self.texts();
        self.check(inbox.is_empty(), || format!("expected nothing more, got {inbox:?}"));
        self.check(!self.is_open(), || "the connection is still open".to_owned());
    }

    /// Takes everything that comes until the broker closes the connection.
    ///
    /// # Panics
    /// If it stays open.
    #[track_caller]
    pub fn until_closed(&self) -> Vec<Received> {
        let mut count = 0;
        while self.poll_beyond(count) {
            count = self.script.borrow().inbox.len();
        }
        self.check(!self.is_open(), || "the connection is still open".to_owned());
        self.script.borrow_mut().inbox.drain(..).collect()
    }

    /// The connection is open.
    ///
    /// # Panics
    /// If it is closed.
    #[track_caller]
    pub fn expect_open(&self) {
        self.settle();
        self.check(self.is_open(), || "the connection is closed".to_owned());
    }

    /// The broker has closed the connection; MQTT 5 clients are told why.
    ///
    /// # Panics
    /// If something else has come, or the connection is open.
    #[track_caller]
    pub fn expect_disconnect(&self, reason: u8) {
        if self.is_v5() {
            self.expect(&format!("DISCONNECT {reason:02x}"));
        }
        self.expect_closed();
    }

    /// The broker has refused the CONNECT with this reason code, or return code before 5.0, and closed.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn expect_refused(&self, code: u8) {
        let received = self.next();
        // The code as it is on the wire: its last byte before 5.0, the fourth in 5.0.
        let found = (received.text().starts_with("CONNACK")).then(|| received.bytes()[3]);
        self.check(found == Some(code), || format!("expected CONNACK {code:02x}, got {}", received.text()));
        self.expect_closed();
    }

    /// Takes the CONNACK, which must be one of success.
    ///
    /// # Panics
    /// If something else has come.
    #[track_caller]
    pub fn accepted(&self) -> Received {
        let received = self.next();
        self.check(received.text().starts_with("CONNACK 00"), || format!("refused: {}", received.text()));
        received
    }

    /// The connection is open, as far as it knows.
    pub fn is_open(&self) -> bool {
        self.script.borrow().wire.is_open()
    }

    /// What has come and is not taken, in short.
    #[track_caller]
    pub fn texts(&self) -> Vec<String> {
        self.receive(Duration::ZERO);
        self.script.borrow().inbox.iter().map(|received| received.text().to_owned()).collect()
    }

    /// Takes everything that has come.
    #[track_caller]
    pub fn drain(&self) -> Vec<Received> {
        self.settle();
        self.script.borrow_mut().inbox.drain(..).collect()
    }

    /// Takes every message that comes, acknowledging each as it asks, until none comes any more; as `topic=payload`.
    ///
    /// # Panics
    /// If something else than messages and their PUBREL has come.
    #[track_caller]
    pub fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            self.settle();
            let received = self.script.borrow_mut().inbox.pop_front();
            let Some(received) = received else { return messages };
            match received.packet() {
                Packet::Publish(publish) => {
                    messages.push(self.message(&publish));
                    match (publish.qos, publish.packet_id) {
                        (QoS::AtLeastOnce, Some(id)) => self.ack(PacketType::PubAck, id.get()),
                        (QoS::ExactlyOnce, Some(id)) => self.ack(PacketType::PubRec, id.get()),
                        _ => {}
                    }
                }
                Packet::PubRel(ack) => self.ack(PacketType::PubComp, ack.packet_id.get()),
                _ => self.fail(&format!("expected messages only, got {}", received.text())),
            }
        }
    }

    /// Takes the oldest packet that is exactly this, from among others.
    ///
    /// # Panics
    /// If none is.
    #[track_caller]
    pub fn take(&self, text: &str) {
        let received = self.take_first(text);
        self.check(received.text() == text, || format!("expected {text:?}, got {:?}", received.text()));
    }

    /// Takes the oldest packet that begins with these words.
    ///
    /// # Panics
    /// If none does.
    #[track_caller]
    pub fn take_first(&self, words: &str) -> Received {
        let begins = |text: &str| {
            text.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        loop {
            let looked = {
                let inbox = &mut self.script.borrow_mut().inbox;
                let found = inbox.iter().position(|received| begins(received.text()));
                if let Some(received) = found.and_then(|at| inbox.remove(at)) {
                    return received;
                }
                inbox.len()
            };
            if !self.poll_beyond(looked) {
                let texts = self.texts();
                self.fail(&format!("expected {words:?} among {texts:?}"));
            }
        }
    }

    /// The packet identifier for the next packet that needs one.
    pub fn next_id(&self) -> PacketId {
        let mut script = self.script.borrow_mut();
        let id = PacketId::new(script.next_id).expect("it is never 0");
        script.next_id = script.next_id.checked_add(1).unwrap_or(1);
        id
    }

    /// Ends the test with this message and the conversation, unless `condition` holds.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn check(&self, condition: bool, problem: impl FnOnce() -> String) {
        if !condition {
            self.fail(&problem());
        }
    }

    /// Ends the test with this message and the conversation.
    ///
    /// # Panics
    /// Always.
    #[track_caller]
    pub fn fail(&self, problem: &str) -> ! {
        let conversation = match self.script.try_borrow() {
            Ok(script) => script.wire.conversation(),
            Err(_) => String::new(),
        };
        panic!("{problem}\n{conversation}\n");
    }

    /// Takes an acknowledgement that says that all is well, with or without subscribers.
    #[track_caller]
    fn acknowledged(&self, packet: &str, id: u16) {
        let text = format!("{packet} #{id}");
        let received = self.take_first(&text);
        let fine = received.text() == text || received.text() == format!("{text} 10");
        self.check(fine, || format!("not acknowledged: {}", received.text()));
    }

    fn message(&self, publish: &Publish<'_>) -> String {
        let payload = String::from_utf8_lossy(publish.payload);
        let script = self.script.borrow();
        let alias = publish.topic_alias.and_then(|alias| script.aliases.get(&alias.get()));
        let topic = publish.topic.map(TopicName::as_str).or(alias.map(String::as_str)).unwrap_or_default();
        format!("{topic}={payload}")
    }

    /// Everything the broker has for this client has come.
    #[track_caller]
    fn settle(&self) {
        self.receive(Duration::ZERO);
        let (connected, waits) = {
            let script = self.script.borrow();
            (script.connected && script.wire.is_open(), script.wire.waits())
        };
        if !connected || !waits {
            return;
        }
        for _ in 0..2 {
            self.send(&Packet::PingReq);
            loop {
                let looked = {
                    let mut script = self.script.borrow_mut();
                    let found = script.inbox.iter().position(|received| received.text() == "PINGRESP");
                    if let Some(at) = found {
                        script.inbox.remove(at);
                        break;
                    }
                    script.inbox.len()
                };
                if !self.poll_beyond(looked) {
                    return;
                }
            }
        }
    }

    /// Moves what has come into the inbox, waiting for it as long as there are not more than `count` packets in it.
    /// False if there are not.
    #[track_caller]
    fn poll_beyond(&self, count: usize) -> bool {
        let mut deadline = None;
        let mut patience = Duration::ZERO;
        loop {
            let was_open = self.is_open();
            self.receive(patience);
            let script = self.script.borrow();
            if script.inbox.len() > count {
                return true;
            }
            if !script.wire.waits() || !was_open {
                return false;
            }
            // Only who waits looks at a clock.
            let now = Instant::now();
            patience = deadline.get_or_insert_with(|| now + script.patience).saturating_duration_since(now);
            if patience.is_zero() {
                return false;
            }
        }
    }

    /// Moves what has come into the inbox.
    #[track_caller]
    fn receive(&self, patience: Duration) {
        let outcome = self.script.borrow_mut().receive(patience, self.version, self.promises.as_ref());
        if let Err(problem) = outcome {
            self.fail(&problem);
        }
    }
}

impl Script {
    fn receive(
        &mut self,
        patience: Duration,
        version: Version,
        promises: Option<&RefCell<Promises>>,
    ) -> Result<(), String> {
        self.wire.receive(&mut self.buffer, patience);
        while let Some(received) = Received::take(&mut self.buffer, version)? {
            let packet = received.packet();
            if let Some(promises) = promises {
                promises.borrow_mut().received(&packet, received.bytes().len())?;
            }
            match packet {
                Packet::ConnAck(ack) => self.connected = !ack.reason.is_error(),
                Packet::Publish(Publish { topic: Some(topic), topic_alias: Some(alias), .. }) => {
                    self.aliases.insert(alias.get(), topic.to_string());
                }
                _ => {}
            }
            self.inbox.push_back(received);
        }
        Ok(())
    }
}

/// A topic name.
///
/// # Panics
/// If it is none.
#[track_caller]
pub fn name(topic: &str) -> TopicName<'_> {
    TopicName::parse(topic).unwrap_or_else(|error| panic!("{topic:?} is no topic name: {error}"))
}

/// A topic filter.
///
/// # Panics
/// If it is none.
#[track_caller]
fn parse(filter: &str) -> TopicFilter<'_> {
    TopicFilter::parse(filter).unwrap_or_else(|error| panic!("{filter:?} is no topic filter: {error}"))
}

/// QoS 0, 1 or 2.
///
/// # Panics
/// If it is another number.
#[track_caller]
pub fn level(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        2 => QoS::ExactlyOnce,
        _ => panic!("{qos} is no QoS"),
    }
}
