//! Packets that are nearly right, from a seed.

use crate::Version;
use crate::raw::{
    AUTH, CONNECT, DISCONNECT, PINGREQ, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, UNSUBSCRIBE, acknowledge,
    connect, field, packet, publish, subscribe, varint,
};

/// `SplitMix64`: every seed is as good as any other, and the sequence is the same on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`; zero if `bound` is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.number() % bound as u64) as usize }
    }

    pub fn byte(&mut self) -> u8 {
        self.number() as u8
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }
}

/// Makes bad packets out of good ones.
#[derive(Debug)]
pub struct Mutator {
    random: Random,
    vectors: Vec<Vec<u8>>,
}

impl Mutator {
    pub fn new(seed: u64, version: Version) -> Self {
        Self { random: Random::new(seed), vectors: vectors(version) }
    }

    /// A valid packet with one to four mistakes.
    pub fn packet(&mut self) -> Vec<u8> {
        let chosen = self.random.below(self.vectors.len());
        let mut bytes = self.vectors[chosen].clone();
        for _ in 0..=self.random.below(4) {
            self.spoil(&mut bytes);
        }
        // Half the time the length is made right again, or most mistakes would go unread.
        if self.random.below(2) == 0 {
            restore_length(&mut bytes);
        }
        bytes
    }

    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xc0, 0xed, 0xf8, 0xff];
        let random = &mut self.random;
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = EDGES[random.below(EDGES.len())],
            2 => bytes[at] = random.byte(),
            3 => bytes.truncate(at.max(1)),
            4 => {
                let length = random.below(9);
                bytes.splice(at..at, random.bytes(length));
            }
            5 => {
                let end = bytes.len().min(at + random.below(5));
                bytes.drain(at.max(1).min(end)..end);
            }
            6 => {
                let end = bytes.len().min(at + random.below(16));
                bytes.extend_from_within(at..end);
            }
            _ => {
                let other = &self.vectors[random.below(self.vectors.len())];
                bytes.truncate(at.max(1));
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
}

/// Writes the length that the packet really has.
fn restore_length(bytes: &mut Vec<u8>) {
    let old = 1 + bytes.iter().skip(1).take(4).take_while(|byte| **byte & 128 != 0).count() + 1;
    let body = bytes.get(old..).unwrap_or_default().to_vec();
    bytes.truncate(1);
    varint(bytes, body.len());
    bytes.extend(body);
}

/// One of each packet a client may send, and the forms that are decoded differently.
fn vectors(version: Version) -> Vec<Vec<u8>> {
    let mut vectors = vec![
        connect(version, "fuzz"),
        connect_with_everything(version),
        publish(version, "fuzz/a", b"payload", 0, 0),
        publish(version, "fuzz/b", b"payload", 1, 7),
        publish(version, "fuzz/c", b"payload", 2, 8),
        acknowledge(PUBACK, 7),
        acknowledge(PUBREC, 7),
        acknowledge(PUBREL, 8),
        acknowledge(PUBCOMP, 8),
        subscribe(version, 9, &[("fuzz/+", 1), ("fuzz/#", 2), ("$share/group/fuzz/a", 0)]),
        packet(PINGREQ, 0, &[]),
        packet(DISCONNECT, 0, &[]),
    ];
    let mut unsubscribe = vec![0, 10];
    if version == Version::V5 {
        unsubscribe.push(0);
        vectors.extend(vectors_of_5());
    }
    field(&mut unsubscribe, b"fuzz/+");
    vectors.push(packet(UNSUBSCRIBE, 0b10, &unsubscribe));
    vectors
}

fn vectors_of_5() -> [Vec<u8>; 4] {
    let with = |start: &[u8], properties: &[u8], end: &[u8]| {
        let mut body = start.to_vec();
        varint(&mut body, properties.len());
        body.extend_from_slice(properties);
        body.extend_from_slice(end);
        body
    };
    // Alias 1, format 1, expiry 60 s, content type, response topic, correlation data, a user property.
    let properties = b"\x23\0\x01\x01\x01\x02\0\0\0\x3c\x03\0\x01t\x08\0\x01r\x09\0\x01c\x26\0\x01k\0\x01v";
    [
        packet(PUBLISH, 0b10, &with(b"\0\x06fuzz/d\0\x0b", properties, b"payload")),
        // Reason «unspecified error» with a reason string.
        packet(PUBREC, 0, &with(b"\0\x07\x80", b"\x1f\0\x01x", b"")),
        packet(DISCONNECT, 0, &with(b"\x04", b"\x11\0\0\0\x05", b"")),
        packet(AUTH, 0, &with(b"\x18", b"\x15\0\x01m\x16\0\x01d", b"")),
    ]
}

/// User name, password and a will, with properties in version 5.
fn connect_with_everything(version: Version) -> Vec<u8> {
    let (name, level): (&[u8], u8) = match version {
        Version::V31 => (b"MQIsdp", 3),
        Version::V311 => (b"MQTT", 4),
        Version::V5 => (b"MQTT", 5),
    };
    let mut body = Vec::new();
    field(&mut body, name);
    body.extend_from_slice(&[level, 0b1110_1110, 0, 60]);
    if version == Version::V5 {
        // Session expiry 60 s, receive maximum 10, maximum packet size 1 MiB, alias maximum 5.
        body.extend_from_slice(b"\x10\x11\0\0\0\x3c\x21\0\x0a\x27\0\x10\0\0\x22\0\x05");
    }
    field(&mut body, b"fuzz-all");
    if version == Version::V5 {
        body.extend_from_slice(b"\x05\x18\0\0\0\x01");
    }
    for content in [b"fuzz/will".as_slice(), b"gone", b"user", b"password"] {
        field(&mut body, content);
    }
    packet(CONNECT, 0, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_packets_every_time() {
        let packets = |seed| {
            let mut mutator = Mutator::new(seed, Version::V5);
            (0..1000).map(|_| mutator.packet()).collect::<Vec<_>>()
        };
        assert_eq!(packets(1), packets(1));
        assert_ne!(packets(1), packets(2));
        assert!(packets(3).iter().all(|packet| !packet.is_empty()));
    }

    #[test]
    fn a_restored_length_fits_the_packet() {
        let mut bytes = vec![0x30, 0xff, 0xff, 0x01, 1, 2, 3];
        restore_length(&mut bytes);
        assert_eq!(bytes, [0x30, 3, 1, 2, 3]);
    }
}
