//! What is sent again, and when (§ 4.4); what is kept for a session until it can be sent (§ 4.5).

use columba_testkit::codec::PacketType::{PubAck, PubRec};
use columba_testkit::{Client, ReasonCode, persistent};

use crate::exchange::{back, lasting, message};
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        what_is_unacknowledged_comes_again_marked_and_with_its_id,
        what_was_acknowledged_does_not_come_again,
        a_pubrel_comes_again_with_its_id,
        a_new_session_gets_nothing_of_the_old,
        a_message_is_kept_for_every_session_with_a_matching_subscription,
        a_message_is_kept_for_sessions_that_are_here_and_away,
    ),
    tests!(ONLY_5 =>
        nothing_is_sent_again_on_a_live_connection,
        no_pubrel_is_sent_again_on_a_live_connection,
        a_puback_that_refuses_ends_the_exchange,
        a_pubrec_that_refuses_ends_the_exchange,
    ),
];

/// [MQTT-3.3.1-1] [MQTT-4.4.0-1] [MQTT-3.3.1-1 of 3.1.1] [MQTT-4.4.0-1 of 3.1.1]
fn what_is_unacknowledged_comes_again_marked_and_with_its_id(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "resend/again");
    let ids = [1, 2, 1, 2].map(|qos| {
        publisher.publish("resend/again", qos, "x");
        (qos, message(&subscriber, &format!("resend/again=x q{qos}")))
    });
    subscriber.drop_link();
    let subscriber = back(stage, "lasting");
    for (qos, id) in ids {
        let found = message(&subscriber, &format!("resend/again=x q{qos} dup"));
        subscriber.check(found == id, || format!("#{found} instead of #{id}"));
    }
    subscriber.expect_nothing();
}

/// [MQTT-4.4.0-1]
fn what_was_acknowledged_does_not_come_again(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "resend/some");
    let ids = ["a", "b", "c"].map(|payload| {
        publisher.publish("resend/some", 1, payload);
        message(&subscriber, &format!("resend/some={payload} q1"))
    });
    subscriber.ack(PubAck, ids[1]);
    // Its answers show that the PUBACK has been read.
    subscriber.expect_nothing();
    subscriber.drop_link();
    let subscriber = back(stage, "lasting");
    message(&subscriber, "resend/some=a q1 dup");
    message(&subscriber, "resend/some=c q1 dup");
    subscriber.expect_nothing();
}

/// [MQTT-4.4.0-1] [MQTT-4.4.0-1 of 3.1.1]
fn a_pubrel_comes_again_with_its_id(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "resend/pubrel");
    let ids = [(); 3].map(|()| {
        publisher.publish("resend/pubrel", 2, "x");
        let id = message(&subscriber, "resend/pubrel=x q2");
        subscriber.ack(PubRec, id);
        subscriber.expect(&format!("PUBREL #{id}"));
        id
    });
    subscriber.drop_link();
    let subscriber = back(stage, "lasting");
    for id in ids {
        subscriber.take(&format!("PUBREL #{id}"));
    }
    subscriber.expect_nothing();
}

/// [MQTT-4.4.0-1]
fn a_new_session_gets_nothing_of_the_old(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "resend/clean");
    publisher.publish("resend/clean", 1, "a");
    message(&subscriber, "resend/clean=a q1");
    publisher.publish("resend/clean", 2, "b");
    let id = message(&subscriber, "resend/clean=b q2");
    subscriber.ack(PubRec, id);
    subscriber.expect(&format!("PUBREL #{id}"));
    subscriber.drop_link();
    let subscriber = stage.connect("lasting", |connect| {
        persistent(connect);
        connect.clean_start = true;
    });
    subscriber.subscribe("resend/clean", 2);
    subscriber.expect_nothing();
}

/// [MQTT-4.4.0-1]
fn nothing_is_sent_again_on_a_live_connection(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "resend/live");
    for qos in [1, 2] {
        publisher.publish("resend/live", qos, "x");
        message(&subscriber, &format!("resend/live=x q{qos}"));
    }
    // Neither for time that passes, nor for anything else that happens.
    stage.advance(3);
    subscriber.subscribe("resend/live", 2);
    publisher.publish("resend/live", 1, "y");
    message(&subscriber, "resend/live=y q1");
    subscriber.expect_nothing();
}

