//! Owns the client's side of WebSocket: the request, frames around what is sent, and the stream of bytes out of those that
//! come. Never reads or writes a socket.

/// One key for all connections: a key that changes protects proxies, of which there are none between a broker and its load.
/// It is not zero, or a broker could spare itself the unmasking.
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
/// Opcodes, and the bit that ends a message.
const FINAL: u8 = 0x80;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const MASKED: u8 = 0x80;
/// In place of a length: it follows in two bytes, or in eight.
const LONG: u8 = 0x7E;
const LONGEST: u8 = 0x7F;
/// Of a control frame.
const MAX_CONTROL: u64 = 125;
/// An answer to the request that is longer is none.
const MAX_ANSWER: usize = 16 << 10;

/// A key by the rules, and what RFC 6455 makes of it.
const REQUEST_KEY: &str = "Y29sdW1iYS1iZW5jaC0xNg==";
const ACCEPT: &str = "jeSvnMKYZwDSvUi2UPESdI/zAjg=";

/// The request that opens a connection for MQTT.
pub(crate) fn request(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {REQUEST_KEY}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    .into_bytes()
}

/// The length of the answer that opens the connection; `None` while it is incomplete.
///
/// # Errors
/// The server does not want to.
pub(crate) fn read_answer(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > MAX_ANSWER {
            Err("a WebSocket answer without end".into())
        } else {
            Ok(None)
        };
    };
    let text = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = text.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        return Err(format!("no WebSocket here: {status}"));
    }
    let has = |name: &str, value: &str| {
        lines.clone().filter_map(|line| line.split_once(':')).any(|(own_name, own_value)| {
            own_name.trim().eq_ignore_ascii_case(name) && own_value.trim() == value
        })
    };
    if !has("Sec-WebSocket-Accept", ACCEPT) {
        return Err("a WebSocket answer to another request".into());
    }
    if !has("Sec-WebSocket-Protocol", "mqtt") {
        return Err("a WebSocket that does not speak mqtt".into());
    }
    Ok(Some(end + 4))
}

/// Appends the header of a frame with a payload of `len` bytes, which has to be masked.
pub(crate) fn header(len: usize, out: &mut Vec<u8>) {
    header_of(BINARY, len, out);
}

