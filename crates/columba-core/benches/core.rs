//! What a broker does most, without a socket: `cargo bench -p columba-core`. Rates are of the items each bench names:
//! messages in, deliveries out, or subscriptions made.
#![allow(missing_docs)]

use bytes::BytesMut;
use columba_core::codec::{
    Connect, List, Packet, PacketId, Publish, QoS, Subscribe, SubscribeItem, SubscriptionOptions,
    TopicFilter, TopicName, Unsubscribe, Version,
};
use columba_core::{
    Chunks, CloseCause, Config, ConnectionKey, Core, EventMask, Flow, Intake, Peer, Seed, Time,
};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const VERSION: Version = Version::V3_1_1;
const PAYLOAD: &[u8] = &[b'x'; 64];
const ID: PacketId = PacketId::MIN;
/// Different topics that a bench goes through, so that it is not the same cache lines over and over.
const TOPICS: usize = 16_384;

fn main() {
    divan::main();
}

/// A broker, and what its shell would hold.
struct Rig {
    core: Core,
    input: BytesMut,
    out: Chunks,
    /// Bytes that were sent, of which nothing is optimised away.
    sent: usize,
}

impl Rig {
    fn new() -> Self {
        let mut config = Config::default();
        config.events = EventMask::NONE;
        config.limits.subscriptions = usize::MAX;
        config.limits.wildcard_levels = usize::MAX;
        config.limits.retained_messages = usize::MAX;
        config.limits.retained_levels = usize::MAX;
        config.limits.stored_bytes = usize::MAX;
        Self { core: Core::new(config, Seed::from(1)), input: BytesMut::new(), out: Chunks::new(), sent: 0 }
    }

    fn connect(&mut self, id: &str, clean: bool) -> ConnectionKey {
        let connection = self.core.open(Time::ZERO, Peer::default());
        let mut packet = Connect::new(VERSION, id);
        packet.clean_start = clean;
        self.give(connection, &encode(&Packet::Connect(Box::new(packet))));
        self.drain();
        connection
    }

    fn give(&mut self, connection: ConnectionKey, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while self.core.receive(Time::ZERO, connection, &mut self.input) == Intake::Paused {
            self.drain();
        }
        assert!(self.input.is_empty(), "the benches send whole packets");
    }

    /// Sends what there is to send.
    fn drain(&mut self) {
        while let Some(connection) = self.core.poll_ready() {
            while self.core.poll_transmit(Time::ZERO, connection, &mut self.out) == Flow::More {}
            self.sent += self.out.len();
            self.out.clear();
        }
    }

    /// Sends what there is to send, and acknowledges the messages of QoS 1 in it, which are `size` bytes each.
    fn drain_and_acknowledge(&mut self, size: usize, id_at: usize) {
        let mut acks = Vec::new();
        while let Some(connection) = self.core.poll_ready() {
            while self.core.poll_transmit(Time::ZERO, connection, &mut self.out) == Flow::More {}
            // PUBACK and the like go before messages, and no client here has both.
            if self.out.chunk().first() == Some(&0x32) {
                for message in self.out.chunk().chunks_exact(size) {
                    acks.extend_from_slice(&[0x40, 2, message[id_at], message[id_at + 1]]);
                }
            }
            self.sent += self.out.len();
            self.out.clear();
            if !acks.is_empty() {
                self.give(connection, &acks);
                acks.clear();
            }
        }
    }

    fn subscribe(&mut self, connection: ConnectionKey, filters: impl Iterator<Item = String>, qos: QoS) {
        let filters: Vec<String> = filters.collect();
        for some in filters.chunks(1000) {
            self.give(connection, &subscribe(some, qos));
            self.drain();
        }
    }

    fn unsubscribe(&mut self, connection: ConnectionKey, filters: impl Iterator<Item = String>) {
        let filters: Vec<String> = filters.collect();
        for some in filters.chunks(1000) {
            let filters: Vec<_> =
                some.iter().map(|text| TopicFilter::parse(text).expect("a topic filter")).collect();
            self.give(
                connection,
                &encode(&Packet::Unsubscribe(Unsubscribe {
                    packet_id: ID,
                    user_properties: List::EMPTY,
                    filters: List::from_slice(&filters),
                })),
            );
            self.drain();
        }
    }
}

fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(VERSION, &mut bytes).expect("the benches' packets can be encoded");
    bytes
}

fn publish(topic: &str, qos: QoS, retain: bool) -> Vec<u8> {
    let mut packet = Publish::new(TopicName::parse(topic).expect("a topic name"), PAYLOAD);
    packet.qos = qos;
    packet.retain = retain;
    packet.packet_id = (qos > QoS::AtMostOnce).then_some(ID);
    encode(&Packet::Publish(packet))
}

