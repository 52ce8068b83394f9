//! Bytes to MQTT packets and back, for versions 3.1, 3.1.1 and 5.0, for a client's and a server's side.
//!
//! This crate owns the wire format and the rules that one packet alone can break. It never keeps state
//! between packets: topic aliases, packet identifiers in flight and what may follow what belong to the broker.
//!
//! ```text
//! bytes ──FixedHeader::read──▶ header ──Packet::decode──▶ Packet<'_> (borrows the bytes)
//! Packet<'_> ──encode──▶ bytes
//! ```

mod check;
mod error;
mod list;
pub mod packet;
mod property;
mod reason;
mod topic;
mod types;
mod wire;

pub use error::{DecodeError, EncodeError, Field};
pub use list::{Item, Items, List};
pub use packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, FixedHeader, Packet,
    PacketType, Publish, PublishHead, SubAck, Subscribe, SubscribeItem, UnsubAck, Unsubscribe, Will,
};
pub use property::{MessageProperties, Property};
pub use reason::ReasonCode;
pub use topic::{TopicError, TopicFilter, TopicName};
pub use types::{
    PacketId, PayloadFormat, QoS, RetainHandling, SubscriptionId, SubscriptionOptions, UserProperty, Version,
};
