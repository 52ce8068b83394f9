//! What types, levels and codes mean, in words. It looks at no bytes.

use columba_codec::{PacketType, ReasonCode};

pub(super) const fn packet(packet: PacketType) -> &'static str {
    match packet {
        PacketType::Connect => "a client introduces itself",
        PacketType::ConnAck => "the broker answers CONNECT",
        PacketType::Publish => "a message on its way",
        PacketType::PubAck => "a message at QoS 1 has come",
        PacketType::PubRec => "a message at QoS 2 has come: step 2 of 4",
        PacketType::PubRel => "the message may be forgotten: step 3 of 4",
        PacketType::PubComp => "the exchange at QoS 2 is complete: step 4 of 4",
        PacketType::Subscribe => "a client wants messages",
        PacketType::SubAck => "the broker answers SUBSCRIBE",
        PacketType::Unsubscribe => "a client wants messages no longer",
        PacketType::UnsubAck => "the broker answers UNSUBSCRIBE",
        PacketType::PingReq => "a client is still there",
        PacketType::PingResp => "the broker is still there, too",
        PacketType::Disconnect => "the last packet of a connection",
        PacketType::Auth => "a step of an authentication",
    }
}

pub(super) const fn packet_id(packet: PacketType) -> &'static str {
    match packet {
        PacketType::Publish | PacketType::Subscribe | PacketType::Unsubscribe => {
            "the answer will carry the same number"
        }
        PacketType::SubAck => "that of the SUBSCRIBE that is answered",
        PacketType::UnsubAck => "that of the UNSUBSCRIBE that is answered",
        _ => "that of the PUBLISH that this is about",
    }
}

pub(super) const fn qos(level: u8) -> &'static str {
    match level {
        0 => "QoS 0: sent once and not acknowledged; may be lost",
        1 => "QoS 1: acknowledged; may come more than once",
        2 => "QoS 2: comes exactly once, in four steps",
        _ => "no QoS",
    }
}

/// What CONNACK says before MQTT 5.
pub(super) const fn return_code(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => "the client is connected",
        1 => "refused: the broker does not serve this version of MQTT",
        2 => "refused: the broker does not take this client identifier",
        3 => "refused: the broker is not ready to serve",
        4 => "refused: user name or password is wrong",
        5 => "refused: this client may not connect",
        _ => return None,
    })
}

/// The name of a reason code in this packet.
pub(super) const fn reason_name(reason: ReasonCode, packet: PacketType) -> &'static str {
    match (reason, packet) {
        (ReasonCode::Success, PacketType::SubAck) => "Granted QoS 0",
        (ReasonCode::Success, PacketType::Disconnect) => "Normal disconnection",
        _ => reason.name(),
    }
}

/// What a reason code says in this packet.
pub(super) const fn reason(reason: ReasonCode, packet: PacketType) -> &'static str {
    use PacketType as P;
    use ReasonCode as R;
    match (reason, packet) {
        (R::Success, P::ConnAck) => "the client is connected",
        (R::Success, P::PubAck | P::PubRec) => "the message is accepted",
        (R::Success, P::PubRel | P::PubComp) => "the exchange goes as it should",
        (R::Success, P::SubAck) => "subscribed; messages come at QoS 0",
        (R::Success, P::UnsubAck) => "the subscription is gone",
        (R::Success, P::Disconnect) => "a friendly end: the will is not published",
        (R::Success, P::Auth) => "who it is has been proved",
        (R::PacketIdentifierInUse, P::SubAck | P::UnsubAck) => {
            "another request still has this packet identifier"
        }
        (R::PacketIdentifierInUse, _) => "another message still has this packet identifier",
        (R::NotAuthorized, P::ConnAck) => "refused: this client may not connect",
        (R::NotAuthorized, P::PubAck | P::PubRec) => "refused: the client may not publish this",
        (R::NotAuthorized, P::SubAck) => "refused: the client may not subscribe to this",
        (R::QuotaExceeded, P::SubAck) => "refused: the client has as many subscriptions as it may",
        (R::QuotaExceeded, P::PubAck | P::PubRec) => "refused: there is no room for it",
        _ if reason.code() < 0x90 => early_reason(reason),
        _ => late_reason(reason),
    }
}

