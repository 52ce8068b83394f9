//! Retained messages (§ 3.3.1.3): what is kept, what is cleared, and who gets it with which flag.
//!
//! A broker may keep none at QoS 0, so most are published at QoS 1. Each test clears its topics before and after.

use columba_testkit::columba::{RetainHandling, SubscriptionOptions};
use columba_testkit::{Client, QoS};

use crate::exchange::{message, next_messages};
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        a_retained_message_replaces_the_one_before,
        a_retained_message_is_kept_with_its_qos,
        a_retained_message_at_qos_0_discards_the_one_before,
        a_new_subscription_brings_the_last_of_each_matching_topic,
        a_new_subscription_brings_retained_messages_with_their_flag,
        an_established_subscription_brings_messages_without_the_flag,
        a_message_without_the_flag_is_not_kept,
        a_message_without_the_flag_replaces_nothing,
        an_empty_message_without_the_flag_removes_nothing,
    ),
    tests!(NUMBERED =>
        an_empty_retained_message_is_delivered,
        an_empty_retained_message_removes_the_one_before,
        an_empty_message_is_not_kept,
    ),
    tests!(ONLY_5 =>
        with_retain_handling_0_each_subscribe_brings_retained_messages,
        with_retain_handling_1_a_new_subscription_brings_retained_messages,
        with_retain_handling_1_a_subscription_that_exists_brings_none,
        with_retain_handling_2_none_come,
        without_retain_as_published_the_flag_is_cleared,
        with_retain_as_published_the_flag_is_kept,
    ),
];

/// [MQTT-3.3.1-5] [MQTT-3.3.1-6 of 3.1.1]
fn a_retained_message_replaces_the_one_before(stage: &Stage) {
    kept(stage, &["retain/replace"], |publisher| {
        publisher.retain("retain/replace", 1, "old");
        publisher.retain("retain/replace", 1, "new");
        expect_kept(stage, "retain/replace", Some("retain/replace=new q1 retain"));
    });
}

/// [MQTT-3.3.1-5] [MQTT-3.3.1-5 of 3.1.1]
fn a_retained_message_is_kept_with_its_qos(stage: &Stage) {
    kept(stage, &["retain/qos"], |publisher| {
        publisher.retain("retain/qos", 1, "a");
        expect_kept(stage, "retain/qos", Some("retain/qos=a q1 retain"));
        publisher.retain("retain/qos", 2, "b");
        expect_kept(stage, "retain/qos", Some("retain/qos=b q2 retain"));
    });
}

/// It may be discarded itself, at any time. [MQTT-3.3.1-5] [MQTT-3.3.1-7 of 3.1.1]
fn a_retained_message_at_qos_0_discards_the_one_before(stage: &Stage) {
    kept(stage, &["retain/qos0"], |publisher| {
        publisher.retain("retain/qos0", 1, "old");
        publisher.retain("retain/qos0", 0, "new");
        publisher.ping();
        let client = stage.connect("s", |_| ());
        client.subscribe("retain/qos0", 2);
        let texts: Vec<_> = client.drain().iter().map(|received| received.text().to_owned()).collect();
        let fine = texts.is_empty() || texts == ["PUBLISH retain/qos0=new retain"];
        client.check(fine, || format!("{texts:?}"));
    });
}

/// [MQTT-3.3.1-6 of 3.1.1] [MQTT-3.3.1-9]
fn a_new_subscription_brings_the_last_of_each_matching_topic(stage: &Stage) {
    kept(stage, &["retain/each/a", "retain/each/b/c", "retain/other"], |publisher| {
        publisher.retain("retain/each/a", 1, "0");
        publisher.retain("retain/each/a", 1, "1");
        publisher.retain("retain/each/b/c", 1, "2");
        publisher.retain("retain/other", 1, "3");
        let client = stage.connect("s", |_| ());
        client.subscribe("retain/each/#", 1);
        expect_both(&client, ["retain/each/a=1 q1 retain", "retain/each/b/c=2 q1 retain"]);
    });
}

/// [MQTT-3.3.1-8 of 3.1.1]
fn a_new_subscription_brings_retained_messages_with_their_flag(stage: &Stage) {
    kept(stage, &["retain/flag/x"], |publisher| {
        publisher.retain("retain/flag/x", 1, "x");
        expect_kept(stage, "retain/flag/+", Some("retain/flag/x=x q1 retain"));
    });
}

