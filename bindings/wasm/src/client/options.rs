//! What a client is told before it begins, and the CONNECT that comes of it. Never what a server decides.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use columba_codec::{Connect, ConnectProperties, EncodeError, Field, QoS, TopicName, UserProperty, Version};

use super::message::Properties;

/// Settings of a client. Everything it sends in CONNECT, again each time it connects.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The protocol version. Default 5.0.
    pub version: Version,
    /// Empty if the server is to assign one; the client keeps that and names it from then on. Default empty.
    pub client_id: String,
    /// Whether each connection begins a new session. Without, the client takes a session that the server has as its own,
    /// one from before this object too, with nothing of it in flight. Default true.
    pub clean_start: bool,
    /// Seconds; 0 switches it off. A Server Keep Alive replaces it. Default 60.
    pub keep_alive: u16,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Bytes>,
    /// The will.
    pub will: Option<WillOptions>,
    /// Session Expiry Interval in seconds (MQTT 5).
    pub session_expiry: Option<u32>,
    /// How many messages at QoS 1 and 2 may come unacknowledged (MQTT 5). Default 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// The largest packet to be taken, in bytes with fixed header. Only MQTT 5 servers are told, but a larger packet ends the
    /// connection in every version. Default: what MQTT can say, 256 MiB.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// The highest topic alias the server may use (MQTT 5). The client remembers as many topics. Default 0.
    pub topic_alias_maximum: Option<u16>,
    /// Whether Response Information is asked for (MQTT 5).
    pub request_response_information: Option<bool>,
    /// Whether reason strings and user properties are welcome on every packet (MQTT 5).
    pub request_problem_information: Option<bool>,
    /// Authentication Method (MQTT 5); makes AUTH possible.
    pub authentication_method: Option<String>,
    /// Authentication Data of CONNECT (MQTT 5).
    pub authentication_data: Option<Bytes>,
    /// User properties of CONNECT (MQTT 5).
    pub user_properties: Vec<(String, String)>,
    /// Messages at QoS 1 and 2 are acknowledged by [`Client::acknowledge`](super::Client::acknowledge) and not before.
    /// Default false: as soon as they have become an event.
    pub manual_acks: bool,
    /// Lowers the QoS of a message to the server's Maximum QoS, and leaves RETAIN out where that is not available, instead of
    /// refusing the message. Default false.
    pub adapt: bool,
    /// How much the client holds.
    pub limits: ClientLimits,
}

/// Upper bounds.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    /// Messages that wait to be sent; one beyond is refused. Default 10,000.
    pub queued_messages: usize,
    /// Bytes of messages that wait or are unacknowledged, each with [`MESSAGE_OVERHEAD`](columba_core::MESSAGE_OVERHEAD). One
    /// beyond is refused, unless it is alone. Default 64 MiB.
    pub queued_bytes: usize,
    /// Unacknowledged messages towards the server, where its Receive Maximum allows as many; others wait. Default 1,024; 0
    /// counts as 1.
    pub inflight: u16,
    /// Unanswered SUBSCRIBEs and UNSUBSCRIBEs; one beyond is refused. Default 1,024.
    pub requests: usize,
    /// Seconds from the open transport, or the last AUTH, to CONNACK. Default 30.
    pub connect_timeout: u16,
}

/// The will: what the server publishes if the client goes without DISCONNECT.
#[derive(Clone, Debug)]
pub struct WillOptions {
    /// Where it is published: a topic name, or CONNECT cannot be encoded.
    pub topic: String,
    /// What is published.
    pub payload: Bytes,
    /// At which QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Seconds between the end of the connection and the publication (MQTT 5).
    pub delay: Option<u32>,
    /// Properties that are published with it (MQTT 5).
    pub properties: Properties,
}

impl ClientOptions {
    /// The defaults for this version and client id.
    pub fn new(version: Version, client_id: impl Into<String>) -> Self {
        Self {
            version,
            client_id: client_id.into(),
            clean_start: true,
            keep_alive: 60,
            username: None,
            password: None,
            will: None,
            session_expiry: None,
            receive_maximum: None,
            maximum_packet_size: None,
            topic_alias_maximum: None,
            request_response_information: None,
            request_problem_information: None,
            authentication_method: None,
            authentication_data: None,
            user_properties: Vec::new(),
            manual_acks: false,
            adapt: false,
            limits: ClientLimits::default(),
        }
    }

    /// Appends the CONNECT [MQTT-3.1.0-1].
    pub(super) fn encode_connect(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let users: Vec<UserProperty<'_>> =
            self.user_properties.iter().map(|(name, value)| (&**name, &**value)).collect();
        let will = match &self.will {
            Some(will) => Some(will.packet()?),
            None => None,
        };
        let connect = Connect {
            clean_start: self.clean_start,
            keep_alive: self.keep_alive,
            will,
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            properties: ConnectProperties {
                session_expiry: self.session_expiry,
                receive_maximum: self.receive_maximum,
                maximum_packet_size: self.maximum_packet_size,
                topic_alias_maximum: self.topic_alias_maximum,
                request_response_information: self.request_response_information,
                request_problem_information: self.request_problem_information,
                authentication_method: self.authentication_method.as_deref(),
                authentication_data: self.authentication_data.as_deref(),
                user_properties: (&*users).into(),
            },
            ..Connect::new(self.version, &self.client_id)
        };
        connect.encode(out)
    }
}

impl WillOptions {
    fn packet(&self) -> Result<columba_codec::Will<'_>, EncodeError> {
        let topic = TopicName::parse(&self.topic)
            .map_err(|error| EncodeError::Topic { field: Field::WillTopic, error })?;
        Ok(columba_codec::Will {
            topic,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            delay: self.delay,
            properties: self.properties.decode(),
        })
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            queued_messages: 10_000,
            queued_bytes: 64 << 20,
            inflight: 1024,
            requests: 1024,
            connect_timeout: 30,
        }
    }
}
