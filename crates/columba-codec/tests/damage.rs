//! Every vector with every small damage: nothing panics, and what still decodes encodes again.
#![allow(missing_docs)]

use columba_codec::vectors;
use columba_codec::{FixedHeader, Packet, Version};

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

#[test]
fn every_byte_replaced_removed_or_doubled() {
    for vector in vectors::all() {
        for at in 0..vector.bytes.len() {
            let mut bytes = vector.bytes.to_vec();
            for byte in 0..=255 {
                bytes[at] = byte;
                check(&bytes);
            }
            bytes.remove(at);
            check(&bytes);
            let mut bytes = vector.bytes.to_vec();
            bytes.insert(at, bytes[at]);
            check(&bytes);
        }
    }
}

#[test]
fn every_prefix() {
    for vector in vectors::all() {
        for len in 0..vector.bytes.len() {
            check(&vector.bytes[..len]);
        }
    }
}

/// Decodes as the packet its header says, and as one that ends where the bytes do.
fn check(bytes: &[u8]) {
    let Ok(Some(header)) = FixedHeader::read(bytes, usize::MAX) else { return };
    for body in [bytes.get(header.len..header.total()), bytes.get(header.len..)].into_iter().flatten() {
        for version in VERSIONS {
            let Ok(packet) = Packet::decode(header, body, version) else { continue };
            let mut out = Vec::new();
            packet.encode(version, &mut out).unwrap_or_else(|error| panic!("{error}: {packet:?}"));
            let header = FixedHeader::read(&out, usize::MAX).unwrap().unwrap();
            assert_eq!(Packet::decode(header, &out[header.len..], version), Ok(packet));
        }
    }
}
