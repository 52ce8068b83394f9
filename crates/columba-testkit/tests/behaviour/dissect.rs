//! Packets explained byte by byte.

use std::fmt::Write;
use std::ops::Range;

use columba_codec::vectors::{self, Expect};
use columba_testkit::Version;
use columba_testkit::codec::{DecodeError, FixedHeader, Packet};
use columba_testkit::dissect::{Field, dissect};

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

/// Every byte is in one field, on every level.
fn check_coverage(fields: &[Field], bytes: &[u8], range: Range<usize>) {
    let mut at = range.start;
    for field in fields {
        assert_eq!(field.range.start, at, "{field:?} of {bytes:02x?}");
        assert!(field.range.end >= at, "{field:?} of {bytes:02x?}");
        assert!(!field.name.is_empty(), "{field:?} of {bytes:02x?}");
        at = field.range.end;
        assert!(!field.is_wrong || !field.note.is_empty(), "{field:?} of {bytes:02x?}");
        if !field.children.is_empty() {
            check_coverage(&field.children, bytes, field.range.clone());
        }
        let mut masks = 0_u8;
        for bits in &field.bits {
            let byte = bytes[field.range.start];
            assert_eq!(masks & bits.mask, 0, "{field:?}");
            assert_eq!(bits.value, (byte & bits.mask) >> bits.mask.trailing_zeros(), "{field:?}");
            masks |= bits.mask;
        }
        assert!(field.bits.is_empty() || masks == 0xff && field.range.len() == 1, "{field:?}");
    }
    assert_eq!(at, range.end, "{bytes:02x?}");
}

fn judge(version: Version, bytes: &[u8]) -> Result<(), Option<DecodeError>> {
    let header = FixedHeader::read(bytes, usize::MAX)?.filter(|header| header.total() == bytes.len());
    let header = header.ok_or(None)?;
    Ok(Packet::decode(header, &bytes[header.len..], version).map(drop)?)
}

/// Explains it, and is right about whether something is wrong.
fn check(version: Version, bytes: &[u8]) -> Vec<Field> {
    let fields = dissect(version, bytes);
    check_coverage(&fields, bytes, 0..bytes.len());
    let verdict = judge(version, bytes);
    let has_problem = fields.iter().any(Field::has_problem);
    assert_eq!(
        has_problem,
        verdict.is_err() && !bytes.is_empty(),
        "{verdict:?} {bytes:02x?}\n{}",
        shown(&fields)
    );
    if let Err(Some(error)) = verdict {
        // It finds out by itself what is wrong, and where.
        assert_ne!(fields[0].note, error.to_string(), "{bytes:02x?}\n{}", shown(&fields));
    }
    fields
}

#[test]
fn every_vector_is_explained() {
    for vector in vectors::all() {
        let fields = check(vector.version, vector.bytes);
        let is_right = matches!(vector.expect, Expect::Is(_) | Expect::Reads(_)) || vector.bytes.is_empty();
        let is_understood = !fields.iter().any(Field::has_problem);
        assert_eq!(is_understood, is_right, "{}\n{}", vector.name, shown(&fields));
    }
}

#[test]
fn damage_is_explained() {
    for vector in vectors::all() {
        let whole = vector.bytes;
        for version in VERSIONS {
            for end in 0..whole.len() {
                check(version, &whole[..end]);
            }
            check(version, &[whole, &[0]].concat());
            let mut bytes = whole.to_vec();
            // Long ones differ in their payload only.
            for at in 0..whole.len().min(300) {
                for value in
                    [0, 1, 2, 3, 0x26, 0x7f, 0x80, 0xff, whole[at] ^ 1, whole[at] ^ 0x10, whole[at] ^ 0x80]
                {
                    bytes[at] = value;
                    check(version, &bytes);
                }
                bytes[at] = whole[at];
            }
        }
    }
}

#[test]
fn its_size_is_bounded() {
    // A million reason codes, filters, properties.
    let packet = |first: u8, head: &[u8], unit: &[u8], tail: &[u8]| {
        let body = [head, &unit.repeat(1_000_000 / unit.len()), tail].concat();
        let mut len = body.len();
        let mut bytes = vec![first];
        while len > 0 {
            bytes.push((len & 0x7f) as u8 | if len > 0x7f { 0x80 } else { 0 });
            len >>= 7;
        }
        bytes.extend(body);
        bytes
    };
    let suback = packet(0x90, &[0, 1, 0], &[1], &[]);
    let subscribe = packet(0x82, &[0, 1, 0], &[0, 1, b'a', 0], &[]);
    // 1,000,000 bytes of user properties.
    let publish = packet(0x30, &[0, 1, b't', 0xc0, 0x84, 0x3d], &[0x26, 0, 0, 0, 0], &[]);
    for bytes in [suback, subscribe, publish] {
        let fields = check(Version::V5, &bytes);
        assert!(count(&fields) < 10_000);
        assert_eq!(fields.last().map(|field| &*field.name), Some("More"));
    }
    let payload = packet(0x30, &[0, 1, b't', 0], b"x", &[]);
    let fields = check(Version::V5, &payload);
    assert!(shown(&fields).len() < 2000);
}

