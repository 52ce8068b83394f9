//! Packets as bytes, for what no encoder would write.

use columba_testkit::Version;

/// CONNECT flags.
pub(crate) const CLEAN: u8 = 0x02;
pub(crate) const WILL: u8 = 0x04;
pub(crate) const WILL_RETAIN: u8 = 0x20;
pub(crate) const PASSWORD: u8 = 0x40;
pub(crate) const USER_NAME: u8 = 0x80;

/// Bytes that are not UTF-8, each for another reason.
pub(crate) const ILL_FORMED: [&[u8]; 7] = [
    b"a\x80",
    b"a\xff",
    // U+0000 in two bytes, as Java writes it, and "/" in two.
    b"a\xc0\x80",
    b"a\xc0\xaf",
    // Cut off within a character.
    b"a\xe2\x82",
    // Half of a surrogate pair.
    b"a\xed\xa0\x80",
    // Beyond U+10FFFF.
    b"a\xf4\x90\x80\x80",
];

/// A packet from its first byte and what follows the length.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let more = u8::from(length > 127) << 7;
        bytes.push((length % 128) as u8 | more);
        length /= 128;
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// Text or anything else, with its length before it.
pub(crate) fn field(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let length = u16::try_from(content.len()).expect("a field has at most 65,535 bytes");
    [&length.to_be_bytes(), content].concat()
}

/// Properties with their length before them in 5.0, nothing otherwise.
///
/// # Panics
/// If they are longer than 127 bytes, or there are any before 5.0.
pub(crate) fn properties(version: Version, properties: &[u8]) -> Vec<u8> {
    if version < Version::V5 {
        assert!(properties.is_empty(), "there are no properties before 5.0");
        return Vec::new();
    }
    let length = u8::try_from(properties.len()).ok().filter(|&length| length < 128);
    [&[length.expect("few properties")], properties].concat()
}

/// A CONNECT whose parts can be anything.
#[derive(Clone)]
pub(crate) struct RawConnect {
    pub(crate) first: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) level: u8,
    pub(crate) flags: u8,
    pub(crate) keep_alive: u16,
    /// With their length; empty before 5.0.
    pub(crate) properties: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl RawConnect {
    /// One of this version, with these flags besides that of a clean start, and a payload of these fields. Where the flags
    /// say that there is a will, empty will properties follow the first field in 5.0.
    pub(crate) fn new(version: Version, flags: u8, fields: &[&[u8]]) -> Self {
        let (name, level): (&[u8], u8) = match version {
            Version::V3_1 => (b"MQIsdp", 3),
            Version::V3_1_1 => (b"MQTT", 4),
            Version::V5 => (b"MQTT", 5),
        };
        let mut payload = Vec::new();
        for (number, content) in fields.iter().enumerate() {
            if number == 1 && flags & WILL != 0 {
                payload.extend(properties(version, &[]));
            }
            payload.extend(field(content));
        }
        let properties = properties(version, &[]);
        let flags = flags | CLEAN;
        Self { first: 0x10, name: name.to_vec(), level, flags, keep_alive: 0, properties, payload }
    }

    /// What follows the fixed header.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = field(&self.name);
        body.extend([self.level, self.flags]);
        body.extend(self.keep_alive.to_be_bytes());
        body.extend_from_slice(&self.properties);
        body.extend_from_slice(&self.payload);
        body
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        packet(self.first, &self.body())
    }
}

/// PUBLISH with these flags, with a packet identifier or without one.
pub(crate) fn publish(version: Version, flags: u8, topic: &[u8], id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    publish_with(version, flags, topic, id, &[], payload)
}

/// The same with properties.
pub(crate) fn publish_with(
    version: Version,
    flags: u8,
    topic: &[u8],
    id: Option<u16>,
    with: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = field(topic);
    body.extend(id.iter().flat_map(|id| id.to_be_bytes()));
    body.extend(properties(version, with));
    body.extend_from_slice(payload);
    packet(0x30 | flags, &body)
}

/// SUBSCRIBE with this first byte and one filter.
pub(crate) fn subscribe(version: Version, first: u8, id: u16, filter: &[u8], options: u8) -> Vec<u8> {
    let body = [&id.to_be_bytes()[..], &properties(version, &[]), &field(filter), &[options]].concat();
    packet(first, &body)
}

/// UNSUBSCRIBE with this first byte and one filter.
pub(crate) fn unsubscribe(version: Version, first: u8, id: u16, filter: &[u8]) -> Vec<u8> {
    packet(first, &[&id.to_be_bytes()[..], &properties(version, &[]), &field(filter)].concat())
}
