//! Shared subscriptions: who of a group gets a message, and who gets it when that one goes.

use std::collections::BTreeMap;

use columba_core::codec::PacketType::{PubAck, PubComp, PubRec};
use columba_core::codec::{PacketId, ReasonCode};

use crate::world::{ALL, Client, V3_1_1, V5, World, persistent};

fn member(world: &World, id: &str, filter: &str, qos: u8) -> Client {
    let client = world.connect(id, V5, persistent);
    client.subscribe(filter, qos);
    client
}

fn publish_numbers(world: &World, qos: u8, count: u32) {
    let publisher = world.connect("publisher", V5, |_| ());
    (0..count).for_each(|n| publisher.publish("t", qos, n.to_string()));
}

/// [MQTT-4.8.2-1]; the name works in every version.
#[test]
fn each_message_goes_to_one_member_in_turn() {
    for version in ALL {
        for qos in 0..3 {
            let world = World::new();
            let members: Vec<_> = (0..3)
                .map(|n| {
                    let client = world.connect(&n.to_string(), version, |_| ());
                    client.subscribe("$share/group/t", qos);
                    client
                })
                .collect();
            let alone = world.connect("alone", V5, |_| ());
            alone.subscribe("t", qos);
            publish_numbers(&world, qos, 9);
            let messages: Vec<_> = members.iter().map(Client::messages).collect();
            assert!(messages.iter().all(|messages| messages.len() == 3), "{messages:?}");
            let mut all: Vec<_> = messages.concat();
            all.sort();
            assert_eq!(all, alone.messages());
        }
    }
}

/// Same name with another filter, same filter with another name: each is a group of its own.
#[test]
fn a_group_is_a_name_and_a_filter() {
    let world = World::new();
    let filters = ["$share/g/t", "$share/h/t", "$share/g/+", "$share/g/#", "t"];
    let members: Vec<_> = filters.iter().map(|filter| member(&world, filter, filter, 1)).collect();
    publish_numbers(&world, 1, 2);
    for member in &members {
        assert_eq!(member.messages(), ["t=0", "t=1"]);
    }
}

/// One client may be in several groups and subscribed besides; each brings its own copy.
#[test]
fn groups_are_apart_from_a_members_other_subscriptions() {
    let world = World::new();
    let client = member(&world, "a", "$share/g/t", 1);
    client.subscribe_with("$share/h/t", 2, Some(7), |_| ());
    client.subscribe_with("t", 0, Some(8), |_| ());
    publish_numbers(&world, 2, 1);
    let mut texts = client.texts();
    texts.sort();
    assert_eq!(texts, ["PUBLISH t=0 ids=8", "PUBLISH t=0 q1 #1", "PUBLISH t=0 q2 #2 ids=7"]);
    assert_eq!(client.messages().len(), 3);
}

#[test]
fn members_that_are_online_are_preferred() {
    let world = World::new();
    let away: Vec<_> = (0..3).map(|n| member(&world, &n.to_string(), "$share/g/t", 1)).collect();
    let here = member(&world, "here", "$share/g/t", 1);
    away.iter().for_each(Client::drop_link);
    publish_numbers(&world, 1, 8);
    assert_eq!(here.messages().len(), 8);
}

/// When nobody is there the messages wait, and are not lost when one comes.
#[test]
fn messages_wait_while_all_members_are_away() {
    let world = World::new();
    for id in ["a", "b"] {
        member(&world, id, "$share/g/t", 1).drop_link();
    }
    publish_numbers(&world, 1, 10);
    let mut all = Vec::new();
    for id in ["a", "b"] {
        all.extend(world.connect(id, V5, persistent).messages());
    }
    all.sort();
    assert_eq!(all, (0..10).map(|n| format!("t={n}")).collect::<Vec<_>>());
}

/// A message at QoS 0 never waits for an absent member while another is there.
#[test]
fn a_message_at_qos_0_goes_to_who_is_there() {
    let world = World::new();
    let (away, here) = (member(&world, "away", "$share/g/t", 0), member(&world, "here", "$share/g/t", 0));
    away.drop_link();
    publish_numbers(&world, 0, 4);
    assert_eq!(here.messages().len(), 4);
}

