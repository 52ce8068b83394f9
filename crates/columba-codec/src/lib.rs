//! Bytes to MQTT packets and back, for versions 3.1, 3.1.1 and 5.0, for a client's and a server's side.
//!
//! This crate owns the wire format and the rules that one packet alone can break. It never keeps state
//! between packets: topic aliases, packet identifiers in flight and what may follow what belong to the broker.
//!
//! ```text
//! bytes ──FixedHeader::read──▶ header ──Packet::decode──▶ Packet<'_> (borrows the bytes)
//! Packet<'_> ──encode──▶ bytes
//! ```
//!
//! # Example
//!
//! ```
//! use columba_codec::{FixedHeader, Packet, Publish, TopicName, Version};
//!
//! let topic = TopicName::parse("kitchen/temperature")?;
//! let mut bytes = Vec::new();
//! Publish::new(topic, b"21.5").encode(Version::V5, &mut bytes)?;
//!
//! // Whoever reads from a socket asks again with more bytes as long as this says `None`.
//! let limit = 64 * 1024;
//! let header = FixedHeader::read(&bytes, limit)?.expect("two bytes are enough here");
//! assert_eq!(header.total(), bytes.len());
//!
//! match Packet::decode(header, &bytes[header.len..header.total()], Version::V5)? {
//!     Packet::Publish(publish) => {
//!         assert_eq!(publish.topic, Some(topic));
//!         assert_eq!(publish.payload, b"21.5");
//!     }
//!     other => panic!("not a PUBLISH: {other:?}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a caller can rely on
//!
//! * **Decoding never panics**, whatever the bytes, and never allocates but for the box around CONNECT and CONNACK.
//!   A packet borrows from its bytes; its lists ([`List`]) are read where they lie.
//! * **What decodes is valid**: topics, filters, strings, reason codes and properties have been checked, and an
//!   error says exactly what is wrong ([`DecodeError`]) and with which reason code to answer.
//! * **What encodes decodes**, to the same packet but for what the version does not have. A packet that cannot be
//!   encoded leaves the buffer as it was.
//! * Versions share their types. The version is an argument; only a CONNECT says its own.

mod check;
mod error;
mod list;
pub mod packet;
mod property;
mod reason;
mod topic;
mod types;
#[cfg(feature = "vectors")]
#[doc(hidden)]
pub mod vectors;
mod wire;

pub use error::{DecodeError, EncodeError, Field};
pub use list::{Item, Items, List};
pub use packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, FixedHeader, Packet,
    PacketType, Publish, PublishHead, SubAck, Subscribe, SubscribeItem, UnsubAck, Unsubscribe, Will,
};
pub use property::{MessageProperties, Property};
pub use reason::ReasonCode;
pub use topic::{Levels, TopicBuf, TopicError, TopicFilter, TopicName};
pub use types::{
    PacketId, PayloadFormat, QoS, RetainHandling, SubscriptionId, SubscriptionOptions, UserProperty, Version,
};
