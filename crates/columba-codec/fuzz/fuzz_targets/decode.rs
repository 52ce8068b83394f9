//! The first byte chooses the version, the rest is a packet: nothing panics, and what decodes comes back the same
//! from its encoding.
#![no_main]

use columba_codec::{FixedHeader, MessageProperties, Packet, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let version = match choice % 4 {
        0 => Version::V3_1,
        1 => Version::V3_1_1,
        2 => Version::V5,
        _ => {
            let _ = format!("{:?}", MessageProperties::decode_forwarded(bytes));
            return;
        }
    };
    let Ok(Some(header)) = FixedHeader::read(bytes, usize::MAX) else { return };
    // A body shorter than its header says is decoded all the same, so that the length need not be guessed.
    let body = &bytes[header.len..];
    let body = body.get(..header.remaining).unwrap_or(body);
    let Ok(packet) = Packet::decode(header, body, version) else { return };
    let mut out = Vec::new();
    packet.encode(version, &mut out).expect("what decodes encodes");
    assert_eq!(out.len(), packet.encoded_len(version));
    let header = FixedHeader::read(&out, usize::MAX).expect("a whole header").expect("a valid one");
    assert_eq!(Packet::decode(header, &out[header.len..], version).as_ref(), Ok(&packet));
});