/// Codes below 0x90, wherever they are.
const fn early_reason(reason: ReasonCode) -> &'static str {
    use ReasonCode as R;
    match reason {
        R::GrantedQoS1 => "subscribed; messages come at QoS 1 at most",
        R::GrantedQoS2 => "subscribed; messages come at QoS 2 at most",
        R::DisconnectWithWill => "the client leaves, and its will is to be published all the same",
        R::NoMatchingSubscribers => "accepted, and nobody has subscribed to the topic",
        R::NoSubscriptionExisted => "there was no such subscription",
        R::ContinueAuthentication => "the next step of the authentication",
        R::ReAuthenticate => "the client proves again who it is",
        R::UnspecifiedError => "an error that the sender does not explain",
        R::MalformedPacket => "a packet could not be read",
        R::ProtocolError => "a packet could be read and broke a rule",
        R::ImplementationSpecificError => "right by MQTT, and more than this implementation takes",
        R::UnsupportedProtocolVersion => "this version of MQTT is not served",
        R::ClientIdentifierNotValid => "the client identifier is not accepted",
        R::BadUserNameOrPassword => "user name or password is wrong",
        R::NotAuthorized => "this is not allowed to the client",
        R::ServerUnavailable => "the server is not ready to serve",
        R::ServerBusy => "the server has too much to do; later it may be better",
        R::Banned => "somebody has shut this client out",
        R::ServerShuttingDown => "the server ends",
        R::BadAuthenticationMethod => "the authentication method is not served, or not the one agreed on",
        R::KeepAliveTimeout => "nothing has come for one and a half times the keep alive",
        R::SessionTakenOver => "the client has connected again elsewhere, under the same identifier",
        R::TopicFilterInvalid => "the topic filter is well-formed and not accepted",
        _ => "",
    }
}

/// Codes from 0x90 on, wherever they are.
const fn late_reason(reason: ReasonCode) -> &'static str {
    use ReasonCode as R;
    match reason {
        R::TopicNameInvalid => "the topic is well-formed and not accepted",
        R::PacketIdentifierNotFound => "nothing is known of a message with this packet identifier",
        R::ReceiveMaximumExceeded => "more unacknowledged messages than the receiver had allowed",
        R::TopicAliasInvalid => "a topic alias that is not allowed or not known",
        R::PacketTooLarge => "a packet was larger than the receiver takes",
        R::MessageRateTooHigh => "too many messages in too short a time",
        R::QuotaExceeded => "a limit that somebody has set is reached",
        R::AdministrativeAction => "a person or a program in charge has ended the connection",
        R::PayloadFormatInvalid => "the payload is not what its indicator says",
        R::RetainNotSupported => "the server retains no messages",
        R::QoSNotSupported => "the server takes no messages at this QoS",
        R::UseAnotherServer => "another server is to be used, for now",
        R::ServerMoved => "another server is to be used, for good",
        R::SharedSubscriptionsNotSupported => "the server has no shared subscriptions",
        R::ConnectionRateExceeded => "too many connections in too short a time",
        R::MaximumConnectTime => "the connection has lasted as long as it may",
        R::SubscriptionIdentifiersNotSupported => "the server has no subscription identifiers",
        R::WildcardSubscriptionsNotSupported => "the server takes no filters with wildcards",
        _ => "",
    }
}

/// Seconds, and in larger units where they are many.
pub(super) fn duration(seconds: u32) -> String {
    if seconds < 60 {
        return format!("{seconds} s");
    }
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
    format!("{seconds} s ({})", parts.join(" "))
}

/// One and a half times so many seconds.
pub(super) fn one_and_a_half(seconds: u16) -> String {
    let whole = u32::from(seconds) * 3 / 2;
    if seconds.is_multiple_of(2) { format!("{whole} s") } else { format!("{whole}.5 s") }
}
