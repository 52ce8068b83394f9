//! Takes fields off the front of a packet, each with the bytes it has, whatever they are. It never knows packets.

use std::borrow::Cow;

use super::Field;

/// So many fields are told apart, and a few more to end with.
const MAX_FIELDS: usize = 4096;
/// So many characters of a text are shown.
const MAX_TEXT: usize = 256;
/// So many bytes of binary data are shown.
const MAX_BINARY: usize = 64;

type Name = Cow<'static, str>;

/// Where in a packet we are, and the fields so far.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    fields: Vec<Field>,
    count: usize,
}

/// Where a part of a packet goes on behind this one.
#[derive(Clone, Copy)]
pub(super) struct Outer(usize);

impl<'a> Scan<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: bytes.len(), fields: Vec::new(), count: 0 }
    }

    /// All fields, when there is nothing more to say.
    pub(super) fn finish(mut self) -> Vec<Field> {
        self.give_up("nothing is known about this");
        self.fields
    }

    pub(super) const fn left(&self) -> usize {
        self.end - self.at
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// The next byte, which stays.
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes[self.at..self.end].first().copied()
    }

    /// From here on only the next `len` bytes are read, or as many as there are.
    pub(super) fn enter(&mut self, len: usize) -> Outer {
        let outer = Outer(self.end);
        self.end = self.at + len.min(self.left());
        outer
    }

    /// The end of a part: what is left of it is not understood.
    pub(super) fn leave(&mut self, outer: Outer, why: &str) {
        self.give_up(why);
        self.end = outer.0;
    }

    /// The last field.
    pub(super) fn last(&mut self) -> &mut Field {
        if self.fields.is_empty() {
            // Nobody asks before there is one.
            self.push("Nothing", 0, "");
        }
        let last = self.fields.len() - 1;
        &mut self.fields[last]
    }

    /// How many fields there are here.
    pub(super) const fn len(&self) -> usize {
        self.fields.len()
    }

    /// One of the fields that are here.
    pub(super) fn field(&mut self, number: usize) -> Option<&mut Field> {
        self.fields.get_mut(number)
    }

    /// The rest is not understood, if there is one.
    pub(super) fn give_up(&mut self, why: &str) {
        if !self.is_empty() {
            self.rest("Not understood");
            self.last().wrong(why);
        }
    }

    /// Whether there is room for more fields; if not, the rest becomes one.
    pub(super) fn has_room(&mut self) -> bool {
        if self.count < MAX_FIELDS {
            return true;
        }
        if !self.is_empty() {
            self.rest("More");
            self.last().note("too much to be told apart");
        }
        false
    }

    /// All that is left, as a text if it is one.
    pub(super) fn rest(&mut self, name: impl Into<Name>) -> &'a [u8] {
        let bytes = &self.bytes[self.at..self.end];
        self.push(name, bytes.len(), shown(bytes));
        bytes
    }

    /// A big-endian number of `N` bytes.
    pub(super) fn number<const N: usize>(&mut self, name: impl Into<Name>) -> Option<u32> {
        let Some(bytes) = self.bytes[self.at..self.end].first_chunk::<N>() else {
            self.cut_off(name, N);
            return None;
        };
        let number = bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        self.push(name, N, number.to_string());
        Some(number)
    }

    pub(super) fn u8(&mut self, name: impl Into<Name>) -> Option<u8> {
        self.number::<1>(name).and_then(|number| u8::try_from(number).ok())
    }

    pub(super) fn u16(&mut self, name: impl Into<Name>) -> Option<u16> {
        self.number::<2>(name).and_then(|number| u16::try_from(number).ok())
    }

    /// A Variable Byte Integer.
    pub(super) fn varint(&mut self, name: impl Into<Name>) -> Option<u32> {
        let mut value = 0;
        for (index, &byte) in self.bytes[self.at..self.end].iter().take(4).enumerate() {
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte < 0x80 {
                self.push(name, index + 1, value.to_string());
                // [MQTT-1.5.5-1]
                let is_long = byte == 0 && index > 0;
                self.last().wrong_if(is_long, "written in more bytes than it needs");
                return Some(value);
            }
        }
        if self.left() < 4 {
            self.cut_off(name, self.left() + 1);
        } else {
            self.push(name, 4, "");
            self.last().wrong("goes on after its fourth byte");
        }
        None
    }

    /// Bytes behind their length, as a field of two.
    pub(super) fn binary(&mut self, name: impl Into<Name>, content: &'static str) -> Option<&'a [u8]> {
        self.nested(name, |scan| {
            let len = usize::from(scan.u16("Length")?);
            scan.last().note(match len {
                1 => "1 byte follows".to_owned(),
                _ => format!("{len} bytes follow"),
            });
            if scan.left() < len {
                scan.cut_off(content, len);
                return None;
            }
            let bytes = &scan.bytes[scan.at..scan.at + len];
            if len > 0 {
                scan.push(content, len, shown(bytes));
            }
            Some((bytes, shown(bytes)))
        })
    }

    /// A string. `None` if it is cut off, an empty one if it is none.
    pub(super) fn string(&mut self, name: impl Into<Name>) -> Option<&'a str> {
        let bytes = self.binary(name, "Text")?;
        let Ok(text) = std::str::from_utf8(bytes) else {
            // [MQTT-1.5.4-1], [MQTT-1.5.3-1 of 3.1.1]
            self.last().wrong("is to be a text, and is not UTF-8");
            return Some("");
        };
        // [MQTT-1.5.4-2], [MQTT-1.5.3-2 of 3.1.1]
        self.last().wrong_if(text.contains('\0'), "contains U+0000, which no text may");
        Some(text)
    }

    /// A field that is made of those which `read` takes, with the value it gives.
    pub(super) fn nested<T>(
        &mut self,
        name: impl Into<Name>,
        read: impl FnOnce(&mut Self) -> Option<(T, String)>,
    ) -> Option<T> {
        let (start, outer) = (self.at, std::mem::take(&mut self.fields));
        let outcome = read(self);
        let children = std::mem::replace(&mut self.fields, outer);
        let (result, value) = match outcome {
            Some((result, value)) => (Some(result), value),
            None => (None, "cut off".to_owned()),
        };
        self.count += 1;
        self.fields.push(Field { children, ..Field::new(start..self.at, name, value) });
        result
    }

    /// A field of `wanted` bytes of which there are fewer.
    fn cut_off(&mut self, name: impl Into<Name>, wanted: usize) {
        let came = self.left();
        let value = if came == 0 { "missing".to_owned() } else { shown(&self.bytes[self.at..self.end]) };
        self.push(name, came, value);
        let note = match came {
            0 => "ends before it".to_owned(),
            _ => format!("ends inside: {came} of {wanted} bytes are there"),
        };
        let whole = if self.end == self.bytes.len() { "the packet" } else { "what it is in" };
        self.last().wrong(format!("{whole} {note}"));
    }

    fn push(&mut self, name: impl Into<Name>, len: usize, value: impl Into<String>) {
        self.count += 1;
        self.fields.push(Field::new(self.at..self.at + len, name, value));
        self.at += len;
    }
}

/// Bytes for people: a text in quotes, or hexadecimal.
pub(super) fn shown(bytes: &[u8]) -> String {
    let is_text = |text: &&str| !text.contains(|char: char| char.is_control() && !char.is_whitespace());
    let Some(text) = std::str::from_utf8(bytes).ok().filter(is_text) else { return hex(bytes) };
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], bytes.len()),
        None => format!("{text:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(MAX_BINARY)];
    let start = start.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    if bytes.len() > MAX_BINARY { format!("{start}… ({} bytes)", bytes.len()) } else { start }
}
