//! The command against brokers in this process: every scenario on one that does what it should, and what is reported of one
//! that does not.

use std::process::Command;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use columba::{Broker, Metrics};
use columba_net::{TcpListener, WsListener};
use columba_testkit::codec::{Packet, PacketType, Publish};
use columba_testkit::{Fault, TestBroker, on};
use tokio::sync::oneshot;

/// More than any broker needs to see that its clients are gone.
const DEADLINE: Duration = Duration::from_secs(20);

/// A broker with a TCP and a WebSocket port that the system picks, on a thread of its own.
struct Server {
    tcp: String,
    ws: String,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Metrics>,
}

/// How a run ended and what it printed.
struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Server {
    fn start() -> Self {
        let (sender, ports) = channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let broker = columba::tokio::start(Broker::builder());
                let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let ws = TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send((tcp.local_addr(), ws.local_addr())).unwrap();
                broker.serve(tcp).unwrap();
                broker.serve(WsListener::new(ws)).unwrap();
                let _ = stopped.await;
                // The command's last connections are closed, which the broker has to notice yet.
                let deadline = Instant::now() + DEADLINE;
                loop {
                    let metrics = broker.metrics().await.unwrap();
                    if metrics.connections == 0 || Instant::now() > deadline {
                        return metrics;
                    }
                    tokio::task::yield_now().await;
                }
            })
        });
        let (tcp, ws) = ports.recv().unwrap();
        Self { tcp: format!("mqtt://{tcp}"), ws: format!("ws://{ws}/mqtt"), stop, thread }
    }

    /// Ends it, and says what it had by then.
    fn stop(self) -> Metrics {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}

impl Outcome {
    /// A number in the JSON object that is whole.
    fn count(&self, name: &str) -> u64 {
        self.number(name).to_string().parse().unwrap_or_else(|_| panic!("{name} in {}", self.stdout))
    }

    /// A number in the JSON object.
    fn number(&self, name: &str) -> f64 {
        let field = format!("\"{name}\":");
        let Some(at) = self.stdout.find(&field) else {
            panic!("no {name} in {}{}", self.stdout, self.stderr)
        };
        let rest = &self.stdout[at + field.len()..];
        let end = rest.find([',', '}']).unwrap_or(rest.len());
        rest[..end].parse().unwrap_or_else(|_| panic!("{name} is no number in {}", self.stdout))
    }
}

fn bench(url: &str, words: &str) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_columba-bench"))
        .args(words.split_whitespace())
        .args(["--url", url, "--json"])
        .output()
        .unwrap();
    Outcome {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs what `words` say; it has to find nothing wrong.
#[track_caller]
fn is_good(url: &str, words: &str) -> Outcome {
    let outcome = bench(url, words);
    assert_eq!(outcome.status, 0, "{words}: {}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("\"faults\":[],\"ok\":true}"), "{words}: {}", outcome.stdout);
    outcome
}

#[test]
fn messages_of_every_version_and_qos() {
    let server = Server::start();
    for version in ["3.1", "3.1.1", "5"] {
        for qos in 0..3 {
            for url in [&server.tcp, &server.ws] {
                let words = format!("p2p --pubs 3 --count 600 --qos {qos} --version {version} --window 10");
                let outcome = is_good(url, &words);
                assert_eq!(outcome.count("delivered"), 600, "{words}");
                assert_eq!(outcome.count("published"), 600, "{words}");
            }
        }
    }
    server.stop();
}

#[test]
fn messages_from_some_to_many() {
    let server = Server::start();
    for (words, delivered) in [
        ("fanin --pubs 5 --subs 2 --count 500 --qos 1", 1000),
        ("fanout --pubs 2 --subs 7 --count 100 --qos 0", 700),
        ("shared --pubs 5 --subs 3 --count 500 --qos 1 --version 5", 500),
        ("p2p --pubs 1 --count 20 --payload 300000", 20),
        ("p2p --pubs 4 --count 400 --qos 2 --threads 2", 400),
        ("fanout --pubs 2 --subs 7 --count 100 --threads 2", 700),
        ("shared --pubs 5 --subs 3 --count 500 --qos 1 --version 5 --threads 3", 500),
        ("fanin --pubs 3 --count 300 --retain", 300),
    ] {
        assert_eq!(is_good(&server.tcp, words).count("delivered"), delivered, "{words}");
    }
    // How much goes in so little time is the machine's affair.
    is_good(&server.tcp, "p2p --seconds 0.2 --warmup 0.05");
    is_good(&server.ws, "fanin --seconds 0.2 --warmup 0 --qos 1");
    let metrics = server.stop();
    assert_eq!((metrics.retained, metrics.connections), (0, 0), "nothing is left");
}

#[test]
fn idle_connections_beside_the_load() {
    let server = Server::start();
    for words in ["p2p --pubs 2 --count 100 --idle 25", "p2p --pubs 2 --count 100 --idle 25 --threads 2"] {
        let outcome = is_good(&server.tcp, words);
        assert_eq!((outcome.count("delivered"), outcome.count("idle")), (100, 25), "{words}");
    }
    let metrics = server.stop();
    // Two publishers and two subscribers each time.
    assert_eq!((metrics.connections_opened, metrics.connections), (58, 0), "nothing is left");
}

#[test]
fn latency_at_a_rate() {
    let server = Server::start();
    for words in ["latency --rate 500 --pubs 3", "latency --rate 500 --pubs 4 --qos 1 --threads 2"] {
        let outcome = is_good(&server.tcp, &format!("{words} --seconds 0.4 --warmup 0.1"));
        let percentiles =
            ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"].map(|name| outcome.number(name));
        assert!(percentiles[0] > 0.0 && percentiles.is_sorted(), "{percentiles:?}");
    }
    server.stop();
}

