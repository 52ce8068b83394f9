//! The input is a packet, read as each version: nothing panics, what decodes comes back the same from its encoding,
//! and what another version can say of it decodes there too.
#![no_main]

mod seeds;

use columba_codec::{DecodeError, FixedHeader, MessageProperties, Packet, Version};
use libfuzzer_sys::fuzz_target;

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

fuzz_target!(init: seeds::write(), |data: &[u8]| {
    forwarded(data);
    let header = match FixedHeader::read(data, usize::MAX) {
        Ok(Some(header)) => header,
        Ok(None) => return,
        Err(error) => return printable(&error),
    };
    every_limit(data, header);
    // The packet that the header says, and one that ends where the bytes do: so the length need not be guessed.
    for body in [data.get(header.len..header.total()), data.get(header.len..)].into_iter().flatten() {
        for version in VERSIONS {
            match Packet::decode(header, body, version) {
                Ok(packet) => round_trip(&packet, version),
                Err(error) => printable(&error),
            }
        }
    }
});

/// The same packet comes back, as long as said before. Versions that lack some of it encode the rest or refuse.
fn round_trip(packet: &Packet<'_>, version: Version) {
    let mut out = Vec::new();
    packet.encode(version, &mut out).expect("what decodes encodes");
    assert_eq!(out.len(), packet.encoded_len(version));
    assert_eq!(decode(&out, version).as_ref(), Ok(packet));
    for other in VERSIONS.into_iter().filter(|&other| other != version) {
        let mut out = b"before".to_vec();
        match packet.encode(other, &mut out) {
            Ok(()) => {
                assert_eq!(out.len() - 6, packet.encoded_len(other));
                let again = decode(&out[6..], other);
                assert!(again.is_ok(), "{packet:?} from {version:?} is for {other:?} {again:?}");
            }
            Err(error) => {
                assert!(!format!("{error}").is_empty());
                assert_eq!(out, b"before");
            }
        }
    }
}

fn decode(bytes: &[u8], version: Version) -> Result<Packet<'_>, DecodeError> {
    let header = FixedHeader::read(bytes, usize::MAX).expect("a valid header").expect("a whole one");
    assert_eq!(header.total(), bytes.len());
    Packet::decode(header, &bytes[header.len..], version)
}

/// Less than the header is not enough for it, and the limit is what it says.
fn every_limit(data: &[u8], header: FixedHeader) {
    for len in 0..header.len {
        assert_eq!(FixedHeader::read(&data[..len], usize::MAX), Ok(None));
    }
    assert_eq!(FixedHeader::read(&data[..header.len], header.total()), Ok(Some(header)));
    assert!(FixedHeader::read(data, header.total() - 1).is_err());
}

/// The properties of a message as the broker keeps them.
fn forwarded(data: &[u8]) {
    let Ok(properties) = MessageProperties::decode_forwarded(data) else { return };
    let mut out = Vec::new();
    properties.encode_forwarded(&mut out);
    assert_eq!(MessageProperties::decode_forwarded(&out).as_ref(), Ok(&properties));
}

fn printable(error: &DecodeError) {
    assert!(!error.to_string().is_empty() && error.reason_code().is_error(), "{error:?}");
}
