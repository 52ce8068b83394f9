//! SUBSCRIBE and SUBACK.

use columba_testkit::codec::PacketType;
use columba_testkit::columba::RetainHandling;
use columba_testkit::{Version, persistent};

use crate::stage::{Group, Stage, tests};
use crate::steps::{
    EITHER_ERROR, MALFORMED, PROTOCOL_ERROR, at, codes_of, delivered, ends_over, lasting, own, raw_subscribe,
};

pub(crate) const TESTS: &[Group] = &[
    tests!(NUMBERED =>
        a_subscribe_with_other_header_flags_ends_the_connection,
        a_filter_that_is_no_text_ends_the_connection,
        a_subscribe_without_any_filter_ends_the_connection,
        reserved_bits_beside_a_filter_end_the_connection,
        subscribing_again_brings_retained_messages_again,
    ),
    tests!(ALL =>
        qos_3_beside_a_filter_ends_the_connection,
        a_subscribe_is_answered_with_its_packet_identifier,
        subscribing_again_replaces_the_qos,
        subscribing_again_adds_no_second_subscription,
        subscribing_again_loses_no_message,
        several_filters_in_one_packet_work_like_several_packets,
        the_same_filter_twice_in_one_packet_counts_as_it_came_last,
        suback_has_a_code_for_each_filter,
        the_codes_of_suback_are_in_the_order_of_the_filters,
        suback_carries_only_codes_of_subscriptions,
        a_message_comes_at_the_lower_qos,
        a_retained_message_comes_at_the_lower_qos,
        a_subscription_takes_what_it_was_granted,
    ),
    tests!(ONLY_3_1_1 => a_filter_with_wildcards_works_or_is_refused),
    tests!(NUMBERED, |config| config.wildcard_subscriptions = false =>
        filters_with_wildcards_are_refused_where_there_are_none,
        a_refused_filter_leaves_the_others_alone,
    ),
    tests!(ONLY_5 =>
        no_local_keeps_a_clients_own_messages_away,
        no_local_goes_by_the_client_and_not_the_connection,
        without_no_local_a_client_hears_itself,
        no_local_on_a_shared_subscription_ends_the_connection,
        retain_handling_3_ends_the_connection,
        subscribing_again_replaces_the_identifier,
        subscribing_again_replaces_no_local,
        subscribing_again_replaces_retain_as_published,
        retained_messages_come_again_with_retain_handling_0,
        suback_fits_the_maximum_packet_size,
    ),
    tests!(ONLY_5, |config| config.shared_subscriptions = false => a_suback_of_failure_fits_the_maximum_packet_size),
];

/// [MQTT-3.8.1-1] [MQTT-3.8.1-1 of 3.1.1]
fn a_subscribe_with_other_header_flags_ends_the_connection(stage: &Stage) {
    for first in [0x80, 0x81, 0x83, 0x86, 0x8a] {
        ends_over(stage, &raw_subscribe(stage, first, 1, &[(b"subscribe/flags", 0)]), MALFORMED);
    }
}

/// [MQTT-3.8.3-1] [MQTT-3.8.3-1 of 3.1.1]
fn a_filter_that_is_no_text_ends_the_connection(stage: &Stage) {
    // No UTF-8 at all, half a character, a surrogate, a slash in two bytes.
    for filter in [&b"subscribe/\xff"[..], b"subscribe/\xc3", b"subscribe/\xed\xa0\x80", b"subscribe\xc0\xaf"]
    {
        ends_over(stage, &raw_subscribe(stage, 0x82, 1, &[(filter, 0)]), MALFORMED);
    }
}

/// [MQTT-3.8.3-2] [MQTT-3.8.3-3 of 3.1.1]
fn a_subscribe_without_any_filter_ends_the_connection(stage: &Stage) {
    ends_over(stage, &raw_subscribe(stage, 0x82, 1, &[]), EITHER_ERROR);
}

/// [MQTT-3.8.3-5] [MQTT-3.8.3-4 of 3.1.1]
fn reserved_bits_beside_a_filter_end_the_connection(stage: &Stage) {
    let reserved: &[u8] = if stage.is_v5() { &[0x40, 0x80] } else { &[0x04, 0x08, 0x10, 0x20, 0x40, 0x80] };
    for bit in reserved {
        for qos in 0..3 {
            ends_over(stage, &raw_subscribe(stage, 0x82, 1, &[(b"subscribe/bits", bit | qos)]), MALFORMED);
        }
    }
}

