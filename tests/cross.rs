//! Each client publishes to all the others, at every quality of service.
#![cfg(unix)]
#![allow(missing_docs)]

use columba_tests::{Broker, Client, Kind, Library, Message, Open, Properties, Transport, Version};

const KINDS: [Kind; 11] = [
    Kind::new(Library::Mosquitto, Version::V31),
    Kind::new(Library::Mosquitto, Version::V311),
    Kind::new(Library::Mosquitto, Version::V5),
    Kind::new(Library::Paho, Version::V311),
    Kind::new(Library::Paho, Version::V5),
    Kind::new(Library::MqttJs, Version::V311),
    Kind::new(Library::MqttJs, Version::V5),
    Kind::new(Library::MqttJs, Version::V311).over(Transport::WebSocket),
    Kind::new(Library::MqttJs, Version::V5).over(Transport::WebSocket),
    Kind::new(Library::Rumqttc, Version::V311),
    Kind::new(Library::Rumqttc, Version::V5),
];

#[test]
fn mosquitto_to_all() {
    to_all(Library::Mosquitto);
}

#[test]
fn paho_to_all() {
    to_all(Library::Paho);
}

#[test]
fn mqttjs_to_all() {
    to_all(Library::MqttJs);
}

#[test]
fn rumqttc_to_all() {
    to_all(Library::Rumqttc);
}

fn to_all(library: Library) {
    let broker = Broker::start();
    let mut subscribers: Vec<(Kind, Client)> = Vec::new();
    for (index, kind) in KINDS.into_iter().enumerate() {
        let id = format!("subscriber-{index}");
        subscribers.push((
            kind,
            kind.open(&broker, &Open { id: &id, subscribe: &[("all/#", 2)], ..Open::default() }),
        ));
    }
    for from in KINDS.into_iter().filter(|kind| kind.library == library) {
        let mut publisher = from.open(&broker, &Open { id: "publisher", ..Open::default() });
        for qos in 0..=2 {
            let message = message(from, qos);
            publisher.publish(&message);
            for (to, subscriber) in &mut subscribers {
                let expected = as_seen_by(*to, &message);
                assert_eq!(subscriber.receive(), expected, "from {from} to {to}");
            }
        }
        publisher.leave();
    }
}

fn message(from: Kind, qos: u8) -> Message {
    let message = Message::new(&format!("all/qos/{qos}"), format!("from {from}"), qos);
    if from.version != Version::V5 {
        return message;
    }
    message.with(Properties {
        user: vec![("sent-by".to_owned(), format!("{:?}", from.library))],
        content_type: Some("text/plain".to_owned()),
        ..Properties::default()
    })
}

/// Properties do not reach a client of MQTT 3.
fn as_seen_by(to: Kind, message: &Message) -> Message {
    let properties =
        if to.version == Version::V5 { message.properties.clone() } else { Properties::default() };
    message.clone().with(properties)
}
