//! The client as the JavaScript around it drives it: bytes in, bytes and events out. Which socket and which clock it has is
//! decided there.

use std::collections::BTreeMap;

use columba_codec::{
    MessageProperties, QoS, ReasonCode, RetainHandling, SubscribeItem, SubscriptionOptions, TopicFilter,
    UserProperty,
};
use columba_core::{Flow, Time};
use js_sys::{Array, Uint8Array};
use std::num::{NonZeroU16, NonZeroU32};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, JsValue};

use crate::client::{
    AckId, Client, ClientEvent, ClientOptions, Message, OutgoingMessage, Properties, State, Token,
    WillOptions,
};
use crate::packets;
use crate::value::{
    self, array, boolean, bytes, counter, field, number, string, unsigned_16, unsigned_32, wrong,
};

/// An MQTT client. Times are in milliseconds since it was made.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawClient {
    client: Client,
    /// Messages that wait to be acknowledged by the program, by numbers that are never used twice: a packet identifier may be
    /// another message's by the time.
    acks: BTreeMap<u32, AckId>,
    last_ack: u32,
    manual_acks: bool,
    now: Time,
}

#[wasm_bindgen]
impl RawClient {
    /// A client with these options; see `ClientOptions` in the type declarations.
    #[wasm_bindgen(constructor)]
    pub fn new(given: &JsValue) -> Result<Self, JsError> {
        let options = options(given)?;
        let manual_acks = options.manual_acks;
        let client = Client::new(options)?;
        Ok(Self { client, acks: BTreeMap::new(), last_ack: 0, manual_acks, now: Time::ZERO })
    }

    /// The transport is open.
    pub fn open(&mut self, now: f64) {
        self.set_now(now);
        self.client.open(self.now);
    }

    /// Bytes came.
    pub fn receive(&mut self, now: f64, bytes: &[u8]) {
        self.set_now(now);
        self.client.receive(self.now, bytes);
    }

    /// The transport is gone.
    pub fn closed(&mut self, now: f64) {
        self.set_now(now);
        self.client.close(self.now);
    }

    /// Publishes; the outcome comes under the number that this returns.
    pub fn publish(
        &mut self,
        now: f64,
        topic: &str,
        payload: Vec<u8>,
        qos: u8,
        retain: bool,
        properties: &JsValue,
    ) -> Result<f64, JsError> {
        self.set_now(now);
        let given = packets::message_properties_from_js(properties)?;
        let mut message = match given.topic_alias {
            Some(alias) if topic.is_empty() => OutgoingMessage::by_alias(alias, payload),
            _ => OutgoingMessage::new(topic, payload)?,
        };
        message.qos = level(qos)?;
        message.retain = retain;
        message.topic_alias = given.topic_alias;
        message.properties = Properties::new(&given.lend())?;
        Ok(number_of(self.client.publish(self.now, message)?))
    }

    /// Subscribes; the outcome comes under the number that this returns.
    pub fn subscribe(
        &mut self,
        now: f64,
        filters: Vec<JsValue>,
        properties: &JsValue,
    ) -> Result<f64, JsError> {
        self.set_now(now);
        let texts = filters.iter().map(|item| Ok(string(item, "filter")?.unwrap_or_default()));
        let texts: Vec<String> = texts.collect::<Result<_, JsError>>()?;
        let mut items = Vec::new();
        for (item, text) in filters.iter().zip(&texts) {
            items.push(SubscribeItem {
                filter: TopicFilter::parse(text)?,
                options: subscription_options(item)?,
            });
        }
        let given = packets::message_properties_from_js(properties)?;
        let id = given.subscription_ids.first().copied();
        let lent = given.lend();
        let users: Vec<UserProperty<'_>> = lent.user_properties.iter().collect();
        Ok(number_of(self.client.subscribe(self.now, &items, id, &users)?))
    }

    /// Unsubscribes; the outcome comes under the number that this returns.
    pub fn unsubscribe(&mut self, now: f64, filters: Vec<String>) -> Result<f64, JsError> {
        self.set_now(now);
        let filters = filters.iter().map(|filter| TopicFilter::parse(filter));
        let filters = filters.collect::<Result<Vec<_>, _>>()?;
        Ok(number_of(self.client.unsubscribe(self.now, &filters, &[])?))
    }

    /// Acknowledges a message.
    pub fn acknowledge(&mut self, now: f64, number: u32, reason: u8) -> Result<(), JsError> {
        self.set_now(now);
        let ack = self.acks.remove(&number);
        let ack = ack.ok_or_else(|| JsError::new("no such message waits for an acknowledgement"))?;
        Ok(self.client.acknowledge(self.now, ack, code(reason)?)?)
    }

