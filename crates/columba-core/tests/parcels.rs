//! Messages that are handed over and out decoded: nothing but their form differs.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use columba_core::codec::{
    Connect, FixedHeader, List, Packet, PacketType, Publish, SubscriptionId, TopicBuf, Version,
};
use columba_core::{
    Chunks, CloseCause, Config, ConnectionKey, Content, Core, Flow, Input, Intake, Metrics, Output, Parcel,
    Peer, Seed, Time,
};
use proptest::prelude::*;

use crate::replay::{History, any_config, any_step, parcel, polled};
use crate::world::{V5, encode, name};

/// The same call, with messages decoded.
fn decoded(input: &Input) -> Input {
    match input {
        Input::ReceivePublish { now, connection, version, bytes } => {
            let (packet, payload) = publish(bytes, *version).expect("it is one");
            let parcels = vec![parcel(&packet, payload)];
            Input::ReceiveParcels { now: *now, connection: *connection, parcels }
        }
        Input::Transmit { now, connection } => Input::TransmitParcels { now: *now, connection: *connection },
        input => input.clone(),
    }
}

fn publish(bytes: &Bytes, version: Version) -> Option<(Publish<'_>, Bytes)> {
    let header = FixedHeader::read(bytes, usize::MAX).ok()??;
    let packet = Publish::decode(header.flags, &bytes[header.len..header.total()], version).ok()?;
    let end = header.total();
    Some((packet.clone(), bytes.slice(end - packet.payload.len()..end)))
}

fn encoded(packet: Publish<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    Packet::Publish(packet).encode(version, &mut bytes).expect("it is one");
    bytes
}

/// Packets one after the other: those that are PUBLISH, encoded again, as the order of properties is free, and the others.
#[derive(Debug, Default, PartialEq)]
struct Sent {
    publishes: Vec<Vec<u8>>,
    others: Vec<Vec<u8>>,
}

impl Sent {
    fn add_bytes(&mut self, out: &Chunks, version: Version) {
        let all = Bytes::from(out.to_vec());
        let mut rest = &all[..];
        while let Ok(Some(header)) = FixedHeader::read(rest, usize::MAX) {
            let (packet, after) = rest.split_at(header.total());
            if header.packet_type == PacketType::Publish {
                let bytes = all.slice_ref(packet);
                let (packet, _) = publish(&bytes, version).expect("it is one");
                self.publishes.push(encoded(packet, version));
            } else {
                self.others.push(packet.to_vec());
            }
            rest = after;
        }
        assert!(rest.is_empty());
    }

    fn add_parcels(&mut self, parcels: &[Parcel], version: Version) {
        for parcel in parcels {
            let content = parcel.content();
            let ids: Vec<SubscriptionId> = parcel.subscription_ids().collect();
            let mut packet = Publish::new(content.topic(), content.payload());
            packet.qos = parcel.qos();
            packet.retain = parcel.retain();
            packet.dup = parcel.dup();
            packet.packet_id = parcel.packet_id();
            packet.properties = parcel.properties();
            packet.subscription_ids = List::from_slice(&ids);
            if version < V5 {
                assert_eq!(packet.properties, <_>::default(), "that version knows none");
            }
            self.publishes.push(encoded(packet, version));
        }
    }
}

/// Without what is counted in another way where there is no encoding.
fn metrics(core: &Core) -> Metrics {
    let mut metrics = core.metrics();
    (metrics.bytes_received, metrics.bytes_sent) = (0, 0);
    metrics
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_decoded_is_what_would_have_been_encoded(
        mut config in any_config(),
        seed: u64,
        steps in prop::collection::vec(any_step(), 1..120),
    ) {
        // Turns are measured in bytes, so they would end elsewhere.
        config.limits.transmit_budget = usize::MAX >> 1;
        let mut encoding = Core::new(config.clone(), Seed::from(seed));
        let mut decoding = Core::new(config, Seed::from(seed));
        let mut history = History::default();
        for step in &steps {
            let Some(input) = history.input(step) else { continue };
            let input = match input {
                Input::TransmitParcels { now, connection } => Input::Transmit { now, connection },
                input => input,
            };
            let (mut bytes, mut rest) = (Chunks::new(), Chunks::new());
            let output = encoding.apply(&input, &mut bytes);
            let (mut sent, mut decoded_sent) = (Sent::default(), Sent::default());
            let version = match input {
                Input::Transmit { connection, .. } => encoding.client_of(connection).map_or(V5, |client| client.1),
                _ => V5,
            };
            let decoded_output = match decoding.apply(&decoded(&input), &mut rest) {
                Output::Parcels(flow, parcels) => {
                    decoded_sent.add_parcels(&parcels, version);
                    Output::Flow(flow)
                }
                // It says what would become of another, while that of a packet says what became of it.
                Output::Intake(intake, left) if matches!(input, Input::ReceivePublish { .. }) => {
                    Output::Intake(if left == 0 { Intake::Open } else { intake }, 0)
                }
                output => output,
            };
            sent.add_bytes(&bytes, version);
            decoded_sent.add_bytes(&rest, version);
            prop_assert_eq!(&decoded_output, &output, "{:?}", &input);
            prop_assert_eq!(decoded_sent, sent);
            let now = polled(&mut encoding);
            history.note(&input, &output, &now.2);
            prop_assert_eq!(now, polled(&mut decoding));
            prop_assert_eq!(metrics(&encoding), metrics(&decoding));
        }
    }
}

