//! Messages of 64 bytes between parts of one program: `cargo bench -p columba`. Rates are of deliveries. Beside them the
//! same with `tokio::sync::broadcast`, which knows neither topics nor sessions and has no one in between.
#![allow(missing_docs)]

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use columba::codec::{Connect, Packet, Publish as PublishPacket};
use columba::memory::{self, Pipe};
use columba::{Broker, Client, Driver, EventMask, Peer, Publish, QoS, Seed, TopicName, Version};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use futures::future::join_all;
use futures::io::{AsyncReadExt, AsyncWriteExt};

const TOPIC: &str = "sensors/kitchen";
const PAYLOAD: Bytes = Bytes::from_static(&[b'x'; 64]);
/// Messages before anybody looks whether they have come.
const BATCH: usize = 1000;
const SUBSCRIBERS: [usize; 2] = [1, 100];

fn main() {
    divan::main();
}

/// A broker that runs in turns with the bench, on its thread.
struct Rig {
    broker: Broker,
    driver: Driver,
}

impl Rig {
    fn new() -> Self {
        let builder =
            Broker::builder().seed(Seed::from(1)).configure(|config| config.events = EventMask::NONE);
        let (broker, driver) = builder.build();
        Self { broker, driver }
    }

    fn run<T>(&mut self, program: impl Future<Output = T>) -> T {
        let mut program = pin!(program);
        // Whoever waits here waits for the other, so there is no need to be woken.
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = program.as_mut().poll(&mut cx) {
                return output;
            }
            assert!(Pin::new(&mut self.driver).poll(&mut cx).is_pending(), "nobody shuts it down");
        }
    }

    fn client(&mut self) -> Client {
        let connecting = self.broker.client("").connect();
        self.run(connecting).expect("the broker accepts everybody")
    }

    fn subscribers(&mut self, count: usize, qos: QoS) -> Vec<Client> {
        let clients: Vec<Client> = (0..count).map(|_| self.client()).collect();
        for client in &clients {
            self.run(client.subscribe(TOPIC, qos)).expect("nothing is refused");
        }
        clients
    }
}

fn message(qos: QoS) -> Publish {
    Publish::new(TOPIC, PAYLOAD).qos(qos)
}

async fn take(subscribers: &[Client], count: usize) {
    for subscriber in subscribers {
        for _ in 0..count {
            let message = subscriber.recv().await.expect("the broker runs");
            black_box((message.topic().len(), message.payload().len()));
        }
    }
}

/// A broker, its driver, and its first client, which is connected.
#[divan::bench]
fn start(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let mut rig = Rig::new();
        let client = rig.client();
        (rig.broker, rig.driver, client)
    });
}

/// The same on a runtime that is there already.
#[cfg(feature = "tokio")]
#[divan::bench]
fn start_tokio(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("the system has a thread left");
    bencher.bench_local(|| {
        runtime.block_on(async {
            let broker = columba::tokio::start(Broker::builder());
            let client = broker.client("").connect().await.expect("the broker accepts everybody");
            (broker, client)
        })
    });
}

/// A thousand messages, and then all that came of them.
#[divan::bench(args = SUBSCRIBERS)]
fn batches_qos0(bencher: Bencher<'_, '_>, subscribers: usize) {
    let mut rig = Rig::new();
    let publisher = rig.client();
    let clients = rig.subscribers(subscribers, QoS::AtMostOnce);
    bencher.counter(ItemsCount::new(BATCH * subscribers)).bench_local(|| {
        rig.run(async {
            for _ in 0..BATCH {
                publisher.send(message(QoS::AtMostOnce)).await.expect("the broker runs");
            }
            take(&clients, BATCH).await;
        });
    });
}

/// The same at QoS 1, with a thousand acknowledgements waited for at the same time.
#[divan::bench(args = SUBSCRIBERS)]
fn batches_qos1(bencher: Bencher<'_, '_>, subscribers: usize) {
    let mut rig = Rig::new();
    let publisher = rig.client();
    let clients = rig.subscribers(subscribers, QoS::AtLeastOnce);
    bencher.counter(ItemsCount::new(BATCH * subscribers)).bench_local(|| {
        rig.run(async {
            let sends = (0..BATCH).map(|_| publisher.send(message(QoS::AtLeastOnce)));
            let results = join_all(sends).await;
            assert!(results.iter().all(Result::is_ok));
            take(&clients, BATCH).await;
        });
    });
}

/// Each message is waited for before the next is sent.
#[divan::bench(args = SUBSCRIBERS)]
fn one_by_one_qos0(bencher: Bencher<'_, '_>, subscribers: usize) {
    one_by_one(bencher, subscribers, QoS::AtMostOnce);
}

#[divan::bench(args = SUBSCRIBERS)]
fn one_by_one_qos1(bencher: Bencher<'_, '_>, subscribers: usize) {
    one_by_one(bencher, subscribers, QoS::AtLeastOnce);
}

