//! Everything at once, in an order that a seed gives: whatever happens to whom, those who stay get each message once and
//! in order, and in the end nothing is left.

use std::collections::HashMap;
use std::future::Future;
use std::num::NonZeroU16;
use std::pin::Pin;

use bytes::Bytes;
use columba::{Broker, Client, ClientError, Message, Publish, QoS, Version};

use crate::world::{Random, Wire, World};

const STEPS: usize = 2000;
const EVERY_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const PUBLISHERS: usize = 4;

type Sending = Pin<Box<dyn Future<Output = Result<(), ClientError>>>>;

/// A client that publishes, and what it has sent.
struct Publisher {
    name: usize,
    client: Client,
    sent: usize,
}

/// A message under way.
struct Pending {
    publisher: usize,
    number: usize,
    sending: Sending,
}

/// Numbers by publisher, as they came.
type Ledger = HashMap<usize, Vec<usize>>;

struct Play {
    broker: Broker,
    world: World,
    random: Random,
    publishers: Vec<Publisher>,
    names: usize,
    pending: Vec<Pending>,
    /// What the broker has taken, by the word of the client.
    taken: Ledger,
    listener: Client,
    heard: Ledger,
    wire: Wire,
    read: Ledger,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Limits that are met all the time, and none that loses a message.
        let (broker, mut world) = World::with(Broker::builder().configure(|config| {
            config.limits.receive_maximum = 1 + random.below(20) as u16;
            config.limits.inflight = 1 + random.below(20) as u16;
            config.limits.output_backlog = random.below(64);
            config.limits.transmit_budget = 1 + random.below(5000);
        }));
        let maximum = NonZeroU16::new(1 + random.below(20) as u16).expect("at least 1");
        let (listener, wire) = world.run(async {
            let listener = broker.client("listener").receive_maximum(maximum).connect().await.unwrap();
            listener.subscribe("m/+", QoS::ExactlyOnce).await.unwrap();
            let mut wire = Wire::open_sized(&broker, Version::V5, 1 + random.below(3000));
            wire.greet("wire").await;
            wire.subscribe("m/+", QoS::AtMostOnce).await;
            (listener, wire)
        });
        let (publishers, pending, taken) = (Vec::new(), Vec::new(), Ledger::new());
        let (heard, read) = (Ledger::new(), Ledger::new());
        Self { broker, world, random, publishers, names: 0, pending, taken, listener, heard, wire, read }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0 if self.publishers.len() < PUBLISHERS => {
                let client = self.world.run(self.broker.client("").connect()).unwrap();
                self.publishers.push(Publisher { name: self.names, client, sent: 0 });
                self.names += 1;
            }
            1 if self.random.below(20) == 0 && !self.publishers.is_empty() => {
                let at = self.random.below(self.publishers.len());
                // What it is still sending goes on: the client leaves when the last of it is done.
                drop(self.publishers.swap_remove(at));
            }
            2..=11 if !self.publishers.is_empty() => self.publish(),
            12 | 13 => self.world.settle(),
            14..=16 => {
                for _ in 0..self.random.below(50) {
                    if let Some(message) = self.listener.try_recv() {
                        note(&mut self.heard, &message);
                    }
                }
            }
            17 | 18 => {
                for _ in 0..self.random.below(50) {
                    self.read_wire();
                }
            }
            _ => self.poll_pending(),
        }
    }

    fn publish(&mut self) {
        let at = self.random.below(self.publishers.len());
        let size = [0, 10, 1000, 9000][self.random.below(4)];
        let publisher = &mut self.publishers[at];
        let (name, number, client) = (publisher.name, publisher.sent, publisher.client.clone());
        let qos = EVERY_QOS[number % EVERY_QOS.len()];
        publisher.sent += 1;
        let payload = [number.to_string().as_bytes(), b" ", &vec![b'x'; size]].concat();
        let message = Publish::new(format!("m/{name}"), Bytes::from(payload)).qos(qos);
        self.pending.push(Pending {
            publisher: name,
            number,
            sending: Box::pin(async move { client.send(message).await }),
        });
        // In the order in which they were begun, or those of one client would overtake each other.
        self.poll_pending();
    }

    fn poll_pending(&mut self) {
        let Self { pending, world, taken, .. } = self;
        pending.retain_mut(|pending| match world.poll(Pin::new(&mut pending.sending)) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(result) => {
                result.expect("nothing is refused");
                taken.entry(pending.publisher).or_default().push(pending.number);
                false
            }
        });
    }

    fn read_wire(&mut self) {
        let mut next = Box::pin(self.wire.next());
        if let std::task::Poll::Ready(frame) = self.world.poll(next.as_mut()) {
            let publish = frame.publish();
            let topic = publish.topic.expect("no alias was allowed");
            self.read.entry(name(topic.as_str())).or_default().push(number(publish.payload));
        }
    }

    /// Lets everything come to its end, and compares.
    fn finish(mut self, seed: u64) {
        let total = |ledger: &Ledger| ledger.values().map(Vec::len).sum::<usize>();
        let mut rounds = 0;
        loop {
            self.poll_pending();
            self.world.settle();
            while let Some(message) = self.listener.try_recv() {
                note(&mut self.heard, &message);
            }
            for _ in 0..100 {
                self.read_wire();
            }
            let sent = total(&self.taken);
            if self.pending.is_empty() && total(&self.heard) == sent && total(&self.read) == sent {
                break;
            }
            rounds += 1;
            let (heard, read) = (total(&self.heard), total(&self.read));
            let left = self.pending.len();
            assert!(rounds < 100_000, "seed {seed}: {sent} sent, {left} waiting, {heard} heard, {read} read");
        }
        for (name, numbers) in &mut self.taken {
            numbers.sort_unstable();
            assert_eq!(*numbers, (0..numbers.len()).collect::<Vec<_>>(), "seed {seed}: each was taken once");
            for ledger in [&self.heard, &self.read] {
                let mut came = ledger[name].clone();
                // In the order of their own QoS: one that waits for an acknowledgement lets others pass.
                for qos in 0..EVERY_QOS.len() {
                    let own = came.iter().filter(|number| *number % EVERY_QOS.len() == qos);
                    assert!(
                        own.is_sorted_by_key(|number| *number),
                        "seed {seed}: publisher {name}: {came:?}"
                    );
                }
                came.sort_unstable();
                assert_eq!(came, *numbers, "seed {seed}: publisher {name}");
            }
        }
        assert!(total(&self.taken) > STEPS / 10, "seed {seed}: something happened");
        drop((self.publishers, self.listener, self.wire));
        self.world.settle();
        let metrics = self.world.run(self.broker.metrics()).unwrap();
        assert_eq!((metrics.connections, metrics.sessions, metrics.stored), (0, 0, 0), "seed {seed}");
    }
}

fn name(topic: &str) -> usize {
    topic.strip_prefix("m/").expect("the topics of this test").parse().expect("a number")
}

fn number(payload: &[u8]) -> usize {
    let text = std::str::from_utf8(payload).expect("text");
    text.split(' ').next().expect("a first word").parse().expect("a number")
}

fn note(ledger: &mut Ledger, message: &Message) {
    ledger.entry(name(message.topic())).or_default().push(number(message.payload()));
}

#[test]
fn whatever_happens_nothing_is_lost() {
    for seed in 0..12 {
        let mut play = Play::new(seed);
        for _ in 0..STEPS {
            play.step();
        }
        play.finish(seed);
    }
}
