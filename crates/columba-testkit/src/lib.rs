//! A broker for tests.

mod client;
mod describe;
mod promises;
mod received;
mod rng;
mod sockets;
mod transcript;
mod wire;
mod world;

pub use columba;
pub use columba::codec;
pub use columba::{QoS, ReasonCode, Version};

pub use crate::client::{Client, level, name};
pub use crate::describe::describe;
pub use crate::received::Received;
pub use crate::transcript::{Direction, Entry, Transcript, What};
pub use crate::world::{Edge, EdgeEvent, SimulatedBroker, World, WorldOptions};

use columba::TopicName;
use columba::codec::{Connect, MessageProperties, Will};

/// For CONNECT: the session is to last, in MQTT 5 for an hour after the connection.
pub fn persistent(connect: &mut Connect<'_>) {
    connect.clean_start = false;
    if connect.version == Version::V5 {
        connect.properties.session_expiry = Some(3600);
    }
}

/// A will at QoS 0 without options.
///
/// # Panics
/// If `topic` is no topic name.
pub fn will<'a>(topic: &'a str, payload: &'a str) -> Will<'a> {
    Will {
        topic: TopicName::parse(topic).expect("a topic name"),
        payload: payload.as_bytes(),
        qos: QoS::AtMostOnce,
        retain: false,
        delay: None,
        properties: MessageProperties::default(),
    }
}