/// [MQTT-3.3.1-9 of 3.1.1] [MQTT-3.3.1-12]
fn an_established_subscription_brings_messages_without_the_flag(stage: &Stage) {
    kept(stage, &["retain/established"], |publisher| {
        let client = stage.connect("s", |_| ());
        client.subscribe("retain/established", 1);
        publisher.retain("retain/established", 1, "a");
        message(&client, "retain/established=a q1");
        publisher.publish("retain/established", 1, "b");
        message(&client, "retain/established=b q1");
    });
}

/// [MQTT-3.3.1-8] [MQTT-3.3.1-12 of 3.1.1]
fn a_message_without_the_flag_is_not_kept(stage: &Stage) {
    kept(stage, &["retain/not"], |publisher| {
        publisher.publish("retain/not", 1, "x");
        expect_kept(stage, "retain/not", None);
    });
}

/// [MQTT-3.3.1-8] [MQTT-3.3.1-12 of 3.1.1]
fn a_message_without_the_flag_replaces_nothing(stage: &Stage) {
    kept(stage, &["retain/stays"], |publisher| {
        publisher.retain("retain/stays", 1, "kept");
        publisher.publish("retain/stays", 1, "passing");
        expect_kept(stage, "retain/stays", Some("retain/stays=kept q1 retain"));
    });
}

/// [MQTT-3.3.1-8] [MQTT-3.3.1-12 of 3.1.1]
fn an_empty_message_without_the_flag_removes_nothing(stage: &Stage) {
    kept(stage, &["retain/empty-stays"], |publisher| {
        publisher.retain("retain/empty-stays", 1, "kept");
        publisher.publish("retain/empty-stays", 1, "");
        expect_kept(stage, "retain/empty-stays", Some("retain/empty-stays=kept q1 retain"));
    });
}

/// [MQTT-3.3.1-6] [MQTT-3.3.1-10 of 3.1.1]
fn an_empty_retained_message_is_delivered(stage: &Stage) {
    kept(stage, &["retain/empty"], |publisher| {
        let client = stage.connect("s", |_| ());
        client.subscribe("retain/empty", 1);
        // With something to remove, and with nothing.
        publisher.retain("retain/empty", 1, "x");
        message(&client, "retain/empty=x q1");
        for _ in 0..2 {
            publisher.retain("retain/empty", 1, "");
            message(&client, "retain/empty= q1");
        }
    });
}

/// [MQTT-3.3.1-6] [MQTT-3.3.1-10 of 3.1.1]
fn an_empty_retained_message_removes_the_one_before(stage: &Stage) {
    kept(stage, &["retain/removed", "retain/removed/not"], |publisher| {
        publisher.retain("retain/removed", 1, "x");
        publisher.retain("retain/removed/not", 1, "y");
        publisher.retain("retain/removed", 1, "");
        expect_kept(stage, "retain/removed/#", Some("retain/removed/not=y q1 retain"));
    });
}

/// [MQTT-3.3.1-7] [MQTT-3.3.1-11 of 3.1.1]
fn an_empty_message_is_not_kept(stage: &Stage) {
    kept(stage, &["retain/nothing"], |publisher| {
        for qos in 0..3 {
            publisher.retain("retain/nothing", qos, "");
            publisher.ping();
            expect_kept(stage, "retain/nothing", None);
        }
    });
}

/// [MQTT-3.3.1-9]
fn with_retain_handling_0_each_subscribe_brings_retained_messages(stage: &Stage) {
    kept(stage, &["retain/handling0"], |publisher| {
        publisher.retain("retain/handling0", 1, "x");
        let client = stage.connect("s", |_| ());
        for _ in 0..3 {
            subscribe(&client, "retain/handling0", RetainHandling::Send);
            message(&client, "retain/handling0=x q1 retain");
        }
        client.expect_nothing();
    });
}

