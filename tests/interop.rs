//! Every client, in every version and over every transport it has, through what applications do with a broker.
#![cfg(unix)]
#![allow(missing_docs)]

use columba_tests::raw::Raw;
use columba_tests::{Broker, Client, Kind, Library, Message, Open, Properties, Random, Transport, Version};

/// The tests of one client; those of MQTT 5 only where it speaks that.
macro_rules! client {
    ($name:ident: $kind:expr) => {
        mod $name {
            client!(@tests $kind; round_trip_at_qos_0 round_trip_at_qos_1 round_trip_at_qos_2 retained will
                session_at_qos_1 session_at_qos_2 shared_subscription large_payload);
        }
    };
    ($name:ident with properties: $kind:expr) => {
        mod $name {
            client!(@tests $kind; round_trip_at_qos_0 round_trip_at_qos_1 round_trip_at_qos_2 retained will
                session_at_qos_1 session_at_qos_2 shared_subscription large_payload properties);
        }
    };
    (@tests $kind:expr; $($test:ident)*) => {
        #[allow(clippy::wildcard_imports)]
        use super::*;
        $(#[test]
        fn $test() {
            super::$test($kind);
        })*
    };
}

client!(mosquitto_v31: Kind::new(Library::Mosquitto, Version::V31));
client!(mosquitto_v311: Kind::new(Library::Mosquitto, Version::V311));
client!(mosquitto_v5 with properties: Kind::new(Library::Mosquitto, Version::V5));
client!(paho_v311: Kind::new(Library::Paho, Version::V311));
client!(paho_v5 with properties: Kind::new(Library::Paho, Version::V5));
client!(mqttjs_v311: Kind::new(Library::MqttJs, Version::V311));
client!(mqttjs_v5 with properties: Kind::new(Library::MqttJs, Version::V5));
client!(mqttjs_ws_v311: Kind::new(Library::MqttJs, Version::V311).over(Transport::WebSocket));
client!(mqttjs_ws_v5 with properties: Kind::new(Library::MqttJs, Version::V5).over(Transport::WebSocket));
client!(rumqttc_v311: Kind::new(Library::Rumqttc, Version::V311));
client!(rumqttc_v5 with properties: Kind::new(Library::Rumqttc, Version::V5));

fn open(kind: Kind, broker: &Broker, id: &str, subscribe: &[(&str, u8)]) -> Client {
    kind.open(broker, &Open { id, subscribe, ..Open::default() })
}

fn round_trip_at_qos_0(kind: Kind) {
    round_trip(kind, 0);
}

fn round_trip_at_qos_1(kind: Kind) {
    round_trip(kind, 1);
}

fn round_trip_at_qos_2(kind: Kind) {
    round_trip(kind, 2);
}

/// A second copy of a message would come where the next one is due.
fn round_trip(kind: Kind, qos: u8) {
    let broker = Broker::start();
    let mut client = open(kind, &broker, "round-trip", &[("round/+/trip", 2)]);
    for payload in ["first", "second", "", "Grüße 🕊", "last"] {
        let message = Message::new("round/a/trip", payload, qos);
        client.publish(&message);
        assert_eq!(client.receive(), message);
    }
    client.leave();
}

fn retained(kind: Kind) {
    let broker = Broker::start();
    let mut publisher = open(kind, &broker, "publisher", &[("room/+", 1)]);
    let live = Message::new("room/attic", "21.5", 1);
    publisher.publish(&live.clone().retained());
    assert_eq!(publisher.receive(), live, "a subscriber of before sees an ordinary message");

    let mut later = open(kind, &broker, "later", &[("room/+", 1)]);
    assert_eq!(later.receive(), live.retained());
    later.leave();

    let cleared = Message::new("room/attic", "", 1);
    publisher.publish(&cleared.clone().retained());
    assert_eq!(publisher.receive(), cleared);

    let mut last = open(kind, &broker, "last", &[("room/+", 1)]);
    let other = Message::new("room/cellar", "12", 1);
    publisher.publish(&other);
    assert_eq!(last.receive(), other, "nothing is retained any more");
}

