//! UNSUBSCRIBE and UNSUBACK.

use columba_testkit::codec::PacketType::{PubAck, PubComp, PubRec};
use columba_testkit::persistent;

use crate::stage::{Group, Stage, tests};
use crate::steps::{
    EITHER_ERROR, MALFORMED, at, codes_of, delivered, ends_over, lasting, least_packet_size, raw_unsubscribe,
};

pub(crate) const TESTS: &[Group] = &[
    tests!(NUMBERED =>
        an_unsubscribe_with_other_header_flags_ends_the_connection,
        a_filter_that_is_no_text_ends_the_connection,
        an_unsubscribe_without_any_filter_ends_the_connection,
    ),
    tests!(ALL =>
        an_unsubscribe_is_answered_with_its_packet_identifier,
        an_unsubscribe_that_deletes_nothing_is_answered,
        unsubscribe_ends_the_subscription_with_exactly_its_filter,
        unsubscribe_ends_no_subscription_with_another_filter,
        after_unsubscribe_no_new_message_comes,
        after_unsubscribe_no_new_message_waits_for_a_client_that_is_away,
        a_message_at_qos_1_under_way_is_completed_after_unsubscribe,
        a_message_at_qos_2_under_way_is_completed_after_unsubscribe,
        several_filters_in_one_packet_work_like_several_packets,
    ),
    tests!(ONLY_5 =>
        the_codes_of_unsuback_are_in_the_order_of_the_filters,
        unsuback_fits_the_maximum_packet_size,
    ),
];

/// [MQTT-3.10.1-1] [MQTT-3.10.1-1 of 3.1.1]
fn an_unsubscribe_with_other_header_flags_ends_the_connection(stage: &Stage) {
    for first in [0xa0, 0xa1, 0xa3, 0xa6, 0xaa] {
        ends_over(stage, &raw_unsubscribe(stage, first, 1, &[b"unsubscribe/flags"]), MALFORMED);
    }
}

/// [MQTT-3.10.3-1] [MQTT-3.10.3-1 of 3.1.1]
fn a_filter_that_is_no_text_ends_the_connection(stage: &Stage) {
    for filter in
        [&b"unsubscribe/\xff"[..], b"unsubscribe/\xc3", b"unsubscribe/\xed\xa0\x80", b"unsubscribe\xc0\xaf"]
    {
        ends_over(stage, &raw_unsubscribe(stage, 0xa2, 1, &[filter]), MALFORMED);
    }
}

/// [MQTT-3.10.3-2] [MQTT-3.10.3-2 of 3.1.1]
fn an_unsubscribe_without_any_filter_ends_the_connection(stage: &Stage) {
    ends_over(stage, &raw_unsubscribe(stage, 0xa2, 1, &[]), EITHER_ERROR);
}

/// [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-4 of 3.1.1]
fn an_unsubscribe_is_answered_with_its_packet_identifier(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    for id in [1, 255, 256, 0x1234, 65_535, 1] {
        client.subscribe("unsubscribe/id", 0);
        client.send_bytes(&raw_unsubscribe(stage, 0xa2, id, &[b"unsubscribe/id"]));
        let code = if stage.is_v5() { " 00" } else { "" };
        client.expect_all(&[format!("UNSUBACK #{id}{code}")]);
    }
}

/// [MQTT-3.10.4-5] [MQTT-3.11.3-2] [MQTT-3.10.4-5 of 3.1.1]
fn an_unsubscribe_that_deletes_nothing_is_answered(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    client.send_bytes(&raw_unsubscribe(stage, 0xa2, 77, &[b"unsubscribe/never"]));
    client.expect_all(&[if stage.is_v5() { "UNSUBACK #77 11" } else { "UNSUBACK #77" }]);
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-1 of 3.1.1]
fn unsubscribe_ends_the_subscription_with_exactly_its_filter(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    let publisher = stage.connect("publisher", |_| ());
    for filter in ["unsubscribe/exact", "unsubscribe/+", "unsubscribe/#", "+/exact", "unsubscribe/exact/#"] {
        client.subscribe(filter, 0);
        publisher.publish("unsubscribe/exact", 0, "with");
        client.expect_all(&["PUBLISH unsubscribe/exact=with"]);
        client.unsubscribe(&[filter]);
        publisher.publish("unsubscribe/exact", 0, "without");
        client.expect_nothing();
    }
}

/// Filters are compared as text: not matched against each other, not tidied. [MQTT-3.10.4-1] [MQTT-3.10.4-1 of 3.1.1]
fn unsubscribe_ends_no_subscription_with_another_filter(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    client.subscribe("unsubscribe/kept/+", 0);
    for filter in [
        "#",
        "unsubscribe/#",
        "unsubscribe/kept/#",
        "unsubscribe/kept/x",
        "unsubscribe/+/+",
        "Unsubscribe/kept/+",
        "unsubscribe/kept/+/",
        "/unsubscribe/kept/+",
        "unsubscribe//kept/+",
    ] {
        client.unsubscribe(&[filter]);
    }
    stage.connect("publisher", |_| ()).publish("unsubscribe/kept/x", 0, "x");
    client.expect_all(&["PUBLISH unsubscribe/kept/x=x"]);
}