    /// Sends AUTH.
    pub fn authenticate(&mut self, now: f64, reason: u8, data: Option<Vec<u8>>) -> Result<(), JsError> {
        self.set_now(now);
        Ok(self.client.auth(self.now, code(reason)?, data.as_deref())?)
    }

    /// Sends DISCONNECT.
    pub fn disconnect(
        &mut self,
        now: f64,
        reason: u8,
        session_expiry: Option<u32>,
        reason_string: Option<String>,
    ) -> Result<(), JsError> {
        self.set_now(now);
        Ok(self.client.disconnect(self.now, code(reason)?, session_expiry, reason_string.as_deref())?)
    }

    /// What is to be sent next.
    pub fn transmit(&mut self, now: f64) -> Option<Uint8Array> {
        self.set_now(now);
        let mut out = Vec::new();
        let mut flow = self.client.poll_transmit(self.now, &mut out);
        while flow == Flow::More && out.is_empty() {
            flow = self.client.poll_transmit(self.now, &mut out);
        }
        (!out.is_empty()).then(|| Uint8Array::from(&out[..]))
    }

    /// The next event, as an array that begins with its kind.
    #[wasm_bindgen(js_name = next)]
    pub fn next_event(&mut self) -> Option<Array> {
        let event = self.client.poll_event()?;
        Some(self.describe(event))
    }

    /// When [`timeout`](Self::timeout) has to be called at the latest, if ever.
    pub fn deadline(&self) -> Option<f64> {
        self.client.poll_timeout().map(value::deadline)
    }

    /// The deadline is reached.
    pub fn timeout(&mut self, now: f64) {
        self.set_now(now);
        self.client.handle_timeout(self.now);
    }

    /// CONNACK has come, and the connection is not over.
    #[wasm_bindgen(js_name = isOnline)]
    pub fn is_online(&self) -> bool {
        self.client.state() == State::Online
    }

    /// The client id, assigned or given.
    #[wasm_bindgen(js_name = clientId)]
    pub fn client_id(&self) -> String {
        self.client.client_id().to_owned()
    }

    /// Messages sent and not acknowledged.
    pub fn inflight(&self) -> usize {
        self.client.inflight()
    }

    /// Messages that have not been sent.
    pub fn queued(&self) -> usize {
        self.client.queued()
    }
}

/// What an array of [`RawClient::next_event`] begins with; `js/client.js` has the same list.
#[derive(Clone, Copy)]
enum Kind {
    Connected,
    Disconnected,
    Message,
    Answered,
    Failed,
    Auth,
}

impl RawClient {
    fn set_now(&mut self, now: f64) {
        self.now = self.now.max(value::time(now));
    }

    fn describe(&mut self, event: ClientEvent) -> Array {
        let version = self.client.options().version;
        match event {
            ClientEvent::Connected { packet, .. } => {
                self.acks.clear();
                array(&[Kind::Connected.into(), packets::to_js(&packet.decode(), version)])
            }
            ClientEvent::Disconnected { reason, packet } => {
                let packet =
                    packet.map_or(JsValue::UNDEFINED, |packet| packets::to_js(&packet.decode(), version));
                let code = reason.reason_code().map_or(JsValue::UNDEFINED, |code| code.code().into());
                array(&[Kind::Disconnected.into(), reason.to_string().into(), packet, code])
            }
            ClientEvent::Message(message) => self.message(&message),
            ClientEvent::Published { token, outcome } => match outcome {
                Ok(code) if !code.is_error() => answered(token, code.code().into()),
                Ok(code) => failed(token, code, code.name()),
                Err(why) => failed(token, why.reason_code(), &why.to_string()),
            },
            ClientEvent::Subscribed { token, codes } | ClientEvent::Unsubscribed { token, codes } => {
                let codes: Array = codes.iter().map(|code| JsValue::from(code.code())).collect();
                answered(token, codes.into())
            }
            ClientEvent::Unanswered { token } => {
                failed(token, ReasonCode::UnspecifiedError, "the connection ended before the answer")
            }
            ClientEvent::Auth { packet } => {
                array(&[Kind::Auth.into(), packets::to_js(&packet.decode(), version)])
            }
        }
    }

