//! PUBACK, PUBREC, PUBREL and PUBCOMP (§ 3.4 to 3.7): their reason codes, their size, the flags of PUBREL.

use std::num::NonZeroU32;

use columba_testkit::codec::PacketType::{PubComp, PubRec, PubRel};
use columba_testkit::{Client, Received};

use crate::exchange::{answered, closed, message};
use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(NUMBERED =>
        a_pubrel_with_other_flags_closes_the_connection,
        the_brokers_pubrel_has_its_flags,
    ),
    tests!(ONLY_5 =>
        puback_has_a_reason_code_of_its_own,
        pubrec_has_a_reason_code_of_its_own,
        pubrel_has_a_reason_code_of_its_own,
        pubcomp_has_a_reason_code_of_its_own,
        puback_is_no_larger_than_the_client_allows,
        pubrec_is_no_larger_than_the_client_allows,
        pubrel_is_no_larger_than_the_client_allows,
        pubcomp_is_no_larger_than_the_client_allows,
    ),
    tests!(ONLY_5, |config| config.limits.topic_levels = 3 =>
        a_puback_that_refuses_is_no_larger_than_the_client_allows,
        a_pubrec_that_refuses_is_no_larger_than_the_client_allows,
    ),
];

/// The reason codes of PUBACK and PUBREC (§ 3.4.2.1, § 3.5.2.1).
const ANSWERS: [u8; 9] = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

/// The reason codes of PUBREL and PUBCOMP (§ 3.6.2.1, § 3.7.2.1).
const RELEASES: [u8; 2] = [0x00, 0x92];

/// [MQTT-3.6.1-1] [MQTT-3.6.1-1 of 3.1.1]
fn a_pubrel_with_other_flags_closes_the_connection(stage: &Stage) {
    for flags in (0..16).filter(|&flags| flags != 0b0010) {
        let client = stage.connect("p", |_| ());
        let id = client.start("acks/flags", 2, "x", |_| ());
        answered(&client, "PUBREC", id);
        let [high, low] = id.to_be_bytes();
        client.send_bytes(&[0x60 | flags, 2, high, low]);
        closed(&client, 0x81);
    }
}

/// [MQTT-3.6.1-1] [MQTT-3.6.1-1 of 3.1.1]
fn the_brokers_pubrel_has_its_flags(stage: &Stage) {
    let client = stage.connect("s", |_| ());
    client.subscribe("acks/own-flags", 2);
    stage.connect("p", |_| ()).publish("acks/own-flags", 2, "x");
    let id = message(&client, "acks/own-flags=x q2");
    client.ack(PubRec, id);
    let received = client.take_first(&format!("PUBREL #{id}"));
    client.check(received.bytes()[0] == 0x62, || format!("{:02x?}", received.bytes()));
}

/// With a subscriber and without one, and where the broker does not want the message. [MQTT-3.4.2-1]
fn puback_has_a_reason_code_of_its_own(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("acks/puback", 0);
    for topic in ["acks/puback", "acks/puback/nobody", "$SYS/acks/puback"] {
        let client = stage.connect("p", |_| ());
        let id = client.start(topic, 1, "x", |_| ());
        if let Some(received) = answer(&client, &format!("PUBACK #{id}")) {
            check_code(&client, &received, &ANSWERS);
        }
    }
}

/// [MQTT-3.5.2-1]
fn pubrec_has_a_reason_code_of_its_own(stage: &Stage) {
    let subscriber = stage.connect("s", |_| ());
    subscriber.subscribe("acks/pubrec", 0);
    for topic in ["acks/pubrec", "acks/pubrec/nobody", "$SYS/acks/pubrec"] {
        let client = stage.connect("p", |_| ());
        let id = client.start(topic, 2, "x", |_| ());
        if let Some(received) = answer(&client, &format!("PUBREC #{id}")) {
            check_code(&client, &received, &ANSWERS);
        }
    }
}

/// To a PUBREC for a message that was sent, and to one that comes out of nowhere: that one the broker need not answer.
/// [MQTT-3.6.2-1]
fn pubrel_has_a_reason_code_of_its_own(stage: &Stage) {
    let client = stage.connect("s", |_| ());
    client.subscribe("acks/pubrel", 2);
    stage.connect("p", |_| ()).publish("acks/pubrel", 2, "x");
    let id = message(&client, "acks/pubrel=x q2");
    client.ack(PubRec, id);
    check_code(&client, &client.take_first(&format!("PUBREL #{id}")), &RELEASES);
    client.ack(PubComp, id);
    client.ack(PubRec, 4_711);
    for received in client.drain().iter().filter(|received| received.text().starts_with("PUBREL")) {
        check_code(&client, received, &RELEASES);
    }
}