/// [MQTT-3.8.4-4] [MQTT-3.8.4-3 of 3.1.1]
fn subscribing_again_brings_retained_messages_again(stage: &Stage) {
    stage.connect("publisher", |_| ()).retain("subscribe/retained/again", 1, "x");
    let client = stage.connect("subscriber", |_| ());
    for qos in [1, 0, 0] {
        client.subscribe("subscribe/retained/again", qos);
        let wanted =
            ["PUBLISH subscribe/retained/again=x retain", "PUBLISH subscribe/retained/again=x q1 #n retain"];
        let id = delivered(&client, wanted[usize::from(qos)]);
        if id > 0 {
            client.ack(PacketType::PubAck, id);
        }
        client.expect_nothing();
    }
}

/// [MQTT-4.13.1-1] [MQTT-3.8.3-4 of 3.1.1]
fn qos_3_beside_a_filter_ends_the_connection(stage: &Stage) {
    ends_over(stage, &raw_subscribe(stage, 0x82, 1, &[(b"subscribe/qos", 3)]), EITHER_ERROR);
}

/// [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-1 of 3.1.1] [MQTT-3.8.4-2 of 3.1.1]
fn a_subscribe_is_answered_with_its_packet_identifier(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    for id in [1, 255, 256, 0x1234, 65_535, 1] {
        client.send_bytes(&raw_subscribe(stage, 0x82, id, &[(b"subscribe/id", 0)]));
        client.expect(&format!("SUBACK #{id} 00"));
    }
    client.expect_nothing();
}

/// [MQTT-3.8.4-3] [MQTT-3.8.4-3 of 3.1.1]
fn subscribing_again_replaces_the_qos(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    let publisher = stage.connect("publisher", |_| ());
    for (qos, wanted) in [(2, "PUBLISH subscribe/qos=x q2 #n"), (0, "PUBLISH subscribe/qos=x")] {
        client.subscribe("subscribe/qos", qos);
        publisher.publish("subscribe/qos", 2, "x");
        delivered(&client, wanted);
        client.expect_nothing();
    }
    client.subscribe("subscribe/qos", 1);
    publisher.publish("subscribe/qos", 2, "x");
    delivered(&client, "PUBLISH subscribe/qos=x q1 #n");
}

/// [MQTT-3.8.4-3] [MQTT-3.8.4-3 of 3.1.1]
fn subscribing_again_adds_no_second_subscription(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    let publisher = stage.connect("publisher", |_| ());
    for qos in [0, 1, 0] {
        client.subscribe("subscribe/+/twice", qos);
    }
    publisher.publish("subscribe/x/twice", 1, "one");
    client.expect_all(&["PUBLISH subscribe/x/twice=one"]);
    client.unsubscribe(&["subscribe/+/twice"]);
    publisher.publish("subscribe/x/twice", 1, "none");
    client.expect_nothing();
}

/// [MQTT-3.8.4-4] [MQTT-3.8.4-3 of 3.1.1]
fn subscribing_again_loses_no_message(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    client.subscribe("subscribe/flow", 1);
    let publisher = stage.connect("publisher", |_| ());
    let mut wanted = Vec::new();
    let mut requests = Vec::new();
    for number in 0..10 {
        requests.push(client.start_subscribe(&[("subscribe/flow", at(1))], None));
        publisher.publish("subscribe/flow", 1, number.to_string());
        wanted.push(format!("subscribe/flow={number}"));
    }
    for id in requests {
        client.take(&format!("SUBACK #{id} 01"));
    }
    let messages = client.messages();
    client.check(messages == wanted, || format!("{messages:?}"));
}

/// [MQTT-3.8.4-5] [MQTT-3.8.4-4 of 3.1.1]
fn several_filters_in_one_packet_work_like_several_packets(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    let filters = ["subscribe/several/0", "subscribe/several/1", "subscribe/several/2"];
    let id = client.start_subscribe(&[(filters[0], at(0)), (filters[1], at(1)), (filters[2], at(2))], None);
    client.expect_all(&[format!("SUBACK #{id} 00 01 02")]);
    let publisher = stage.connect("publisher", |_| ());
    for topic in filters {
        publisher.publish(topic, 2, "x");
    }
    delivered(&client, "PUBLISH subscribe/several/0=x");
    delivered(&client, "PUBLISH subscribe/several/1=x q1 #n");
    delivered(&client, "PUBLISH subscribe/several/2=x q2 #n");
    client.expect_nothing();
}

