//! Several shards are one broker: what clients see is the same, whichever shards they are in and however late the shards
//! hear of each other.

use std::collections::BTreeMap;

use bytes::Bytes;
use columba_core::codec::PacketType::PubAck;
use columba_core::codec::{Packet, ReasonCode, RetainHandling, SubscriptionOptions, Will};
use columba_core::{Chunks, Config, Input, Output, Peer, Seed, Time, Verdict};
use proptest::prelude::*;

use crate::world::{ALL, Client, V5, World, level, persistent, will};

fn connect(world: &World, shard: usize, name: &str) -> Client {
    world.connect(&world.id_in(shard, name), V5, persistent)
}

#[test]
fn messages_reach_subscribers_in_every_shard() {
    for version in ALL {
        for qos in 0..3 {
            let world = World::sharded(3, |_| ());
            let subscribers: Vec<_> = (0..3)
                .map(|shard| {
                    let client = world.connect(&world.id_in(shard, "s"), version, |_| ());
                    client.subscribe("a/+", qos);
                    client
                })
                .collect();
            for shard in 0..3 {
                let publisher = world.connect(&world.id_in(shard, "p"), version, |_| ());
                publisher.publish("a/b", qos, "small");
                publisher.publish("a/large", qos, [b'x'; 10_000]);
                publisher.publish("b", qos, "of no interest");
            }
            for subscriber in &subscribers {
                let topics: Vec<_> =
                    subscriber.messages().into_iter().map(|text| text[..3].to_owned()).collect();
                assert_eq!(topics, ["a/b", "a/l", "a/b", "a/l", "a/b", "a/l"]);
            }
        }
    }
}

/// One copy with both identifiers and at the higher QoS, as ever [MQTT-3.3.4-2] [MQTT-3.3.4-3].
#[test]
fn overlapping_subscriptions_are_one_delivery() {
    let world = World::sharded(2, |_| ());
    let subscriber = connect(&world, 1, "s");
    subscriber.ask(&[("a/#", SubscriptionOptions::default())], Some(1));
    let options = SubscriptionOptions { qos: level(1), ..Default::default() };
    subscriber.ask(&[("a/b", options)], Some(2));
    connect(&world, 0, "p").publish("a/b", 2, "x");
    assert_eq!(subscriber.texts().len(), 1);
    let text = subscriber.next().text;
    assert!(text.starts_with("PUBLISH a/b=x q1 #1"), "{text}");
}

/// No message that is published after SUBACK is missed, so SUBACK waits until all shards know.
#[test]
fn suback_waits_until_all_shards_have_heard() {
    let world = World::sharded(3, |_| ());
    let subscriber = connect(&world, 0, "s");
    world.hold_up();
    subscriber.start_subscribe(&[("t", SubscriptionOptions::default())], None);
    subscriber.expect_nothing();
    for (from, to) in [(0, 1), (1, 0), (0, 2)] {
        assert!(world.carry(from, to));
        subscriber.expect_nothing();
    }
    // Nothing else is taken from it meanwhile, and so nothing overtakes.
    subscriber.send_bytes(b"\xc0\x00");
    subscriber.expect_nothing();
    assert!(world.carry(2, 0));
    subscriber.take("SUBACK #1 00");
    subscriber.take("PINGRESP");
}

/// A client that leaves meanwhile leaves nothing behind.
#[test]
fn a_subscription_may_be_given_up_before_it_is_made() {
    let world = World::sharded(2, |_| ());
    let (subscriber, publisher) = (connect(&world, 0, "s"), connect(&world, 1, "p"));
    world.hold_up();
    subscriber.start_subscribe(
        &[("t", SubscriptionOptions::default()), ("$share/g/t", SubscriptionOptions::default())],
        None,
    );
    world.carry(0, 1);
    subscriber.drop_link();
    world.carry_all();
    publisher.start("t", 1, "x", |_| ());
    publisher.take("PUBACK #1 10");
}

/// PUBACK says that the message is retained: whoever subscribes then gets it, and no older one.
#[test]
fn what_is_retained_is_found_from_every_shard() {
    let world = World::sharded(2, |_| ());
    let (publisher, subscriber) = (connect(&world, 0, "p"), connect(&world, 1, "s"));
    world.hold_up();
    publisher.retain("t", 1, "old");
    publisher.retain("t", 1, "new");
    subscriber.start_subscribe(&[("t", SubscriptionOptions::default())], None);
    world.carry_all();
    subscriber.expect("SUBACK #1 00");
    subscriber.expect("PUBLISH t=new retain");
    publisher.retain("t", 1, "");
    world.carry_all();
    subscriber.expect("PUBLISH t=");
    let late = connect(&world, 1, "late");
    late.start_subscribe(&[("#", SubscriptionOptions::default())], None);
    world.carry_all();
    late.expect("SUBACK #1 00");
    late.expect_nothing();
}

