//! What a test pays for its broker.

use columba_testkit::{TestBroker, Version, World};

fn main() {
    divan::main();
}

/// The first of a process, and every one that is alone: threads are started and ended.
#[divan::bench]
fn start_and_drop_alone() {
    drop(TestBroker::start());
}

/// Beside others.
#[divan::bench]
fn start_and_drop(bencher: divan::Bencher<'_, '_>) {
    let other = TestBroker::start();
    bencher.bench_local(|| drop(TestBroker::start()));
    drop(other);
}

/// With a port.
#[divan::bench]
fn start_on_a_port(bencher: divan::Bencher<'_, '_>) {
    let other = TestBroker::start();
    bencher.bench_local(|| TestBroker::start().port());
    drop(other);
}

/// A message from a client in memory and back to it.
#[divan::bench]
fn start_and_exchange_a_message(bencher: divan::Bencher<'_, '_>) {
    let other = TestBroker::start();
    bencher.bench_local(|| {
        let broker = TestBroker::start();
        let client = broker.connect("a", Version::V5, |_| ());
        client.subscribe("t", 1);
        client.publish("t", 1, "x");
        client.expect("PUBLISH t=x q1 #1");
    });
    drop(other);
}

/// The same in a simulated world.
#[divan::bench]
fn a_world_and_a_message() {
    let world = World::new();
    let client = world.connect("a", Version::V5, |_| ());
    client.subscribe("t", 1);
    client.publish("t", 1, "x");
    client.expect("PUBLISH t=x q1 #1");
}