/// Sent at QoS 1 and not acknowledged, or not sent yet: another member takes it over, as a message that is new to it.
#[test]
fn a_leaving_member_hands_its_messages_over() {
    for keeps_session in [false, true] {
        let world = World::new();
        let leaving = world.connect("leaving", V5, |connect| {
            connect.properties.receive_maximum = PacketId::new(2);
            connect.properties.session_expiry = Some(if keeps_session { 100 } else { 0 });
        });
        leaving.subscribe("$share/g/t", 1);
        publish_numbers(&world, 1, 4);
        leaving.expect_all(&["PUBLISH t=0 q1 #1", "PUBLISH t=1 q1 #2"]);
        leaving.ack(PubAck, 1);
        leaving.expect_all(&["PUBLISH t=2 q1 #3"]);
        let staying = member(&world, "staying", "$share/g/t", 1);
        staying.expect_nothing();
        leaving.drop_link();
        staying.expect_all(&["PUBLISH t=1 q1 #1", "PUBLISH t=2 q1 #2", "PUBLISH t=3 q1 #3"]);
        (1..=3).for_each(|id| staying.ack(PubAck, id));
        if keeps_session {
            world.connect("leaving", V5, persistent).expect_nothing();
        }
        assert_eq!(world.metrics().stored, 0);
    }
}

/// With nobody to take them they stay with the session, and go when it ends, to members that are away too.
#[test]
fn what_nobody_takes_stays_until_the_session_ends() {
    let world = World::new();
    let other = member(&world, "other", "$share/g/t", 1);
    other.drop_link();
    let leaving = world.connect("leaving", V5, |connect| connect.properties.session_expiry = Some(100));
    leaving.subscribe("$share/g/t", 1);
    publish_numbers(&world, 1, 2);
    leaving.drop_link();
    let back = world.connect("leaving", V5, |connect| {
        connect.clean_start = false;
        connect.properties.session_expiry = Some(100);
    });
    back.expect_all(&["PUBLISH t=0 q1 #1 dup", "PUBLISH t=1 q1 #2 dup"]);
    back.drop_link();
    world.advance(100);
    assert_eq!(world.connect("other", V5, persistent).messages(), ["t=0", "t=1"]);
}

/// Only those that the receiver takes are at QoS 0.
#[test]
fn a_message_is_handed_over_at_the_qos_of_who_takes_it() {
    for (qos, expected) in [(0, "PUBLISH t=0"), (1, "PUBLISH t=0 q1 #1"), (2, "PUBLISH t=0 q1 #1")] {
        let world = World::new();
        let leaving = member(&world, "leaving", "$share/g/t", 1);
        world.connect("publisher", V5, |_| ()).retain("t", 1, "0");
        let staying = member(&world, "staying", "$share/g/t", qos);
        leaving.drop_link();
        staying.expect_all(&[expected]);
    }
}

/// With the flag, for who wants the flag.
#[test]
fn a_message_is_handed_over_as_published() {
    let world = World::new();
    let leaving = member(&world, "leaving", "$share/g/t", 1);
    world.connect("publisher", V5, |_| ()).retain("t", 1, "0");
    let staying = world.connect("staying", V5, |_| ());
    staying.subscribe_with("$share/g/t", 1, Some(9), |options| options.retain_as_published = true);
    leaving.drop_link();
    staying.expect_all(&["PUBLISH t=0 q1 #1 retain ids=9"]);
}

/// It has begun here and ends here, if its client comes back; it does not begin anew elsewhere. [MQTT-3.3.2-5]
#[test]
fn what_has_expired_is_not_handed_over() {
    let world = World::new();
    let leaving = member(&world, "leaving", "$share/g/t", 1);
    world
        .connect("publisher", V5, |_| ())
        .publish_with("t", 1, "0", |publish| publish.properties.message_expiry = Some(10));
    let staying = member(&world, "staying", "$share/g/t", 1);
    world.advance(10);
    leaving.drop_link();
    staying.expect_nothing();
    world.connect("leaving", V5, persistent).expect_all(&["PUBLISH t=0 q1 #1 dup expiry=0"]);
}