/// [MQTT-3.10.4-2] [MQTT-3.10.4-2 of 3.1.1]
fn after_unsubscribe_no_new_message_comes(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    client.subscribe("unsubscribe/new/+", 2);
    client.subscribe("unsubscribe/other", 0);
    client.unsubscribe(&["unsubscribe/new/+"]);
    let publisher = stage.connect("publisher", |_| ());
    for qos in 0..3 {
        publisher.publish("unsubscribe/new/x", qos, "x");
    }
    publisher.publish("unsubscribe/other", 0, "x");
    client.expect_all(&["PUBLISH unsubscribe/other=x"]);
}

/// [MQTT-3.10.4-2] [MQTT-3.10.4-2 of 3.1.1]
fn after_unsubscribe_no_new_message_waits_for_a_client_that_is_away(stage: &Stage) {
    let client = lasting(stage, "away");
    client.subscribe("unsubscribe/away", 2);
    client.unsubscribe(&["unsubscribe/away"]);
    client.drop_link();
    let publisher = stage.connect("publisher", |_| ());
    publisher.publish("unsubscribe/away", 1, "x");
    publisher.publish("unsubscribe/away", 2, "x");
    stage.connect("away", persistent).expect_nothing();
}

/// [MQTT-3.10.4-3] [MQTT-3.10.4-3 of 3.1.1]
fn a_message_at_qos_1_under_way_is_completed_after_unsubscribe(stage: &Stage) {
    let client = lasting(stage, "underway1");
    client.subscribe("unsubscribe/underway/1", 1);
    stage.connect("publisher", |_| ()).publish("unsubscribe/underway/1", 1, "x");
    let id = delivered(&client, "PUBLISH unsubscribe/underway/1=x q1 #n");
    client.unsubscribe(&["unsubscribe/underway/1"]);
    client.drop_link();
    let client = stage.connect("underway1", persistent);
    client.expect_all(&[format!("PUBLISH unsubscribe/underway/1=x q1 #{id} dup")]);
    client.ack(PubAck, id);
    client.drop_link();
    stage.connect("underway1", persistent).expect_nothing();
}

/// [MQTT-3.10.4-3] [MQTT-3.10.4-3 of 3.1.1]
fn a_message_at_qos_2_under_way_is_completed_after_unsubscribe(stage: &Stage) {
    let client = lasting(stage, "underway2");
    client.subscribe("unsubscribe/underway/2", 2);
    let publisher = stage.connect("publisher", |_| ());
    publisher.publish("unsubscribe/underway/2", 2, "first");
    publisher.publish("unsubscribe/underway/2", 2, "second");
    let first = delivered(&client, "PUBLISH unsubscribe/underway/2=first q2 #n");
    let second = delivered(&client, "PUBLISH unsubscribe/underway/2=second q2 #n");
    client.unsubscribe(&["unsubscribe/underway/2"]);
    client.ack(PubRec, first);
    client.expect(&format!("PUBREL #{first}"));
    client.ack(PubComp, first);
    client.expect_nothing();
    client.drop_link();
    let client = stage.connect("underway2", persistent);
    client.expect_all(&[format!("PUBLISH unsubscribe/underway/2=second q2 #{second} dup")]);
}

/// [MQTT-3.10.4-6] [MQTT-3.10.4-6 of 3.1.1]
fn several_filters_in_one_packet_work_like_several_packets(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    let filters = ["unsubscribe/several/+", "unsubscribe/several/a", "unsubscribe/b", "unsubscribe/c"];
    client.ask(&filters.map(|filter| (filter, at(0))), None);
    let id = client.start_unsubscribe(&[filters[0], "unsubscribe/nothing", filters[1], filters[2]]);
    client.expect_all(&[if stage.is_v5() {
        format!("UNSUBACK #{id} 00 11 00 00")
    } else {
        format!("UNSUBACK #{id}")
    }]);
    let publisher = stage.connect("publisher", |_| ());
    for topic in ["unsubscribe/several/a", "unsubscribe/b", "unsubscribe/c"] {
        publisher.publish(topic, 0, "x");
    }
    client.expect_all(&["PUBLISH unsubscribe/c=x"]);
}

/// [MQTT-3.11.3-1] [MQTT-3.11.3-2]
fn the_codes_of_unsuback_are_in_the_order_of_the_filters(stage: &Stage) {
    let client = stage.connect("subscriber", |_| ());
    client.ask(&["a", "c", "d"].map(|filter| (filter, at(0))), None);
    let codes = client.unsubscribe(&["x", "a", "b", "c", "c", "y", "d"]);
    client.check(codes == [0x11, 0, 0x11, 0, 0x11, 0x11, 0], || format!("{codes:02x?}"));
}

/// At the maximum there is room for the codes and for nothing else. [MQTT-3.11.2-1] [MQTT-3.11.2-2]
fn unsuback_fits_the_maximum_packet_size(stage: &Stage) {
    let maximum = least_packet_size(stage);
    let client = stage.connect("small", |connect| connect.properties.maximum_packet_size = Some(maximum));
    // First byte, length, packet identifier, property length, codes.
    let count = maximum.get() as usize - 5;
    client.send_bytes(&raw_unsubscribe(stage, 0xa2, 9, &vec![&b"unsubscribe/size"[..]; count]));
    let received = client.next();
    client.check(received.bytes().len() <= maximum.get() as usize, || format!("{:02x?}", received.bytes()));
    client.check(codes_of(&received) == vec![0x11; count], || received.text().to_owned());
}
