//! Client identifiers: those a client brings and those it is given.

use columba_testkit::{Client, Received, persistent};

use crate::answers::{announced, is_present, refused, told_no};
use crate::stage::{Group, Stage, V5, tests};

pub(crate) const TESTS: &[Group] = &[
    tests!(ALL =>
        letters_and_digits_up_to_23_are_accepted,
        each_client_identifier_has_a_session_of_its_own,
        a_client_that_comes_again_displaces_its_older_connection,
        a_client_with_another_identifier_displaces_nobody,
    ),
    tests!(NUMBERED => clients_without_identifier_are_told_apart),
    tests!(ONLY_5 =>
        an_assigned_client_identifier_is_told_and_new,
        an_assigned_client_identifier_serves_like_one_of_the_clients_choice,
        a_client_with_an_identifier_is_assigned_none,
        a_displaced_connection_is_told_so,
    ),
    tests!(ONLY_3_1_1 => a_client_without_identifier_has_to_ask_for_a_clean_session),
    tests!(ALL, |config| config.limits.client_id_len = 23 =>
        a_client_identifier_that_is_not_accepted_is_refused,
    ),
    tests!(ALL, |config| config.assign_client_ids = false =>
        a_broker_that_assigns_no_identifiers_refuses_who_has_none,
    ),
];

/// [MQTT-3.1.3-5] [MQTT-3.1.3-5 of 3.1.1]
fn letters_and_digits_up_to_23_are_accepted(stage: &Stage) {
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let ids = (1..=23).map(|length| &all[length..2 * length]);
    for id in ids.chain([&all[..23], &all[20..43], &all[39..]]) {
        let client = stage.open(id);
        client.connect(id, |_| ());
        client.accepted();
        client.disconnect();
    }
}

/// [MQTT-3.1.3-2] [MQTT-3.1.3-2 of 3.1.1]
fn each_client_identifier_has_a_session_of_its_own(stage: &Stage) {
    for id in ["a", "A"] {
        stage.connect(id, |_| ()).disconnect();
        let client = stage.connect(id, persistent);
        client.subscribe(&format!("client_id/{id}"), 1);
        client.drop_link();
    }
    let publisher = stage.connect("b", |_| ());
    publisher.publish("client_id/a", 1, "small");
    publisher.publish("client_id/A", 1, "capital");
    assert_eq!(stage.connect("A", persistent).messages(), ["client_id/A=capital"]);
    assert_eq!(stage.connect("a", persistent).messages(), ["client_id/a=small"]);
}

/// [MQTT-3.1.4-3] [MQTT-3.1.4-2 of 3.1.1]
fn a_client_that_comes_again_displaces_its_older_connection(stage: &Stage) {
    let old = stage.connect("a", |_| ());
    let new = stage.connect("a", |_| ());
    old.until_closed();
    new.ping();
}

/// It may be closed without a word. [MQTT-3.1.4-3]
fn a_displaced_connection_is_told_so(stage: &Stage) {
    let old = stage.connect("a", |_| ());
    let _new = stage.connect("a", |_| ());
    let last: Vec<_> = old.until_closed().iter().map(|received| received.text().to_owned()).collect();
    assert!(last.is_empty() || last == ["DISCONNECT 8e"], "{last:?}");
}

/// [MQTT-3.1.3-2] [MQTT-3.1.3-2 of 3.1.1]
fn a_client_with_another_identifier_displaces_nobody(stage: &Stage) {
    let first = stage.connect("a", |_| ());
    let second = stage.connect("b", |_| ());
    first.ping();
    second.ping();
}

/// A broker may refuse them. [MQTT-3.1.3-6] [MQTT-3.1.3-6 of 3.1.1]
fn clients_without_identifier_are_told_apart(stage: &Stage) {
    let clients: Vec<_> = (0..3).map(|_| nameless(stage, true)).collect();
    for (number, client) in clients.iter().flatten().enumerate() {
        let topic = format!("client_id/nameless/{number}");
        client.subscribe(&topic, 0);
        client.publish(&topic, 0, "x");
        client.expect_all(&[format!("PUBLISH {topic}=x")]);
    }
}