fn subscribe(filters: &[String], qos: QoS) -> Vec<u8> {
    let options = SubscriptionOptions { qos, ..Default::default() };
    let filters = filters.iter().map(|text| TopicFilter::parse(text).expect("a topic filter"));
    let items: Vec<SubscribeItem<'_>> = filters.map(|filter| SubscribeItem { filter, options }).collect();
    encode(&Packet::Subscribe(Subscribe {
        packet_id: ID,
        subscription_id: None,
        user_properties: List::EMPTY,
        filters: List::from_slice(&items),
    }))
}

/// Numbers below `count` that jump about.
fn scattered(count: usize) -> impl Iterator<Item = usize> {
    // A multiplier without a factor in common with any power of ten.
    (0..TOPICS).map(move |number| number.wrapping_mul(7_919_999) % count)
}

#[divan::bench]
fn start() -> Core {
    Core::new(Config::default(), Seed::from(1))
}

/// One PUBLISH and who is subscribed to it: decoded, matched, stored, and, as the subscribers are away and it is of QoS 0,
/// let go again. Items are messages.
mod matching {
    use super::{Bencher, CloseCause, ItemsCount, QoS, Rig, TOPICS, Time, black_box, publish, scattered};

    const SIZES: [usize; 5] = [1, 1_000, 10_000, 100_000, 1_000_000];

    /// A filter of its own for each number, and a topic that only this filter matches.
    type Make = fn(usize) -> (String, String);

    fn exact(number: usize) -> (String, String) {
        let topic = format!("exact/{}/{}/temperature", number / 1000, number % 1000);
        (topic.clone(), topic)
    }

    fn plus(number: usize) -> (String, String) {
        let (group, member) = (number / 1000, number % 1000);
        (format!("plus/{group}/+/{member}"), format!("plus/{group}/any/{member}"))
    }

    fn hash(number: usize) -> (String, String) {
        let (group, member) = (number / 1000, number % 1000);
        (format!("hash/{group}/{member}/#"), format!("hash/{group}/{member}/a/b"))
    }

    fn mixed(number: usize) -> (String, String) {
        match number % 3 {
            0 => exact(number),
            1 => plus(number),
            _ => hash(number),
        }
    }

    /// As `mixed`, with so many levels that all branch alike.
    fn of_depth(depth: usize, count: usize, number: usize) -> (String, String) {
        let base = (1..count).find(|base| base.pow(depth as u32 - 1) >= count).unwrap_or(count);
        let digits = (0..depth as u32 - 1).map(|place| (number / base.pow(place) % base).to_string());
        let mut topic: Vec<String> = digits.collect();
        topic.reverse();
        let at = if number % 3 == 2 { depth - 1 } else { depth / 2 };
        topic.insert(at, "any".to_owned());
        let mut filter = topic.clone();
        match number % 3 {
            0 => {}
            1 => "+".clone_into(&mut filter[at]),
            _ => "#".clone_into(&mut filter[at]),
        }
        (filter.join("/"), topic.join("/"))
    }

    /// So many subscribers, each of whom has all of the `count` subscriptions.
    fn run(
        bencher: Bencher<'_, '_>,
        subscribers: usize,
        count: usize,
        make: impl Fn(usize) -> (String, String),
    ) {
        let mut rig = Rig::new();
        for number in 0..subscribers {
            let subscriber = rig.connect(&format!("subscriber {number}"), false);
            rig.subscribe(subscriber, (0..count).map(|number| make(number).0), QoS::AtMostOnce);
            rig.core.close(Time::ZERO, subscriber, CloseCause::Transport);
        }
        assert_eq!(rig.core.metrics().subscriptions, subscribers * count);
        let publisher = rig.connect("publisher", true);
        let messages: Vec<Vec<u8>> =
            scattered(count).map(|number| publish(&make(number).1, QoS::AtMostOnce, false)).collect();
        bencher.counter(ItemsCount::new(messages.len())).bench_local(|| {
            for message in &messages {
                rig.give(publisher, black_box(message));
            }
        });
        assert_eq!(rig.core.metrics().stored, 0);
    }

    /// Among so many subscriptions.
    #[divan::bench(args = SIZES, sample_count = 30)]
    fn all_exact(bencher: Bencher<'_, '_>, count: usize) {
        run(bencher, 1, count, exact as Make);
    }

    #[divan::bench(args = SIZES, sample_count = 30)]
    fn all_plus(bencher: Bencher<'_, '_>, count: usize) {
        run(bencher, 1, count, plus as Make);
    }

    #[divan::bench(args = SIZES, sample_count = 30)]
    fn all_hash(bencher: Bencher<'_, '_>, count: usize) {
        run(bencher, 1, count, hash as Make);
    }