/// A broker with clients that are subscribed to everything.
fn broker(clients: usize) -> (Core, Vec<ConnectionKey>) {
    let mut config = Config::default();
    config.limits.transmit_budget = 1 << 20;
    let mut core = Core::new(config, Seed::from(1));
    let mut open = || {
        let key = core.open(Time::ZERO, Peer::default());
        let mut bytes = Vec::new();
        let connect = Packet::Connect(Box::new(Connect::new(V5, "")));
        encode(&connect, V5, &mut bytes);
        bytes.extend_from_slice(b"\x82\x07\0\x01\0\0\x01#\0");
        assert_eq!(core.receive(Time::ZERO, key, &mut BytesMut::from(&bytes[..])), Intake::Open);
        key
    };
    let keys = (0..clients).map(|_| open()).collect();
    (core, keys)
}

fn taken(core: &mut Core, key: ConnectionKey) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    let flow = core.poll_transmit_parcels(Time::ZERO, key, &mut Chunks::new(), &mut parcels);
    assert_eq!(flow, Flow::Idle);
    parcels
}

#[test]
fn all_get_the_content_that_was_published() {
    let (mut core, keys) = broker(3);
    let content = Arc::new(Content::new(TopicBuf::from(name("a/b")), "hello".into()));
    let parcel = Parcel::new(content.clone());
    assert_eq!(core.receive_parcels(Time::ZERO, keys[0], [parcel]), Intake::Open);
    for &key in &keys {
        let parcels = taken(&mut core, key);
        assert!(Arc::ptr_eq(parcels[0].content(), &content));
    }
    assert_eq!(Arc::strong_count(&content), 1, "the broker has let go of it");
}

#[test]
fn content_that_came_as_bytes_is_made_once() {
    for size in [5, 100_000] {
        let (mut core, keys) = broker(2);
        let payload = Bytes::from(vec![b'x'; size]);
        let mut bytes = Vec::new();
        encode(&Packet::Publish(Publish::new(name("a/b"), &payload)), V5, &mut bytes);
        assert_eq!(core.receive(Time::ZERO, keys[0], &mut BytesMut::from(&bytes[..])), Intake::Open);
        let parcels = [taken(&mut core, keys[0]), taken(&mut core, keys[1])].concat();
        assert!(Arc::ptr_eq(parcels[0].content(), parcels[1].content()));
        assert_eq!((parcels[0].content().topic(), parcels[0].content().payload()), (name("a/b"), &payload));
    }
}

/// What is retained may stay for ever, and must not keep a larger buffer for as long.
#[test]
fn what_is_retained_is_copied() {
    for size in [5, 100_000] {
        let (mut core, keys) = broker(1);
        let payload = Bytes::from(vec![b'x'; size]);
        let content = Arc::new(Content::new(TopicBuf::from(name("a/b")), payload.clone()));
        let parcel = Parcel::new(content).with_retain(true);
        assert_eq!(core.receive_parcels(Time::ZERO, keys[0], [parcel]), Intake::Open);
        assert!(payload.is_unique(), "nobody else holds it");
        let parcels = taken(&mut core, keys[0]);
        assert_eq!(parcels[0].content().payload(), &payload);
    }
}

#[test]
fn a_parcel_comes_after_connect_and_before_the_end() {
    let mut core = Core::new(Config::default(), Seed::from(1));
    let key = core.open(Time::ZERO, Peer::default());
    let parcel = Parcel::new(Content::new(TopicBuf::from(name("a")), Bytes::new()));
    let mut parcels = [parcel.clone(), parcel].into_iter();
    assert_eq!(core.receive_parcels(Time::ZERO, key, &mut parcels), Intake::Closed);
    assert_eq!(parcels.len(), 1, "what comes behind the end is left");
    core.close(Time::ZERO, key, CloseCause::Transport);
    assert_eq!(core.receive_parcels(Time::ZERO, key, &mut parcels), Intake::Closed);
    assert_eq!(parcels.len(), 1);
}