/// Masks, or unmasks, bytes that begin at `offset` of a payload.
#[inline]
pub(crate) fn mask(bytes: &mut [u8], offset: usize) {
    let key: [u8; 4] = std::array::from_fn(|index| KEY[(offset + index) % 4]);
    let mut chunks = bytes.chunks_exact_mut(4);
    for chunk in &mut chunks {
        for (byte, key) in chunk.iter_mut().zip(key) {
            *byte ^= key;
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(key) {
        *byte ^= key;
    }
}

fn header_of(opcode: u8, len: usize, out: &mut Vec<u8>) {
    out.push(FINAL | opcode);
    match len {
        0..=125 => out.push(MASKED | len as u8),
        126..=0xFFFF => {
            out.push(MASKED | LONG);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(MASKED | LONGEST);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&KEY);
}

/// Takes the frames of a server apart, however they are cut up on their way.
#[derive(Debug, Default)]
pub(crate) struct Unwrapper {
    head: [u8; 10],
    head_len: usize,
    /// Of the frame that has begun.
    opcode: u8,
    left: u64,
    control: Vec<u8>,
}

impl Unwrapper {
    /// Moves the payloads in `bytes` together at its beginning and returns how long they are. What has to be answered is
    /// appended to `answers`.
    ///
    /// # Errors
    /// What the server does wrong, or that it closes.
    pub(crate) fn unwrap(&mut self, bytes: &mut [u8], answers: &mut Vec<u8>) -> Result<usize, String> {
        let (mut read, mut written) = (0, 0);
        while read < bytes.len() {
            if self.left == 0 {
                self.head[self.head_len] = bytes[read];
                self.head_len += 1;
                read += 1;
                self.begin(answers)?;
                continue;
            }
            let count = self.left.min((bytes.len() - read) as u64) as usize;
            if self.opcode & 0x8 == 0 {
                bytes.copy_within(read..read + count, written);
                written += count;
            } else {
                self.control.extend_from_slice(&bytes[read..read + count]);
            }
            read += count;
            self.left -= count as u64;
            if self.left == 0 {
                self.end(answers)?;
            }
        }
        Ok(written)
    }

    /// Another byte of a header has come; if it was the last, a frame begins.
    fn begin(&mut self, answers: &mut Vec<u8>) -> Result<(), String> {
        let [first, second, ..] = self.head;
        let (len_bytes, short) = match second & !MASKED {
            LONG => (2, 0),
            LONGEST => (8, 0),
            short => (0, u64::from(short)),
        };
        if self.head_len < 2 || self.head_len < 2 + len_bytes {
            return Ok(());
        }
        if second & MASKED != 0 {
            return Err("a masked WebSocket frame from the server".into());
        }
        let long = self.head[2..2 + len_bytes].iter().fold(0, |len, &byte| len << 8 | u64::from(byte));
        self.left = short | long;
        self.opcode = first & 0x0F;
        self.head_len = 0;
        match self.opcode {
            0 | BINARY => {}
            CLOSE | PING | PONG if self.left <= MAX_CONTROL => {}
            other => return Err(format!("a WebSocket frame of type {other:x}")),
        }
        if self.left == 0 { self.end(answers) } else { Ok(()) }
    }

    fn end(&mut self, answers: &mut Vec<u8>) -> Result<(), String> {
        match self.opcode {
            CLOSE => return Err("the broker closed the WebSocket".into()),
            PING => {
                header_of(PONG, self.control.len(), answers);
                mask(&mut self.control, 0);
                answers.extend_from_slice(&self.control);
            }
            _ => {}
        }
        self.control.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server sends it.
    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![FINAL | opcode];
        match payload.len() {
            len @ 0..=125 => bytes.push(len as u8),
            len => bytes.extend_from_slice(&[126, (len >> 8) as u8, len as u8]),
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn frames_come_apart_wherever_they_are_cut() {
        let long = [7; 300];
        let stream = [
            frame(BINARY, b"one"),
            frame(PING, b"hello"),
            frame(BINARY, b""),
            frame(PONG, b""),
            frame(0, &long),
        ];
        let stream = stream.concat();
        let expected = [b"one".as_slice(), &long].concat();
        for size in [1, 2, 3, 7, stream.len()] {
            let (mut unwrapper, mut answers, mut got) = (Unwrapper::default(), Vec::new(), Vec::new());
            for part in stream.chunks(size) {
                let mut part = part.to_vec();
                let len = unwrapper.unwrap(&mut part, &mut answers).unwrap();
                got.extend_from_slice(&part[..len]);
            }
            assert_eq!(got, expected, "in parts of {size}");
            let mut payload = answers.split_off(6);
            mask(&mut payload, 0);
            assert_eq!((answers[0], payload.as_slice()), (FINAL | PONG, b"hello".as_slice()));
        }
    }

    #[test]
    fn what_a_server_may_not_do() {
        let unwrap = |mut bytes: Vec<u8>| Unwrapper::default().unwrap(&mut bytes, &mut Vec::new());
        assert!(unwrap(frame(CLOSE, &[3, 232])).unwrap_err().contains("closed"));
        assert!(unwrap(frame(1, b"text")).unwrap_err().contains("type 1"));
        assert!(unwrap(vec![FINAL | BINARY, MASKED]).unwrap_err().contains("masked"));
    }

    #[test]
    fn masking_goes_on_anywhere() {
        let mut whole: Vec<u8> = (0..40).collect();
        let mut parts = whole.clone();
        mask(&mut whole, 0);
        mask(&mut parts[..7], 0);
        mask(&mut parts[7..18], 7);
        mask(&mut parts[18..], 18);
        assert_eq!(whole, parts);
        assert_ne!(whole[3], 3);
        mask(&mut whole, 0);
        assert_eq!(whole, (0..40).collect::<Vec<u8>>());
    }

    #[test]
    fn answers_to_the_request() {
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {ACCEPT}\r\nSec-WebSocket-Protocol:mqtt\r\n\r\n"
        );
        assert_eq!(read_answer(answer.as_bytes()), Ok(Some(answer.len())));
        assert_eq!(read_answer(&answer.as_bytes()[..50]), Ok(None));
        assert!(read_answer(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err().contains("404"));
        assert!(read_answer(answer.replace("mqtt", "wamp").as_bytes()).unwrap_err().contains("mqtt"));
        assert!(read_answer(answer.replace("jeS", "xeS").as_bytes()).unwrap_err().contains("another"));
        assert!(read_answer(&vec![b'a'; MAX_ANSWER + 1]).is_err());
    }
}