/// [MQTT-3.8.4-5] [MQTT-3.8.4-4 of 3.1.1]
fn the_same_filter_twice_in_one_packet_counts_as_it_came_last(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    let granted = client.ask(&[("subscribe/same", at(2)), ("subscribe/same", at(0))], None);
    client.check(granted == [2, 0], || format!("{granted:?}"));
    stage.connect("publisher", |_| ()).publish("subscribe/same", 2, "x");
    client.expect_all(&["PUBLISH subscribe/same=x"]);
}

/// [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.8.4-5 of 3.1.1]
fn suback_has_a_code_for_each_filter(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    for count in [1, 2, 50, 200] {
        let filters: Vec<_> = (0..count).map(|number| format!("subscribe/count/{number}")).collect();
        let asked: Vec<_> = filters.iter().map(|filter| (filter.as_str(), at(1))).collect();
        let granted = client.ask(&asked, None);
        client.check(granted.len() == count, || format!("{count} filters: {granted:?}"));
        client.check(granted.iter().all(|&code| code <= 1 || code >= 0x80), || format!("{granted:?}"));
    }
}

/// What each code promises is what its filter brings. [MQTT-3.9.3-1] [MQTT-3.9.3-1 of 3.1.1]
fn the_codes_of_suback_are_in_the_order_of_the_filters(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    // Neither sorted nor regular, so that no other order has the same codes.
    let asked = [2, 0, 1, 1, 0, 2, 2, 1, 0, 0, 0, 2, 1];
    let filters: Vec<_> =
        (0..asked.len()).map(|number| format!("subscribe/order/{}", number * 7 % 13)).collect();
    let pairs: Vec<_> = filters.iter().zip(asked).map(|(filter, qos)| (filter.as_str(), at(qos))).collect();
    let granted = client.ask(&pairs, None);
    client.check(granted == asked, || format!("{granted:?}"));
    let publisher = stage.connect("publisher", |_| ());
    for (filter, code) in filters.iter().zip(granted) {
        publisher.publish(filter, 2, "x");
        delivered(
            &client,
            &match code {
                0 => format!("PUBLISH {filter}=x"),
                _ => format!("PUBLISH {filter}=x q{code} #n"),
            },
        );
    }
}