/// [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]
fn an_assigned_client_identifier_is_told_and_new(stage: &Stage) {
    let mut ids = Vec::new();
    let mut clients = Vec::new();
    for clean_start in [true, false, true] {
        let client = stage.try_connect("", |connect| connect.clean_start = clean_start);
        let Some(id) = assigned_or_refused(&client) else { return };
        assert!(!id.is_empty() && !ids.contains(&id), "{id:?} after {ids:?}");
        ids.push(id);
        clients.push(client);
    }
    clients.iter().for_each(Client::ping);
}

/// [MQTT-3.1.3-7] [MQTT-3.2.2-16]
fn an_assigned_client_identifier_serves_like_one_of_the_clients_choice(stage: &Stage) {
    let client = stage.try_connect("", |connect| connect.properties.session_expiry = Some(60));
    let Some(id) = assigned_or_refused(&client) else { return };
    client.subscribe("client_id/assigned", 1);
    client.drop_link();
    stage.connect("b", |_| ()).publish("client_id/assigned", 1, "x");
    let client = stage.open("again");
    client.connect(&id, |connect| connect.clean_start = false);
    assert!(is_present(&client.accepted()));
    assert_eq!(client.messages(), ["client_id/assigned=x"]);
    client.disconnect();
}

/// Otherwise it would not know which of the two is its own. [MQTT-3.1.3-2]
fn a_client_with_an_identifier_is_assigned_none(stage: &Stage) {
    let client = stage.try_connect("a", |_| ());
    let connack = client.accepted();
    assert_eq!(announced(&client, &connack).assigned_client_id, None);
}

/// [MQTT-3.1.3-7 of 3.1.1] [MQTT-3.1.3-8 of 3.1.1] [MQTT-3.2.2-5 of 3.1.1]
fn a_client_without_identifier_has_to_ask_for_a_clean_session(stage: &Stage) {
    told_no(&stage.try_connect("", |connect| connect.clean_start = false), &[2]);
}

/// [MQTT-3.1.3-8] [MQTT-3.1.3-9 of 3.1.1] [MQTT-3.2.2-7] [MQTT-3.2.2-5 of 3.1.1]
fn a_client_identifier_that_is_not_accepted_is_refused(stage: &Stage) {
    let client = stage.try_connect("a client id beyond the broker's limit", |_| ());
    identifier_rejected(stage, &client);
}

/// [MQTT-3.1.3-8] [MQTT-3.1.3-9 of 3.1.1]
fn a_broker_that_assigns_no_identifiers_refuses_who_has_none(stage: &Stage) {
    identifier_rejected(stage, &stage.try_connect("", |_| ()));
}

#[track_caller]
fn identifier_rejected(stage: &Stage, client: &Client) {
    if stage.version == V5 {
        refused(client, &[0x85]);
    } else {
        told_no(client, &[2]);
    }
}

/// A client without identifier, unless the broker takes none.
#[track_caller]
fn nameless(stage: &Stage, clean_start: bool) -> Option<Client> {
    let client = stage.try_connect("", |connect| connect.clean_start = clean_start);
    is_in(&client).map(|_| client)
}

/// The identifier that a client was assigned, unless the broker takes nobody without one.
#[track_caller]
fn assigned_or_refused(client: &Client) -> Option<String> {
    let connack = is_in(client)?;
    let id = announced(client, &connack).assigned_client_id;
    Some(id.unwrap_or_else(|| client.fail("no Assigned Client Identifier")).to_owned())
}

/// The CONNACK of success; `None` if the identifier is rejected.
#[track_caller]
fn is_in(client: &Client) -> Option<Received> {
    let connack = client.next();
    match connack.bytes()[3] {
        0 => Some(connack),
        2 | 0x85 => None,
        _ => client.fail(&format!("expected to be let in, got {}", connack.text())),
    }
}
