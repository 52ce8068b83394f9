//! DISCONNECT and AUTH.

use super::rows;
use crate::{
    Auth, DecodeError as Error, Disconnect, Field, List, Packet, PacketType, Property, ReasonCode, Version,
};

rows! {
    V3_1 "DISCONNECT" "E0 00" is disconnect(ReasonCode::Success);
    V3_1_1 "DISCONNECT" "E0 00" is disconnect(ReasonCode::Success);
    V5 "DISCONNECT" "E0 00" is disconnect(ReasonCode::Success);
    V3_1 "DISCONNECT with unused bits" "EF 00" reads disconnect(ReasonCode::Success);
    V5 "DISCONNECT with a reason" "E0 01 04" is disconnect(ReasonCode::DisconnectWithWill);
    V5 "DISCONNECT with an error" "E0 01 8E" is disconnect(ReasonCode::SessionTakenOver);
    V5 "DISCONNECT with success spelled out" "E0 01 00" reads disconnect(ReasonCode::Success);
    V5 "DISCONNECT with no properties spelled out" "E0 02 00 00" reads disconnect(ReasonCode::Success);
    V5 "DISCONNECT with the code on which the standard disagrees with itself" "E0 01 8C" is disconnect(ReasonCode::BadAuthenticationMethod);
    V5 "DISCONNECT with a session expiry" "E0 07 00 05 11 00000000" is Packet::Disconnect(Disconnect { session_expiry: Some(0), ..Disconnect::new(ReasonCode::Success) });
    V5 "DISCONNECT with every property" "E0 1A 9C 18 11 00000001 1C 0003 's:1' 1F 0003 'why' 26 0001 'k' 0001 'v'"
        is Packet::Disconnect(Disconnect {
            reason: ReasonCode::UseAnotherServer,
            session_expiry: Some(1),
            server_reference: Some("s:1"),
            reason_string: Some("why"),
            user_properties: List::from_slice(&[("k", "v")]),
        });

    V3_1_1 "DISCONNECT with a reason" "E0 01 00" fails Error::TrailingBytes { packet: PacketType::Disconnect, count: 1 };
    V3_1 "DISCONNECT with a body" "E0 02 00 00" fails Error::TrailingBytes { packet: PacketType::Disconnect, count: 2 };
    V5 "DISCONNECT with bytes behind its properties" "E0 03 00 00 FF" fails Error::TrailingBytes { packet: PacketType::Disconnect, count: 1 };
    V5 "DISCONNECT with flags" "E1 00" fails Error::ReservedFlags { packet: PacketType::Disconnect, flags: 1 };
    V3_1_1 "DISCONNECT with flags" "E8 00" fails Error::ReservedFlags { packet: PacketType::Disconnect, flags: 8 };
    V5 "DISCONNECT with a reason of CONNACK" "E0 01 86" fails Error::ReasonCode { packet: PacketType::Disconnect, code: 0x86 };
    V5 "DISCONNECT with a reason that does not exist" "E0 01 A3" fails Error::ReasonCode { packet: PacketType::Disconnect, code: 0xA3 };
    V5 "DISCONNECT with properties beyond its end" "E0 02 00 01" fails Error::Truncated(Field::PropertyLength);
    V5 "DISCONNECT with session expiry twice" "E0 0C 00 0A 11 00000000 11 00000000" fails Error::RepeatedProperty(Property::SessionExpiryInterval);
    V5 "DISCONNECT with a property of others" "E0 05 00 03 21 0001" fails Error::MisplacedProperty { property: Property::ReceiveMaximum, packet: PacketType::Disconnect };
    V5 "DISCONNECT with a server reference with U+0000" "E0 06 00 04 1C 0001 00" fails Error::NullCharacter(Field::Property(Property::ServerReference));

    V5 "AUTH" "F0 0A 18 08 15 0001 'm' 16 0001 'd'" is auth(ReasonCode::ContinueAuthentication);
    V5 "AUTH to do it again" "F0 0A 19 08 15 0001 'm' 16 0001 'd'" is auth(ReasonCode::ReAuthenticate);
    V5 "AUTH with success and nothing else" "F0 00" is Packet::Auth(bare(ReasonCode::Success));
    V5 "AUTH without method" "F0 02 18 00" is Packet::Auth(bare(ReasonCode::ContinueAuthentication));
    V5 "AUTH with success spelled out" "F0 02 00 00" reads Packet::Auth(bare(ReasonCode::Success));
    V5 "AUTH with every property" "F0 17 00 15 15 0001 'm' 16 0001 'd' 1F 0003 'why' 26 0001 'k' 0001 'v'"
        is Packet::Auth(Auth {
            method: Some("m"),
            data: Some(b"d"),
            reason_string: Some("why"),
            user_properties: List::from_slice(&[("k", "v")]),
            ..bare(ReasonCode::Success)
        });
    V3_1_1 "AUTH" "F0 00" fails Error::PacketNotInVersion { packet: PacketType::Auth, version: Version::V3_1_1 };
    V3_1 "AUTH" "F0 00" fails Error::PacketNotInVersion { packet: PacketType::Auth, version: Version::V3_1 };
    V5 "AUTH with flags" "F2 00" fails Error::ReservedFlags { packet: PacketType::Auth, flags: 2 };
    V5 "AUTH with a reason of others" "F0 02 80 00" fails Error::ReasonCode { packet: PacketType::Auth, code: 0x80 };
    V5 "AUTH that ends before its properties" "F0 01 18" fails Error::Truncated(Field::PropertyLength);
    V5 "AUTH with a method twice" "F0 0A 18 08 15 0001 'm' 15 0001 'm'" fails Error::RepeatedProperty(Property::AuthenticationMethod);
    V5 "AUTH with a session expiry" "F0 07 18 05 11 00000000" fails Error::MisplacedProperty { property: Property::SessionExpiryInterval, packet: PacketType::Auth };
    V5 "AUTH with bytes behind its properties" "F0 03 18 00 00" fails Error::TrailingBytes { packet: PacketType::Auth, count: 1 };
}

fn disconnect(reason: ReasonCode) -> Packet<'static> {
    Packet::Disconnect(Disconnect::new(reason))
}

fn bare(reason: ReasonCode) -> Auth<'static> {
    Auth { reason, method: None, data: None, reason_string: None, user_properties: List::EMPTY }
}

fn auth(reason: ReasonCode) -> Packet<'static> {
    Packet::Auth(Auth { method: Some("m"), data: Some(b"d"), ..bare(reason) })
}
