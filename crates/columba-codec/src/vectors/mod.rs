//! Packets as bytes, and what they are or why they are refused: data for the tests of this crate and of the broker,
//! which sends them over a connection and looks for the reason code. Never part of a normal build.

mod connect;
mod header;
mod publish;
mod session;
mod subscribe;

use crate::{DecodeError, Packet, PacketId, TopicFilter, TopicName, Version};

/// One packet.
#[derive(Debug)]
pub struct Vector {
    /// What it is about. Unique within its version.
    pub name: &'static str,
    /// The version of the connection; that of a CONNECT is in its bytes.
    pub version: Version,
    /// The whole packet.
    pub bytes: &'static [u8],
    /// What becomes of it.
    pub expect: Expect,
}

/// What becomes of the bytes of a [`Vector`].
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// They are this packet, and this packet is these bytes.
    Is(fn() -> Packet<'static>),
    /// They are this packet, which could be written in another way as well and would be.
    Reads(fn() -> Packet<'static>),
    /// They are refused.
    Fails(DecodeError),
    /// They are a part of a packet.
    Incomplete,
}

/// All vectors.
pub fn all() -> impl Iterator<Item = &'static Vector> {
    [header::ROWS, connect::ROWS, publish::ROWS, subscribe::ROWS, session::ROWS].into_iter().flatten()
}

/// A table of vectors. A row is a version, a name, bytes in hexadecimal with texts in quotes, and one of `is`,
/// `reads`, `fails` with a value, as in [`Expect`].
macro_rules! rows {
    ($($version:ident $name:literal $bytes:literal $expect:ident $value:expr;)*) => {
        pub(super) const ROWS: &[crate::vectors::Vector] = &[$(
            crate::vectors::Vector {
                name: $name,
                version: crate::Version::$version,
                bytes: {
                    const BYTES: [u8; crate::vectors::bytes_len($bytes)] =
                        crate::vectors::bytes($bytes);
                    &BYTES
                },
                expect: crate::vectors::outcome!($expect $value),
            },
        )*];
    };
}
use rows;

macro_rules! outcome {
    (is $value:expr) => {
        crate::vectors::Expect::Is(|| $value)
    };
    (reads $value:expr) => {
        crate::vectors::Expect::Reads(|| $value)
    };
    (fails $value:expr) => {
        crate::vectors::Expect::Fails($value)
    };
    (incomplete $value:expr) => {
        crate::vectors::Expect::Incomplete
    };
}
use outcome;

/// How many bytes a row's text stands for.
const fn bytes_len(text: &str) -> usize {
    let text = text.as_bytes();
    let (mut index, mut len) = (0, 0);
    let mut quoted = false;
    while index < text.len() {
        match text[index] {
            b'\'' => quoted = !quoted,
            _ if quoted => len += 2,
            b' ' => {}
            _ => len += 1,
        }
        index += 1;
    }
    len / 2
}

/// The bytes a row's text stands for.
const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let text = text.as_bytes();
    let mut bytes = [0; N];
    let (mut index, mut len) = (0, 0);
    let mut quoted = false;
    while index < text.len() {
        match text[index] {
            b'\'' => quoted = !quoted,
            byte if quoted => {
                bytes[len] = byte;
                len += 1;
            }
            b' ' => {}
            high => {
                index += 1;
                bytes[len] = digit(high) << 4 | digit(text[index]);
                len += 1;
            }
        }
        index += 1;
    }
    bytes
}

const fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'F' => byte - b'A' + 10,
        _ => panic!("a row has something that is not a hexadecimal digit"),
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("a row has a packet identifier of 0")
}

fn topic(text: &'static str) -> TopicName<'static> {
    TopicName::parse(text).expect("a row has a topic name that is none")
}

fn filter(text: &'static str) -> TopicFilter<'static> {
    TopicFilter::parse(text).expect("a row has a topic filter that is none")
}
