//! Conditions that are waited for.

use std::time::Duration;

use columba_testkit::codec::SubscriptionOptions;
use columba_testkit::{
    TestBroker, Version, connected, delivered, disconnected, persistent, published, session, subscribed,
};

const V5: Version = Version::V5;

#[test]
fn a_broker_is_waited_for() {
    let broker = TestBroker::start();
    let client = broker.connect("a", V5, persistent);
    client.start_subscribe(&[("t", SubscriptionOptions::default())], None);
    broker.expect(subscribed("a", "t")).wait();
    client.start("t", 0, "x", |_| ());
    broker.expect(delivered("t").client("a").payload("x")).wait();
    client.drop_link();
    broker.expect(disconnected("a")).wait();
    broker.expect(session("a").connected(false)).within(Duration::from_secs(10)).wait();
}

#[test]
fn an_expectation_is_a_future_of_any_executor() {
    let broker = TestBroker::start();
    let client = broker.connect("a", V5, persistent);
    client.publish("t", 1, "x");
    futures::executor::block_on(async { broker.expect(published("t")).await });
    smol::block_on(async { broker.expect(connected("a")).await });
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        broker.expect(session("a")).await;
    });
}

#[test]
#[should_panic(expected = "a message published on never")]
fn an_expectation_that_is_not_met_fails_the_test() {
    let broker = TestBroker::start();
    futures::executor::block_on(async { broker.expect(published("never")).within(Duration::ZERO).await });
}
