//! Integers, strings and bytes as they lie on the wire (§ 1.5): taken off with a checked cursor, put on through a
//! writer that can also just count. It never knows packets.

use crate::topic::{is_clean_name, share_prefix};
use crate::{DecodeError, Field, PacketId, TopicError, TopicFilter, TopicName};

/// The largest value of a Variable Byte Integer, and so of Remaining Length.
pub(crate) const MAX_VARINT: usize = 268_435_455;

/// The largest number of bytes in a string or in binary data.
pub(crate) const MAX_BINARY: usize = 65_535;

/// Takes values off the front of a packet. Each call names the field it reads, for the error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes are left.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub(crate) fn u8(&mut self, field: Field) -> Result<u8, DecodeError> {
        let (&value, rest) = self.bytes.split_first().ok_or(DecodeError::Truncated(field))?;
        self.bytes = rest;
        Ok(value)
    }

    #[inline]
    pub(crate) fn u16(&mut self, field: Field) -> Result<u16, DecodeError> {
        let (value, rest) = self.bytes.split_first_chunk().ok_or(DecodeError::Truncated(field))?;
        self.bytes = rest;
        Ok(u16::from_be_bytes(*value))
    }

    #[inline]
    pub(crate) fn u32(&mut self, field: Field) -> Result<u32, DecodeError> {
        let (value, rest) = self.bytes.split_first_chunk().ok_or(DecodeError::Truncated(field))?;
        self.bytes = rest;
        Ok(u32::from_be_bytes(*value))
    }

    /// A Variable Byte Integer.
    #[inline]
    pub(crate) fn varint(&mut self, field: Field) -> Result<u32, DecodeError> {
        if let Some((&first, rest)) = self.bytes.split_first()
            && first < 0x80
        {
            self.bytes = rest;
            return Ok(u32::from(first));
        }
        let (value, len) = varint(self.bytes, field)?.ok_or(DecodeError::Truncated(field))?;
        self.bytes = &self.bytes[len..];
        Ok(value)
    }

    /// The next `len` bytes.
    #[inline]
    pub(crate) fn take(&mut self, len: usize, field: Field) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(DecodeError::Truncated(field))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Binary Data: bytes behind their length.
    #[inline]
    pub(crate) fn binary(&mut self, field: Field) -> Result<&'a [u8], DecodeError> {
        let len = self.u16(field)?;
        self.take(usize::from(len), field)
    }

    /// A UTF-8 Encoded String. U+FEFF is a character like any other and stays [MQTT-1.5.4-3],
    /// [MQTT-1.5.3-3 of 3.1.1].
    #[inline]
    pub(crate) fn string(&mut self, field: Field) -> Result<&'a str, DecodeError> {
        let bytes = self.binary(field)?;
        // [MQTT-1.5.4-1], [MQTT-1.5.3-1 of 3.1.1]
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::IllFormedUtf8(field))?;
        // [MQTT-1.5.4-2], [MQTT-1.5.3-2 of 3.1.1]
        if has_null(bytes) { Err(DecodeError::NullCharacter(field)) } else { Ok(text) }
    }

    /// A topic name that is not empty; the rules of strings and of names in one pass over the text.
    #[inline]
    pub(crate) fn topic_name(&mut self, field: Field) -> Result<TopicName<'a>, DecodeError> {
        let bytes = self.binary(field)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::IllFormedUtf8(field))?;
        if is_clean_name(bytes) {
            return Ok(TopicName::from_checked(text));
        }
        TopicName::parse(text).map_err(|error| topic_error(field, error))
    }

    /// A topic filter [MQTT-3.8.3-1] [MQTT-3.10.3-1], [MQTT-3.8.3-1 of 3.1.1].
    pub(crate) fn topic_filter(&mut self) -> Result<TopicFilter<'a>, DecodeError> {
        let field = Field::TopicFilter;
        let bytes = self.binary(field)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::IllFormedUtf8(field))?;
        TopicFilter::parse(text).map_err(|error| topic_error(field, error))
    }

    /// A packet identifier, which is never 0 [MQTT-2.2.1-3], [MQTT-2.3.1-1 of 3.1.1].
    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16(Field::PacketId)?).ok_or(DecodeError::PacketIdZero)
    }
}

