//! What a client of MQTT 5 may ask of the broker with its CONNECT.

use std::num::{NonZeroU16, NonZeroU32};

use columba_testkit::codec::{Packet, PacketType, SubscriptionOptions};
use columba_testkit::columba::{AuthRequest, AuthStage, Verdict};
use columba_testkit::{Client, ReasonCode, persistent};

use crate::answers::{announced, message, next_publish, refused};
use crate::raw;
use crate::stage::{Group, Stage, V5, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ONLY_5 =>
        no_message_larger_than_the_maximum_is_sent,
        no_connack_larger_than_the_maximum_is_sent,
        a_message_that_is_too_large_for_one_client_goes_to_others,
        a_message_that_is_too_large_takes_no_place,
        a_message_that_is_too_large_is_gone_for_good,
        no_topic_alias_above_the_maximum_is_used,
        without_topic_alias_maximum_no_alias_is_used,
        without_problem_information_acknowledgements_have_none,
    ),
    tests!(ONLY_5, |config| config.response_information = Some("answers/".into()) =>
        response_information_is_not_returned_unasked,
    ),
    tests!(ONLY_5, |config| {
        config.wildcard_subscriptions = false;
        config.limits.retained_messages = 0;
    } => without_problem_information_failures_have_none),
    tests!(ONLY_5 =>
        nothing_but_auth_is_taken_while_a_client_authenticates,
        disconnect_ends_an_authentication,
    )
    .asking(one_more_question),
    tests!(ONLY_5 => texts_never_make_connack_too_large).asking(refuse_at_length),
];

/// A message that just fits and one that is a byte longer, at every QoS. [MQTT-3.1.2-24] [MQTT-3.1.2-25]
fn no_message_larger_than_the_maximum_is_sent(stage: &Stage) {
    let publisher = stage.connect("b", |_| ());
    for qos in 0..3 {
        let client = limited(stage, "client_limits/size", qos, |_| ());
        let around = 6 + "client_limits/size".len() + if qos > 0 { 2 } else { 0 };
        // The remaining length takes two bytes from 128 on.
        let fits = vec![b'x'; MAXIMUM as usize - around];
        publisher.publish("client_limits/size", qos, [&fits[..], b"x"].concat());
        publisher.publish("client_limits/size", qos, &fits);
        let received = client.next();
        assert_eq!(received.bytes().len(), MAXIMUM as usize);
        client.expect_nothing();
        client.disconnect();
    }
}

/// [MQTT-3.1.2-24]
fn no_connack_larger_than_the_maximum_is_sent(stage: &Stage) {
    for size in 1..40 {
        let client = stage.try_connect("a", |connect| {
            connect.properties.maximum_packet_size = NonZeroU32::new(size);
        });
        // Too large a packet fails by itself; being refused for the size is what a broker may do.
        if let Some(connack) = client.drain().first() {
            assert!(connack.bytes().len() <= size as usize);
        }
    }
}

/// [MQTT-3.1.2-25]
fn a_message_that_is_too_large_for_one_client_goes_to_others(stage: &Stage) {
    let client = limited(stage, "client_limits/others", 1, |_| ());
    let other = stage.connect("other", |_| ());
    other.subscribe("client_limits/others", 1);
    let publisher = stage.connect("b", |_| ());
    publisher.publish("client_limits/others", 1, vec![b'x'; 300]);
    assert_eq!(next_publish(&other, |publish| publish.payload.len()), 300);
    client.expect_nothing();
}

/// It counts as delivered: the next one needs no acknowledgement of it. [MQTT-3.1.2-25]
fn a_message_that_is_too_large_takes_no_place(stage: &Stage) {
    let client = limited(stage, "client_limits/place", 2, |connect| {
        connect.properties.receive_maximum = NonZeroU16::new(1);
    });
    let publisher = stage.connect("b", |_| ());
    for qos in [1, 2, 1] {
        publisher.publish("client_limits/place", qos, vec![b'x'; 300]);
    }
    publisher.publish("client_limits/place", 1, "small");
    let id = message(&client, "client_limits/place=small");
    publisher.publish("client_limits/place", 2, vec![b'x'; 300]);
    publisher.publish("client_limits/place", 1, "next");
    client.ack(PacketType::PubAck, id);
    message(&client, "client_limits/place=next");
}

/// [MQTT-3.1.2-25]
fn a_message_that_is_too_large_is_gone_for_good(stage: &Stage) {
    let client = limited(stage, "client_limits/gone", 1, persistent);
    stage.connect("b", |_| ()).publish("client_limits/gone", 1, vec![b'x'; 300]);
    client.expect_nothing();
    client.drop_link();
    // Now it could take it.
    stage.connect("a", persistent).expect_nothing();
}

/// [MQTT-3.1.2-26]
fn no_topic_alias_above_the_maximum_is_used(stage: &Stage) {
    let aliases = aliases_used(stage, Some(2));
    assert!(aliases.iter().flatten().all(|&alias| alias == 1 || alias == 2), "{aliases:?}");
}

/// [MQTT-3.1.2-27]
fn without_topic_alias_maximum_no_alias_is_used(stage: &Stage) {
    for maximum in [None, Some(0)] {
        let aliases = aliases_used(stage, maximum);
        assert!(aliases.iter().all(Option::is_none), "{aliases:?}");
    }
}

