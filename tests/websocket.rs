//! MQTT over WebSocket, frame by frame. Clients that send a packet in each frame prove little about it.
#![cfg(unix)]
#![allow(missing_docs)]

use std::sync::mpsc::Receiver;
use std::time::Instant;

use columba_tests::raw::{CONNACK, PINGREQ, PINGRESP, connect, packet};
use columba_tests::{Broker, DEADLINE, Process, Version, from_hex, node, to_hex};
use serde_json::{Value, json};

const PINGRESP_BYTES: [u8; 2] = [PINGRESP << 4, 0];

#[test]
fn packets_and_frames_have_nothing_to_do_with_each_other() {
    let broker = Broker::start();
    let mut socket = Socket::open(&broker);
    // A byte to a frame,
    for byte in connect(Version::V311, "bytes") {
        socket.send("binary", &[byte], true);
    }
    assert_eq!(socket.read(4), [CONNACK << 4, 2, 0, 0]);
    // three packets in one,
    let ping = packet(PINGREQ, 0, &[]);
    socket.send("binary", &ping.repeat(3), true);
    assert_eq!(socket.read(6), PINGRESP_BYTES.repeat(3));
    // and a packet in a message of two fragments, one of them empty.
    socket.send("binary", &ping, false);
    socket.send("binary", &[], true);
    assert_eq!(socket.read(2), PINGRESP_BYTES);
}

#[test]
fn websocket_pings_are_answered() {
    let broker = Broker::start();
    let mut socket = Socket::open(&broker);
    socket.send("ping", b"beat", true);
    let answer = socket.next();
    assert_eq!((&answer["event"], &answer["data"]), (&json!("pong"), &json!(to_hex(b"beat"))));
}

#[test]
fn text_closes_the_connection() {
    if !Broker::is_columba() {
        eprintln!("skipped: mosquitto 2.0 takes text for binary data");
        return;
    }
    let broker = Broker::start();
    let mut socket = Socket::open(&broker);
    socket.send("binary", &connect(Version::V311, "text"), true);
    assert_eq!(socket.read(4), [CONNACK << 4, 2, 0, 0]);
    socket.send("text", &packet(PINGREQ, 0, &[]), true);
    assert_eq!(socket.next()["event"], "close");
}

struct Socket {
    process: Process,
    lines: Receiver<String>,
    /// Data of frames that no one has asked for yet.
    unread: Vec<u8>,
}

impl Socket {
    fn open(broker: &Broker) -> Self {
        let (process, lines) = Process::spawn(node("websocket.mjs").arg(broker.ws_url()));
        let mut socket = Self { process, lines, unread: Vec::new() };
        let opened = socket.next();
        assert_eq!((&opened["event"], &opened["protocol"]), (&json!("open"), &json!("mqtt")), "{opened}");
        socket
    }

    fn send(&mut self, kind: &str, data: &[u8], is_last: bool) {
        let frame = json!({ "kind": kind, "data": to_hex(data), "last": is_last });
        self.process.send_line(&frame.to_string());
    }

    fn next(&mut self) -> Value {
        let line = self.lines.recv_timeout(DEADLINE);
        let line = line.unwrap_or_else(|_| panic!("the server is silent\n{}", self.process.errors()));
        serde_json::from_str(&line).expect("a line of JSON")
    }

    /// The next `length` bytes, however many frames they come in.
    fn read(&mut self, length: usize) -> Vec<u8> {
        let end = Instant::now() + DEADLINE;
        while self.unread.len() < length {
            assert!(Instant::now() < end, "only {:?} came", self.unread);
            let frame = self.next();
            assert_eq!((&frame["event"], &frame["binary"]), (&json!("frame"), &json!(true)), "{frame}");
            self.unread.extend(from_hex(frame["data"].as_str().unwrap_or_default()));
        }
        self.unread.drain(..length).collect()
    }
}
