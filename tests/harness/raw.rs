//! A client that is nothing but a blocking socket and packets written as bytes.
//!
//! It shares no code with the broker's codec on purpose: a mistake made on both sides would show nowhere.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::{Broker, DEADLINE, Version};

pub const CONNECT: u8 = 1;
pub const CONNACK: u8 = 2;
pub const PUBLISH: u8 = 3;
pub const PUBACK: u8 = 4;
pub const PUBREC: u8 = 5;
pub const PUBREL: u8 = 6;
pub const PUBCOMP: u8 = 7;
pub const SUBSCRIBE: u8 = 8;
pub const SUBACK: u8 = 9;
pub const UNSUBSCRIBE: u8 = 10;
pub const PINGREQ: u8 = 12;
pub const PINGRESP: u8 = 13;
pub const DISCONNECT: u8 = 14;
pub const AUTH: u8 = 15;

/// The socket's own patience. [`Raw::read_frame`] goes on reading until its deadline.
const READ_TIMEOUT: Duration = Duration::from_millis(200);

/// A packet of type `kind` with the low four bits `flags`.
pub fn packet(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind << 4 | flags];
    varint(&mut bytes, body.len());
    bytes.extend_from_slice(body);
    bytes
}

pub fn varint(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let more = if value > 127 { 128 } else { 0 };
        bytes.push((value % 128) as u8 | more);
        value /= 128;
        if value == 0 {
            return;
        }
    }
}

/// A string or binary field: its length in two bytes, then itself.
pub fn field(bytes: &mut Vec<u8>, content: &[u8]) {
    let length = u16::try_from(content.len()).expect("a field of at most 65,535 bytes");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(content);
}

/// A CONNECT that asks for a clean session and a keep-alive of a minute.
pub fn connect(version: Version, id: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let (name, level) = match version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    field(&mut body, name.as_bytes());
    body.extend_from_slice(&[level, 0b10, 0, 60]);
    if version == Version::V5 {
        body.push(0);
    }
    field(&mut body, id.as_bytes());
    packet(CONNECT, 0, &body)
}

/// A PUBLISH; `id` counts only above QoS 0.
pub fn publish(version: Version, topic: &str, payload: &[u8], qos: u8, id: u16) -> Vec<u8> {
    let mut body = Vec::with_capacity(payload.len() + topic.len() + 8);
    field(&mut body, topic.as_bytes());
    if qos > 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(PUBLISH, qos << 1, &body)
}

pub fn subscribe(version: Version, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    for &(filter, qos) in filters {
        field(&mut body, filter.as_bytes());
        body.push(qos);
    }
    packet(SUBSCRIBE, 0b10, &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP for a success, which has the same form in every version.
pub fn acknowledge(kind: u8, id: u16) -> Vec<u8> {
    packet(kind, if kind == PUBREL { 0b10 } else { 0 }, &id.to_be_bytes())
}

/// A packet as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub body: Vec<u8>,
}

/// A PUBLISH taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub id: u16,
    pub retain: bool,
}

impl Frame {
    pub fn to_publish(&self, version: Version) -> Publish {
        let qos = self.flags >> 1 & 3;
        let topic_end = 2 + usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        let topic = String::from_utf8_lossy(&self.body[2..topic_end]).into_owned();
        let mut rest = &self.body[topic_end..];
        let mut id = 0;
        if qos > 0 {
            id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        if version == Version::V5 {
            let (length, size) = read_varint(rest).expect("the length of the properties");
            rest = &rest[size + length..];
        }
        Publish { topic, payload: rest.to_vec(), qos, id, retain: self.flags & 1 == 1 }
    }
}

/// A connection and the bytes read ahead.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    version: Version,
    buffer: Vec<u8>,
    /// Start of what is not consumed yet.
    start: usize,
    next_id: u16,
}