/// [MQTT-4.4.0-1]
fn no_pubrel_is_sent_again_on_a_live_connection(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "resend/live-pubrel");
    publisher.publish("resend/live-pubrel", 2, "x");
    let id = message(&subscriber, "resend/live-pubrel=x q2");
    subscriber.ack(PubRec, id);
    subscriber.expect(&format!("PUBREL #{id}"));
    stage.advance(3);
    publisher.publish("resend/live-pubrel", 1, "y");
    message(&subscriber, "resend/live-pubrel=y q1");
    subscriber.expect_nothing();
}

/// [MQTT-4.4.0-2]
fn a_puback_that_refuses_ends_the_exchange(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "resend/puback");
    for reason in REFUSALS {
        publisher.publish("resend/puback", 1, "x");
        let id = message(&subscriber, "resend/puback=x q1");
        subscriber.ack_with(PubAck, id, reason);
    }
    subscriber.expect_nothing();
    subscriber.drop_link();
    back(stage, "lasting").expect_nothing();
}

/// [MQTT-4.4.0-2]
fn a_pubrec_that_refuses_ends_the_exchange(stage: &Stage) {
    let (subscriber, publisher) = pair(stage, "resend/pubrec");
    for reason in REFUSALS {
        publisher.publish("resend/pubrec", 2, "x");
        let id = message(&subscriber, "resend/pubrec=x q2");
        subscriber.ack_with(PubRec, id, reason);
    }
    subscriber.expect_nothing();
    subscriber.drop_link();
    back(stage, "lasting").expect_nothing();
}

/// [MQTT-4.5.0-1] [MQTT-4.5.0-1 of 3.1.1]
fn a_message_is_kept_for_every_session_with_a_matching_subscription(stage: &Stage) {
    let filters = [("kept1", "resend/kept/x"), ("kept2", "resend/kept/+"), ("kept3", "resend/kept/#")];
    for (id, filter) in filters {
        let subscriber = lasting(stage, id);
        subscriber.subscribe(filter, 2);
        subscriber.disconnect();
    }
    let other = lasting(stage, "kept4");
    other.subscribe("resend/kept/y", 2);
    other.disconnect();
    let publisher = stage.connect("p", |_| ());
    publisher.publish("resend/kept/x", 1, "a");
    publisher.publish("resend/kept/x", 2, "b");
    for (id, _) in filters {
        let subscriber = back(stage, id);
        let mut found = [(); 2].map(|()| subscriber.next().text().to_owned());
        found.sort();
        let fine = found[0].starts_with("PUBLISH resend/kept/x=a q1 #")
            && found[1].starts_with("PUBLISH resend/kept/x=b q2 #");
        subscriber.check(fine, || format!("{found:?}"));
        subscriber.expect_nothing();
    }
    back(stage, "kept4").expect_nothing();
}

/// [MQTT-4.5.0-1] [MQTT-4.5.0-1 of 3.1.1]
fn a_message_is_kept_for_sessions_that_are_here_and_away(stage: &Stage) {
    let (here, publisher) = pair(stage, "resend/both");
    let away = lasting(stage, "away");
    away.subscribe("resend/both", 1);
    away.disconnect();
    publisher.publish("resend/both", 1, "x");
    message(&here, "resend/both=x q1");
    message(&back(stage, "away"), "resend/both=x q1");
    // It stays in both sessions, as long as it is not acknowledged.
    here.drop_link();
    message(&back(stage, "lasting"), "resend/both=x q1 dup");
    message(&back(stage, "away"), "resend/both=x q1 dup");
}

/// The reason codes of PUBACK and PUBREC from 0x80 on.
const REFUSALS: [ReasonCode; 7] = [
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicNameInvalid,
    ReasonCode::PacketIdentifierInUse,
    ReasonCode::QuotaExceeded,
    ReasonCode::PayloadFormatInvalid,
];

/// A subscriber to `topic` with a session that lasts, `lasting`, and a publisher.
#[track_caller]
fn pair(stage: &Stage, topic: &str) -> (Client, Client) {
    let subscriber = lasting(stage, "lasting");
    subscriber.subscribe(topic, 2);
    (subscriber, stage.connect("p", |_| ()))
}
