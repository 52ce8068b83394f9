//! An MQTT broker for tests: started in one line, tortured, thrown away.
//!
//! ```toml
//! [dev-dependencies]
//! columba-testkit = "0.1"
//! ```
//!
//! There are two ways to have one, with the same broker, the same faults and the same assertions:
//!
//! | | [`TestBroker`] | [`World`] |
//! |---|---|---|
//! | for | a program and its own MQTT client | protocol logic, devices, what takes long or happens seldom |
//! | clients | any, over TCP, WebSocket or memory | scripts ([`Client`]) |
//! | time | real, or moved by the test | moved by the test |
//! | runs | on threads of its own, beside any executor | on the test's thread, the same for the same seed |
//!
//! # A broker for your client
//!
//! ```
//! use columba_testkit::{TestBroker, published};
//! # use columba_testkit::{Version, Client};
//! # fn start_application(port: u16) -> std::thread::JoinHandle<()> {
//! #     std::thread::spawn(move || {
//! #         let address = ([127, 0, 0, 1], port).into();
//! #         let client = Client::tcp(address, "app", Version::V5, &Default::default()).unwrap();
//! #         client.connect("app", |_| ());
//! #         client.accepted();
//! #         client.retain("app/state", 1, "ready");
//! #     })
//! # }
//!
//! let broker = TestBroker::start();
//! let application = start_application(broker.port());
//! broker.expect(published("app/state").client("app").payload("ready").retain(true)).wait();
//! # application.join().unwrap();
//! ```
//!
//! In an `async` test the last line ends with `.await` instead of `.wait()`, under any executor. Brokers do not know of each
//! other, so tests run side by side. [`TestBroker::builder`] has users, access rules, limits, and what some real servers
//! lack: retained messages, QoS 2, wildcards, a large receive maximum. Clients of the test's own beside the one it is about are
//! scripts ([`TestBroker::connect`]) or in-process clients ([`TestBroker::broker`]).
//!
//! # Faults
//!
//! A fault is which packets, when, and what: [`on`]`(PacketType::PubAck)`, `.from_broker()`, `.client("app")`, `.nth(2)`,
//! `.lose()`. It is given to a broker or a world, and happens on sockets as it does in the simulation:
//!
//! ```
//! use columba_testkit::codec::PacketType;
//! use columba_testkit::{TestBroker, Version, on, persistent};
//!
//! let broker = TestBroker::start();
//! let lost = broker.fault(on(PacketType::PubAck).from_broker().client("app").once().lose());
//! let app = broker.connect("app", Version::V5, persistent);
//! app.start("order", 1, "one coffee", |_| ());
//! app.expect_nothing(); // the broker has it, and its acknowledgement was lost
//! assert_eq!(lost.hits(), 1);
//! ```
//!
//! [`Rule`] lists them all: delayed, lost, doubled, corrupted, truncated, split or held back packets, connections that are cut,
//! half-open or silent, slow readers, other answers. [`Rule::handle`] lets a function answer in the broker's stead, and
//! [`TestBroker::publish_as`] speaks in a client's name.
//!
//! # Time
//!
//! In a world, and with [`TestBrokerBuilder::manual_clock`], time moves when the test says so: keep alive, will delay, message
//! and session expiry need no waiting, and what falls due on the way happens at its instant.
//!
//! ```
//! use std::time::Duration;
//! use columba_testkit::{Version, World, will};
//!
//! let world = World::new();
//! let watch = world.connect("watch", Version::V3_1_1, |_| ());
//! watch.subscribe("state/#", 0);
//! let device = world.connect("device", Version::V5, |connect| {
//!     connect.keep_alive = 60;
//!     connect.will = Some(will("state/device", "gone"));
//! });
//! world.advance(Duration::from_secs(89));
//! watch.expect_nothing();
//! world.advance(Duration::from_secs(1));
//! watch.expect("PUBLISH state/device=gone");
//! # device.drain();
//! ```
//!
//! # When a test fails
//!
//! Every expectation says what it wanted and what there was, and shows the end of the conversation; a broker or a world that a
//! failing test drops shows it too, if nothing else has. The whole of it is a [`Transcript`]: as a list, a
//! [sequence diagram](Transcript::diagram) to keep as a snapshot, [JSON](Transcript::to_json), or a
//! [capture](Transcript::to_pcap) for Wireshark. [`dissect`](dissect::dissect) explains every byte of a packet.
//!
//! ```text
//!         time  device  app                                broker
//!        0.000  ├─ CONNECT "device" MQTT 5.0 ────────────────▶│
//!        0.000  │◀─ CONNACK 00 ───────────────────────────────┤
//!        1.500  │       ├─ PUBLISH command=on q1 #1 ─────────▶│
//!        1.500  │◀─ PUBLISH command=on q1 #1 ─────────────────┤
//!        1.500  │       │×─ PUBACK #1 ────────────────────────┤  [lost]
//! ```
//!
//! In a world every packet that a broker sends is also held against what MQTT allows, whatever the test is about.
//!
//! # Without sockets
//!
//! All that needs sockets, threads or an executor is behind the feature `sockets`, which is on by default: [`TestBroker`] and
//! scripted clients over TCP and WebSocket. What is left is the world, and for programs that move bytes themselves, in a
//! browser, say, the faults: a [`Net`] has them and the transcript, and a [`Line`] is a connection on which they happen.

#[cfg(feature = "sockets")]
mod broker;
mod client;
pub mod dissect;
mod expect;
mod export;
mod fault;
mod line;
mod net;
mod promises;
mod received;
mod rng;
#[cfg(feature = "sockets")]
mod sockets;
mod transcript;
mod wire;
mod words;
mod world;

#[cfg(feature = "sockets")]
pub use columba;
pub use columba_codec as codec;
pub use columba_codec::{QoS, ReasonCode, Version};
pub use columba_core as core;

#[cfg(feature = "sockets")]
pub use crate::broker::{Expectation, TestBroker, TestBrokerBuilder};
pub use crate::client::{Client, level, name};
pub use crate::expect::{
    Condition, Connected, Disconnected, Messages, SessionState, Subscribed, connected, delivered,
    disconnected, published, sequence, session, subscribed,
};
pub use crate::export::Capture;
pub use crate::fault::{Exchange, Fault, Rule, on, on_any};
pub use crate::line::{Cargo, Line, PublishError};
pub use crate::net::{FaultHandle, Net};
pub use crate::received::Received;
pub use crate::transcript::{Direction, Entry, Transcript, What};
pub use crate::words::describe;
pub use crate::world::{Edge, EdgeEvent, SimulatedBroker, World, WorldOptions};

use columba_codec::{Connect, MessageProperties, TopicName, Will};

/// For CONNECT: the session is to last, in MQTT 5 for an hour after the connection.
pub fn persistent(connect: &mut Connect<'_>) {
    connect.clean_start = false;
    if connect.version == Version::V5 {
        connect.properties.session_expiry = Some(3600);
    }
}

/// A will at QoS 0 without options.
///
/// # Panics
/// If `topic` is no topic name.
pub fn will<'a>(topic: &'a str, payload: &'a str) -> Will<'a> {
    Will {
        topic: TopicName::parse(topic).expect("a topic name"),
        payload: payload.as_bytes(),
        qos: QoS::AtMostOnce,
        retain: false,
        delay: None,
        properties: MessageProperties::default(),
    }
}
