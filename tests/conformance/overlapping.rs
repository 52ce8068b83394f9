//! Messages that match several subscriptions of a client, and subscription identifiers (§ 3.3.4).
//!
//! A broker may send one copy of such a message, at the highest QoS, or one for each of the subscriptions.

use columba_testkit::columba::SubscriptionId;
use columba_testkit::{Client, QoS};

use crate::exchange::{acknowledge, answered, back, closed, lasting, publish_of, raw_publish};
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL => a_message_comes_at_the_highest_qos_of_the_subscriptions_it_matches),
    tests!(ONLY_5 =>
        a_message_comes_with_the_identifiers_of_all_subscriptions_it_matches,
        a_subscription_without_identifier_adds_none,
        a_subscription_that_does_not_match_adds_no_identifier,
        a_message_that_waited_comes_with_its_identifiers,
        a_retained_message_comes_with_the_identifier_of_its_subscription,
        a_message_from_a_client_with_a_subscription_identifier_closes_the_connection,
    ),
];

/// A copy of a message: its QoS, and its subscription identifiers in their order of size.
type Copy = (u8, Vec<u32>);

/// A subscription: its filter below the topic of the test, its QoS, its identifier or 0, and whether it matches.
type Subscription = (&'static str, u8, u32, bool);

/// [MQTT-3.3.4-2] [MQTT-3.3.5-1 of 3.1.1]
fn a_message_comes_at_the_highest_qos_of_the_subscriptions_it_matches(stage: &Stage) {
    // In the order of SUBSCRIBE, and whatever the wildcards.
    let cases: [[Subscription; 3]; 4] = [
        [("x", 0, 0, true), ("+", 1, 0, true), ("#", 2, 0, true)],
        [("x", 2, 0, true), ("+", 1, 0, true), ("#", 0, 0, true)],
        [("x", 1, 0, true), ("+", 2, 0, true), ("#", 0, 0, true)],
        [("x", 1, 0, true), ("+", 0, 0, true), ("y", 2, 0, false)],
    ];
    for (number, subscriptions) in cases.into_iter().enumerate() {
        for published in 0..3 {
            let root = format!("overlapping/qos{number}-{published}");
            let client = stage.connect("s", |_| ());
            subscribe(&client, &root, &subscriptions);
            stage.connect("p", |_| ()).publish(&format!("{root}/x"), published, "x");
            check_copies(&client, &copies(&client), published, &subscriptions);
        }
    }
}

/// [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5]
fn a_message_comes_with_the_identifiers_of_all_subscriptions_it_matches(stage: &Stage) {
    let subscriptions =
        [("x", 1, 1, true), ("+", 0, 268_435_455, true), ("#", 2, 128, true), ("+/#", 1, 7, true)];
    for published in 0..3 {
        let root = format!("overlapping/ids{published}");
        let client = stage.connect("s", |_| ());
        subscribe(&client, &root, &subscriptions);
        stage.connect("p", |_| ()).publish(&format!("{root}/x"), published, "x");
        check_copies(&client, &copies(&client), published, &subscriptions);
    }
}

/// [MQTT-3.3.4-4] [MQTT-3.3.4-5]
fn a_subscription_without_identifier_adds_none(stage: &Stage) {
    let subscriptions = [("x", 1, 0, true), ("+", 1, 5, true), ("#", 1, 0, true)];
    let client = stage.connect("s", |_| ());
    subscribe(&client, "overlapping/without", &subscriptions);
    stage.connect("p", |_| ()).publish("overlapping/without/x", 1, "x");
    check_copies(&client, &copies(&client), 1, &subscriptions);
}

/// [MQTT-3.3.4-3] [MQTT-3.3.4-4]
fn a_subscription_that_does_not_match_adds_no_identifier(stage: &Stage) {
    let subscriptions = [("x", 1, 1, true), ("y", 1, 2, false), ("x/+", 1, 3, false)];
    let client = stage.connect("s", |_| ());
    subscribe(&client, "overlapping/other", &subscriptions);
    stage.connect("p", |_| ()).publish("overlapping/other/x", 1, "x");
    check_copies(&client, &copies(&client), 1, &subscriptions);
}

/// [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5]
fn a_message_that_waited_comes_with_its_identifiers(stage: &Stage) {
    let subscriptions = [("x", 1, 1, true), ("+", 1, 2, true)];
    let client = lasting(stage, "lasting");
    subscribe(&client, "overlapping/waited", &subscriptions);
    client.disconnect();
    stage.connect("p", |_| ()).publish("overlapping/waited/x", 1, "x");
    let client = back(stage, "lasting");
    check_copies(&client, &copies(&client), 1, &subscriptions);
}

/// [MQTT-3.3.4-3]
fn a_retained_message_comes_with_the_identifier_of_its_subscription(stage: &Stage) {
    let publisher = stage.connect("p", |_| ());
    publisher.retain("overlapping/retained", 1, "x");
    let client = stage.connect("s", |_| ());
    client.subscribe_with("overlapping/retained", 1, Some(9), |_| ());
    let found = copies(&client);
    client.check(found == [(1, vec![9])], || format!("{found:?}"));
    publisher.retain("overlapping/retained", 1, "");
}

/// [MQTT-3.3.4-6]
fn a_message_from_a_client_with_a_subscription_identifier_closes_the_connection(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("overlapping/own", 0);
    let client = stage.connect("refused", |_| ());
    client.send_bytes(&raw_publish(stage.version, 0, b"overlapping/own", b"\x0b\x01", b"x"));
    closed(&client, 0x82);
    let publisher = stage.connect("p", |_| ());
    let id = publisher.start("overlapping/own", 1, "last", |_| ());
    answered(&publisher, "PUBACK", id);
    subscriber.expect_all(&["PUBLISH overlapping/own=last"]);
}

#[track_caller]
fn subscribe(client: &Client, root: &str, subscriptions: &[Subscription]) {
    for &(filter, qos, id, _) in subscriptions {
        client.subscribe_with(&format!("{root}/{filter}"), qos, (id > 0).then_some(id), |_| ());
    }
}

/// The copies of a message that come, each acknowledged.
#[track_caller]
fn copies(client: &Client) -> Vec<Copy> {
    let first = client.next();
    std::iter::once(first)
        .chain(client.drain())
        .map(|received| {
            let publish = publish_of(client, &received);
            let mut ids: Vec<_> = publish.subscription_ids.iter().map(SubscriptionId::get).collect();
            ids.sort_unstable();
            if publish.qos < QoS::ExactlyOnce {
                acknowledge(client, &received);
            }
            (publish.qos as u8, ids)
        })
        .collect()
}

/// Either one copy for all subscriptions that match, or each copy for another of them.
#[track_caller]
fn check_copies(client: &Client, copies: &[Copy], published: u8, subscriptions: &[Subscription]) {
    let mut left: Vec<Copy> = subscriptions
        .iter()
        .filter(|subscription| subscription.3)
        .map(|&(_, qos, id, _)| (qos.min(published), (id > 0).then_some(id).into_iter().collect()))
        .collect();
    let highest = left.iter().map(|copy| copy.0).max().unwrap_or(0);
    let mut all: Vec<u32> = left.iter().flat_map(|copy| copy.1.clone()).collect();
    all.sort_unstable();
    let fine = match copies {
        [only] => *only == (highest, all),
        several => {
            // Further copies may be left out, but not the one at the highest QoS.
            let each = several.iter().all(|copy| match left.iter().position(|one| one == copy) {
                Some(at) => {
                    left.remove(at);
                    true
                }
                None => false,
            });
            each && several.iter().any(|copy| copy.0 == highest)
        }
    };
    client.check(fine, || format!("copies with QoS and identifiers: {copies:?}"));
}