#[test]
fn unsubscribing_is_heard_of() {
    let world = World::sharded(2, |_| ());
    let (publisher, subscriber) = (connect(&world, 0, "p"), connect(&world, 1, "s"));
    let other = connect(&world, 1, "o");
    for filter in ["t", "$share/g/t"] {
        subscriber.subscribe(filter, 1);
        other.subscribe(filter, 1);
        subscriber.unsubscribe(&[filter]);
        publisher.publish("t", 1, "x");
        assert_eq!(other.messages(), ["t=x"]);
        other.unsubscribe(&[filter]);
        publisher.start("t", 1, "y", |_| ());
        publisher.take(&format!("PUBACK #{} 10", publisher.next_id().get() - 1));
    }
    subscriber.expect_nothing();
}

/// Each member gets as much, wherever it is; and what a member leaves unacknowledged goes to another shard.
#[test]
fn members_of_a_group_are_anywhere() {
    let world = World::sharded(3, |_| ());
    let shards = [0, 0, 1, 2];
    let members: Vec<_> = (0..4).map(|n| connect(&world, shards[n], &format!("m{n}-"))).collect();
    for member in &members {
        member.subscribe("$share/g/t", 1);
    }
    for shard in 0..3 {
        let publisher = connect(&world, shard, "p");
        (0..8).for_each(|n| publisher.publish("t", 1, format!("{shard}-{n}")));
    }
    for member in &members {
        assert_eq!(member.texts().len(), 6, "{:?}", member.texts());
    }
    let left = members[2].texts().len();
    members[2].drop_link();
    let others = [&members[0], &members[1], &members[3]];
    let received: usize = others.iter().map(|member| member.messages().len()).sum();
    assert_eq!(received, 18 + left);
}

/// Who has left when the message comes is not the end of it.
#[test]
fn a_message_for_a_member_that_has_gone_goes_on() {
    let world = World::sharded(2, |_| ());
    let (here, there) = (connect(&world, 0, "h"), connect(&world, 1, "t"));
    here.subscribe("$share/g/t", 1);
    there.subscribe("$share/g/t", 1);
    let publisher = connect(&world, 0, "p");
    world.hold_up();
    (0..4).for_each(|n| publisher.publish("t", 1, n.to_string()));
    assert_eq!(here.messages().len(), 2);
    there.start_unsubscribe(&["$share/g/t"]);
    world.carry_all();
    assert_eq!(here.messages().len(), 2);
    there.take("UNSUBACK #2 00");
    there.expect_nothing();
}

/// It comes from a shard whose last member has just gone, and is not sent back there.
#[test]
fn the_will_of_the_last_member_here_goes_to_one_who_is_away() {
    let world = World::sharded(2, |_| ());
    let away = connect(&world, 0, "a");
    away.subscribe("$share/g/t", 1);
    let last = world.connect(&world.id_in(1, "l"), V5, |connect| {
        connect.will = Some(Will { qos: level(1), ..will("t", "x") });
    });
    last.subscribe("$share/g/t", 1);
    away.drop_link();
    last.drop_link();
    assert_eq!(connect(&world, 0, "a").messages(), ["t=x"]);
}

/// Nothing but AUTH may come before CONNACK [MQTT-3.1.2-30], and a SUBSCRIBE is not put aside until then.
#[test]
fn a_subscribe_before_connack_ends_the_connection() {
    let world = World::sharded(2, |config| config.authenticate = true);
    let client = world.try_connect(&world.id_in(0, "c"), V5, |connect| {
        connect.properties.authentication_method = Some("m");
    });
    let (ticket, _) = world.question();
    world.answer(ticket, Verdict::Continue { data: Bytes::from_static(b"more") });
    assert!(client.next().text.starts_with("AUTH 18"));
    client.start_subscribe(&[("t", SubscriptionOptions::default())], None);
    client.take("CONNACK 82");
    assert!(!client.is_open());
}

