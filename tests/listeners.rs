//! The listeners that the other tests do not use, each with the clients that can.
#![cfg(unix)]
#![allow(missing_docs)]

use columba_tests::{Broker, Kind, Library, Message, Open, Random, Transport, Version};

#[test]
fn unix_socket() {
    round_trips(Transport::Unix, &[Library::Mosquitto, Library::Rumqttc]);
}

#[test]
fn tls() {
    round_trips(Transport::Tls, &[Library::Mosquitto, Library::Paho, Library::MqttJs]);
}

#[test]
fn web_socket_over_tls() {
    round_trips(Transport::WebSocketTls, &[Library::MqttJs]);
}

/// What comes in over one listener goes out over all.
#[test]
fn from_listener_to_listener() {
    let broker = Broker::start_on(&Transport::ALL);
    let mut clients = Transport::ALL.map(|transport| {
        let library = if transport == Transport::Unix { Library::Rumqttc } else { Library::MqttJs };
        let id = format!("{transport:?}");
        let open = Open { id: &id, subscribe: &[("everywhere", 1)], ..Open::default() };
        Kind::new(library, Version::V5).over(transport).open(&broker, &open)
    });
    for sender in 0..clients.len() {
        let message = Message::new("everywhere", format!("from {:?}", Transport::ALL[sender]), 1);
        clients[sender].publish(&message);
        for (client, transport) in clients.iter_mut().zip(Transport::ALL) {
            assert_eq!(client.receive(), message, "at {transport:?}");
        }
    }
}

fn round_trips(transport: Transport, libraries: &[Library]) {
    let broker = Broker::start_on(&[Transport::Tcp, transport]);
    for &library in libraries {
        for version in [Version::V311, Version::V5] {
            let kind = Kind::new(library, version).over(transport);
            let open = Open { id: "client", subscribe: &[("here", 2)], ..Open::default() };
            let mut client = kind.open(&broker, &open);
            // One that fits into a record of TLS, and one that takes many.
            for length in [10, 100_000] {
                let message = Message::new("here", Random::new(length).bytes(length as usize), 2);
                client.publish(&message);
                assert_eq!(client.receive(), message, "{kind}");
            }
            client.leave();
        }
    }
}