fn will(kind: Kind) {
    let broker = Broker::start();
    let mut watcher = Raw::connect(&broker, Version::V5, "watcher");
    watcher.subscribe(&[("gone/#", 1)]);
    let open = |id| {
        let will = Some(Message::new(&format!("gone/{id}"), "without a word", 1));
        kind.open(&broker, &Open { id, will, ..Open::default() })
    };
    open("polite").leave();
    // With MQTT 5, mosquitto_sub leaves with the reason «disconnect with will message».
    if kind == Kind::new(Library::Mosquitto, Version::V5) {
        assert_eq!(watcher.receive().expect("the will that was asked for").topic, "gone/polite");
    }
    open("lost").kill();
    let received = watcher.receive().expect("the will");
    assert_eq!(received.topic, "gone/lost");
    assert_eq!(received.payload, b"without a word");
}

fn session_at_qos_1(kind: Kind) {
    session(kind, 1);
}

fn session_at_qos_2(kind: Kind) {
    session(kind, 2);
}

fn session(kind: Kind, qos: u8) {
    let broker = Broker::start();
    let filters = [("while/away", qos)];
    let connect =
        |subscribe| kind.open(&broker, &Open { id: "sleeper", keep_session: true, subscribe, will: None });
    let first = connect(&filters);
    assert_ne!(first.session_present(), Some(true), "there was no session before");
    first.leave();

    let mut publisher = Raw::connect(&broker, Version::V311, "publisher");
    let expected: Vec<_> = (0..20).map(|n| Message::new("while/away", format!("message {n}"), qos)).collect();
    for message in &expected {
        publisher.publish(&message.topic, &message.payload, qos).expect("publish");
    }

    // mosquitto_sub does not start without a filter; the others rely on the subscription of before.
    let mut again = connect(if kind.library == Library::Mosquitto { &filters } else { &[] });
    assert_ne!(again.session_present(), Some(false), "the session is gone");
    for message in expected {
        assert_eq!(again.receive(), message);
    }
    again.leave();
}

fn shared_subscription(kind: Kind) {
    const COUNT: usize = 40;
    let broker = Broker::start();
    let filters = [("$share/workers/jobs", 1), ("end", 1)];
    let mut members = [open(kind, &broker, "one", &filters), open(kind, &broker, "two", &filters)];
    let mut publisher = Raw::connect(&broker, Version::V5, "publisher");
    let expected: Vec<_> = (0..COUNT).map(|n| format!("job {n:02}")).collect();
    for job in &expected {
        publisher.publish("jobs", job.as_bytes(), 1).expect("publish");
    }
    // Once everything has come, the end is announced, and whatever came before it once too often is counted.
    let mut received = Vec::new();
    while received.len() < COUNT {
        for member in &mut members {
            while let Some(message) = member.receive_within(std::time::Duration::from_millis(20)) {
                received.push(message);
            }
        }
    }
    publisher.publish("end", b"", 1).expect("publish");
    for member in &mut members {
        received
            .extend(std::iter::from_fn(|| Some(member.receive()).filter(|message| message.topic != "end")));
    }
    let text = |message: Message| String::from_utf8(message.payload).expect("text");
    let mut payloads: Vec<_> = received.into_iter().map(text).collect();
    payloads.sort();
    assert_eq!(payloads, expected);
}

fn large_payload(kind: Kind) {
    if !Broker::is_columba() && kind.transport == Transport::WebSocket {
        eprintln!("skipped: mosquitto 2.0 takes minutes to send a large message over WebSocket");
        return;
    }
    let broker = Broker::start();
    let mut client = open(kind, &broker, "large", &[("large", 1)]);
    // Not a pattern: a piece in the wrong place must show.
    let message = Message::new("large", Random::new(4).bytes(4 << 20), 1);
    client.publish(&message);
    assert_eq!(client.receive(), message);
    client.leave();
}

fn properties(kind: Kind) {
    let broker = Broker::start();
    let mut client = open(kind, &broker, "properties", &[("request", 1)]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let message = Message::new("request", "{}", 1).with(Properties {
        user: vec![pair("unit", "celsius"), pair("unit", "kelvin"), pair("room", "attic")],
        content_type: Some("application/json".to_owned()),
        response_topic: Some("answers/42".to_owned()),
        correlation: Some(b"number-42".to_vec()),
    });
    client.publish(&message);
    assert_eq!(client.receive(), message);
    client.leave();
}