/// A publisher that sends more than another shard takes has to wait; nobody else has.
#[test]
fn a_shard_that_does_not_keep_up_stops_its_publishers_alone() {
    let world = World::sharded(2, |_| ());
    world.quiet();
    let (publisher, subscriber) = (connect(&world, 0, "p"), connect(&world, 1, "s"));
    subscriber.subscribe("t", 0);
    let neighbour = connect(&world, 0, "n");
    neighbour.subscribe("u", 0);
    world.hold_up();
    for _ in 0..3000 {
        publisher.start("t", 1, [b'x'; 4000], |_| ());
    }
    let acknowledged = publisher.drain().len();
    assert!(acknowledged > 200 && acknowledged < 1500, "{acknowledged} of 3000 were taken");
    neighbour.publish("u", 0, "mine");
    assert_eq!(neighbour.messages(), ["u=mine"]);
    world.carry_all();
    assert_eq!(publisher.drain().len() + acknowledged, 3000);
    assert_eq!(subscriber.messages().len(), 3000);
}

/// So has one that subscribes, or unsubscribes: of these, too, no more is put aside for a shard that takes nothing.
#[test]
fn a_shard_that_does_not_keep_up_stops_subscribers_too() {
    subscribe_behind_a_shard_that_does_not_keep_up(|client| client);
}

/// The other shard knows the filters, but what is put aside is put aside for each.
#[test]
fn nor_do_subscriptions_to_the_same_collect() {
    subscribe_behind_a_shard_that_does_not_keep_up(|_| 0);
}

fn subscribe_behind_a_shard_that_does_not_keep_up(filters_of: impl Fn(usize) -> usize) {
    let world = World::sharded(2, |_| ());
    world.quiet();
    let clients: Vec<_> = (0..40).map(|n| connect(&world, 0, &format!("s{n}-"))).collect();
    let neighbour = connect(&world, 0, "n");
    world.hold_up();
    for (n, client) in clients.iter().enumerate() {
        let filter = |m| format!("{}/{m}/{}", filters_of(n), "x".repeat(10_000));
        let filters: Vec<_> = (0..20).map(filter).collect();
        let filters: Vec<_> =
            filters.iter().map(|filter| (&**filter, SubscriptionOptions::default())).collect();
        client.start_subscribe(&filters, None);
    }
    neighbour.ping();
    let answered = || clients.iter().filter(|client| !client.drain().is_empty()).count();
    assert_eq!(answered(), 0);
    // Two were on their way at once; the third batch is what collected behind them.
    for _ in 0..3 {
        world.carry(0, 1);
    }
    while world.carry(1, 0) {}
    let first = answered();
    assert!((5..20).contains(&first), "{first} of 40 were taken before the other shard took anything");
    world.carry_all();
    assert_eq!(first + answered(), 40);
}

/// Limits hold for all shards together.
#[test]
fn sessions_are_counted_together() {
    let world = World::sharded(2, |config| config.limits.sessions = 3);
    let clients: Vec<_> =
        [0, 1, 0].iter().enumerate().map(|(n, &shard)| connect(&world, shard, &format!("c{n}-"))).collect();
    for shard in 0..2 {
        world.try_connect(&world.id_in(shard, "more"), V5, |_| ()).expect_refused(0x97);
    }
    clients[0].disconnect_with(ReasonCode::Success, Some(0));
    connect(&world, 1, "more").ping();
}

/// A client that has no id gets one that leads it to the same shard again.
#[test]
fn an_assigned_id_leads_back() {
    let world = World::sharded(4, |_| ());
    let client = world.try_connect("", V5, persistent);
    client.accepted();
    let id =
        world.core(|core, _| core.clients().next().map(|client| client.client_id)).expect("it is in shard 0");
    assert_eq!(world.core(|core, _| core.placement().shard_of(&id)), 0);
    client.drop_link();
    let back = world.try_connect(&id, V5, persistent);
    assert!(back.accepted().text.contains("present"));
}

/// The second connection of a client is told of the first, wherever it comes in.
#[test]
fn a_client_is_taken_over_in_its_shard() {
    let world = World::sharded(3, |_| ());
    for shard in 0..3 {
        let id = world.id_in(shard, "c");
        let first = world.connect(&id, V5, persistent);
        let second = world.connect(&id, V5, persistent);
        first.expect_disconnect(0x8e);
        second.ping();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish { client: usize, topic: usize, retain: bool, clear: bool },
    Carry { from: usize, to: usize },
    Subscribe { client: usize },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..3_usize, 0..2_usize, any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(client, topic, retain, clear)| Step::Publish { client, topic, retain, clear }),
        6 => (0..3_usize, 0..3_usize).prop_map(|(from, to)| Step::Carry { from, to }),
        1 => (0..3_usize).prop_map(|client| Step::Subscribe { client }),
    ]
}

