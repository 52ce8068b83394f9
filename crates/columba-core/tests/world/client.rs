//! A scripted client.

use std::cell::RefCell;
use std::rc::Rc;

use columba_core::codec::{
    Ack, Auth, Connect, Disconnect, List, Packet, PacketId, PacketType, Publish, QoS, ReasonCode, Subscribe,
    SubscribeItem, SubscriptionId, SubscriptionOptions, TopicFilter, TopicName, Unsubscribe, Version,
};
use columba_core::{CloseCause, ConnectionKey, Core, Flow};

use super::{Received, State, V5, encode};

/// A client with a transport of its own. It acknowledges nothing unless told to.
pub(crate) struct Client {
    state: Rc<RefCell<State>>,
    link: usize,
    version: Version,
}

impl Client {
    pub(super) fn new(state: &Rc<RefCell<State>>, link: usize) -> Self {
        let version = state.borrow().links[link].version;
        Self { state: state.clone(), link, version }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.version == V5
    }

    pub(crate) fn key(&self) -> ConnectionKey {
        self.state.borrow().links[self.link].key
    }

    // What a client sends.

    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        self.state.borrow_mut().send(self.link, bytes);
    }

    pub(crate) fn send(&self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        encode(packet, self.version, &mut bytes);
        self.send_bytes(&bytes);
    }

    pub(crate) fn connect(&self, id: &str, adjust: impl FnOnce(&mut Connect<'_>)) {
        let mut connect = Connect::new(self.version, id);
        adjust(&mut connect);
        self.send(&Packet::Connect(Box::new(connect)));
    }

    /// Sends PUBLISH, as `adjust` changes it, and waits for nothing. Returns its packet identifier, 0 at QoS 0.
    pub(crate) fn start(
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
    pub(crate) fn publish(&self, topic: &str, qos: u8, payload: impl AsRef<[u8]>) {
        self.publish_with(topic, qos, payload, |_| ());
    }

    /// Publishes a message to be retained.
    #[track_caller]
    pub(crate) fn retain(&self, topic: &str, qos: u8, payload: impl AsRef<[u8]>) {
        self.publish_with(topic, qos, payload, |publish| publish.retain = true);
    }

    #[track_caller]
    pub(crate) fn publish_with(
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
    pub(crate) fn subscribe(&self, filter: &str, qos: u8) {
        self.subscribe_with(filter, qos, None, |_| ());
    }

    /// Subscribes with an identifier and other options, and takes the SUBACK.
    #[track_caller]
    pub(crate) fn subscribe_with(
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
    pub(crate) fn start_subscribe(
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
    pub(crate) fn ask(
        &self,
        filters: &[(&str, SubscriptionOptions)],
        subscription_id: Option<u32>,
    ) -> Vec<u8> {
        let id = self.start_subscribe(filters, subscription_id);
        let received = self.take_first(&format!("SUBACK #{id}"));
        match received.packet() {
            Packet::SubAck(ack) => ack.reasons.iter().map(ReasonCode::code).collect(),
            _ => Vec::new(),
        }
    }

    /// Sends UNSUBSCRIBE and waits for nothing.
    pub(crate) fn start_unsubscribe(&self, filters: &[&str]) -> PacketId {
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
    pub(crate) fn unsubscribe(&self, filters: &[&str]) -> Vec<u8> {
        let id = self.start_unsubscribe(filters);
        let received = self.take_first(&format!("UNSUBACK #{id}"));
        match received.packet() {
            Packet::UnsubAck(ack) => ack.reasons.iter().map(ReasonCode::code).collect(),
            _ => Vec::new(),
        }
    }

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub(crate) fn ack(&self, packet: PacketType, id: u16) {
        self.ack_with(packet, id, ReasonCode::Success);
    }

    pub(crate) fn ack_with(&self, packet: PacketType, id: u16, reason: ReasonCode) {
        let ack = Ack { reason, ..Ack::new(PacketId::new(id).expect("not 0")) };
        self.send(&match packet {
            PacketType::PubAck => Packet::PubAck(ack),
            PacketType::PubRec => Packet::PubRec(ack),
            PacketType::PubRel => Packet::PubRel(ack),
            _ => Packet::PubComp(ack),
        });
    }

    #[track_caller]
    pub(crate) fn ping(&self) {
        self.send(&Packet::PingReq);
        self.take("PINGRESP");
    }

    pub(crate) fn auth(&self, reason: ReasonCode, method: Option<&str>, data: Option<&[u8]>) {
        let user_properties = List::EMPTY;
        self.send(&Packet::Auth(Auth { reason, method, data, reason_string: None, user_properties }));
    }

    /// Says goodbye and goes.
    #[track_caller]
    pub(crate) fn disconnect(&self) {
        self.disconnect_with(ReasonCode::Success, None);
        self.expect_closed();
    }

    pub(crate) fn disconnect_with(&self, reason: ReasonCode, session_expiry: Option<u32>) {
        self.send(&Packet::Disconnect(Disconnect { session_expiry, ..Disconnect::new(reason) }));
    }

    /// Its transport fails.
    pub(crate) fn drop_link(&self) {
        let mut state = self.state.borrow_mut();
        state.note(self.link, "->", "(cut)");
        state.closed(self.link, CloseCause::Transport);
    }

    /// Reads nothing any more, until [`resume`](Self::resume).
    pub(crate) fn stall(&self) {
        self.state.borrow_mut().links[self.link].stalled = true;
    }

    pub(crate) fn resume(&self) {
        let mut state = self.state.borrow_mut();
        state.links[self.link].stalled = false;
        state.serve(self.link);
        state.pump();
    }

    /// Takes one portion of what the broker has for it, though it reads nothing else at the moment.
    pub(crate) fn transmit(&self) -> Flow {
        self.state.borrow_mut().transmit(self.link, Core::poll_transmit)
    }

    /// The same without messages.
    pub(crate) fn transmit_control(&self) -> Flow {
        self.state.borrow_mut().transmit(self.link, Core::poll_transmit_control)
    }

    // What a client receives.

    /// The next packet, whatever it is.
    #[track_caller]
    pub(crate) fn next(&self) -> Received {
        let received = self.state.borrow_mut().links[self.link].inbox.pop_front();
        received.unwrap_or_else(|| self.fail("nothing has come"))
    }

    #[track_caller]
    pub(crate) fn expect(&self, expected: &str) {
        let front = self.state.borrow().links[self.link].inbox.front().map(|received| received.text.clone());
        self.check(front.as_deref() == Some(expected), || format!("expected {expected:?}, got {front:?}"));
        let _ = self.next();
    }

    #[track_caller]
    pub(crate) fn expect_all(&self, expected: &[impl AsRef<str>]) {
        for packet in expected {
            self.expect(packet.as_ref());
        }
        self.expect_nothing();
    }

    #[track_caller]
    pub(crate) fn expect_nothing(&self) {
        let inbox = self.texts();
        self.check(inbox.is_empty(), || format!("expected nothing, got {inbox:?}"));
    }

    /// The broker has closed the connection, and everything that came before is taken.
    #[track_caller]
    pub(crate) fn expect_closed(&self) {
        self.expect_nothing();
        self.check(!self.is_open(), || "the connection is still open".to_owned());
    }

    #[track_caller]
    pub(crate) fn expect_open(&self) {
        self.check(self.is_open(), || "the connection is closed".to_owned());
    }

    /// The broker has closed the connection; MQTT 5 clients are told why.
    #[track_caller]
    pub(crate) fn expect_disconnect(&self, reason: u8) {
        if self.is_v5() {
            self.expect(&format!("DISCONNECT {reason:02x}"));
        }
        self.expect_closed();
    }

    /// The broker has refused the CONNECT with this reason code, or return code before 5.0, and closed.
    #[track_caller]
    pub(crate) fn expect_refused(&self, code: u8) {
        let received = self.next();
        // The code as it is on the wire: its last byte before 5.0, the fourth in 5.0.
        let found = (received.text.starts_with("CONNACK")).then(|| received.bytes[3]);
        self.check(found == Some(code), || format!("expected CONNACK {code:02x}, got {}", received.text));
        self.expect_closed();
    }

    /// Takes the CONNACK, which must be one of success; returns whether a session was present.
    #[track_caller]
    pub(crate) fn accepted(&self) -> Received {
        let received = self.next();
        self.check(received.text.starts_with("CONNACK 00"), || format!("refused: {}", received.text));
        received
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.borrow().links[self.link].open
    }

    /// What has come and is not taken, in short.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.state.borrow().links[self.link].inbox.iter().map(|received| received.text.clone()).collect()
    }

    /// Takes everything that has come.
    pub(crate) fn drain(&self) -> Vec<Received> {
        self.state.borrow_mut().links[self.link].inbox.drain(..).collect()
    }

    /// Takes every message that comes, acknowledging each as it asks, until none comes any more; as `topic=payload`.
    #[track_caller]
    pub(crate) fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            let received = self.state.borrow_mut().links[self.link].inbox.pop_front();
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
                _ => self.fail(&format!("expected messages only, got {}", received.text)),
            }
        }
    }

    /// Takes the oldest packet that is exactly this, from among others.
    #[track_caller]
    pub(crate) fn take(&self, text: &str) {
        let received = self.take_first(text);
        self.check(received.text == text, || format!("expected {text:?}, got {:?}", received.text));
    }

    /// Takes the oldest packet that begins with these words.
    #[track_caller]
    fn take_first(&self, words: &str) -> Received {
        let mut state = self.state.borrow_mut();
        let inbox = &mut state.links[self.link].inbox;
        let begins = |text: &str| {
            text.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let found = inbox.iter().position(|received| begins(&received.text));
        match found.and_then(|at| inbox.remove(at)) {
            Some(received) => received,
            None => state.fail(&format!("expected {words:?} among {:?}", state.texts(self.link))),
        }
    }

    /// Takes an acknowledgement that says that all is well, with or without subscribers.
    #[track_caller]
    fn acknowledged(&self, packet: &str, id: u16) {
        let text = format!("{packet} #{id}");
        let received = self.take_first(&text);
        let fine = received.text == text || received.text == format!("{text} 10");
        self.check(fine, || format!("not acknowledged: {}", received.text));
    }

    fn message(&self, publish: &Publish<'_>) -> String {
        let payload = String::from_utf8_lossy(publish.payload);
        let state = self.state.borrow();
        let alias = publish.topic_alias.and_then(|alias| state.links[self.link].rules.alias(alias.get()));
        let topic = publish.topic.map(TopicName::as_str).or(alias).unwrap_or_default();
        format!("{topic}={payload}")
    }

    pub(crate) fn next_id(&self) -> PacketId {
        let link = &mut self.state.borrow_mut().links[self.link];
        let id = PacketId::new(link.next_id).expect("it is never 0");
        link.next_id = link.next_id.checked_add(1).unwrap_or(1);
        id
    }

    #[track_caller]
    fn check(&self, condition: bool, problem: impl FnOnce() -> String) {
        if !condition {
            self.fail(&problem());
        }
    }

    #[track_caller]
    fn fail(&self, problem: &str) -> ! {
        let state = self.state.borrow();
        state.fail(&format!("{}: {problem}", state.links[self.link].name))
    }
}

impl State {
    fn texts(&self, link: usize) -> Vec<&str> {
        self.links[link].inbox.iter().map(|received| received.text.as_str()).collect()
    }
}

pub(crate) fn name(topic: &str) -> TopicName<'_> {
    TopicName::parse(topic).expect("the test's topic is one")
}

fn parse(filter: &str) -> TopicFilter<'_> {
    TopicFilter::parse(filter).expect("the test's filter is one")
}

pub(crate) fn level(qos: u8) -> QoS {
    QoS::from_u8(qos).expect("the test's QoS is one")
}