/// [MQTT-3.3.1-10]
fn with_retain_handling_1_a_new_subscription_brings_retained_messages(stage: &Stage) {
    kept(stage, &["retain/handling1/a", "retain/handling1/b"], |publisher| {
        publisher.retain("retain/handling1/a", 1, "1");
        publisher.retain("retain/handling1/b", 1, "2");
        let client = stage.connect("s", |_| ());
        // It is new again after UNSUBSCRIBE.
        for _ in 0..2 {
            subscribe(&client, "retain/handling1/#", RetainHandling::SendIfNew);
            expect_both(&client, ["retain/handling1/a=1 q1 retain", "retain/handling1/b=2 q1 retain"]);
            client.unsubscribe(&["retain/handling1/#"]);
        }
    });
}

/// [MQTT-3.3.1-10]
fn with_retain_handling_1_a_subscription_that_exists_brings_none(stage: &Stage) {
    kept(stage, &["retain/existing"], |publisher| {
        let client = stage.connect("s", |_| ());
        subscribe(&client, "retain/existing", RetainHandling::SendIfNew);
        publisher.retain("retain/existing", 1, "x");
        message(&client, "retain/existing=x q1");
        subscribe(&client, "retain/existing", RetainHandling::SendIfNew);
        client.expect_nothing();
        // It is the same subscription with other options too.
        let options = options(RetainHandling::SendIfNew);
        let reasons =
            client.ask(&[("retain/existing", SubscriptionOptions { no_local: true, ..options })], Some(3));
        client.check(reasons == [1], || format!("{reasons:?}"));
        client.expect_nothing();
    });
}

/// [MQTT-3.3.1-11]
fn with_retain_handling_2_none_come(stage: &Stage) {
    kept(stage, &["retain/handling2"], |publisher| {
        publisher.retain("retain/handling2", 1, "x");
        let client = stage.connect("s", |_| ());
        for _ in 0..2 {
            subscribe(&client, "retain/handling2", RetainHandling::DoNotSend);
            client.expect_nothing();
        }
    });
}

/// [MQTT-3.3.1-12]
fn without_retain_as_published_the_flag_is_cleared(stage: &Stage) {
    kept(stage, &["retain/cleared"], |publisher| {
        let client = stage.connect("s", |_| ());
        client.subscribe_with("retain/cleared", 1, None, |options| options.retain_as_published = false);
        publisher.retain("retain/cleared", 1, "a");
        message(&client, "retain/cleared=a q1");
        publisher.publish("retain/cleared", 1, "b");
        message(&client, "retain/cleared=b q1");
    });
}

/// [MQTT-3.3.1-13]
fn with_retain_as_published_the_flag_is_kept(stage: &Stage) {
    kept(stage, &["retain/as-published"], |publisher| {
        let client = stage.connect("s", |_| ());
        client.subscribe_with("retain/as-published", 1, None, |options| options.retain_as_published = true);
        publisher.retain("retain/as-published", 1, "a");
        message(&client, "retain/as-published=a q1 retain");
        publisher.publish("retain/as-published", 1, "b");
        message(&client, "retain/as-published=b q1");
    });
}

/// Runs `test` with a publisher, and with nothing retained under these topics before and after.
fn kept(stage: &Stage, topics: &[&str], test: impl FnOnce(&Client)) {
    let publisher = stage.connect("p", |_| ());
    let clear = || topics.iter().for_each(|topic| publisher.retain(topic, 1, ""));
    clear();
    test(&publisher);
    clear();
}

/// A new subscription to `filter` brings this message and nothing else.
#[track_caller]
fn expect_kept(stage: &Stage, filter: &str, expected: Option<&str>) {
    let client = stage.connect("s", |_| ());
    client.subscribe(filter, 2);
    if let Some(expected) = expected {
        message(&client, expected);
    }
    client.expect_nothing();
}

/// These messages come, in any order, and nothing else.
#[track_caller]
fn expect_both(client: &Client, expected: [&str; 2]) {
    let mut found = next_messages(client, 2);
    found.sort();
    client.check(found == expected, || format!("{found:?} instead of {expected:?}"));
    client.expect_nothing();
}

#[track_caller]
fn subscribe(client: &Client, filter: &str, retain_handling: RetainHandling) {
    let reasons = client.ask(&[(filter, options(retain_handling))], None);
    client.check(reasons == [1], || format!("subscribing to {filter}: {reasons:02x?}"));
}

fn options(retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions { qos: QoS::AtLeastOnce, retain_handling, ..SubscriptionOptions::default() }
}
