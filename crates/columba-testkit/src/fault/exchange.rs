//! Taking over from a broker or a client: what a handler says instead, and the standard answers.

use columba_codec::{
    Ack, Auth, ConnAck, ConnAckProperties, Disconnect, List, Packet, QoS, ReasonCode, SubAck, UnsubAck,
    Version,
};

/// What a handler does about one packet ([`Rule::handle`](crate::Rule::handle)).
#[derive(Debug)]
pub struct Exchange {
    version: Version,
    client: Box<str>,
    pub(crate) passes: bool,
    pub(crate) closes: bool,
    /// To who sent the packet.
    pub(crate) answers: Vec<u8>,
    /// To who would have got it.
    pub(crate) forwards: Vec<u8>,
}

impl Exchange {
    pub(crate) fn new(version: Version, client: &str) -> Self {
        Self {
            version,
            client: client.into(),
            passes: true,
            closes: false,
            answers: Vec::new(),
            forwards: Vec::new(),
        }
    }

    /// The protocol version of the connection.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The client's id; empty if it is not known yet.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Sends this to whoever sent the packet, in the receiver's stead. The packet itself does not pass.
    ///
    /// # Panics
    /// If it cannot be encoded.
    pub fn answer(&mut self, packet: &Packet<'_>) {
        self.passes = false;
        packet.encode(self.version, &mut self.answers).expect("the handler sends what can be encoded");
    }

    /// Sends this to whoever would have got the packet, in its stead.
    ///
    /// # Panics
    /// If it cannot be encoded.
    pub fn forward(&mut self, packet: &Packet<'_>) {
        self.passes = false;
        packet.encode(self.version, &mut self.forwards).expect("the handler sends what can be encoded");
    }

    /// The packet does not pass.
    pub fn lose(&mut self) {
        self.passes = false;
    }

    /// Ends the connection for both sides, after the answer if there is one. The packet does not pass.
    pub fn close(&mut self) {
        self.passes = false;
        self.closes = true;
    }
}

/// The answer that this kind of packet has, with this reason; and whether the connection ends with it.
pub(crate) fn standard_answer(packet: &Packet<'_>, reason: ReasonCode, version: Version) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    // What a version has no words for it does not say; the packet is gone all the same.
    let mut say = |packet: &Packet<'_>| {
        let _ = packet.encode(version, &mut out);
    };
    let ack = |id| Ack { reason, ..Ack::new(id) };
    let mut ends = false;
    match packet {
        Packet::Connect(_) => {
            ends = reason.is_error();
            say(&Packet::ConnAck(Box::new(ConnAck {
                session_present: false,
                reason,
                properties: ConnAckProperties::default(),
            })));
        }
        Packet::Publish(publish) => match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(id)) => say(&Packet::PubAck(ack(id))),
            (QoS::ExactlyOnce, Some(id)) => say(&Packet::PubRec(ack(id))),
            _ => {}
        },
        Packet::PubRec(received) => say(&Packet::PubRel(ack(received.packet_id))),
        Packet::PubRel(received) => say(&Packet::PubComp(ack(received.packet_id))),
        Packet::Subscribe(subscribe) => {
            let reasons = vec![reason; subscribe.filters.len()];
            say(&Packet::SubAck(SubAck {
                packet_id: subscribe.packet_id,
                reasons: List::from_slice(&reasons),
                reason_string: None,
                user_properties: List::EMPTY,
            }));
        }
        Packet::Unsubscribe(unsubscribe) => {
            let reasons = vec![reason; unsubscribe.filters.len()];
            say(&Packet::UnsubAck(UnsubAck {
                packet_id: unsubscribe.packet_id,
                reasons: List::from_slice(&reasons),
                reason_string: None,
                user_properties: List::EMPTY,
            }));
        }
        Packet::PingReq => say(&Packet::PingResp),
        Packet::Auth(auth) if !reason.is_error() => {
            say(&Packet::Auth(Auth { reason, ..auth.clone() }));
        }
        _ => {
            ends = true;
            say(&Packet::Disconnect(Disconnect::new(reason)));
        }
    }
    (out, ends)
}
