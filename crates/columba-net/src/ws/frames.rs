//! Frames of RFC 6455, as a server reads and writes them. Payloads are not collected: their bytes are handed on as they
//! come, so that a frame may be of any length [MQTT-6.0.0-2] and a connection holds none of it.

use std::fmt;

/// Reads what a client sends.
#[derive(Debug, Default)]
pub(super) struct Deframer {
    state: State,
    /// A message has begun and not ended.
    in_message: bool,
    /// The last ping that came and has not been answered; only the last one must be.
    ping: Option<Vec<u8>>,
    /// The close code that came, and that goes back.
    closed: Option<u16>,
}

#[derive(Debug)]
enum State {
    Header(Header),
    Data { left: u64, mask: Mask },
    Control { opcode: u8, left: usize, mask: Mask, payload: Vec<u8> },
}

/// A frame's header as far as it has come.
#[derive(Debug, Default)]
struct Header {
    bytes: [u8; MAX_HEADER],
    length: usize,
}

/// What payloads of clients are xored with, beginning with the next byte.
#[derive(Clone, Copy, Debug)]
struct Mask([u8; 4]);

/// What a client did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// A text frame [MQTT-6.0.0-1].
    Text,
    /// Not RFC 6455.
    Frame(&'static str),
}

/// Close codes (RFC 6455, section 7.4).
pub(super) const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;
/// Stands for a close frame without code, and is never sent.
const NO_CODE: u16 = 1005;

const MAX_HEADER: usize = 14;
const MAX_CONTROL: usize = 125;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Deframer {
    /// Reads what has come: moves the bytes of data to the front of `bytes` and returns their number. Bytes behind a close
    /// frame are ignored.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Violation> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() && self.closed.is_none() {
            match &mut self.state {
                State::Header(header) => {
                    at += header.take(&bytes[at..]);
                    if header.is_complete() {
                        self.begin()?;
                    }
                }
                State::Data { left, mask } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    bytes.copy_within(at..at + count, kept);
                    mask.apply(&mut bytes[kept..kept + count]);
                    (at, kept) = (at + count, kept + count);
                    *left -= count as u64;
                }
                State::Control { left, mask, payload, .. } => {
                    let count = (*left).min(bytes.len() - at);
                    mask.apply(&mut bytes[at..at + count]);
                    payload.extend_from_slice(&bytes[at..at + count]);
                    at += count;
                    *left -= count;
                }
            }
            self.end()?;
        }
        Ok(kept)
    }

    /// The payload that a pong has to have, if one is due.
    pub(super) fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    /// The code of the close frame to be sent back, if one came.
    pub(super) const fn closed(&self) -> Option<u16> {
        self.closed
    }

    /// A header is complete.
    fn begin(&mut self) -> Result<(), Violation> {
        let State::Header(header) = &self.state else { return Ok(()) };
        let (opcode, is_last) = (header.bytes[0] & 0x0f, header.bytes[0] & 0x80 != 0);
        if header.bytes[0] & 0x70 != 0 {
            return Err(Violation::Frame("an extension that was not agreed on"));
        }
        let Some((length, mask)) = header.length_and_mask() else {
            return Err(Violation::Frame("no mask"));
        };
        if opcode >= CLOSE {
            if length > MAX_CONTROL as u64 || !is_last {
                return Err(Violation::Frame("a control frame that is too long or in pieces"));
            }
            if opcode > PONG {
                return Err(Violation::Frame("an unknown kind of frame"));
            }
            // At most 125, checked above.
            self.state = State::Control { opcode, left: length as usize, mask, payload: Vec::new() };
            return Ok(());
        }
        match opcode {
            CONTINUATION if self.in_message => {}
            BINARY if !self.in_message => {}
            TEXT => return Err(Violation::Text),
            CONTINUATION | BINARY => {
                return Err(Violation::Frame("a message within a message, or none to continue"));
            }
            _ => return Err(Violation::Frame("an unknown kind of frame")),
        }
        if length > i64::MAX as u64 {
            return Err(Violation::Frame("a length of more than 63 bits"));
        }
        self.in_message = !is_last;
        self.state = State::Data { left: length, mask };
        Ok(())
    }

    /// If a frame is complete, does what it asks for and goes on to the next.
    fn end(&mut self) -> Result<(), Violation> {
        match &mut self.state {
            State::Data { left: 0, .. } => {}
            State::Control { opcode, left: 0, payload, .. } => match *opcode {
                PING => self.ping = Some(std::mem::take(payload)),
                CLOSE => self.closed = Some(close_code(payload)?),
                _ => {}
            },
            _ => return Ok(()),
        }
        self.state = State::default();
        Ok(())
    }
}

