//! MQTT over WebSocket, frame by frame. These need a socket, so the client is written out here: requests and frames as
//! bytes, which hide nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use columba_testkit::Version;
use columba_testkit::codec::Publish;
use columba_testkit::name;

use crate::stage::{Group, Stage, tests};
use crate::steps::raw_subscribe;

pub(crate) const TESTS: &[Group] = &[tests!(NUMBERED =>
    the_broker_sends_binary_frames,
    a_text_frame_ends_the_connection,
    a_text_frame_before_connect_ends_the_connection,
    a_text_message_in_fragments_ends_the_connection,
    an_empty_text_frame_ends_the_connection,
    a_packet_may_come_in_many_frames,
    many_packets_may_come_in_one_frame,
    a_frame_may_end_in_the_middle_of_a_packet,
    a_packet_may_come_in_fragments_of_a_message,
    control_frames_may_come_between_fragments,
    a_large_packet_arrives_whole,
    a_client_that_offers_no_subprotocol_is_refused,
    a_client_that_offers_another_subprotocol_is_refused,
    the_broker_selects_mqtt,
    the_broker_selects_mqtt_among_others,
    the_broker_selects_mqtt_from_several_headers,
)];

/// How long the broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kinds of frames; with `FINAL` a message's last.
const FINAL: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const PINGREQ: &[u8] = b"\xc0\x00";
const PINGRESP: &[u8] = b"\xd0\x00";

/// [MQTT-6.0.0-1] [MQTT-6.0.0-1 of 3.1.1]
fn the_broker_sends_binary_frames(stage: &Stage) {
    let mut socket = Socket::connected(stage);
    socket.send(FINAL | BINARY, &raw_subscribe(stage, 0x82, 1, &[(b"websocket/binary", 0)]));
    socket.suback(stage, 1);
    let publish = publish(stage, "websocket/binary", b"text that could be sent as such");
    socket.send(FINAL | BINARY, &publish);
    // `read` takes bytes out of no other frames.
    assert_eq!(socket.read(publish.len()), publish);
}

/// [MQTT-6.0.0-1] [MQTT-6.0.0-1 of 3.1.1]
fn a_text_frame_ends_the_connection(stage: &Stage) {
    let mut socket = Socket::connected(stage);
    // A whole packet that is text as well.
    let publish = publish(stage, "websocket/text", b"text");
    assert!(std::str::from_utf8(&publish).is_ok());
    socket.send(FINAL | TEXT, &publish);
    socket.expect_end();
}

/// [MQTT-6.0.0-1] [MQTT-6.0.0-1 of 3.1.1]
fn a_text_frame_before_connect_ends_the_connection(stage: &Stage) {
    let mut socket = Socket::open(stage);
    let connect = connect(stage);
    assert!(std::str::from_utf8(&connect).is_ok());
    socket.send(FINAL | TEXT, &connect);
    socket.expect_end();
}

/// [MQTT-6.0.0-1] [MQTT-6.0.0-1 of 3.1.1]
fn a_text_message_in_fragments_ends_the_connection(stage: &Stage) {
    let mut socket = Socket::connected(stage);
    let publish = publish(stage, "websocket/text", b"text");
    socket.send(TEXT, &publish[..5]);
    socket.send(FINAL | CONTINUATION, &publish[5..]);
    socket.expect_end();
}

/// [MQTT-6.0.0-1] [MQTT-6.0.0-1 of 3.1.1]
fn an_empty_text_frame_ends_the_connection(stage: &Stage) {
    let mut socket = Socket::connected(stage);
    socket.send(FINAL | TEXT, b"");
    socket.expect_end();
}

/// [MQTT-6.0.0-2] [MQTT-6.0.0-2 of 3.1.1]
fn a_packet_may_come_in_many_frames(stage: &Stage) {
    let mut socket = Socket::open(stage);
    for byte in connect(stage) {
        socket.send(FINAL | BINARY, &[byte]);
        // One without anything in it is not the end of anything.
        socket.send(FINAL | BINARY, b"");
    }
    socket.connack();
}

/// [MQTT-6.0.0-2] [MQTT-6.0.0-2 of 3.1.1]
fn many_packets_may_come_in_one_frame(stage: &Stage) {
    let mut socket = Socket::open(stage);
    let subscribe = raw_subscribe(stage, 0x82, 1, &[(b"websocket/many", 0)]);
    socket.send(FINAL | BINARY, &[&connect(stage), &subscribe[..], &PINGREQ.repeat(3)].concat());
    socket.connack();
    socket.suback(stage, 1);
    assert_eq!(socket.read(6), PINGRESP.repeat(3));
}

