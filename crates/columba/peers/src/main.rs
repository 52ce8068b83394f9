//! Messages of 64 bytes at QoS 0 from one part of a program to one other, and to a hundred: what each way costs for a
//! delivery. `cargo run --release --manifest-path crates/columba/peers/Cargo.toml`
//!
//! Everybody does the same: a thousand messages, or one, are published, then every subscriber takes each of them and
//! looks at topic and payload. What they are not equal in:
//!
//! * `tokio::sync::broadcast` has no topics, sessions, QoS or properties and nobody in between; a receiver that is
//!   slower than the channel loses messages. The topic it is given here is a static text.
//! * mqtt5's router is what its broker calls for a packet that has been decoded: matching and the clients' channels, no
//!   session, no connection. It runs in the publisher's task.
//! * rumqttd's router has a thread of its own, so it is measured beside Columba with a thread of its own; the second
//!   table counts what both threads use.

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

const TOPIC: &str = "sensors/kitchen";
const PAYLOAD: Bytes = Bytes::from_static(&[b'x'; 64]);
/// How long each is measured.
const TIME: Duration = Duration::from_secs(2);

/// A way from publisher to subscribers: publishes so many messages and takes them everywhere.
type Way = Box<dyn FnMut(usize)>;
type Make = fn(usize) -> Way;

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let ways: [(&str, Make); 5] = [
        ("tokio::sync::broadcast", broadcast),
        ("columba", columba_here),
        ("mqtt5 router", mqtt5_router),
        ("columba, broker on a thread", columba_thread),
        ("rumqttd link", rumqttd_link),
    ];
    println!(
        "ns per delivery, QoS 0, 64 bytes: elapsed, in the best of many rounds; processor time of all threads, mean"
    );
    println!("{:28} {:>16} {:>16} {:>16} {:>16}", "", "1 to 1", "1 to 100", "1 to 1, each", "1 to 100, each");
    for (name, make) in ways.into_iter().filter(|way| way.0.contains(&only)) {
        print!("{name:28}");
        for (batch, subscribers) in [(1000, 1), (1000, 100), (1, 1), (1, 100)] {
            let (elapsed, processor) = measure(make(subscribers), batch, subscribers);
            print!(" {elapsed:7.1} {processor:8.1}");
        }
        println!();
    }
}

/// Nanoseconds per delivery: elapsed in the quickest round, and of processor time in all.
fn measure(mut way: Way, batch: usize, subscribers: usize) -> (f64, f64) {
    let deliveries = |rounds: usize| (rounds * batch * subscribers) as f64;
    let repeat = if batch == 1 { 100 } else { 1 };
    let (mut best, mut rounds) = (Duration::MAX, 0);
    let used = processor_time();
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        let start = Instant::now();
        for _ in 0..repeat {
            way(batch);
        }
        best = best.min(start.elapsed());
        rounds += repeat;
    }
    let used = processor_time() - used;
    (best.as_secs_f64() * 1e9 / deliveries(repeat), used.as_secs_f64() * 1e9 / deliveries(rounds))
}

/// What this process has used so far, to a hundredth of a second. Zero where there is no such file as on Linux.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may contain anything: user and system time are the 12th and the 13th.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Duration::from_millis(10 * fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>())
}

/// Polls what never waits for anything but itself.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn broadcast(subscribers: usize) -> Way {
    let (sender, first) = tokio::sync::broadcast::channel::<(&'static str, Bytes)>(1024);
    let mut receivers: Vec<_> = (1..subscribers).map(|_| sender.subscribe()).collect();
    receivers.push(first);
    Box::new(move |count| {
        for _ in 0..count {
            assert!(sender.send((TOPIC, PAYLOAD)).is_ok());
        }
        for receiver in &mut receivers {
            for _ in 0..count {
                let (topic, payload) = now(receiver.recv()).expect("there is room for a batch");
                black_box((topic.len(), payload.len()));
            }
        }
    })
}

async fn columba_clients(
    broker: columba::Broker,
    subscribers: usize,
) -> (columba::Client, Vec<columba::Client>) {
    let publisher = broker.client("").connect().await.expect("everybody may");
    let mut clients = Vec::new();
    for _ in 0..subscribers {
        let client = broker.client("").connect().await.expect("everybody may");
        client.subscribe(TOPIC, columba::QoS::AtMostOnce).await.expect("everything is granted");
        clients.push(client);
    }
    (publisher, clients)
}