/// The aliases of messages under several topics, each several times.
fn aliases_used(stage: &Stage, maximum: Option<u16>) -> Vec<Option<u16>> {
    let client = stage.connect("a", |connect| connect.properties.topic_alias_maximum = maximum);
    client.subscribe("client_limits/alias/+", 0);
    let publisher = stage.connect("b", |_| ());
    let topics = (0..5).map(|number| format!("client_limits/alias/{number}"));
    let topics: Vec<_> = topics.cycle().take(20).collect();
    for topic in &topics {
        publisher.publish(topic, 0, "x");
    }
    let look = |_| next_publish(&client, |publish| publish.topic_alias.map(NonZeroU16::get));
    let aliases = topics.iter().map(look).collect();
    client.disconnect();
    aliases
}

/// [MQTT-3.1.2-28]
fn response_information_is_not_returned_unasked(stage: &Stage) {
    for asked in [None, Some(false)] {
        let client = stage.try_connect("a", |connect| {
            connect.properties.request_response_information = asked;
        });
        let connack = client.accepted();
        assert_eq!(announced(&client, &connack).response_information, None);
    }
}

/// [MQTT-3.1.2-29]
fn without_problem_information_acknowledgements_have_none(stage: &Stage) {
    let client = stage.connect("a", |connect| {
        connect.properties.request_problem_information = Some(false);
    });
    everything_without_problem(&client);
}

/// Wildcards are refused, and so are retained messages. [MQTT-3.1.2-29]
fn without_problem_information_failures_have_none(stage: &Stage) {
    let client = stage.connect("a", |connect| {
        connect.properties.request_problem_information = Some(false);
    });
    everything_without_problem(&client);
}

/// Sends what is answered, and looks at each answer.
fn everything_without_problem(client: &Client) {
    let options = SubscriptionOptions::default();
    let filters =
        [("client_limits/problem", options), ("client_limits/problem/#", options), ("$share/a/+/x", options)];
    client.start_subscribe(&filters, None);
    for qos in [1, 2] {
        let id = client.start("client_limits/other", qos, "x", |publish| publish.retain = true);
        // For messages that are not there.
        client.ack(PacketType::PubRel, id + 100);
    }
    client.start_unsubscribe(&["client_limits/problem", "client_limits/never"]);
    let answers = client.drain();
    assert!(answers.len() >= 6, "{answers:?}");
    for received in answers {
        let (reason, users) = match received.packet() {
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => {
                (ack.reason_string.map(str::to_owned), ack.user_properties.iter().count())
            }
            Packet::SubAck(ack) => (ack.reason_string.map(str::to_owned), ack.user_properties.iter().count()),
            Packet::UnsubAck(ack) => {
                (ack.reason_string.map(str::to_owned), ack.user_properties.iter().count())
            }
            _ => panic!("{}", received.text()),
        };
        assert_eq!((reason, users), (None, 0), "{}", received.text());
    }
}

/// A client that names a method is asked once more. Others are welcome.
fn one_more_question(request: &AuthRequest) -> Verdict {
    if request.method.is_some() && request.stage == AuthStage::Connect {
        Verdict::Continue { data: b"more"[..].into() }
    } else {
        Verdict::accept()
    }
}

/// [MQTT-3.1.2-30]
fn nothing_but_auth_is_taken_while_a_client_authenticates(stage: &Stage) {
    let watcher = stage.connect("watcher", |_| ());
    watcher.subscribe("client_limits/auth", 0);
    for bytes in [
        raw::publish(V5, 0, b"client_limits/auth", None, b"x"),
        raw::publish(V5, 2, b"client_limits/auth", Some(1), b"x"),
        raw::subscribe(V5, 0x82, 1, b"client_limits/auth", 0),
        raw::unsubscribe(V5, 0xa2, 1, b"client_limits/auth"),
        vec![0xc0, 0],
        vec![0x62, 2, 0, 1],
    ] {
        let client = asked(stage);
        client.send_bytes(&bytes);
        refused(&client, &[0x80, 0x82]);
        watcher.expect_nothing();
    }
    let client = asked(stage);
    client.auth(ReasonCode::ContinueAuthentication, Some("m"), Some(b"answer"));
    client.accepted();
}

/// [MQTT-3.1.2-30]
fn disconnect_ends_an_authentication(stage: &Stage) {
    let client = asked(stage);
    client.disconnect_with(ReasonCode::Success, None);
    client.expect_closed();
}

/// A client that was asked for more.
#[track_caller]
fn asked(stage: &Stage) -> Client {
    let client = stage.try_connect("a", |connect| connect.properties.authentication_method = Some("m"));
    client.expect("AUTH 18 m more");
    client
}

fn refuse_at_length(_: &AuthRequest) -> Verdict {
    Verdict::Reject { reason: ReasonCode::NotAuthorized, text: "no ".repeat(30).into() }
}

/// A reason string is left out where there is no room for it, and so would user properties be.
/// [MQTT-3.2.2-19] [MQTT-3.2.2-20]
fn texts_never_make_connack_too_large(stage: &Stage) {
    for size in [10, 50, 90, 1000] {
        let client = stage.try_connect("a", |connect| {
            connect.properties.maximum_packet_size = NonZeroU32::new(size);
        });
        let said = client.until_closed();
        let [connack] = &said[..] else { panic!("{said:?}") };
        assert_eq!(connack.bytes()[3], 0x87);
        assert!(connack.bytes().len() <= size as usize, "{connack:?}");
    }
}

/// The largest packet that [`limited`] takes.
const MAXIMUM: u32 = 200;

/// Client "a", that takes no packets larger than [`MAXIMUM`], subscribed.
#[track_caller]
fn limited(
    stage: &Stage,
    topic: &str,
    qos: u8,
    adjust: impl FnOnce(&mut columba_testkit::codec::Connect<'_>),
) -> Client {
    let client = stage.connect("a", |connect| {
        adjust(connect);
        connect.properties.maximum_packet_size = NonZeroU32::new(MAXIMUM);
    });
    client.subscribe(topic, qos);
    client
}
