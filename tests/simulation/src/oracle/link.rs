//! What a connection is to the model: what has arrived, what has to be answered, what the client allows. It never knows
//! what a session is.

use std::collections::BTreeMap;

use columba_testkit::codec::{Packet, PacketType};
use columba_testkit::{ReasonCode, Version, describe};

use super::session::{Latest, Micros};

/// One connection, as the broker must see it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: Option<usize>,
    pub(super) version: Version,
    pub(super) phase: Phase,
    pub(super) buffer: Vec<u8>,
    /// What the broker has to answer, in the order of the questions.
    pub(super) answers: Vec<Answer>,
    /// 0 is never.
    pub(super) keep_alive: Micros,
    pub(super) last_packet: Micros,
    pub(super) receive_maximum: usize,
    pub(super) maximum_packet_size: usize,
    /// Topics by alias, from the client and to it.
    pub(super) aliases_in: BTreeMap<u16, String>,
    pub(super) aliases_out: BTreeMap<u16, String>,
    /// The latest message sent on this connection, again or not.
    pub(super) latest: Latest,
    pub(super) closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No CONNECT yet.
    New,
    Live,
    /// Ended. A client of version 5 may be told this.
    Over(Option<ReasonCode>),
}

/// Something the broker has to send.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    ConnAck {
        present: bool,
    },
    /// With whether somebody gets the message.
    PubAck {
        id: u16,
        matched: bool,
    },
    PubRec {
        id: u16,
        matched: bool,
    },
    PubRel {
        id: u16,
    },
    PubComp {
        id: u16,
    },
    SubAck {
        id: u16,
        codes: Vec<u8>,
    },
    UnsubAck {
        id: u16,
        codes: Vec<u8>,
    },
    PingResp,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            client: None,
            version: Version::V5,
            phase: Phase::New,
            buffer: Vec::new(),
            answers: Vec::new(),
            keep_alive: 0,
            last_packet: 0,
            receive_maximum: 65_535,
            maximum_packet_size: usize::MAX,
            aliases_in: BTreeMap::new(),
            aliases_out: BTreeMap::new(),
            latest: Latest::default(),
            closed: false,
        }
    }

    /// When the broker has to give it up, one and a half times the keep alive after the last packet [MQTT-3.1.2-22].
    pub(super) fn deadline(&self) -> Option<Micros> {
        (self.phase == Phase::Live && self.keep_alive > 0).then(|| self.last_packet + self.keep_alive / 2 * 3)
    }

    /// The broker has sent this answer: each kind comes in the order of the questions.
    pub(super) fn answered(&mut self, packet: &Packet<'_>) -> Result<Answer, String> {
        let kind = packet.packet_type();
        let Some(at) = self.answers.iter().position(|answer| answer.kind() == kind) else {
            return Err(format!("{}: nobody has asked for it", describe(packet)));
        };
        let answer = self.answers.remove(at);
        let fits = match (&answer, packet) {
            (Answer::ConnAck { present }, Packet::ConnAck(ack)) => {
                let present = *present && self.version > Version::V3_1;
                ack.reason == ReasonCode::Success && ack.session_present == present
            }
            (Answer::PubAck { id, matched }, Packet::PubAck(ack))
            | (Answer::PubRec { id, matched }, Packet::PubRec(ack)) => {
                let reason = ack.reason;
                let nobody = reason == ReasonCode::NoMatchingSubscribers && !matched;
                ack.packet_id.get() == *id && (reason == ReasonCode::Success || nobody)
            }
            (Answer::PubRel { id }, Packet::PubRel(ack)) | (Answer::PubComp { id }, Packet::PubComp(ack)) => {
                let fine = matches!(ack.reason, ReasonCode::Success | ReasonCode::PacketIdentifierNotFound);
                ack.packet_id.get() == *id && fine
            }
            (Answer::SubAck { id, codes }, Packet::SubAck(ack)) => {
                let found: Vec<u8> = ack.reasons.iter().map(ReasonCode::code).collect();
                ack.packet_id.get() == *id && found == *codes
            }
            (Answer::UnsubAck { id, codes }, Packet::UnsubAck(ack)) => {
                let found: Vec<u8> = ack.reasons.iter().map(ReasonCode::code).collect();
                ack.packet_id.get() == *id && found == *codes
            }
            (Answer::PingResp, Packet::PingResp) => true,
            _ => false,
        };
        if fits { Ok(answer) } else { Err(format!("{}: the answer must be {answer:?}", describe(packet))) }
    }
}

impl Answer {
    const fn kind(&self) -> PacketType {
        match self {
            Self::ConnAck { .. } => PacketType::ConnAck,
            Self::PubAck { .. } => PacketType::PubAck,
            Self::PubRec { .. } => PacketType::PubRec,
            Self::PubRel { .. } => PacketType::PubRel,
            Self::PubComp { .. } => PacketType::PubComp,
            Self::SubAck { .. } => PacketType::SubAck,
            Self::UnsubAck { .. } => PacketType::UnsubAck,
            Self::PingResp => PacketType::PingResp,
        }
    }
}