/// [MQTT-6.0.0-2] [MQTT-6.0.0-2 of 3.1.1]
fn a_frame_may_end_in_the_middle_of_a_packet(stage: &Stage) {
    let mut socket = Socket::connected(stage);
    let bytes =
        [PINGREQ, &raw_subscribe(stage, 0x82, 5, &[(b"websocket/middle", 0)]), PINGREQ, PINGREQ].concat();
    let (first, rest) = bytes.split_at(9);
    let (second, third) = rest.split_at(rest.len() - 1);
    for part in [first, second, third] {
        socket.send(FINAL | BINARY, part);
    }
    assert_eq!(socket.read(2), PINGRESP);
    socket.suback(stage, 5);
    assert_eq!(socket.read(4), PINGRESP.repeat(2));
}

/// [MQTT-6.0.0-2] [MQTT-6.0.0-2 of 3.1.1]
fn a_packet_may_come_in_fragments_of_a_message(stage: &Stage) {
    let mut socket = Socket::open(stage);
    let connect = connect(stage);
    socket.send(BINARY, &connect[..1]);
    socket.send(CONTINUATION, &connect[1..4]);
    socket.send(CONTINUATION, b"");
    socket.send(CONTINUATION, &connect[4..]);
    socket.send(FINAL | CONTINUATION, PINGREQ);
    socket.connack();
    assert_eq!(socket.read(2), PINGRESP);
}

/// [MQTT-6.0.0-2] [MQTT-6.0.0-2 of 3.1.1]
fn control_frames_may_come_between_fragments(stage: &Stage) {
    let mut socket = Socket::connected(stage);
    socket.send(BINARY, &PINGREQ[..1]);
    socket.send(FINAL | PING, b"beat");
    assert_eq!(socket.frame(), Some((FINAL | PONG, b"beat".to_vec())));
    socket.send(FINAL | PONG, b"not asked for");
    socket.send(FINAL | CONTINUATION, &PINGREQ[1..]);
    assert_eq!(socket.read(2), PINGRESP);
}

/// [MQTT-6.0.0-2] [MQTT-4.2-1] [MQTT-6.0.0-2 of 3.1.1] [MQTT-7.1.1-1 of 3.1.1]
fn a_large_packet_arrives_whole(stage: &Stage) {
    let mut socket = Socket::connected(stage);
    socket.send(FINAL | BINARY, &raw_subscribe(stage, 0x82, 1, &[(b"websocket/large", 0)]));
    socket.suback(stage, 1);
    let payload: Vec<u8> = (0..150_000_u32).map(|at| (at * 31 + at / 256) as u8).collect();
    let publish = publish(stage, "websocket/large", &payload);
    // Frames of every length that is written in its own way.
    let (first, rest) = publish.split_at(70_000);
    let (second, rest) = rest.split_at(126);
    let (third, fourth) = rest.split_at(125);
    for part in [first, second, third, fourth] {
        socket.send(FINAL | BINARY, part);
    }
    assert!(socket.read(publish.len()) == publish, "it comes otherwise");
}

/// [MQTT-6.0.0-3] [MQTT-6.0.0-3 of 3.1.1]
fn a_client_that_offers_no_subprotocol_is_refused(stage: &Stage) {
    let (_, head) = Socket::request(stage, "");
    assert_ne!(status(&head), "101", "{head}");
}

/// [MQTT-6.0.0-3] [MQTT-6.0.0-3 of 3.1.1]
fn a_client_that_offers_another_subprotocol_is_refused(stage: &Stage) {
    for offer in ["chat", "mqtt2", "xmqtt", "wamp, soap"] {
        let (_, head) = Socket::request(stage, &format!("Sec-WebSocket-Protocol: {offer}\r\n"));
        assert_ne!(status(&head), "101", "{offer}: {head}");
    }
}

/// [MQTT-6.0.0-4] [MQTT-6.0.0-4 of 3.1.1]
fn the_broker_selects_mqtt(stage: &Stage) {
    selects_mqtt(stage, "Sec-WebSocket-Protocol: mqtt\r\n");
}

/// [MQTT-6.0.0-4] [MQTT-6.0.0-4 of 3.1.1]
fn the_broker_selects_mqtt_among_others(stage: &Stage) {
    for offer in ["chat, mqtt", "mqtt, chat", "chat,mqtt,soap", "mqttv3.1, mqtt", "x-mqtt, mqtt"] {
        selects_mqtt(stage, &format!("Sec-WebSocket-Protocol: {offer}\r\n"));
    }
}

/// [MQTT-6.0.0-4] [MQTT-6.0.0-4 of 3.1.1]
fn the_broker_selects_mqtt_from_several_headers(stage: &Stage) {
    selects_mqtt(stage, "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: mqtt\r\n");
}