/// [MQTT-4.8.2-4]
#[test]
fn a_message_sent_at_qos_2_waits_for_its_member() {
    let world = World::new();
    let leaving = member(&world, "leaving", "$share/g/t", 2);
    publish_numbers(&world, 2, 2);
    leaving.expect_all(&["PUBLISH t=0 q2 #1", "PUBLISH t=1 q2 #2"]);
    leaving.ack(PubRec, 2);
    leaving.expect("PUBREL #2");
    let staying = member(&world, "staying", "$share/g/t", 2);
    leaving.drop_link();
    staying.expect_nothing();
    let back = world.connect("leaving", V5, persistent);
    back.expect_all(&["PUBLISH t=0 q2 #1 dup", "PUBREL #2"]);
    back.ack(PubRec, 1);
    back.expect("PUBREL #1");
    back.ack(PubComp, 1);
    back.ack(PubComp, 2);
}

/// [MQTT-4.8.2-5]
#[test]
fn a_message_sent_at_qos_2_is_lost_with_its_session() {
    let world = World::new();
    let leaving =
        world.connect("leaving", V5, |connect| connect.properties.receive_maximum = Some(PacketId::MIN));
    leaving.subscribe("$share/g/t", 2);
    publish_numbers(&world, 2, 2);
    leaving.expect_all(&["PUBLISH t=0 q2 #1"]);
    let staying = member(&world, "staying", "$share/g/t", 2);
    leaving.disconnect();
    assert_eq!(staying.messages(), ["t=1"], "the second had not been sent");
}

/// [MQTT-4.8.2-6]
#[test]
fn a_refused_message_goes_to_nobody_else() {
    for (qos, packet) in [(1, PubAck), (2, PubRec)] {
        let world = World::new();
        let first = member(&world, "first", "$share/g/t", 2);
        publish_numbers(&world, qos, 1);
        let _ = first.next();
        let second = member(&world, "second", "$share/g/t", 2);
        first.ack_with(packet, 1, ReasonCode::NotAuthorized);
        first.drop_link();
        second.expect_nothing();
        assert_eq!(world.metrics().stored, 0);
    }
}

/// [MQTT-4.8.2-3]
#[test]
fn each_member_has_its_own_qos_and_identifier() {
    let world = World::new();
    let members: Vec<_> = (0..3)
        .map(|qos| {
            let client = world.connect(&qos.to_string(), V5, |_| ());
            client.subscribe_with("$share/g/t", qos, Some(u32::from(qos) + 1), |_| ());
            client
        })
        .collect();
    let publisher = world.connect("publisher", V5, |_| ());
    (0..3).for_each(|_| publisher.publish("t", 2, "x"));
    let texts: Vec<_> = members.iter().flat_map(Client::texts).collect();
    assert_eq!(texts, ["PUBLISH t=x ids=1", "PUBLISH t=x q1 #1 ids=2", "PUBLISH t=x q2 #1 ids=3"]);
}

/// § 4.8.2, whatever Retain Handling says.
#[test]
fn a_shared_subscription_brings_no_retained_messages() {
    let world = World::new();
    world.connect("p", V5, |_| ()).retain("t", 1, "x");
    for version in ALL {
        let client = world.connect("a", version, |_| ());
        client.subscribe("$share/g/t", 1);
        client.expect_nothing();
    }
}