    #[divan::bench(args = SIZES, sample_count = 30)]
    fn a_third_of_each(bencher: Bencher<'_, '_>, count: usize) {
        run(bencher, 1, count, mixed as Make);
    }

    /// A topic of so many levels among 100,000 subscriptions, a third of each kind.
    #[divan::bench(args = [2, 4, 8], sample_count = 30)]
    fn levels(bencher: Bencher<'_, '_>, depth: usize) {
        const COUNT: usize = 100_000;
        run(bencher, 1, COUNT, |number| of_depth(depth, COUNT, number));
    }

    /// A topic that matches for so many subscribers, among 100,000 subscriptions, a third of each kind.
    #[divan::bench(args = [1, 10, 100], sample_count = 30)]
    fn matches(bencher: Bencher<'_, '_>, subscribers: usize) {
        run(bencher, subscribers, 100_000 / subscribers, mixed as Make);
    }

    /// The worst that so many filters of 128 levels can do, 7,800 of which are allowed to one session: they part in their
    /// first levels, each of which matches the topic's, and match up to the last; and they were made `grown` level by
    /// level, so that what is one behind the other in the tree is far apart in memory.
    #[divan::bench(args = [(1_000, false), (1_000, true), (7_800, false), (7_800, true)], sample_count = 5)]
    fn in_vain(bencher: Bencher<'_, '_>, (count, grown): (usize, bool)) {
        const LEVELS: usize = 128;
        let filter = |number: usize, levels: usize| {
            let is_plus = |at: usize| if at < 17 { number >> at & 1 == 1 } else { at % 2 == 1 };
            let path: String = (0..levels - 1).map(|at| if is_plus(at) { "+/" } else { "a/" }).collect();
            path + "no"
        };
        let mut rig = Rig::new();
        let subscriber = rig.connect("subscriber", false);
        for levels in if grown { 17..LEVELS } else { 0..0 } {
            // What holds the place until the next round is another filter.
            let place = |number: usize, levels: usize| filter(number, levels).replace("no", "+");
            rig.subscribe(subscriber, (0..count).map(|number| place(number, levels + 1)), QoS::AtMostOnce);
            if levels > 17 {
                rig.unsubscribe(subscriber, (0..count).map(|number| place(number, levels)));
            }
        }
        rig.subscribe(subscriber, (0..count).map(|number| filter(number, LEVELS)), QoS::AtMostOnce);
        rig.unsubscribe(subscriber, (0..count).map(|number| filter(number, LEVELS).replace("no", "+")));
        assert_eq!(rig.core.metrics().subscriptions, count);
        let publisher = rig.connect("publisher", true);
        let message = publish(&vec!["a"; LEVELS].join("/"), QoS::AtMostOnce, false);
        bencher.bench_local(|| rig.give(publisher, black_box(&message)));
    }

    /// The same without any subscription: what is not matching.
    #[divan::bench]
    fn nobody(bencher: Bencher<'_, '_>) {
        let mut rig = Rig::new();
        let publisher = rig.connect("publisher", true);
        let message = publish(&exact(1).1, QoS::AtMostOnce, false);
        bencher.counter(ItemsCount::new(TOPICS)).bench_local(|| {
            for _ in 0..TOPICS {
                rig.give(publisher, black_box(&message));
            }
        });
    }
}

/// Messages of 64 bytes from one publisher to each of so many subscribers, from the bytes that come in to the bytes that
/// go out; at QoS 1 with the acknowledgements both ways. Items are deliveries.
mod fan_out {
    use super::{Bencher, ItemsCount, PAYLOAD, QoS, Rig, black_box, publish};

    const TOPIC: &str = "sensors/kitchen";

    fn run(bencher: Bencher<'_, '_>, subscribers: usize, qos: QoS) {
        let mut rig = Rig::new();
        let publisher = rig.connect("publisher", true);
        for number in 0..subscribers {
            let subscriber = rig.connect(&format!("subscriber {number}"), true);
            rig.subscribe(subscriber, [TOPIC.to_owned()].into_iter(), qos);
        }
        // What one read brings: a hundred messages, or fewer where each goes to many.
        let batch = (10_000 / subscribers).clamp(1, 100);
        let message = publish(TOPIC, qos, false);
        let messages = message.repeat(batch);
        let id_at = message.len() - PAYLOAD.len() - 2;
        bencher.counter(ItemsCount::new(batch * subscribers)).bench_local(|| {
            rig.give(publisher, black_box(&messages));
            if qos == QoS::AtMostOnce {
                rig.drain();
            } else {
                rig.drain_and_acknowledge(message.len(), id_at);
            }
        });
        assert!(rig.sent >= batch * subscribers * message.len() && rig.core.metrics().stored == 0);
    }