/// [MQTT-3.7.2-1]
fn pubcomp_has_a_reason_code_of_its_own(stage: &Stage) {
    let client = stage.connect("p", |_| ());
    let id = client.start("acks/pubcomp", 2, "x", |_| ());
    answered(&client, "PUBREC", id);
    for id in [id, 4_711] {
        client.ack(PubRel, id);
        check_code(&client, &client.take_first(&format!("PUBCOMP #{id}")), &RELEASES);
    }
}

/// [MQTT-3.4.2-2] [MQTT-3.4.2-3]
fn puback_is_no_larger_than_the_client_allows(stage: &Stage) {
    for topic in ["acks/small/puback", "$SYS/acks/small/puback"] {
        let (client, size) = small(stage, "p");
        let id = client.start(topic, 1, "x", |_| ());
        if let Some(received) = answer(&client, &format!("PUBACK #{id}")) {
            check_size(&client, &received, size);
        }
    }
}

/// [MQTT-3.5.2-2] [MQTT-3.5.2-3]
fn pubrec_is_no_larger_than_the_client_allows(stage: &Stage) {
    for topic in ["acks/small/pubrec", "$SYS/acks/small/pubrec"] {
        let (client, size) = small(stage, "p");
        let id = client.start(topic, 2, "x", |_| ());
        if let Some(received) = answer(&client, &format!("PUBREC #{id}")) {
            check_size(&client, &received, size);
        }
    }
}

/// [MQTT-3.6.2-2] [MQTT-3.6.2-3]
fn pubrel_is_no_larger_than_the_client_allows(stage: &Stage) {
    let (client, size) = small(stage, "s");
    client.subscribe("acks/rel", 2);
    stage.connect("p", |_| ()).publish("acks/rel", 2, "x");
    let id = message(&client, "acks/rel=x q2");
    client.ack(PubRec, id);
    check_size(&client, &client.take_first(&format!("PUBREL #{id}")), size);
    client.ack(PubComp, id);
    // One that there is more to say about, if it is answered.
    client.ack(PubRec, 4_711);
    for received in client.drain() {
        check_size(&client, &received, size);
    }
}

/// [MQTT-3.7.2-2] [MQTT-3.7.2-3]
fn pubcomp_is_no_larger_than_the_client_allows(stage: &Stage) {
    let (client, size) = small(stage, "p");
    let id = client.start("acks/small/pubcomp", 2, "x", |_| ());
    answered(&client, "PUBREC", id);
    for id in [id, 4_711] {
        client.ack(PubRel, id);
        check_size(&client, &client.take_first(&format!("PUBCOMP #{id}")), size);
    }
}

/// [MQTT-3.4.2-1] [MQTT-3.4.2-2] [MQTT-3.4.2-3]
fn a_puback_that_refuses_is_no_larger_than_the_client_allows(stage: &Stage) {
    let (client, size) = small(stage, "p");
    let id = client.start("acks/too/many/levels", 1, "x", |_| ());
    let received = client.take_first(&format!("PUBACK #{id}"));
    check_code(&client, &received, &ANSWERS[2..]);
    check_size(&client, &received, size);
}

/// [MQTT-3.5.2-1] [MQTT-3.5.2-2] [MQTT-3.5.2-3]
fn a_pubrec_that_refuses_is_no_larger_than_the_client_allows(stage: &Stage) {
    let (client, size) = small(stage, "p");
    let id = client.start("acks/too/many/levels", 2, "x", |_| ());
    let received = client.take_first(&format!("PUBREC #{id}"));
    check_code(&client, &received, &ANSWERS[2..]);
    check_size(&client, &received, size);
}

/// A client whose Maximum Packet Size leaves no room for explanations, and that size: as small as CONNACK and the short
/// messages here allow.
#[track_caller]
fn small(stage: &Stage, id: &str) -> (Client, usize) {
    let len = stage.try_connect(id, |_| ()).accepted().bytes().len();
    let size = len.max(20);
    let maximum = u32::try_from(size).ok().and_then(NonZeroU32::new);
    (stage.connect(id, |connect| connect.properties.maximum_packet_size = maximum), size)
}

/// The answer to a message that the broker may not like: it may also end the connection.
#[track_caller]
fn answer(client: &Client, words: &str) -> Option<Received> {
    let answer = client.drain().into_iter().find(|received| received.text().starts_with(words));
    client.check(answer.is_some() || !client.is_open(), || format!("no {words}"));
    answer
}

#[track_caller]
fn check_size(client: &Client, received: &Received, size: usize) {
    client
        .check(received.bytes().len() <= size, || format!("{} has more than {size} bytes", received.text()));
}

/// The reason code as it is on the wire, where a short packet means success.
#[track_caller]
fn check_code(client: &Client, received: &Received, codes: &[u8]) {
    let code = received.bytes().get(4).copied().unwrap_or(0);
    client.check(codes.contains(&code), || format!("reason code {code:02x} in {}", received.text()));
}
