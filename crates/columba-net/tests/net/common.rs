//! A broker, and a client that is a stream and packets as bytes.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use columba::{Broker, BrokerBuilder, Listener};
use columba_net::reactor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// More than any test needs; running into it is a failure.
const DEADLINE: Duration = Duration::from_secs(20);

/// CONNECT of version 3.1.1 with a clean session, no keep alive and the client id "c".
pub(crate) const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c";
pub(crate) const CONNACK: &[u8] = b"\x20\x02\x00\x00";
/// SUBSCRIBE to "t" at QoS 0 as packet 1.
pub(crate) const SUBSCRIBE: &[u8] = b"\x82\x06\x00\x01\x00\x01t\x00";
pub(crate) const SUBACK: &[u8] = b"\x90\x03\x00\x01\x00";
/// PUBLISH of "hello" to "t" at QoS 0, as it is sent and comes back.
pub(crate) const PUBLISH: &[u8] = b"\x30\x08\x00\x01thello";

/// Where a test's brokers are at home.
#[derive(Clone, Copy, Debug)]
enum Home {
    Tokio,
    Reactor,
    /// Shards, so that connections move from one to another.
    Reactors,
}

thread_local! {
    static HOME: Cell<Home> = const { Cell::new(Home::Tokio) };
    static BROKERS: RefCell<Vec<Broker>> = const { RefCell::new(Vec::new()) };
}

/// Runs a test three times, up to the deadline: with brokers on the test's own runtime, on reactors, and on several reactors
/// each.
pub(crate) fn run(test: impl AsyncFn()) {
    for home in [Home::Tokio, Home::Reactor, Home::Reactors] {
        HOME.set(home);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            let outcome = tokio::time::timeout(DEADLINE, test()).await;
            for broker in BROKERS.take() {
                broker.shutdown(Duration::ZERO).await;
            }
            outcome
        });
        assert!(outcome.is_ok(), "the test takes too long on {home:?}");
    }
}

/// A broker at the home of this run.
pub(crate) fn start(builder: BrokerBuilder) -> Broker {
    let broker = match HOME.get() {
        Home::Tokio => columba::tokio::start(builder),
        Home::Reactor => reactor::start(builder).unwrap(),
        Home::Reactors => {
            let (broker, drivers) = builder.timers(reactor::Timer::new).build_shards(3);
            for driver in drivers {
                reactor::spawn(driver).unwrap();
            }
            broker
        }
    };
    BROKERS.with_borrow_mut(|brokers| brokers.push(broker.clone()));
    broker
}

/// A broker with this listener.
pub(crate) fn serve(listener: impl Listener) -> Broker {
    let broker = start(Broker::builder());
    broker.serve(listener).unwrap();
    broker
}

/// A broker that tells where its clients come from, in the form `transport address certificate`.
pub(crate) fn serve_and_watch(
    listener: impl Listener,
) -> (Broker, futures::channel::mpsc::UnboundedReceiver<String>) {
    let (sender, peers) = futures::channel::mpsc::unbounded();
    let broker = start(Broker::builder().authenticate(move |request: columba::AuthRequest| {
        let peer = request.peer;
        let certificate = peer.certificate_name.as_deref().unwrap_or("-").to_owned();
        let _ = sender.unbounded_send(format!("{peer} {certificate}"));
        async { columba::Verdict::accept() }
    }));
    broker.serve(listener).unwrap();
    (broker, peers)
}

/// Connects, subscribes, and gets what it publishes.
pub(crate) async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    exchange(stream, CONNECT, CONNACK).await;
    exchange(stream, SUBSCRIBE, SUBACK).await;
    exchange(stream, PUBLISH, PUBLISH).await;
}

/// Sends this and gets that.
pub(crate) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    sent: &[u8],
    expected: &[u8],
) {
    stream.write_all(sent).await.unwrap();
    stream.flush().await.unwrap();
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).await.unwrap();
    assert_eq!(received, expected);
}

/// Waits for the end of the stream, whatever kind of end.
pub(crate) async fn ended(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}