#[test]
fn what_the_broker_keeps() {
    let server = Server::start();
    for words in ["retained --count 300", "retained --count 300 --pubs 3 --qos 1 --version 5"] {
        assert!(is_good(&server.tcp, words).number("replay_per_s") > 0.0);
    }
    for words in [
        "offline --count 500",
        "offline --count 500 --pubs 2 --qos 2 --version 5",
        "offline --count 9 --version 3.1",
    ] {
        assert!(is_good(&server.tcp, words).number("drain_per_s") > 0.0);
    }
    let metrics = server.stop();
    assert_eq!((metrics.retained, metrics.sessions, metrics.stored), (0, 0, 0), "nothing is left");
}

#[test]
fn connections_and_subscriptions() {
    let server = Server::start();
    let pid = std::process::id();
    for url in [&server.tcp, &server.ws] {
        let outcome = is_good(url, &format!("conns --conns 30 --parallel 7 --seconds 0.1 --pid {pid}"));
        assert!(outcome.number("handshake_p50_us") > 0.0);
        if cfg!(target_os = "linux") {
            assert!(outcome.number("memory_mb") > 0.0);
        }
        is_good(url, "storm --parallel 4 --seconds 0.2 --warmup 0");
        let outcome = is_good(url, "subs --subs 103 --seconds 0.2 --warmup 0 --version 5");
        assert!(outcome.number("subscribes_per_s") > 0.0);
    }
    server.stop();
}

#[test]
fn lines_for_a_person() {
    let server = Server::start();
    let output = Command::new(env!("CARGO_BIN_EXE_columba-bench"))
        .args(["fanout", "--subs", "3", "--count", "10", "--url", &server.tcp])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("fanout: 1 publisher to 3 subscribers, QoS 0, 64 bytes, MQTT 3.1.1 over TCP\n"),
        "{text}"
    );
    assert!(text.contains("0 lost") && text.contains("30 messages"), "{text}");
    assert!(output.stderr.is_empty());
    server.stop();
}

/// Runs `words` against a broker with a fault; it has to be found.
#[track_caller]
fn is_noticed(fault: Fault, words: &str, expected: &str) -> Outcome {
    let broker = TestBroker::builder().fault(fault).start();
    let outcome = bench(&broker.url(), words);
    assert_eq!(outcome.status, 1, "{words}: {}{}", outcome.stdout, outcome.stderr);
    assert!(
        outcome.stdout.contains(expected) || outcome.stderr.contains(expected),
        "{words}: {}",
        outcome.stdout
    );
    assert!(!outcome.stdout.contains("\"ok\":true"), "{}", outcome.stdout);
    outcome
}

fn delivery() -> columba_testkit::Rule {
    on(PacketType::Publish).from_broker()
}

#[test]
fn a_loss_is_reported() {
    let outcome = is_noticed(delivery().nth(50).lose(), "p2p --pubs 2 --count 300", "1 messages were lost");
    assert_eq!((outcome.count("lost"), outcome.count("delivered")), (1, 299));
}

#[test]
fn a_loss_that_no_later_message_shows_is_reported() {
    is_noticed(delivery().nth(10).lose(), "p2p --pubs 1 --count 10 --qos 1", "1 messages were lost");
}

#[test]
fn a_loss_in_a_group_is_reported() {
    is_noticed(delivery().nth(5).lose(), "shared --pubs 2 --subs 2 --count 20", "1 messages were lost");
}

#[test]
fn a_loss_of_a_retained_message_is_reported() {
    is_noticed(delivery().nth(5).lose(), "retained --count 20", "1 messages were lost");
}

#[test]
fn a_double_is_reported() {
    is_noticed(delivery().nth(5).duplicate(), "p2p --pubs 1 --count 20", "1 messages came twice");
}

#[test]
fn disorder_is_reported() {
    // The fifth delivery comes after the sixth.
    let (mut count, mut kept) = (0, Vec::new());
    let swapped = delivery().handle(move |packet, exchange| {
        count += 1;
        let Packet::Publish(publish) = packet else { return };
        match count {
            5 => {
                kept = publish.payload.to_vec();
                exchange.lose();
            }
            6 => {
                exchange.forward(packet);
                exchange.forward(&Packet::Publish(Publish { payload: &kept, ..publish.clone() }));
            }
            _ => {}
        }
    });
    let outcome = is_noticed(swapped, "p2p --pubs 1 --count 20", "1 messages came out of order");
    assert_eq!((outcome.count("lost"), outcome.count("delivered")), (0, 20));
}

#[test]
fn what_goes_wrong_is_said() {
    is_noticed(
        delivery().nth(5).cut(),
        "p2p --pubs 1 --count 20 --qos 1",
        "the broker closed the connection",
    );
    let lost = on(PacketType::PubAck).from_broker().nth(5).lose();
    is_noticed(lost, "p2p --pubs 1 --count 20 --qos 1", "1 messages without an acknowledgement");
    let refused = columba_testkit::ReasonCode::NotAuthorized;
    is_noticed(on(PacketType::Connect).answer(refused), "p2p --version 5", "NotAuthorized");
    is_noticed(on(PacketType::Subscribe).answer(refused), "fanout --version 5", "NotAuthorized");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = bench(&format!("mqtt://{free}"), "p2p");
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("cannot connect"), "{}", outcome.stderr);
}

#[test]
fn mistakes_in_the_arguments_are_status_2() {
    let outcome = bench("mqtt://127.0.0.1", "p2p --qos 3");
    assert_eq!(outcome.status, 2);
    assert!(outcome.stderr.contains("--qos"), "{}", outcome.stderr);
}