/// What a client that subscribes to everything has seen.
#[derive(Default)]
struct Seen {
    /// Messages published before its SUBACK came.
    missed: Option<usize>,
    /// Who published what, or an empty payload.
    messages: Vec<Option<(usize, usize)>>,
}

impl Seen {
    fn read(&mut self, client: &Client, sent: usize) {
        for packet in client.drain() {
            match packet.packet() {
                Packet::SubAck(_) => self.missed = Some(sent),
                Packet::Publish(publish) => {
                    let text = std::str::from_utf8(publish.payload).expect("it is text");
                    let numbers = text.split_once('-');
                    let number = |text: &str| text.parse().expect("it is a number");
                    self.messages.push(numbers.map(|(from, count)| (number(from), number(count))));
                    client.ack(PubAck, publish.packet_id.expect("it has QoS 1").get());
                }
                _ => {}
            }
        }
    }

    /// In order from each publisher, none twice, and all since SUBACK.
    fn check(&self, sent: usize) {
        let mut last = [0; 3];
        for &(from, count) in self.messages.iter().flatten() {
            assert!(count > last[from], "{:?}", self.messages);
            last[from] = count;
        }
        if let Some(missed) = self.missed {
            let later =
                self.messages.iter().filter(|message| message.is_none_or(|(_, count)| count > missed));
            assert!(later.count() >= sent - missed, "{:?}", self.messages);
        }
    }
}

proptest! {
    /// However late the shards hear of each other: from each publisher a subscriber gets messages in order and none
    /// twice [MQTT-4.6.0-5], and all that were published after its SUBACK; and in the end all shards retain the same.
    #[test]
    fn late_news_are_good_news(steps in prop::collection::vec(any_step(), 0..60)) {
        let world = World::sharded(3, |_| ());
        let clients: Vec<_> = (0..3).map(|shard| connect(&world, shard, "c")).collect();
        world.hold_up();
        let (mut sent, mut subscribed) = (0, [false; 3]);
        let mut seen: [Seen; 3] = Default::default();
        for step in steps {
            match step {
                Step::Publish { client, topic, retain, clear } => {
                    sent += 1;
                    let payload = if clear && retain { String::new() } else { format!("{client}-{sent}") };
                    clients[client].start(["a", "b"][topic], 1, payload, |publish| publish.retain = retain);
                }
                Step::Carry { from, to } => drop(world.carry(from, to)),
                Step::Subscribe { client } => {
                    if !std::mem::replace(&mut subscribed[client], true) {
                        let retain_handling = RetainHandling::DoNotSend;
                        let options = SubscriptionOptions { qos: level(1), retain_handling, ..Default::default() };
                        clients[client].start_subscribe(&[("#", options)], None);
                    }
                }
            }
            seen.iter_mut().zip(&clients).for_each(|(seen, client)| seen.read(client, sent));
        }
        world.carry_all();
        for (seen, client) in seen.iter_mut().zip(&clients) {
            seen.read(client, sent);
            seen.check(sent);
        }
        let retained = |shard| world.shard(shard, |core, _| {
            let mut all = BTreeMap::new();
            core.retained(None, |topic, payload| drop(all.insert(topic.to_owned(), payload.to_vec())));
            all
        });
        prop_assert_eq!(retained(0), retained(1));
        prop_assert_eq!(retained(0), retained(2));
    }
}

/// What comes from another shard is an input like any other.
#[test]
fn a_shard_can_be_replayed() {
    let make = || {
        let mut core = columba_core::Core::new(Config::default(), Seed::from(1));
        core.join_shards(1, 2);
        core
    };
    let now = Time::from_secs(1);
    let mut other = columba_core::Core::new(Config::default(), Seed::from(1));
    other.join_shards(0, 2);
    let id = (0..1000)
        .map(|n| n.to_string())
        .find(|id| other.placement().shard_of(id) == 0)
        .expect("half of them are");
    let packets = format!("\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01{id}\x31\x04\x00\x01ax");
    let key = other.open(now, Peer::default());
    let _ = other.receive(now, key, &mut packets.as_bytes().into());
    let batch = other.poll_shard(1).expect("the others have to know of it");
    let inputs = [Input::ReceiveShard { now, from: 0, batch }, Input::PollShard { to: 0 }];
    let run = || {
        let mut core = make();
        let outputs = inputs.each_ref().map(|input| core.apply(input, &mut Chunks::new()));
        (outputs, core.metrics())
    };
    let (outputs, metrics) = run();
    assert_eq!(run().0, outputs);
    assert_eq!((metrics.retained, &outputs[0]), (1, &Output::None));
}