impl Raw {
    /// Opens the socket and sends nothing.
    pub fn socket(address: SocketAddr, version: Version) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, version, buffer: Vec::new(), start: 0, next_id: 0 })
    }

    /// Connects with a clean session.
    pub fn connect(broker: &Broker, version: Version, id: &str) -> Self {
        Self::try_connect(broker.tcp(), version, id).expect("connect to the broker")
    }

    pub fn try_connect(address: SocketAddr, version: Version, id: &str) -> io::Result<Self> {
        let mut raw = Self::socket(address, version)?;
        raw.send(&connect(version, id))?;
        let connack = raw.expect(CONNACK)?;
        if connack.body.get(1) == Some(&0) { Ok(raw) } else { Err(refused("CONNACK", &connack)) }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next packet; `None` when the broker has closed the connection or the deadline is over.
    pub fn read_frame(&mut self) -> io::Result<Option<Frame>> {
        self.read_frame_within(DEADLINE)
    }

    pub fn read_frame_within(&mut self, limit: Duration) -> io::Result<Option<Frame>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(frame) = self.take_frame() {
                return Ok(Some(frame));
            }
            match self.fill() {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if is_timeout(&error) && Instant::now() < end => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next packet, which must be of type `kind`.
    pub fn expect(&mut self, kind: u8) -> io::Result<Frame> {
        match self.read_frame()? {
            Some(frame) if frame.kind == kind => Ok(frame),
            Some(frame) => Err(io::Error::other(format!("a packet of type {kind} was due, not {frame:?}"))),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    pub fn subscribe(&mut self, filters: &[(&str, u8)]) {
        let id = self.new_id();
        self.send(&subscribe(self.version, id, filters)).expect("send SUBSCRIBE");
        let suback = self.expect(SUBACK).expect("SUBACK");
        let granted = &suback.body[suback.body.len() - filters.len()..];
        assert!(granted.iter().zip(filters).all(|(granted, (_, wanted))| granted == wanted), "{suback:?}");
    }

    /// Publishes and waits for the end of the QoS handshake.
    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: u8) -> io::Result<()> {
        let id = if qos > 0 { self.new_id() } else { 0 };
        self.send(&publish(self.version, topic, payload, qos, id))?;
        if qos == 1 {
            self.expect_ack(PUBACK, id)?;
        } else if qos == 2 {
            self.expect_ack(PUBREC, id)?;
            self.send(&acknowledge(PUBREL, id))?;
            self.expect_ack(PUBCOMP, id)?;
        }
        Ok(())
    }

    /// The next PUBLISH, acknowledged up to its PUBACK or PUBREC. A PUBREL on the way is answered.
    pub fn receive(&mut self) -> io::Result<Publish> {
        loop {
            let frame = self.read_frame()?.ok_or(ErrorKind::UnexpectedEof)?;
            if frame.kind == PUBREL {
                self.send(&acknowledge(PUBCOMP, u16::from_be_bytes([frame.body[0], frame.body[1]])))?;
            } else if frame.kind == PUBLISH {
                let publish = frame.to_publish(self.version);
                if publish.qos > 0 {
                    let kind = if publish.qos == 1 { PUBACK } else { PUBREC };
                    self.send(&acknowledge(kind, publish.id))?;
                }
                return Ok(publish);
            }
        }
    }

    pub fn ping(&mut self) -> io::Result<()> {
        self.send(&packet(PINGREQ, 0, &[]))?;
        self.expect(PINGRESP).map(|_| ())
    }

    /// Identifiers are used again after 65,535 others; nothing here has that many under way.
    pub fn new_id(&mut self) -> u16 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id
    }

    fn expect_ack(&mut self, kind: u8, id: u16) -> io::Result<()> {
        let frame = self.expect(kind)?;
        let is_ours = frame.body.starts_with(&id.to_be_bytes());
        // Reason codes below 0x80 are successes, such as «no matching subscribers».
        let is_success = frame.body.get(2).is_none_or(|reason| *reason < 0x80);
        if is_ours && is_success { Ok(()) } else { Err(refused("an acknowledgement", &frame)) }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let bytes = &self.buffer[self.start..];
        let (&first, rest) = bytes.split_first()?;
        let (length, size) = read_varint(rest)?;
        let body = rest.get(size..size + length)?.to_vec();
        self.start += 1 + size + length;
        Some(Frame { kind: first >> 4, flags: first & 15, body })
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let mut chunk = [0; 16 << 10];
        let length = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..length]);
        Ok(length)
    }
}

fn refused(what: &str, frame: &Frame) -> io::Error {
    io::Error::other(format!("{what} that is no success: {frame:?}"))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The value and its size in bytes; `None` if it is incomplete.
fn read_varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 127) << (7 * index);
        if byte & 128 == 0 {
            return Some((value, index + 1));
        }
    }
    assert!(bytes.len() < 4, "the broker sent a length of more than four bytes");
    None
}