async fn columba_round(publisher: &columba::Client, clients: &[columba::Client], count: usize) {
    for _ in 0..count {
        publisher.publish(TOPIC, PAYLOAD).await.expect("the broker runs");
    }
    for client in clients {
        for _ in 0..count {
            let message = client.recv().await.expect("the broker runs");
            black_box((message.topic().len(), message.payload().len()));
        }
    }
}

fn columba_here(subscribers: usize) -> Way {
    /// Broker and program take turns.
    fn run<T>(driver: &mut columba::Driver, program: impl Future<Output = T>) -> T {
        let mut program = pin!(program);
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = program.as_mut().poll(&mut cx) {
                return output;
            }
            assert!(Pin::new(&mut *driver).poll(&mut cx).is_pending());
        }
    }
    let (broker, mut driver) = columba::Broker::builder().build();
    let (publisher, clients) = run(&mut driver, columba_clients(broker, subscribers));
    Box::new(move |count| run(&mut driver, columba_round(&publisher, &clients, count)))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn columba_thread(subscribers: usize) -> Way {
    let runtime = runtime();
    let (broker, driver) = columba::Broker::builder().build();
    runtime.spawn(driver);
    let (publisher, clients) = runtime.block_on(columba_clients(broker, subscribers));
    Box::new(move |count| runtime.block_on(columba_round(&publisher, &clients, count)))
}

fn mqtt5_router(subscribers: usize) -> Way {
    use mqtt5::broker::router::{DeliveryLanes, MessageRouter, SubscriptionRequest};
    use mqtt5::packet::publish::PublishPacket;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let router = MessageRouter::new();
    let mut kept = Vec::new();
    let mut receivers = Vec::new();
    runtime.block_on(async {
        for number in 0..subscribers {
            let id = format!("s{number}");
            let (lanes, receiver) = DeliveryLanes::channel(1024);
            let (takeover, never) = tokio::sync::oneshot::channel();
            router.register_client(id.clone(), lanes, router.queue_handle(&id), takeover).await;
            let request = SubscriptionRequest::new(id, TOPIC, mqtt5::QoS::AtMostOnce);
            router.subscribe(request).await.expect("everything is granted");
            receivers.push(receiver);
            kept.push(never);
        }
    });
    Box::new(move |count| {
        let _kept = &kept;
        runtime.block_on(async {
            for _ in 0..count {
                let packet = PublishPacket::new(TOPIC, PAYLOAD, mqtt5::QoS::AtMostOnce);
                router.route_message(&packet, Some("p")).await;
            }
            for receiver in &mut receivers {
                for _ in 0..count {
                    let message = receiver.recv().await.expect("the router is there");
                    black_box((message.publish.topic_name.len(), message.publish.payload.len()));
                }
            }
        });
    })
}

fn rumqttd_link(subscribers: usize) -> Way {
    use rumqttd::{Broker, Config, Notification, RouterConfig};
    let router = RouterConfig {
        max_connections: 1000,
        max_outgoing_packet_count: 10_000,
        max_segment_size: 100 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let broker = Broker::new(Config { router, ..Config::default() });
    let mut receivers = Vec::new();
    for number in 0..subscribers {
        let (mut sender, mut receiver) = broker.link(&format!("s{number}")).expect("there is room");
        sender.subscribe(TOPIC).expect("the router is there");
        while !matches!(receiver.recv(), Ok(Some(Notification::DeviceAck(_)))) {}
        receivers.push((sender, receiver));
    }
    let (mut publisher, kept) = broker.link("p").expect("there is room");
    Box::new(move |count| {
        let _kept = (&broker, &kept);
        for _ in 0..count {
            publisher.publish(TOPIC, PAYLOAD).expect("the router is there");
        }
        for (_, receiver) in &mut receivers {
            let mut left = count;
            while left > 0 {
                match receiver.recv().expect("the router is there") {
                    Some(Notification::Forward(forward)) => {
                        black_box((forward.publish.topic.len(), forward.publish.payload.len()));
                        left -= 1;
                    }
                    // Its buffer was full, and it waits to be told that there is room again.
                    Some(Notification::Unschedule) => receiver.ready().expect("the router is there"),
                    _ => {}
                }
            }
        }
    })
}
