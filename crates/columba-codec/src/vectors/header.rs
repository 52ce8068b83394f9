//! Fixed headers, and packets that consist of nothing else.

use super::rows;
use crate::{DecodeError as Error, Field, Packet, PacketType};

rows! {
    V3_1 "PINGREQ" "C0 00" is Packet::PingReq;
    V3_1_1 "PINGREQ" "C0 00" is Packet::PingReq;
    V5 "PINGREQ" "C0 00" is Packet::PingReq;
    V3_1 "PINGRESP" "D0 00" is Packet::PingResp;
    V3_1_1 "PINGRESP" "D0 00" is Packet::PingResp;
    V5 "PINGRESP" "D0 00" is Packet::PingResp;
    V3_1 "PINGREQ with unused bits, which mean nothing in 3.1" "C5 00" reads Packet::PingReq;

    V5 "no byte at all" "" incomplete ();
    V5 "a type without a length" "30" incomplete ();
    V5 "a length that goes on" "30 80" incomplete ();
    V5 "a length that goes on for three bytes" "30 FF FF FF" incomplete ();
    V5 "the greatest length there is, and nothing behind it" "30 FF FF FF 7F" incomplete ();
    V5 "a body that is cut off" "C0 01" incomplete ();

    V5 "packet type 0" "00 00" fails Error::PacketTypeZero;
    V3_1_1 "packet type 0" "00 00" fails Error::PacketTypeZero;
    V5 "packet type 0, known before the length is" "0F" fails Error::PacketTypeZero;
    V5 "a length with a fifth byte" "30 80 80 80 80 01" fails Error::VarintTooLong(Field::RemainingLength);
    V5 "a length whose fourth byte wants a fifth" "30 FF FF FF FF" fails Error::VarintTooLong(Field::RemainingLength);
    V5 "length 0 in two bytes" "C0 80 00" fails Error::VarintNotMinimal(Field::RemainingLength);
    V3_1_1 "length 0 in four bytes" "C0 80 80 80 00" fails Error::VarintNotMinimal(Field::RemainingLength);
    V5 "length 127 in two bytes" "C0 FF 00" fails Error::VarintNotMinimal(Field::RemainingLength);

    V5 "PINGREQ with flags" "C1 00" fails Error::ReservedFlags { packet: PacketType::PingReq, flags: 1 };
    V3_1_1 "PINGREQ with flags" "C8 00" fails Error::ReservedFlags { packet: PacketType::PingReq, flags: 8 };
    V5 "PINGRESP with flags" "D2 00" fails Error::ReservedFlags { packet: PacketType::PingResp, flags: 2 };
    V5 "PINGREQ with a body" "C0 01 00" fails Error::TrailingBytes { packet: PacketType::PingReq, count: 1 };
    V3_1 "PINGREQ with a body" "C0 02 00 00" fails Error::TrailingBytes { packet: PacketType::PingReq, count: 2 };
    V3_1_1 "PINGRESP with a body" "D0 01 FF" fails Error::TrailingBytes { packet: PacketType::PingResp, count: 1 };
}