    #[divan::bench(args = [1, 100, 10_000])]
    fn qos0(bencher: Bencher<'_, '_>, subscribers: usize) {
        run(bencher, subscribers, QoS::AtMostOnce);
    }

    #[divan::bench(args = [1, 100, 10_000])]
    fn qos1(bencher: Bencher<'_, '_>, subscribers: usize) {
        run(bencher, subscribers, QoS::AtLeastOnce);
    }
}

/// A subscription that is answered with retained messages. Items are subscriptions.
mod retained {
    use super::{
        Bencher, ItemsCount, Packet, Publish, QoS, Rig, TopicName, black_box, encode, publish, scattered,
        subscribe,
    };

    const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];

    /// One message under each topic; subscribes again and again to the filters of `filter`, each of which matches
    /// `matching` of them.
    fn run(
        bencher: Bencher<'_, '_>,
        topics: impl Iterator<Item = String>,
        matching: usize,
        filter: impl Fn(usize) -> String,
    ) {
        let mut rig = Rig::new();
        let client = rig.connect("client", true);
        for topic in topics {
            rig.give(client, &publish(&topic, QoS::AtMostOnce, true));
        }
        let count = rig.core.metrics().retained;
        let requests: Vec<Vec<u8>> = scattered(count / matching)
            .take(100)
            .map(|number| subscribe(&[filter(number)], QoS::AtMostOnce))
            .collect();
        let before = rig.core.metrics().publishes_sent;
        let mut made = 0;
        bencher.counter(ItemsCount::new(requests.len())).bench_local(|| {
            for request in &requests {
                rig.give(client, black_box(request));
                rig.drain();
                made += 1;
            }
        });
        assert_eq!(rig.core.metrics().publishes_sent - before, matching as u64 * made);
    }

    fn kept(count: usize) -> impl Iterator<Item = String> {
        (0..count).map(|number| format!("kept/{}/{}/{}", number / 1000, number / 10 % 100, number % 10))
    }

    /// One out of so many.
    #[divan::bench(args = SIZES)]
    fn one_of(bencher: Bencher<'_, '_>, count: usize) {
        let filter = |number| format!("kept/{}/{}/{}/#", number / 1000, number / 10 % 100, number % 10);
        run(bencher, kept(count), 1, filter);
    }

    /// Ten out of so many.
    #[divan::bench(args = SIZES)]
    fn ten_of(bencher: Bencher<'_, '_>, count: usize) {
        run(bencher, kept(count), 10, |number| format!("kept/{}/{}/+", number / 100, number % 100));
    }

    /// A thousand out of so many.
    #[divan::bench(args = SIZES)]
    fn thousand_of(bencher: Bencher<'_, '_>, count: usize) {
        run(bencher, kept(count), 1000, |number| format!("kept/{number}/#"));
    }

    /// None: a filter that comes by all levels of so many topics, which were made `grown` level by level, so that what
    /// is one behind the other in the tree is far apart in memory.
    #[divan::bench(
        args = [(1_000_000, 1, false), (1_000_000, 4, false), (1_000_000, 4, true), (31_000, 127, true)],
        sample_count = 5
    )]
    fn in_vain(bencher: Bencher<'_, '_>, (count, levels, grown): (usize, usize, bool)) {
        let mut rig = Rig::new();
        let client = rig.connect("client", true);
        for levels in if grown { 1 } else { levels }..=levels {
            let topic = |number: usize, levels: usize| number.to_string() + &"/a".repeat(levels - 1);
            for number in 0..count {
                rig.give(client, &publish(&topic(number, levels), QoS::AtMostOnce, true));
                if grown && levels > 1 {
                    rig.give(client, &forget(&topic(number, levels - 1)));
                }
            }
        }
        assert_eq!(rig.core.metrics().retained, count);
        let request = subscribe(&["+/".repeat(levels) + "no"], QoS::AtMostOnce);
        bencher.bench_local(|| {
            rig.give(client, black_box(&request));
            rig.drain();
        });
    }

    /// Takes away what is retained.
    fn forget(topic: &str) -> Vec<u8> {
        let mut packet = Publish::new(TopicName::parse(topic).expect("a topic name"), &[]);
        packet.retain = true;
        encode(&Packet::Publish(packet))
    }

    /// One, behind a `+` that stands for so many levels, each of which has to be asked.
    #[divan::bench(args = [10, 1_000, 100_000], sample_count = 10)]
    fn one_behind_plus_of(bencher: Bencher<'_, '_>, count: usize) {
        run(bencher, (0..count).map(|number| format!("wide/{number}/{number}")), 1, |number| {
            format!("wide/+/{number}")
        });
    }
}