/// Ending one's membership leaves the others theirs, and what one holds is still one's own. [MQTT-3.10.4-3]
#[test]
fn members_come_and_go() {
    let world = World::new();
    let (first, second) =
        (member(&world, "first", "$share/g/t", 1), member(&world, "second", "$share/g/t", 1));
    publish_numbers(&world, 1, 2);
    assert_eq!(first.unsubscribe(&["$share/g/t", "t", "$share/h/t"]), [0, 0x11, 0x11]);
    publish_numbers(&world, 1, 4);
    assert_eq!((first.messages().len(), second.messages().len()), (1, 5));
    second.drop_link();
    assert_eq!(world.metrics().subscriptions, 1);
    let _ = world.connect("second", V5, |_| ());
    assert_eq!(world.metrics().subscriptions, 0);
    publish_numbers(&world, 1, 1);
    first.expect_nothing();
}

/// A group that is gone and come again is another one: what was left over from the first is not its business.
#[test]
fn a_group_made_anew_owes_the_old_one_nothing() {
    let world = World::new();
    let first = member(&world, "first", "$share/g/t", 1);
    publish_numbers(&world, 1, 1);
    assert_eq!(first.unsubscribe(&["$share/g/t"]), [0]);
    let second = member(&world, "second", "$share/g/t", 1);
    first.drop_link();
    second.expect_nothing();
    world.connect("first", V5, persistent).expect_all(&["PUBLISH t=0 q1 #1 dup"]);
}

/// Under churn every message goes to exactly one, or waits with exactly one.
#[test]
fn no_message_is_lost_or_doubled_while_members_come_and_go() {
    let world = World::new();
    world.quiet();
    let publisher = world.connect("publisher", V3_1_1, |_| ());
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    let mut members: Vec<Client> = (0..4).map(|n| member(&world, &n.to_string(), "$share/g/t", 1)).collect();
    for round in 0..200_usize {
        publisher.publish("t", 1, round.to_string());
        let who = round * 7 % 4;
        match round % 3 {
            0 => members[who].drop_link(),
            1 => {}
            _ => members[who]
                .messages()
                .into_iter()
                .for_each(|message| *taken.entry(message).or_default() += 1),
        }
        if !members[who].is_open() {
            // What had come and was not acknowledged comes again, here or there.
            members[who] = world.connect(&who.to_string(), V5, persistent);
        }
    }
    for member in &members {
        member.messages().into_iter().for_each(|message| *taken.entry(message).or_default() += 1);
    }
    assert_eq!(taken.len(), 200);
    assert!(taken.values().all(|&times| times == 1), "{taken:?}");
    assert_eq!(world.metrics().stored, 0);
}

/// A message goes to a member that has room for it, when it comes and when it is handed over.
#[test]
fn a_member_with_a_full_queue_is_passed_over() {
    let world = World::with(|config| config.limits.queued_messages = 2);
    let stalled = member(&world, "stalled", "$share/g/t", 1);
    stalled.stall();
    let leaving = member(&world, "leaving", "$share/g/t", 1);
    publish_numbers(&world, 1, 6);
    assert_eq!(leaving.texts().len(), 4);
    leaving.drop_link();
    assert_eq!(world.connect("leaving", V5, persistent).texts().len(), 4, "there is room nowhere else");
    let others: Vec<_> = (0..2).map(|n| member(&world, &n.to_string(), "$share/g/t", 1)).collect();
    let leaving = world.connect("leaving", V5, persistent);
    leaving.drop_link();
    assert_eq!(others.iter().map(|other| other.messages().len()).sum::<usize>(), 4);
    stalled.resume();
    assert_eq!(stalled.messages().len(), 2);
    assert_eq!((world.metrics().dropped_queue_full, world.metrics().stored), (0, 0));
}

/// With room nowhere the policy decides, for the member whose turn it is.
#[test]
fn a_group_without_room_drops() {
    let world = World::with(|config| config.limits.queued_messages = 1);
    let members = ["a", "b"].map(|id| member(&world, id, "$share/g/t", 1));
    members.iter().for_each(Client::stall);
    publish_numbers(&world, 1, 3);
    assert_eq!(world.metrics().dropped_queue_full, 1);
    members.iter().for_each(Client::resume);
    assert_eq!(members.iter().map(|member| member.messages().len()).sum::<usize>(), 2);
}