    fn message(&mut self, message: &Message) -> Array {
        let mut number = 0;
        if let Some(ack) = message.ack().filter(|_| self.manual_acks) {
            self.last_ack = self.last_ack.wrapping_add(1).max(1);
            number = self.last_ack;
            self.acks.insert(number, ack);
        }
        let publish = message.publish();
        let id = message.ack().map_or(0, |ack| ack.packet_id.get());
        // Most have none, and an empty object is made on the other side for less.
        let properties = if has_properties(&publish.properties) || !publish.subscription_ids.is_empty() {
            packets::message_properties_to_js(&publish.properties, publish.subscription_ids, None)
        } else {
            JsValue::UNDEFINED
        };
        array(&[
            Kind::Message.into(),
            publish.topic.map_or("", |topic| topic.as_str()).into(),
            Uint8Array::from(publish.payload).into(),
            (publish.qos as u8).into(),
            publish.retain.into(),
            publish.dup.into(),
            id.into(),
            properties,
            number.into(),
        ])
    }
}

impl From<Kind> for JsValue {
    fn from(kind: Kind) -> Self {
        (kind as u8).into()
    }
}

fn answered(token: Token, what: JsValue) -> Array {
    array(&[Kind::Answered.into(), number_of(token).into(), what])
}

fn failed(token: Token, code: ReasonCode, why: &str) -> Array {
    array(&[Kind::Failed.into(), number_of(token).into(), code.code().into(), why.into()])
}

/// Counts up from 1 and stays far below 2^53.
fn number_of(token: Token) -> f64 {
    counter(token.get())
}

fn has_properties(properties: &MessageProperties<'_>) -> bool {
    *properties != MessageProperties::default()
}

fn level(qos: u8) -> Result<QoS, JsError> {
    QoS::from_u8(qos).ok_or_else(|| wrong("qos", "0, 1 or 2"))
}

fn code(reason: u8) -> Result<ReasonCode, JsError> {
    ReasonCode::from_u8(reason).ok_or_else(|| wrong("reasonCode", "one that MQTT 5 has"))
}

fn subscription_options(item: &JsValue) -> Result<SubscriptionOptions, JsError> {
    let qos = number(item, "qos", 2)?.unwrap_or(2) as u8;
    Ok(SubscriptionOptions {
        qos: level(qos)?,
        no_local: boolean(item, "noLocal")?.unwrap_or(false),
        retain_as_published: boolean(item, "retainAsPublished")?.unwrap_or(false),
        retain_handling: match number(item, "retainHandling", 2)? {
            Some(1) => RetainHandling::SendIfNew,
            Some(2) => RetainHandling::DoNotSend,
            _ => RetainHandling::Send,
        },
    })
}

fn options(given: &JsValue) -> Result<ClientOptions, JsError> {
    let version = packets::version_of(number(given, "version", 255)?.unwrap_or(5))?;
    let mut options = ClientOptions::new(version, string(given, "clientId")?.unwrap_or_default());
    options.clean_start = boolean(given, "cleanStart")?.unwrap_or(true);
    options.keep_alive = unsigned_16(given, "keepAlive")?.unwrap_or(options.keep_alive);
    options.username = string(given, "username")?;
    options.password = bytes(given, "password")?.map(Into::into);
    options.manual_acks = boolean(given, "manualAcks")?.unwrap_or(false);
    if let Some(most) = number(given, "queueLimit", u32::MAX.into())? {
        options.limits.queued_messages = most as usize;
    }
    if let Some(given) = field(given, "will") {
        let topic = string(&given, "topic")?.ok_or_else(|| wrong("will.topic", "given"))?;
        let properties =
            packets::message_properties_from_js(&field(&given, "properties").unwrap_or_default())?;
        options.will = Some(WillOptions {
            topic,
            payload: bytes(&given, "payload")?.unwrap_or_default().into(),
            qos: level(number(&given, "qos", 2)?.unwrap_or(0) as u8)?,
            retain: boolean(&given, "retain")?.unwrap_or(false),
            delay: unsigned_32(&given, "delay")?,
            properties: Properties::new(&properties.lend())?,
        });
    }
    if let Some(given) = field(given, "properties") {
        connect_properties(&mut options, &given)?;
    }
    Ok(options)
}

fn connect_properties(options: &mut ClientOptions, given: &JsValue) -> Result<(), JsError> {
    options.session_expiry = unsigned_32(given, "sessionExpiryInterval")?;
    options.receive_maximum = unsigned_16(given, "receiveMaximum")?.and_then(NonZeroU16::new);
    options.maximum_packet_size = unsigned_32(given, "maximumPacketSize")?.and_then(NonZeroU32::new);
    options.topic_alias_maximum = unsigned_16(given, "topicAliasMaximum")?;
    options.request_response_information = boolean(given, "requestResponseInformation")?;
    options.request_problem_information = boolean(given, "requestProblemInformation")?;
    options.authentication_method = string(given, "authenticationMethod")?;
    options.authentication_data = bytes(given, "authenticationData")?.map(Into::into);
    if let Some(users) = field(given, "userProperties") {
        options.user_properties = packets::user_properties(&users)?;
    }
    Ok(())
}
