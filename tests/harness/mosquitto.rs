//! `mosquitto_sub` as the connection, `mosquitto_pub` for each message to publish.

use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::client::{Event, Wire};
use crate::message::from_hex;
use crate::{Broker, DEADLINE, Kind, Message, Open, Process, Properties, Transport, Version};

/// Tabs between the fields: topics and properties of these tests contain none.
const FORMAT: &str = r"message\t%t\t%q\t%r\t%x\t%C\t%R\t%D\t%P";

struct Mosquitto {
    subscriber: Process,
    events: Sender<Event>,
    address: Vec<String>,
    version: Version,
}

pub(crate) fn open(kind: Kind, broker: &Broker, open: &Open<'_>) -> (Box<dyn Wire>, Receiver<Event>) {
    let address = address(kind.transport, broker);
    // Writing to a pipe, mosquitto_sub would keep its lines until a buffer is full.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "mosquitto_sub", "-d", "-F", FORMAT, "-i", open.id]);
    command.args(&address).args(["-V", version(kind.version)]);
    if open.keep_session {
        command.arg("-c");
    }
    // One -q holds for all filters, so the tests ask for one QoS at a time. Without a filter it would not start.
    let qos = open.subscribe.first().map_or(0, |&(_, qos)| qos);
    command.args(["-q", &qos.to_string()]);
    for (filter, _) in open.subscribe {
        command.args(["-t", filter]);
    }
    if open.subscribe.is_empty() {
        command.args(["-t", "nothing/is/published/here"]);
    }
    if let Some(will) = &open.will {
        command.args(["--will-topic", &will.topic, "--will-qos", &will.qos.to_string()]);
        command.args(["--will-payload", std::str::from_utf8(&will.payload).expect("a textual will")]);
        if will.retain {
            command.arg("--will-retain");
        }
    }
    let (subscriber, lines) = Process::spawn(&mut command);
    let (sender, events) = channel();
    let own = sender.clone();
    thread::spawn(move || {
        for event in lines.into_iter().filter_map(|line| parse(&line)) {
            if sender.send(event).is_err() {
                return;
            }
        }
        let _ = sender.send(Event::Failed("mosquitto_sub ended".to_owned()));
    });
    (Box::new(Mosquitto { subscriber, events: own, address, version: kind.version }), events)
}

fn address(transport: Transport, broker: &Broker) -> Vec<String> {
    if transport == Transport::Unix {
        return vec!["--unix".to_owned(), broker.address(transport).to_owned()];
    }
    let socket = broker.socket(transport);
    let mut arguments =
        vec!["-h".to_owned(), socket.ip().to_string(), "-p".to_owned(), socket.port().to_string()];
    if transport.is_tls() {
        arguments.extend(["--cafile".to_owned(), broker.certificate().display().to_string()]);
    }
    arguments
}

fn version(version: Version) -> &'static str {
    match version {
        Version::V31 => "mqttv31",
        Version::V311 => "mqttv311",
        Version::V5 => "mqttv5",
    }
}

fn parse(line: &str) -> Option<Event> {
    if let Some(grants) = line.strip_prefix("Subscribed (mid: ") {
        let refused = grants.split([':', ',']).skip(1).any(|grant| grant.trim() == "128");
        return Some(if refused {
            Event::Failed("a subscription was refused".to_owned())
        } else {
            Event::Ready { session_present: None }
        });
    }
    let fields: Vec<&str> = line.strip_prefix("message\t")?.split('\t').collect();
    let [topic, qos, retain, payload, content_type, response_topic, correlation, user] = fields[..] else {
        return Some(Event::Failed(format!("mosquitto_sub printed {line:?}")));
    };
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let properties = Properties {
        user: user.split_whitespace().filter_map(|pair| pair.split_once(':')).map(own).collect(),
        content_type: optional(content_type),
        response_topic: optional(response_topic),
        correlation: optional(correlation).map(String::into_bytes),
    };
    Some(Event::Message(Message {
        topic: topic.to_owned(),
        payload: from_hex(payload),
        qos: qos.parse().unwrap_or(u8::MAX),
        retain: retain == "1",
        properties,
    }))
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

impl Wire for Mosquitto {
    fn publish(&mut self, message: &Message) {
        let mut command = Command::new("mosquitto_pub");
        command.args(&self.address).args(["-V", version(self.version), "-t", &message.topic]);
        // From standard input it takes anything but nothing.
        command.args(["-q", &message.qos.to_string(), if message.payload.is_empty() { "-n" } else { "-s" }]);
        if message.retain {
            command.arg("-r");
        }
        let Properties { user, content_type, response_topic, correlation } = &message.properties;
        let correlation = correlation.as_deref().map(|bytes| std::str::from_utf8(bytes).expect("textual"));
        for (name, value) in [
            ("content-type", content_type.as_deref()),
            ("response-topic", response_topic.as_deref()),
            ("correlation-data", correlation),
        ] {
            if let Some(value) = value {
                command.args(["-D", "publish", name, value]);
            }
        }
        for (name, value) in user {
            command.args(["-D", "publish", "user-property", name, value]);
        }
        let (mut publisher, _lines) = Process::spawn(&mut command);
        publisher.write_and_close(&message.payload);
        let event = match publisher.wait(DEADLINE) {
            Some(status) if status.success() => Event::Published,
            status => Event::Failed(format!("mosquitto_pub: {status:?}\n{}", publisher.errors())),
        };
        let _ = self.events.send(event);
    }

    fn leave(mut self: Box<Self>) {
        self.subscriber.terminate();
        assert!(self.subscriber.wait(DEADLINE).is_some(), "mosquitto_sub does not leave");
    }

    fn kill(mut self: Box<Self>) {
        self.subscriber.kill();
    }

    fn complaints(&self) -> String {
        self.subscriber.errors()
    }
}