fn close_code(payload: &[u8]) -> Result<u16, Violation> {
    if payload.is_empty() {
        return Ok(NO_CODE);
    }
    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
    match code {
        Some(code @ (1000..=1003 | 1007..=1014 | 3000..=4999))
            if std::str::from_utf8(&payload[2..]).is_ok() =>
        {
            Ok(code)
        }
        _ => Err(Violation::Frame("a close frame whose contents mean nothing")),
    }
}

impl Header {
    /// Takes from the front of `bytes` what belongs to the header and returns how much that is.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        // The second byte tells how many there are, so this may take two steps.
        while taken < bytes.len() && !self.is_complete() {
            let count = (self.wanted() - self.length).min(bytes.len() - taken);
            self.bytes[self.length..self.length + count].copy_from_slice(&bytes[taken..taken + count]);
            self.length += count;
            taken += count;
        }
        taken
    }

    const fn is_complete(&self) -> bool {
        self.length >= 2 && self.length == self.wanted()
    }

    const fn wanted(&self) -> usize {
        if self.length < 2 {
            return 2;
        }
        let mask = if self.bytes[1] & 0x80 == 0 { 0 } else { 4 };
        mask + match self.bytes[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    /// `None` if there is no mask.
    fn length_and_mask(&self) -> Option<(u64, Mask)> {
        let bytes = &self.bytes[..self.length];
        let length = match bytes[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)),
            127 => u64::from_be_bytes(*bytes[2..].first_chunk()?),
            short => u64::from(short),
        };
        (bytes[1] & 0x80 != 0).then(|| bytes.last_chunk().map(|mask| (length, Mask(*mask)))).flatten()
    }
}

impl Mask {
    fn apply(&mut self, bytes: &mut [u8]) {
        let [a, b, c, d] = self.0;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, mask) in rest.iter_mut().zip(self.0.into_iter().cycle()) {
            *byte ^= mask;
        }
        self.0.rotate_left(bytes.len() % 4);
    }
}