/// [MQTT-3.9.3-2] [MQTT-3.9.3-2 of 3.1.1] [MQTT-3.8.4-7]
fn suback_carries_only_codes_of_subscriptions(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    // Among them what a broker may want to refuse.
    let filters = ["$SYS/#", "#", "$share/subscribe/codes", "$secret/+", "/"];
    let known: &[u8] = match stage.version {
        Version::V5 => &[0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
        Version::V3_1_1 => &[0, 1, 2, 0x80],
        Version::V3_1 => &[0, 1, 2],
    };
    for filter in filters {
        let id = client.start_subscribe(&[(filter, at(2))], None);
        let codes = codes_of(&client.take_first(&format!("SUBACK #{id}")));
        client.check(codes.iter().all(|code| known.contains(code)), || format!("{filter}: {codes:02x?}"));
    }
}

/// [MQTT-3.8.4-8] [MQTT-3.8.4-6 of 3.1.1]
fn a_message_comes_at_the_lower_qos(stage: &Stage) {
    let publisher = stage.connect("publisher", |_| ());
    for granted in 0..3 {
        let client = stage.connect("subscriber", |_| ());
        client.subscribe("subscribe/lower", granted);
        for published in 0..3 {
            publisher.publish("subscribe/lower", published, "x");
            delivered(
                &client,
                match granted.min(published) {
                    0 => "PUBLISH subscribe/lower=x",
                    1 => "PUBLISH subscribe/lower=x q1 #n",
                    _ => "PUBLISH subscribe/lower=x q2 #n",
                },
            );
            // At QoS 0, 3.1.1 allows copies of what was published at QoS 1.
            if stage.is_v5() || granted.min(published) > 0 {
                client.expect_nothing();
            } else {
                let rest = client.drain();
                client.check(rest.iter().all(|copy| copy.text() == "PUBLISH subscribe/lower=x"), || {
                    format!("{rest:?}")
                });
            }
        }
    }
}

/// [MQTT-3.8.4-8] [MQTT-3.8.4-6 of 3.1.1]
fn a_retained_message_comes_at_the_lower_qos(stage: &Stage) {
    let publisher = stage.connect("publisher", |_| ());
    for published in 0..3 {
        publisher.retain("subscribe/lower/retained", published, "x");
        for granted in 0..3 {
            let client = stage.connect("subscriber", |_| ());
            client.subscribe("subscribe/lower/retained", granted);
            delivered(
                &client,
                match granted.min(published) {
                    0 => "PUBLISH subscribe/lower/retained=x retain",
                    1 => "PUBLISH subscribe/lower/retained=x q1 #n retain",
                    _ => "PUBLISH subscribe/lower/retained=x q2 #n retain",
                },
            );
        }
    }
}

/// What SUBACK grants holds for messages that wait, too. [MQTT-3.8.4-7] [MQTT-3.8.4-8] [MQTT-3.8.4-5 of 3.1.1]
fn a_subscription_takes_what_it_was_granted(stage: &Stage) {
    let client = lasting(stage, "granted");
    client.subscribe("subscribe/granted", 1);
    client.drop_link();
    stage.connect("publisher", |_| ()).publish("subscribe/granted", 2, "x");
    let client = stage.connect("granted", persistent);
    delivered(&client, "PUBLISH subscribe/granted=x q1 #n");
}

/// [MQTT-3.8.3-2 of 3.1.1]
fn a_filter_with_wildcards_works_or_is_refused(stage: &Stage) {
    for filter in ["subscribe/wild/+", "subscribe/wild/#"] {
        let client = stage.connect("subscriber", |_| ());
        let code = client.ask(&[(filter, at(0))], None);
        stage.connect("publisher", |_| ()).publish("subscribe/wild/x", 0, "x");
        match code[..] {
            [0] => client.expect_all(&["PUBLISH subscribe/wild/x=x"]),
            [0x80] => client.expect_nothing(),
            _ => client.fail(&format!("{code:02x?}")),
        }
    }
}

/// [MQTT-3.8.3-2 of 3.1.1] [MQTT-3.8.4-7]
fn filters_with_wildcards_are_refused_where_there_are_none(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    let code = if stage.is_v5() { 0xa2 } else { 0x80 };
    let filters =
        ["#", "+", "subscribe/none/+", "subscribe/none/#", "+/none/x"].map(|filter| (filter, at(0)));
    let codes = client.ask(&filters, None);
    client.check(codes == [code; 5], || format!("{codes:02x?}"));
    stage.connect("publisher", |_| ()).publish("subscribe/none/x", 0, "x");
    client.expect_nothing();
}

/// [MQTT-3.8.4-6] [MQTT-3.9.3-1] [MQTT-3.8.4-5 of 3.1.1] [MQTT-3.9.3-1 of 3.1.1]
fn a_refused_filter_leaves_the_others_alone(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    let filters = [("subscribe/a", at(1)), ("subscribe/+", at(1)), ("subscribe/b", at(0)), ("#", at(2))];
    let codes = client.ask(&filters, None);
    let code = if stage.is_v5() { 0xa2 } else { 0x80 };
    client.check(codes == [1, code, 0, code], || format!("{codes:02x?}"));
    let publisher = stage.connect("publisher", |_| ());
    for topic in ["subscribe/a", "subscribe/b", "subscribe/c"] {
        publisher.publish(topic, 1, "x");
    }
    delivered(&client, "PUBLISH subscribe/a=x q1 #n");
    client.expect_all(&["PUBLISH subscribe/b=x"]);
}

/// [MQTT-3.8.3-3]
fn no_local_keeps_a_clients_own_messages_away(stage: &Stage) {
    let client = stage.connect("own", |_| ());
    client.subscribe_with("subscribe/local/+", 2, None, |options| options.no_local = true);
    for qos in 0..3 {
        client.publish("subscribe/local/x", qos, "own");
    }
    client.expect_nothing();
    stage.connect("other", |_| ()).publish("subscribe/local/x", 0, "other");
    client.expect_all(&["PUBLISH subscribe/local/x=other"]);
}

/// [MQTT-3.8.3-3]
fn no_local_goes_by_the_client_and_not_the_connection(stage: &Stage) {
    let client = lasting(stage, "own");
    client.subscribe_with("subscribe/local/again", 1, None, |options| options.no_local = true);
    client.drop_link();
    let client = stage.connect("own", persistent);
    client.publish("subscribe/local/again", 1, "own");
    client.expect_nothing();
}

/// [MQTT-3.8.3-3] only holds back what it is asked to.
fn without_no_local_a_client_hears_itself(stage: &Stage) {
    let client = stage.connect("own", |_| ());
    client.subscribe("subscribe/self", 0);
    client.publish("subscribe/self", 0, "own");
    client.expect_all(&["PUBLISH subscribe/self=own"]);
}

/// [MQTT-3.8.3-4] [MQTT-4.13.1-1]
fn no_local_on_a_shared_subscription_ends_the_connection(stage: &Stage) {
    ends_over(stage, &raw_subscribe(stage, 0x82, 1, &[(b"$share/subscribe/local", 0x04)]), PROTOCOL_ERROR);
}

/// [MQTT-4.13.1-1]
fn retain_handling_3_ends_the_connection(stage: &Stage) {
    ends_over(stage, &raw_subscribe(stage, 0x82, 1, &[(b"subscribe/handling", 0x30)]), EITHER_ERROR);
}

/// [MQTT-3.8.4-3]
fn subscribing_again_replaces_the_identifier(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    for (id, wanted) in [(Some(3), " ids=3"), (Some(4), " ids=4"), (None, "")] {
        client.subscribe_with("subscribe/identifier", 0, id, |_| ());
        client.publish("subscribe/identifier", 0, "x");
        client.expect_all(&[format!("PUBLISH subscribe/identifier=x{wanted}")]);
    }
}

/// [MQTT-3.8.4-3]
fn subscribing_again_replaces_no_local(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    for no_local in [true, false, true] {
        client.subscribe_with("subscribe/options", 0, None, |options| options.no_local = no_local);
        client.publish("subscribe/options", 0, "own");
        if !no_local {
            client.expect("PUBLISH subscribe/options=own");
        }
        client.expect_nothing();
    }
}

/// [MQTT-3.8.4-3]
fn subscribing_again_replaces_retain_as_published(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    let publisher = stage.connect("publisher", |_| ());
    publisher.retain("subscribe/published", 0, "");
    for as_published in [false, true, false] {
        client.subscribe_with("subscribe/published", 0, None, |options| {
            options.retain_as_published = as_published;
            options.retain_handling = RetainHandling::DoNotSend;
        });
        publisher.retain("subscribe/published", 0, "x");
        let retain = if as_published { " retain" } else { "" };
        client.expect_all(&[format!("PUBLISH subscribe/published=x{retain}")]);
    }
}

/// [MQTT-3.8.4-4]
fn retained_messages_come_again_with_retain_handling_0(stage: &Stage) {
    use RetainHandling::{DoNotSend, Send, SendIfNew};
    stage.connect("publisher", |_| ()).retain(&own(stage, "subscribe/handling"), 0, "x");
    let client = stage.connect("subscriber", |_| ());
    for (handling, comes) in [(DoNotSend, false), (Send, true), (SendIfNew, false), (Send, true)] {
        client.subscribe_with("subscribe/handling/+", 0, None, |options| options.retain_handling = handling);
        if comes {
            client.expect("PUBLISH subscribe/handling/V5=x retain");
        }
        client.expect_nothing();
    }
}

/// At the maximum there is room for the codes and for nothing else. [MQTT-3.9.2-1] [MQTT-3.9.2-2]
fn suback_fits_the_maximum_packet_size(stage: &Stage) {
    suback_fits(stage, b"subscribe/size", &[0]);
}

/// The same where a broker would like to say why. [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.9.3-2]
fn a_suback_of_failure_fits_the_maximum_packet_size(stage: &Stage) {
    suback_fits(stage, b"$share/subscribe/size", &[0x80, 0x83, 0x87, 0x8f, 0x97, 0x9e]);
}

fn suback_fits(stage: &Stage, filter: &[u8], codes: &[u8]) {
    let maximum = crate::steps::least_packet_size(stage);
    let client = stage.connect("small", |connect| connect.properties.maximum_packet_size = Some(maximum));
    // First byte, length, packet identifier, property length, codes.
    let count = maximum.get() as usize - 5;
    client.send_bytes(&raw_subscribe(stage, 0x82, 9, &vec![(filter, 0); count]));
    let received = client.next();
    client.check(received.bytes().len() <= maximum.get() as usize, || format!("{:02x?}", received.bytes()));
    let found = codes_of(&received);
    client.check(found.len() == count && found.iter().all(|code| codes.contains(code)), || {
        format!("{found:02x?}")
    });
}