fn selects_mqtt(stage: &Stage, offer: &str) {
    let (mut socket, head) = Socket::request(stage, offer);
    assert_eq!(status(&head), "101", "{offer}{head}");
    let selected: Vec<_> = header(&head, "sec-websocket-protocol").collect();
    assert_eq!(selected, ["mqtt"], "{offer}{head}");
    // The key of the request, and what RFC 6455 says it becomes.
    let accept: Vec<_> = header(&head, "sec-websocket-accept").collect();
    assert_eq!(accept, ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="], "{head}");
    socket.send(FINAL | BINARY, &connect(stage));
    socket.connack();
}

/// Where the broker takes WebSocket connections, at the path `/mqtt`.
fn address(_: &Stage) -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let broker =
                    columba_testkit::columba::tokio::start(columba_testkit::columba::Broker::builder());
                let tcp = columba_net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let listener = columba_net::WsListener::new(tcp);
                send.send(listener.local_addr()).expect("the test waits");
                broker.serve(listener).expect("the broker is there");
                std::future::pending::<()>().await;
            });
        });
        receive.recv_timeout(PATIENCE).expect("the broker starts")
    })
}

fn connect(stage: &Stage) -> Vec<u8> {
    match stage.version {
        Version::V5 => b"\x10\x16\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x09websocket".to_vec(),
        _ => b"\x10\x15\x00\x04MQTT\x04\x02\x00\x3c\x00\x09websocket".to_vec(),
    }
}

fn publish(stage: &Stage, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Publish::new(name(topic), payload).encode(stage.version, &mut bytes).expect("it can be encoded");
    bytes
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

fn header<'a>(head: &'a str, wanted: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = head.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
}

/// The client's end.
struct Socket {
    stream: TcpStream,
    /// MQTT that nobody has asked for yet.
    unread: Vec<u8>,
}

impl Socket {
    /// Sends the request with this offer, and returns what it is answered with, up to the empty line.
    fn request(stage: &Stage, offer: &str) -> (Self, String) {
        let address = address(stage);
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the broker listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
        );
        stream.write_all(request.as_bytes()).expect("the broker takes it");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
            head.push(byte[0]);
        }
        (Self { stream, unread: Vec::new() }, String::from_utf8_lossy(&head).into_owned())
    }

    fn open(stage: &Stage) -> Self {
        let (socket, head) = Self::request(stage, "Sec-WebSocket-Protocol: mqtt\r\n");
        assert_eq!(status(&head), "101", "{head}");
        socket
    }

    fn connected(stage: &Stage) -> Self {
        let mut socket = Self::open(stage);
        socket.send(FINAL | BINARY, &connect(stage));
        socket.connack();
        socket
    }

    /// Sends one frame. The broker may be gone already, which shows later.
    fn send(&mut self, first: u8, payload: &[u8]) {
        const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
        let mut bytes = vec![first];
        match payload.len() {
            length @ ..126 => bytes.push(0x80 | length as u8),
            length @ ..0x1_0000 => {
                bytes.push(0xfe);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(0xff);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        let _ = self.stream.write_all(&bytes);
    }

    /// The next frame: first byte and payload. `None` is the end.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.take(2)?;
        assert_eq!(head[1] & 0x80, 0, "what comes from a broker is not masked");
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.take(2)?.try_into().ok()?)),
            127 => usize::try_from(u64::from_be_bytes(self.take(8)?.try_into().ok()?)).ok()?,
            length => usize::from(length),
        };
        Some((head[0], self.take(length)?))
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => Some(bytes),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the broker is silent and the connection open")
            }
            Err(_) => None,
        }
    }

    /// The next bytes of MQTT, in however many frames they come. Only binary messages have any [MQTT-6.0.0-1].
    fn read(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            let (first, payload) = self.frame().expect("the connection is open");
            assert!(matches!(first & !FINAL, BINARY | CONTINUATION), "{first:02x} {payload:02x?}");
            self.unread.extend(payload);
        }
        self.unread.drain(..count).collect()
    }

    /// Takes a CONNACK of success.
    fn connack(&mut self) {
        let head = self.read(2);
        assert_eq!(head[0], 0x20, "{head:02x?}");
        let body = self.read(usize::from(head[1]));
        assert_eq!(body[1], 0, "{body:02x?}");
    }

    /// Takes a SUBACK of QoS 0 for one filter.
    fn suback(&mut self, stage: &Stage, id: u16) {
        let head = self.read(2);
        assert_eq!(head[0], 0x90, "{head:02x?}");
        let body = self.read(usize::from(head[1]));
        let wanted = if stage.is_v5() { vec![0, id as u8, 0, 0] } else { vec![0, id as u8, 0] };
        assert_eq!(body, wanted);
    }

    /// The broker closes the connection, and nothing of MQTT but DISCONNECT comes before.
    fn expect_end(&mut self) {
        while let Some((first, payload)) = self.frame() {
            if first == FINAL | CLOSE {
                self.send(FINAL | CLOSE, &payload);
            } else {
                assert!(
                    first & !FINAL == BINARY && payload.first() == Some(&0xe0),
                    "{first:02x} {payload:02x?}"
                );
            }
        }
    }
}
