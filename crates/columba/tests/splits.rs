//! How a stream of bytes is cut makes no difference.

use columba::codec::{Ack, Connect, List, Packet, Publish, Subscribe, SubscribeItem, Unsubscribe};
use columba::{
    Broker, Client, Peer, QoS, SubscriptionId, SubscriptionOptions, TopicFilter, TopicName, Version,
};

use crate::world::{Frame, Link, LinkState, Random, Wire, World, encode, text};

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

/// All that one client sends in its life.
fn script(version: Version) -> Vec<u8> {
    let mut connect = Connect::new(version, "scripted");
    connect.keep_alive = 600;
    let mut packets = vec![Packet::Connect(Box::new(connect))];
    let id = |number: u16| number.try_into().expect("not zero");
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    let items = ["echo/#", "+/b"]
        .map(|filter| SubscribeItem { filter: TopicFilter::parse(filter).unwrap(), options });
    packets.push(Packet::Subscribe(Subscribe {
        packet_id: id(1),
        subscription_id: SubscriptionId::new(5),
        user_properties: List::EMPTY,
        filters: List::from_slice(&items),
    }));
    let payloads: Vec<Vec<u8>> = [0, 1, 50, 200, 9000, 40_000].map(|size| vec![b'x'; size]).into();
    for (number, (payload, qos)) in payloads
        .iter()
        .cycle()
        .zip([QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().cycle())
        .enumerate()
        .take(18)
    {
        let topic = if number % 2 == 0 { "echo/b" } else { "elsewhere" };
        let mut publish = Publish::new(TopicName::parse(topic).unwrap(), payload);
        publish.qos = qos;
        publish.packet_id = (qos > QoS::AtMostOnce).then(|| id(100 + number as u16));
        publish.properties.content_type = (version == Version::V5).then_some("text/plain");
        packets.push(Packet::Publish(publish));
        if qos == QoS::ExactlyOnce {
            packets.push(Packet::PubRel(Ack::new(id(100 + number as u16))));
        }
        packets.push(Packet::PingReq);
    }
    let filters = [TopicFilter::parse("echo/#").unwrap()];
    packets.push(Packet::Unsubscribe(Unsubscribe {
        packet_id: id(2),
        user_properties: List::EMPTY,
        filters: List::from_slice(&filters),
    }));
    packets.push(Packet::Disconnect(columba::codec::Disconnect::new(columba::ReasonCode::Success)));
    packets.iter().flat_map(|packet| encode(packet, version)).collect()
}

/// What came of it: answers and messages to the client, each in their order, and what another client was sent.
#[derive(Debug, PartialEq)]
struct Outcome {
    answers: Vec<Frame>,
    messages: Vec<Frame>,
    elsewhere: Vec<String>,
    packets_received: u64,
    bytes_received: u64,
}

/// Messages that were queued when the client left are not sent, which does depend on the cuts: so the end comes last.
fn split_off_end(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.len() - 2)
}

fn play(version: Version, capacity: usize, cuts: &[usize]) -> Outcome {
    let (broker, mut world) = World::new();
    let watcher: Client = world.run(broker.client("watcher").connect()).unwrap();
    world.run(watcher.subscribe("elsewhere", QoS::AtMostOnce)).unwrap();
    let before = world.run(broker.metrics()).unwrap();
    let script = script(version);
    let (body, end) = split_off_end(&script);
    let mut wire = Wire::open_sized(&broker, version, capacity);
    let frames = world.run(async {
        let mut sent = 0;
        let mut frames = Vec::new();
        for cut in cuts.iter().copied().chain([body.len()]) {
            // What comes back is taken at the same time, or a small pipe would be full both ways.
            wire.send_and_take(&body[sent..cut], &mut frames).await;
            sent = cut;
        }
        while frames.len() < 1 + 1 + 18 + 12 + 6 + 9 + 1 {
            frames.push(wire.next().await);
        }
        wire.send_bytes(end).await;
        frames.extend(wire.rest().await);
        frames
    });
    world.settle();
    let after = world.run(broker.metrics()).unwrap();
    let (messages, answers) =
        frames.into_iter().partition(|frame| matches!(frame.packet(), Packet::Publish(_)));
    Outcome {
        answers,
        messages,
        elsewhere: std::iter::from_fn(|| watcher.try_recv())
            .map(|message| text(&message).to_owned())
            .collect(),
        packets_received: after.packets_received - before.packets_received,
        bytes_received: after.bytes_received - before.bytes_received,
    }
}

#[test]
fn a_stream_means_the_same_however_it_is_cut() {
    for version in VERSIONS {
        let length = script(version).len() - 2;
        let whole = play(version, 1 << 20, &[]);
        assert_eq!(whole.messages.len(), 9);
        assert_eq!(whole.elsewhere.len(), 9);
        for seed in 0..25 {
            let mut random = Random::new(seed);
            let mut cuts: Vec<usize> = (0..=random.below(200)).map(|_| random.below(length)).collect();
            cuts.sort_unstable();
            let capacity = [50, 500, 5000, 1 << 20][random.below(4)];
            let outcome = play(version, capacity, &cuts);
            assert!(outcome == whole, "{version}, seed {seed}: {outcome:#?} instead of {whole:#?}");
        }
    }
}

#[test]
fn a_stream_means_the_same_byte_by_byte() {
    // Every place of the small packets is cut; the large payloads in steps.
    for version in VERSIONS {
        let length = script(version).len() - 2;
        let cuts: Vec<usize> = (0..1500).chain((1500..length).step_by(997)).collect();
        assert!(play(version, 1 << 20, &cuts) == play(version, 1 << 20, &[]), "{version}");
    }
}

#[test]
fn nonsense_is_refused_wherever_it_is_cut() {
    let valid = encode(&Packet::Connect(Box::new(Connect::new(Version::V5, "a"))), Version::V5);
    let mut random = Random::new(7);
    for seed in 0..300 {
        // Bytes of a valid stream with some of them changed; then what follows depends on chance.
        let mut bytes = [valid.clone(), script(Version::V5)[valid.len()..2000].to_vec()].concat();
        for _ in 0..=random.below(5) {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        let cut = random.below(bytes.len());
        let sent = [&[][..], &[cut]].map(|cuts| {
            let (broker, mut world) = World::new();
            let (link, state) = Link::new();
            broker.attach(link, Peer::default()).unwrap();
            let mut from = 0;
            for to in cuts.iter().copied().chain([bytes.len()]) {
                LinkState::change(&state, |state| state.incoming.extend_from_slice(&bytes[from..to]));
                world.settle();
                from = to;
            }
            still_serves(&broker, &mut world);
            let state = state.lock().unwrap();
            (state.dropped, state.sent.len())
        });
        assert_eq!(sent[0], sent[1], "seed {seed}, cut at {cut}: {bytes:02X?}");
    }
}

fn still_serves(broker: &Broker, world: &mut World) {
    let client = world.run(broker.client("other").connect()).expect("the others do not notice");
    world.run(client.publish("t", "")).unwrap();
}
