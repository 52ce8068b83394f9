//! Clients in other languages: a script takes its connection as a JSON argument, commands as lines of JSON on
//! standard input, and reports events as lines of JSON on standard output.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use crate::client::{Event, Wire};
use crate::{Broker, DEADLINE, Kind, Library, Message, Open, Process, Transport, Version};

const TESTS: &str = env!("CARGO_MANIFEST_DIR");

struct Script {
    process: Process,
}

pub(crate) fn open(kind: Kind, broker: &Broker, open: &Open<'_>) -> (Box<dyn Wire>, Receiver<Event>) {
    let subscribe: Vec<_> = open.subscribe.iter().map(|(filter, qos)| json!([filter, qos])).collect();
    let socket = broker.socket(kind.transport);
    let scheme = match kind.transport {
        Transport::Tls => "mqtts",
        Transport::WebSocket => "ws",
        Transport::WebSocketTls => "wss",
        Transport::Tcp | Transport::Unix => "mqtt",
    };
    let options = json!({
        "host": socket.ip().to_string(),
        "port": socket.port(),
        "url": format!("{scheme}://{}", broker.address(kind.transport)),
        "authority": kind.transport.is_tls().then(|| broker.certificate()),
        "version": match kind.version {
            Version::V31 => 3,
            Version::V311 => 4,
            Version::V5 => 5,
        },
        "id": open.id,
        "keep_session": open.keep_session,
        "will": open.will.as_ref().map(Message::to_json),
        "subscribe": subscribe,
    });
    let (process, lines) = Process::spawn(program(kind.library).arg(options.to_string()));
    let (sender, events) = channel();
    thread::spawn(move || {
        for line in lines {
            if sender.send(parse(&line)).is_err() {
                return;
            }
        }
    });
    (Box::new(Script { process }), events)
}

fn program(library: Library) -> Command {
    match library {
        Library::Paho => python("paho_client.py"),
        _ => node("mqttjs_client.mjs"),
    }
}

fn python(script: &str) -> Command {
    let installed = Path::new(TESTS).join(".venv");
    run(script, installed.join("bin/python"), &installed)
}

/// A script of `tests/clients` for Node.
pub fn node(script: &str) -> Command {
    run(script, PathBuf::from("node"), &Path::new(TESTS).join("clients/node_modules"))
}

fn run(script: &str, runner: PathBuf, installed: &Path) -> Command {
    assert!(installed.exists(), "{} is not there; `cargo xtask interop` installs it", installed.display());
    let mut command = Command::new(runner);
    command.arg(Path::new(TESTS).join("clients").join(script));
    command
}

fn parse(line: &str) -> Event {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    match value["event"].as_str() {
        Some("ready") => Event::Ready { session_present: value["session_present"].as_bool() },
        Some("message") => Event::Message(Message::from_json(&value)),
        Some("published") => Event::Published,
        _ => Event::Failed(line.to_owned()),
    }
}

impl Wire for Script {
    fn publish(&mut self, message: &Message) {
        let mut command = message.to_json();
        command["command"] = "publish".into();
        self.process.send_line(&command.to_string());
    }

    fn leave(mut self: Box<Self>) {
        self.process.send_line(r#"{"command":"leave"}"#);
        let status = self.process.wait(DEADLINE);
        assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", self.process.errors());
    }

    fn kill(mut self: Box<Self>) {
        self.process.kill();
    }

    fn complaints(&self) -> String {
        self.process.errors()
    }
}