/// The header of a binary message in one frame, and its length. MQTT goes in no other kind [MQTT-6.0.0-1].
pub(super) fn binary_header(length: usize) -> ([u8; 10], usize) {
    let mut header = [0x80 | BINARY, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let size = if length <= MAX_CONTROL {
        header[1] = length as u8;
        2
    } else if let Ok(length) = u16::try_from(length) {
        header[1] = 126;
        header[2..4].copy_from_slice(&length.to_be_bytes());
        4
    } else {
        header[1] = 127;
        header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
        10
    };
    (header, size)
}

/// Appends a pong with the payload of its ping, of which only so much is taken as a control frame may have.
pub(super) fn put_pong(out: &mut Vec<u8>, payload: &[u8]) {
    let payload = &payload[..payload.len().min(MAX_CONTROL)];
    out.extend_from_slice(&[0x80 | PONG, payload.len() as u8]);
    out.extend_from_slice(payload);
}

/// Appends a close frame.
pub(super) fn put_close(out: &mut Vec<u8>, code: u16) {
    if code == NO_CODE {
        out.extend_from_slice(&[0x80 | CLOSE, 0]);
    } else {
        out.extend_from_slice(&[0x80 | CLOSE, 2]);
        out.extend_from_slice(&code.to_be_bytes());
    }
}

impl Violation {
    /// The code of the close frame that answers it.
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::Text => UNSUPPORTED_DATA,
            Self::Frame(_) => PROTOCOL_ERROR,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Header(Header::default())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a text frame, where MQTT is binary"),
            Self::Frame(what) => write!(f, "a frame with {what}"),
        }
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let (header, size) = binary_header(payload.len());
        let mut frame = header[..size].to_vec();
        frame[0] = first;
        frame[1] |= 0x80;
        let mask = [0x12, 0x34, 0x56, 0x78];
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// Reads in pieces of this size; returns the data.
    fn read(deframer: &mut Deframer, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Violation> {
        let mut data = Vec::new();
        for piece in bytes.chunks(piece) {
            let mut piece = piece.to_vec();
            let count = deframer.read(&mut piece)?;
            data.extend_from_slice(&piece[..count]);
        }
        Ok(data)
    }

    #[test]
    fn data_comes_out_however_it_is_cut() {
        let long: Vec<u8> = (0..70_000_u32).map(|index| index as u8).collect();
        let stream = [
            frame(0x82, b"one"),
            frame(0x02, b"two"),
            frame(0x89, b"are you there?"),
            frame(0x00, b""),
            frame(0x80, &long[..300]),
            frame(0x8a, b"nobody asked"),
            frame(0x82, &long),
        ]
        .concat();
        let expected = [&b"onetwo"[..], &long[..300], &long].concat();
        for piece in [1, 2, 3, 7, 64, 1000, stream.len()] {
            let mut deframer = Deframer::default();
            assert_eq!(read(&mut deframer, &stream, piece).unwrap(), expected, "in pieces of {piece}");
            assert_eq!(deframer.take_ping().unwrap(), b"are you there?");
            assert_eq!((deframer.take_ping(), deframer.closed()), (None, None));
        }
    }

    #[test]
    fn closing() {
        for (payload, expected) in [
            (&b""[..], Ok(NO_CODE)),
            (b"\x03\xe8", Ok(NORMAL)),
            (b"\x03\xe9bye", Ok(1001)),
            (b"\x0b\xb8", Ok(3000)),
            (b"\x03", Err(PROTOCOL_ERROR)),
            (b"\x03\xed", Err(PROTOCOL_ERROR)),
            (b"\x03\xe8\xff", Err(PROTOCOL_ERROR)),
        ] {
            let mut deframer = Deframer::default();
            let stream = [frame(0x82, b"last"), frame(0x88, payload), frame(0x82, b"ignored")].concat();
            match read(&mut deframer, &stream, 5) {
                Ok(data) => {
                    assert_eq!(data, b"last");
                    assert_eq!(deframer.closed().ok_or(0), expected, "{payload:?}");
                }
                Err(violation) => assert_eq!(Err(violation.code()), expected, "{payload:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_allowed() {
        let unmasked = |first: u8| vec![first, 0];
        for (stream, code) in [
            (frame(0x81, b"text"), 1003),
            (frame(0x01, b"text"), 1003),
            (frame(0xc2, b"compressed"), 1002),
            (frame(0x92, b"rsv3"), 1002),
            (frame(0x83, b"reserved"), 1002),
            (frame(0x8b, b"reserved"), 1002),
            (frame(0x80, b"continues nothing"), 1002),
            ([frame(0x02, b"one"), frame(0x82, b"within")].concat(), 1002),
            (frame(0x09, b"a ping in pieces"), 1002),
            (frame(0x89, &[0; 126]), 1002),
            (unmasked(0x82), 1002),
            (unmasked(0x88), 1002),
            (vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1002),
        ] {
            let violation = read(&mut Deframer::default(), &stream, usize::MAX).unwrap_err();
            assert_eq!(violation.code(), code, "{:02x?}", &stream[..2]);
        }
        read(&mut Deframer::default(), &frame(0x89, &[0; 125]), 1).unwrap();
    }

    #[test]
    fn noise_does_no_harm() {
        // A generator (xorshift) with a fixed seed.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..2000 {
            let mut deframer = Deframer::default();
            for _ in 0..20 {
                let mut bytes: Vec<u8> = (0..next() % 40).map(|_| next() as u8).collect();
                // Masked frames without extensions get further than others.
                for pair in bytes.chunks_mut(8).filter(|chunk| chunk.len() > 1) {
                    pair[0] &= 0x8f;
                    pair[1] |= 0x80;
                }
                let length = bytes.len();
                match deframer.read(&mut bytes) {
                    Ok(kept) => assert!(kept <= length),
                    Err(_) => break,
                }
            }
        }
    }

    #[test]
    fn headers_have_the_shortest_form() {
        for (length, expected) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (0xffff, &[0x82, 126, 0xff, 0xff]),
            (0x10000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let (header, size) = binary_header(length);
            assert_eq!(&header[..size], expected);
        }
    }

    #[test]
    fn control_frames() {
        let mut out = Vec::new();
        put_pong(&mut out, b"hi");
        put_close(&mut out, NORMAL);
        put_close(&mut out, NO_CODE);
        assert_eq!(out, b"\x8a\x02hi\x88\x02\x03\xe8\x88\x00");
    }
}