/// Bytes in hexadecimal, with texts in quotes.
fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, part) in text.split('\'').enumerate() {
        if number % 2 == 1 {
            bytes.extend_from_slice(part.as_bytes());
        } else {
            let digits: String = part.split_whitespace().collect();
            bytes.extend(
                (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()),
            );
        }
    }
    bytes
}

fn explained(bytes: &str) -> String {
    shown(&check(Version::V5, &bytes_of(bytes)))
}

#[test]
fn a_connect() {
    assert_eq!(
        explained(
            "10 36 0004 'MQTT' 05 EE 003C 05 11 00000E10 0003 'app' \
             0A 18 00000005 03 0002 'tx' 0006 'gone/a' 0001 'x' 0003 'ada' 0004 '1234'"
        ),
        r#"0-1 Packet Type: CONNECT (a client introduces itself)
  11110000 Packet Type: 1 (CONNECT)
  00001111 Reserved: 0 (without meaning)
1-2 Remaining Length: 54 (54 bytes follow)
2-8 Protocol Name: "MQTT" (MQTT 3.1.1 or later)
  2-4 Length: 4 (4 bytes follow)
  4-8 Text: "MQTT"
8-9 Protocol Version: 5 (MQTT 5.0)
9-10 Connect Flags: 0xee
  10000000 User Name Flag: 1 (a user name follows)
  01000000 Password Flag: 1 (a password follows)
  00100000 Will Retain: 1 (the will is to be retained)
  00011000 Will QoS: 1 (QoS 1: acknowledged; may come more than once)
  00000100 Will Flag: 1 (the broker is to publish a message when the client is lost)
  00000010 Clean Start: 1 (begins a new session; an old one is dropped)
  00000001 Reserved: 0 (without meaning)
10-12 Keep Alive: 60 s (1 min) (the longest time without a packet from the client; after 90 s the broker gives it up)
12-13 Property Length: 5 (5 bytes of properties)
13-18 Session Expiry Interval: 3600 s (1 h) (the session outlives the connection by 3600 s (1 h))
  13-14 Property Identifier: 0x11 (Session Expiry Interval)
  14-18 Value: 3600
18-23 Client Identifier: "app" (who it is: its session is found by this name)
  18-20 Length: 3 (3 bytes follow)
  20-23 Text: "app"
23-24 Will Property Length: 10 (10 bytes of properties)
24-29 Will Delay Interval: 5 s (the will waits so long after the connection, and is forgotten if the client is back by then)
  24-25 Property Identifier: 0x18 (Will Delay Interval)
  25-29 Value: 5
29-34 Content Type: "tx" (what the payload is, in the application's words)
  29-30 Property Identifier: 0x03 (Content Type)
  30-34 Value: "tx"
    30-32 Length: 2 (2 bytes follow)
    32-34 Text: "tx"
34-42 Will Topic: "gone/a" (where the will is published)
  34-36 Length: 6 (6 bytes follow)
  36-42 Text: "gone/a"
42-45 Will Payload: "x" (what is published)
  42-44 Length: 1 (1 byte follows)
  44-45 Payload: "x"
45-50 User Name: "ada" (who it says it is)
  45-47 Length: 3 (3 bytes follow)
  47-50 Text: "ada"
50-56 Password: 4 bytes (any bytes; not shown)
  50-52 Length: 4 (4 bytes follow)
  52-56 Secret: 4 bytes
"#
    );
}

#[test]
fn a_publish() {
    assert_eq!(
        explained("3D 15 0001 't' 0007 0A 23 0003 26 0001 'k' 0001 'v' 'hello'"),
        r#"0-1 Packet Type: PUBLISH (a message on its way)
  11110000 Packet Type: 3 (PUBLISH)
  00001000 DUP: 1 (sent before)
  00000110 QoS: 2 (QoS 2: comes exactly once, in four steps)
  00000001 RETAIN: 1 (to a broker: to be kept for later subscribers; from one: kept until now, or passed on as published)
1-2 Remaining Length: 21 (21 bytes follow)
2-5 Topic Name: "t" (where the message belongs)
  2-4 Length: 1 (1 byte follows)
  4-5 Text: "t"
5-7 Packet Identifier: 7 (the answer will carry the same number)
7-8 Property Length: 10 (10 bytes of properties)
8-11 Topic Alias: 3 (stands for the topic; once both were sent, the number is enough)
  8-9 Property Identifier: 0x23 (Topic Alias)
  9-11 Value: 3
11-18 User Property: "k": "v" (a pair that MQTT gives no meaning)
  11-12 Property Identifier: 0x26 (User Property)
  12-15 Name: "k"
    12-14 Length: 1 (1 byte follows)
    14-15 Text: "k"
  15-18 Value: "v"
    15-17 Length: 1 (1 byte follows)
    17-18 Text: "v"
18-23 Payload: "hello" (the message: 5 bytes)
"#
    );
}

#[test]
fn what_is_broken() {
    assert_eq!(
        explained("30 09 0001 't' 03 7F0102 'hi' FF"),
        r#"0-1 Packet Type: PUBLISH (a message on its way)
  11110000 Packet Type: 3 (PUBLISH)
  00001000 DUP: 0 (sent for the first time)
  00000110 QoS: 0 (QoS 0: sent once and not acknowledged; may be lost)
  00000001 RETAIN: 0 (an ordinary message)
1-2 Remaining Length: 9 (9 bytes follow)
2-5 Topic Name: "t" (where the message belongs)
  2-4 Length: 1 (1 byte follows)
  4-5 Text: "t"
5-6 Property Length: 3 (3 bytes of properties)
6-7 Property Identifier: 0x7f (!there is no such property)
7-9 Not understood: 01 02 (!behind a property that is not understood nobody knows where the next begins)
9-11 Payload: "hi" (the message: 2 bytes)
11-12 Behind the packet: ff (!the packet ends before this)
"#
    );
    assert_eq!(
        explained("41 04 0000 A3"),
        "0-1 Packet Type: PUBACK (a message at QoS 1 has come)
  11110000 Packet Type: 4 (PUBACK)
  00001111 Reserved: 1 (!must be 0)
1-2 Remaining Length: 4 (!4 bytes are to follow, 3 are here)
2-4 Packet Identifier: 0 (!no packet has the identifier 0)
4-5 Reason Code: 0xa3 (!there is no such reason code)
"
    );
}

#[test]
fn a_subscribe() {
    assert_eq!(
        explained("82 18 0001 02 0B 05 000C '$share/g/t/#' 29 0001 'u' 03"),
        r#"0-1 Packet Type: SUBSCRIBE (a client wants messages)
  11110000 Packet Type: 8 (SUBSCRIBE)
  00001111 Reserved: 2 (without meaning)
1-2 Remaining Length: 24 (24 bytes follow)
2-4 Packet Identifier: 1 (the answer will carry the same number)
4-5 Property Length: 2 (2 bytes of properties)
5-7 Subscription Identifier: 5 (messages for these filters will carry this number)
  5-6 Property Identifier: 0x0b (Subscription Identifier)
  6-7 Value: 5
7-22 Subscription: "$share/g/t/#" at QoS 1
  7-21 Topic Filter: "$share/g/t/#" (all topics that match, shared: each message goes to one member of the group "g")
    7-9 Length: 12 (12 bytes follow)
    9-21 Text: "$share/g/t/#"
  21-22 Subscription Options: 0x29
    11000000 Reserved: 0 (without meaning)
    00110000 Retain Handling: 2 (no retained messages come)
    00001000 Retain As Published: 1 (messages keep their RETAIN flag)
    00000100 No Local: 0 (the client's own messages, too)
    00000011 QoS: 1 (at most QoS 1: acknowledged; may come more than once)
22-26 Subscription: "u" at QoS 3
  22-25 Topic Filter: "u" (one topic)
    22-24 Length: 1 (1 byte follows)
    24-25 Text: "u"
  25-26 Subscription Options: 0x03
    11000000 Reserved: 0 (without meaning)
    00110000 Retain Handling: 0 (retained messages come at once)
    00001000 Retain As Published: 0 (RETAIN marks what was kept before)
    00000100 No Local: 0 (the client's own messages, too)
    00000011 QoS: 3 (!there is no QoS 3)
"#
    );
}

#[test]
fn a_puback() {
    assert_eq!(
        explained("40 03 0007 97"),
        "0-1 Packet Type: PUBACK (a message at QoS 1 has come)
  11110000 Packet Type: 4 (PUBACK)
  00001111 Reserved: 0 (without meaning)
1-2 Remaining Length: 3 (3 bytes follow)
2-4 Packet Identifier: 7 (that of the PUBLISH that this is about)
4-5 Reason Code: 0x97 Quota exceeded (refused: there is no room for it)
"
    );
}

fn count(fields: &[Field]) -> usize {
    fields.iter().map(|field| 1 + count(&field.children)).sum()
}

/// Like a listing: bytes, name, value, note.
fn shown(fields: &[Field]) -> String {
    let mut text = String::new();
    show(fields, 0, &mut text);
    text
}

fn show(fields: &[Field], depth: usize, text: &mut String) {
    for field in fields {
        let Range { start, end } = field.range;
        let wrong = if field.is_wrong { "!" } else { "" };
        let _ = write!(text, "{:depth$}{start}-{end} {}: {}", "", field.name, field.value);
        if !field.note.is_empty() {
            let _ = write!(text, " ({wrong}{})", field.note);
        }
        text.push('\n');
        for bits in &field.bits {
            let wrong = if bits.is_wrong { "!" } else { "" };
            let _ = writeln!(
                text,
                "{:depth$}  {:08b} {}: {} ({wrong}{})",
                "", bits.mask, bits.name, bits.value, bits.note
            );
        }
        show(&field.children, depth + 2, text);
    }
}
