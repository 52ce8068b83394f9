//! The `columba` program from outside: what it prints, and how it ends.
#![cfg(unix)]
#![allow(missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// More than anything here needs.
const DEADLINE: Duration = Duration::from_secs(30);

/// CONNECT of version 3.1.1 without credentials, and its answer.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

const UPGRADE: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// A running broker; it is killed if a test does not end it.
struct Broker {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Broker {
    fn start(arguments: &[&str]) -> Self {
        let mut process = command(arguments).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// The address of the next listener it announces.
    fn address(&mut self, kind: &str) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening ").and_then(|rest| rest.strip_prefix(kind));
        address.unwrap_or_else(|| panic!("{line:?} instead of {kind}")).trim().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Waits for the end and returns the status.
    fn end(mut self) -> i32 {
        // End of file is the end of the process.
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        self.process.wait().unwrap().code().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_columba"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The status of a command that ends by itself, and the one sentence it says.
fn fails(arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = command(arguments).output().unwrap();
    let sentence = String::from_utf8(stderr).unwrap();
    assert_eq!(stdout, b"", "{sentence}");
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    (status.code().unwrap(), sentence)
}

fn exchange(mut stream: impl Read + Write, sent: &[u8], expected: &[u8]) {
    stream.write_all(sent).unwrap();
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received, expected);
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A directory of a test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("columba-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).unwrap();
        self.path(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_listener_is_announced_and_served() {
    let directory = Directory::new("listeners");
    let socket = directory.path("mqtt.sock");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = directory.write("server.pem", &certified.cert.pem());
    let key = directory.write("server.key", &certified.signing_key.serialize_pem());
    let any = "127.0.0.1:0";
    let mut broker = Broker::start(&[
        "--tcp",
        any,
        "--ws",
        any,
        "--tcp",
        any,
        "--unix",
        &socket,
        "--tls",
        any,
        "--wss",
        any,
        "--certificate",
        &certificate,
        "--key",
        &key,
    ]);
    exchange(connect(&broker.address("tcp ")), CONNECT, CONNACK);
    let ws = broker.address("ws ");
    let web = connect(ws.strip_suffix("/mqtt").unwrap());
    exchange(web, UPGRADE.as_bytes(), b"HTTP/1.1 101 ");
    exchange(connect(&broker.address("tcp ")), CONNECT, CONNACK);
    assert_eq!(broker.address("unix "), socket);
    exchange(UnixStream::connect(&socket).unwrap(), CONNECT, CONNACK);
    broker.address("tls ");
    assert!(broker.address("wss ").ends_with("/mqtt"));
    broker.signal(Signal::TERM);
    assert_eq!(broker.end(), 0);
    assert!(!fs::exists(&socket).unwrap());
}

#[test]
fn signals_end_it_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut broker = Broker::start(&["--tcp", "127.0.0.1:0"]);
        let address = broker.address("tcp ");
        let mut client = connect(&address);
        exchange(&mut client, CONNECT, CONNACK);
        broker.signal(signal);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the connection ends in order");
        assert_eq!(broker.end(), 0);
        TcpListener::bind(address).unwrap();
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut broker = Broker::start(&["--ws", "127.0.0.1:0"]);
    let mut client = connect(broker.address("ws ").strip_suffix("/mqtt").unwrap());
    let mut hello = UPGRADE.as_bytes().to_vec();
    // A frame with a mask of zeros.
    hello.extend_from_slice(&[0x82, 0x80 | CONNECT.len() as u8, 0, 0, 0, 0]);
    hello.extend_from_slice(CONNECT);
    client.write_all(&hello).unwrap();
    let mut received = Vec::new();
    let mut read_up_to = |end: &[u8]| {
        while !received.ends_with(end) {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            received.extend_from_slice(&byte);
        }
    };
    read_up_to(CONNACK);
    broker.signal(Signal::TERM);
    // The broker's close frame, which this client never answers.
    read_up_to(b"\x88\x02\x03\xe8");
    broker.signal(Signal::TERM);
    let start = Instant::now();
    assert_eq!(broker.end(), 1);
    assert!(start.elapsed() < Duration::from_secs(4), "it did not wait for the client");
}

#[test]
fn a_taken_port_is_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, sentence) = fails(&["--tcp", &address]);
    assert_eq!(status, 1);
    assert!(sentence.contains(&address), "{sentence}");
}

#[test]
fn mistakes_are_one_sentence() {
    let directory = Directory::new("mistakes");
    let bad = directory.write("bad.toml", "[limits]\nconections = 1\n");
    let none = directory.path("none.toml");
    for (arguments, status, said) in [
        (&["--no-such-option"][..], 2, "--no-such-option"),
        (&["--tcp", "nonsense"], 2, "nonsense"),
        (&["--config", &bad], 1, "bad.toml, line 2, column 1: unknown field `conections`"),
        (&["--config", &none], 1, "none.toml"),
        (&["--tls", "127.0.0.1:0"], 1, "need a certificate"),
        (&["--certificate", &none, "--key", &none], 1, "none.toml"),
        (&["--tcp", "0.0.0.0:0"], 1, "--allow-anonymous"),
        (&["--unix", "/no/such/directory/mqtt.sock"], 1, "/no/such/directory/mqtt.sock"),
    ] {
        let (code, sentence) = fails(arguments);
        assert_eq!(code, status, "{sentence}");
        assert!(sentence.contains(said), "{sentence}");
    }
    let mut broker = Broker::start(&["--tcp", "0.0.0.0:0", "--allow-anonymous"]);
    broker.address("tcp ");
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (argument, said) in [("--help", "Usage: columba"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = command(&[argument]).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(said));
        assert_eq!(output.stderr, b"");
    }
}

#[test]
fn a_password_opens_the_door_that_its_hash_guards() {
    let mut process = command(&["password"]).stdin(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(b"secret\n").unwrap();
    let hash = String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap();

    let directory = Directory::new("password");
    let file = format!(
        "[[listeners]]\ntype = \"tcp\"\naddress = \"0.0.0.0:0\"\n\
         [users.ada]\npassword = \"{}\"\npublish = [\"mine/#\"]\n",
        hash.trim()
    );
    let config = directory.write("columba.toml", &file);
    let mut broker = Broker::start(&["--config", &config]);
    let address = broker.address("tcp ").replace("0.0.0.0", "127.0.0.1");
    let connect_as = |password: &str| {
        let mut packet = b"\x10\x1a\x00\x04MQTT\x04\xc2\x00\x00\x00\x01c\x00\x03ada\x00\x06".to_vec();
        packet.extend_from_slice(password.as_bytes());
        packet
    };
    // Not authorised, and bad user name or password, in version 3.1.1.
    exchange(connect(&address), CONNECT, b"\x20\x02\x00\x05");
    exchange(connect(&address), &connect_as("sesame"), b"\x20\x02\x00\x04");
    let mut ada = connect(&address);
    exchange(&mut ada, &connect_as("secret"), CONNACK);
    // She may subscribe to everything and hears what she may publish, and nothing else.
    exchange(&mut ada, b"\x82\x06\x00\x01\x00\x01#\x00", b"\x90\x03\x00\x01\x00");
    let published = b"\x30\x0a\x00\x06mine/aok";
    exchange(&mut ada, &[b"\x30\x08\x00\x03otheno", &published[..]].concat(), published);
}