fn one_by_one(bencher: Bencher<'_, '_>, subscribers: usize, qos: QoS) {
    let mut rig = Rig::new();
    let publisher = rig.client();
    let clients = rig.subscribers(subscribers, qos);
    bencher.counter(ItemsCount::new(100 * subscribers)).bench_local(|| {
        rig.run(async {
            for _ in 0..100 {
                publisher.send(message(qos)).await.expect("the broker runs");
                take(&clients, 1).await;
            }
        });
    });
}

/// A payload of 1 MiB, which is not copied.
#[divan::bench(args = SUBSCRIBERS)]
fn large(bencher: Bencher<'_, '_>, subscribers: usize) {
    let mut rig = Rig::new();
    let publisher = rig.client();
    let clients = rig.subscribers(subscribers, QoS::AtMostOnce);
    let payload = Bytes::from(vec![b'x'; 1 << 20]);
    bencher.counter(ItemsCount::new(subscribers)).bench_local(|| {
        rig.run(async {
            publisher.publish(TOPIC, payload.clone()).await.expect("the broker runs");
            take(&clients, 1).await;
        });
    });
}

/// A client that speaks bytes, over a pipe in memory: a thousand messages to itself.
#[divan::bench]
fn pipe_qos0(bencher: Bencher<'_, '_>) {
    let mut rig = Rig::new();
    let (theirs, mut ours) = memory::pipe(1 << 20);
    rig.broker.attach(theirs, Peer::default()).expect("the broker runs");
    let subscribe = b"\x82\x14\x00\x01\x00\x0fsensors/kitchen\x00";
    let greeting =
        [&encode(&Packet::Connect(Box::new(Connect::new(Version::V3_1_1, "a"))))[..], subscribe].concat();
    rig.run(exchange(&mut ours, &greeting, 4 + 5));
    let topic = TopicName::parse(TOPIC).expect("a topic name");
    let messages = encode(&Packet::Publish(PublishPacket::new(topic, &PAYLOAD))).repeat(BATCH);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        rig.run(exchange(&mut ours, &messages, messages.len()));
    });
}

async fn exchange(pipe: &mut Pipe, bytes: &[u8], answer: usize) {
    pipe.write_all(bytes).await.expect("the broker reads");
    let mut left = answer;
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        left -= pipe.read(&mut buffer).await.expect("the broker answers");
    }
}

fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(Version::V3_1_1, &mut bytes).expect("the benches' packets can be encoded");
    bytes
}

/// The driver on a thread of its own: a thousand messages there and back.
#[divan::bench]
fn across_threads_qos0(bencher: Bencher<'_, '_>) {
    let (broker, driver) = Broker::builder().build();
    let thread = std::thread::spawn(|| futures::executor::block_on(driver));
    let client = futures::executor::block_on(async {
        let client = broker.client("").connect().await.expect("the broker accepts everybody");
        client.subscribe(TOPIC, QoS::AtMostOnce).await.expect("nothing is refused");
        client
    });
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        futures::executor::block_on(async {
            for _ in 0..BATCH {
                client.send(message(QoS::AtMostOnce)).await.expect("the broker runs");
            }
            take(std::slice::from_ref(&client), BATCH).await;
        });
    });
    futures::executor::block_on(broker.shutdown(std::time::Duration::ZERO));
    thread.join().expect("the driver ends");
}

/// What a broadcast channel needs for the same.
mod broadcast {
    use tokio::sync::broadcast;

    use super::{BATCH, Bencher, Bytes, ItemsCount, PAYLOAD, Rig, SUBSCRIBERS, black_box};

    #[divan::bench(args = SUBSCRIBERS)]
    fn batches(bencher: Bencher<'_, '_>, subscribers: usize) {
        run(bencher, subscribers, BATCH, 1);
    }

    #[divan::bench(args = SUBSCRIBERS)]
    fn one_by_one(bencher: Bencher<'_, '_>, subscribers: usize) {
        run(bencher, subscribers, 1, 100);
    }

    fn run(bencher: Bencher<'_, '_>, subscribers: usize, batch: usize, times: usize) {
        let (sender, first) = broadcast::channel::<Bytes>(1024);
        let mut receivers: Vec<_> = (1..subscribers).map(|_| sender.subscribe()).collect();
        receivers.push(first);
        // Polled in the same way, with a broker that has nothing to do.
        let mut rig = Rig::new();
        bencher.counter(ItemsCount::new(batch * times * subscribers)).bench_local(|| {
            rig.run(async {
                for _ in 0..times {
                    for _ in 0..batch {
                        sender.send(PAYLOAD).expect("there are receivers");
                    }
                    for receiver in &mut receivers {
                        for _ in 0..batch {
                            let payload = receiver.recv().await.expect("there is room for a batch");
                            black_box(payload.len());
                        }
                    }
                }
            });
        });
    }
}