/// A Variable Byte Integer at the start of `bytes` and how many bytes it has; `None` if it is cut off.
#[inline]
pub(crate) fn varint(bytes: &[u8], field: Field) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            if byte == 0 && index > 0 {
                // [MQTT-1.5.5-1]
                return Err(DecodeError::VarintNotMinimal(field));
            }
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err(DecodeError::VarintTooLong(field)) } else { Ok(None) }
}

/// How many bytes a Variable Byte Integer takes.
#[inline]
pub(crate) const fn varint_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Whether a text has U+0000. No early exit: so the loop runs over many bytes at once, and there hardly ever is one.
#[inline]
pub(crate) fn has_null(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |found, &byte| found | u8::from(byte == 0)) != 0
}

#[cold]
fn topic_error(field: Field, error: TopicError) -> DecodeError {
    match error {
        TopicError::Null => DecodeError::NullCharacter(field),
        error => DecodeError::Topic { field, error },
    }
}

/// A filter at the front of bytes that were checked when their packet was decoded.
pub(crate) fn checked_filter<'a>(bytes: &mut &'a [u8]) -> Option<TopicFilter<'a>> {
    let mut reader = Reader::new(bytes);
    let text = std::str::from_utf8(reader.binary(Field::TopicFilter).ok()?).ok()?;
    *bytes = reader.rest();
    Some(TopicFilter::from_checked(text, share_prefix(text)))
}

/// Appends to a buffer, or counts only. One description of a packet's layout so serves for its length too.
#[derive(Debug)]
pub(crate) struct Writer<'o> {
    out: Option<&'o mut Vec<u8>>,
    len: usize,
}

impl<'o> Writer<'o> {
    /// How many bytes `write` writes.
    pub(crate) fn count(write: impl FnOnce(&mut Writer<'_>)) -> usize {
        let mut writer = Writer { out: None, len: 0 };
        write(&mut writer);
        writer.len
    }

    pub(crate) const fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out: Some(out), len: 0 }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        match &mut self.out {
            Some(out) => out.extend_from_slice(bytes),
            None => self.len += bytes.len(),
        }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// A Variable Byte Integer in its shortest form [MQTT-1.5.5-1].
    pub(crate) fn varint(&mut self, value: usize) {
        let (bytes, len) = varint_bytes(value);
        self.bytes(&bytes[..len]);
    }

    /// A string or binary data. Whoever encodes has seen to it that it fits; lengths may be asked for without, and
    /// what does not fit is then written as empty rather than with a length that is not its own.
    pub(crate) fn binary(&mut self, value: &[u8]) {
        let value = if value.len() > MAX_BINARY { &[] } else { value };
        self.u16(value.len() as u16);
        self.bytes(value);
    }

    /// What `write` writes, behind its length: 0 if it is nothing [MQTT-2.2.2-1].
    pub(crate) fn block(&mut self, write: impl Fn(&mut Writer<'_>)) {
        let len = Writer::count(&write);
        self.varint(len);
        match self.out {
            Some(_) => write(self),
            None => self.len += len,
        }
    }
}

/// The bytes of a Variable Byte Integer, and how many of them count.
#[inline]
pub(crate) const fn varint_bytes(value: usize) -> ([u8; 4], usize) {
    let len = varint_len(value);
    let mut bytes = [0; 4];
    let mut index = 0;
    while index < len {
        let more = if index + 1 < len { 0x80 } else { 0 };
        // Seven bits at a time: the rest is left to the next byte.
        bytes[index] = (value >> (7 * index)) as u8 & 0x7F | more;
        index += 1;
    }
    (bytes, len)
}
