//! What a server said in CONNACK about itself. Never acts on it.

use columba_codec::{ConnAckProperties, QoS};

use super::options::ClientOptions;

/// What the server allows on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Messages at QoS 1 and 2 that may be unacknowledged.
    pub receive_maximum: u16,
    /// The largest packet it takes, in bytes with fixed header.
    pub maximum_packet_size: usize,
    /// The highest QoS to publish with.
    pub maximum_qos: QoS,
    /// Whether messages may be retained.
    pub retain: bool,
    /// The highest topic alias.
    pub topic_alias_maximum: u16,
    /// Whether filters may have wildcards.
    pub wildcards: bool,
    /// Whether subscriptions may be shared.
    pub shared: bool,
    /// Whether subscriptions may have identifiers.
    pub subscription_ids: bool,
    /// Seconds; 0: none. The server's, or else the client's own [MQTT-3.2.2-21] [MQTT-3.2.2-22].
    pub keep_alive: u16,
    /// Seconds that the session outlives the connection (MQTT 5). The server's, or else what the client asked for.
    pub session_expiry: u32,
}

/// The largest packet that MQTT can say.
const LARGEST_PACKET: usize = 268_435_460;

impl Server {
    /// One that says nothing, as those before MQTT 5 do.
    pub(super) fn new(options: &ClientOptions) -> Self {
        Self::from_properties(options, &ConnAckProperties::default())
    }

    pub(super) fn from_properties(options: &ClientOptions, properties: &ConnAckProperties<'_>) -> Self {
        let size = properties.maximum_packet_size.map_or(LARGEST_PACKET, |size| size.get() as usize);
        Self {
            receive_maximum: properties.receive_maximum.map_or(u16::MAX, Into::into),
            maximum_packet_size: size.min(LARGEST_PACKET),
            maximum_qos: properties.maximum_qos.unwrap_or(QoS::ExactlyOnce),
            retain: properties.retain_available.unwrap_or(true),
            topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
            wildcards: properties.wildcard_subscription_available.unwrap_or(true),
            shared: properties.shared_subscription_available.unwrap_or(true),
            subscription_ids: properties.subscription_ids_available.unwrap_or(true),
            keep_alive: properties.server_keep_alive.unwrap_or(options.keep_alive),
            session_expiry: properties.session_expiry.or(options.session_expiry).unwrap_or(0),
        }
    }
}
