//! Faults on packets and links of the simulated world.

use std::time::Duration;

use columba_testkit::codec::{Disconnect, Packet, PacketType};
use columba_testkit::{Client, ReasonCode, Version, World, on, on_any, persistent};

const V5: Version = Version::V5;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A world, a subscriber of everything at QoS 1 and a publisher.
fn stage() -> (World, Client, Client) {
    let world = World::new();
    let subscriber = world.connect("subscriber", V5, persistent);
    subscriber.subscribe("#", 1);
    let publisher = world.connect("publisher", V5, |_| ());
    (world, subscriber, publisher)
}

#[test]
fn a_lost_acknowledgement_is_missed_by_the_client_only() {
    let (world, subscriber, publisher) = stage();
    let lost = world.fault(on(PacketType::PubAck).from_broker().client("publisher").nth(2).lose());
    for text in ["a", "b", "c"] {
        publisher.start("t", 1, text, |_| ());
    }
    publisher.expect_all(&["PUBACK #1", "PUBACK #3"]);
    assert_eq!(subscriber.messages(), ["t=a", "t=b", "t=c"]);
    assert_eq!(lost.hits(), 1);
}

#[test]
fn a_delayed_packet_holds_up_what_follows_it() {
    let (world, subscriber, publisher) = stage();
    world.fault(on(PacketType::Publish).from_broker().topic("slow").delay(seconds(10)));
    publisher.publish("slow", 0, "1");
    publisher.publish("fast", 0, "2");
    subscriber.expect_nothing();
    world.advance(seconds(9));
    subscriber.expect_nothing();
    world.advance(seconds(1));
    subscriber.expect_all(&["PUBLISH slow=1", "PUBLISH fast=2"]);
}

#[test]
fn a_duplicated_message_comes_twice() {
    let (world, subscriber, publisher) = stage();
    world.fault(on(PacketType::Publish).from_client().once().duplicate());
    publisher.start("t", 0, "x", |_| ());
    subscriber.expect_all(&["PUBLISH t=x", "PUBLISH t=x"]);
}

#[test]
fn a_corrupted_packet_differs_in_one_bit() {
    let (world, _, publisher) = stage();
    world.fault(on(PacketType::Publish).from_client().corrupt());
    for _ in 0..20 {
        publisher.start("topic", 0, [0; 100], |_| ());
    }
    let sent = world.transcript().entries();
    assert!(sent.iter().any(|entry| entry.fate.as_deref() == Some("corrupted")));
}

#[test]
fn a_truncated_packet_swallows_the_next() {
    let (world, subscriber, publisher) = stage();
    world.fault(on(PacketType::Publish).from_client().once().truncate(4));
    publisher.start("t", 0, "0123456789", |_| ());
    subscriber.expect_nothing();
    publisher.send(&Packet::PingReq);
    publisher.expect_nothing();
}

#[test]
fn single_bytes_change_nothing() {
    let (world, subscriber, publisher) = stage();
    world.fault(on_any().split());
    publisher.publish("t", 1, "x");
    publisher.publish("t", 2, "y");
    assert_eq!(subscriber.messages(), ["t=x", "t=y"]);
}

#[test]
fn a_cut_ends_the_connection_for_both() {
    let (world, subscriber, publisher) = stage();
    world.fault(on(PacketType::Publish).from_broker().client("subscriber").once().cut());
    publisher.publish("t", 1, "x");
    subscriber.expect_closed();
    assert!(world.session("subscriber").unwrap().connection.is_none());
    world.connect("subscriber", V5, persistent).expect_all(&["PUBLISH t=x q1 #1 dup"]);
}

#[test]
fn a_cut_after_a_packet_lets_it_come() {
    let (world, subscriber, publisher) = stage();
    world.fault(on(PacketType::Publish).from_client().once().cut_after());
    publisher.start("t", 1, "x", |_| ());
    publisher.expect_closed();
    assert_eq!(subscriber.messages(), ["t=x"]);
}

#[test]
fn a_half_open_connection_is_found_by_the_keep_alive() {
    let world = World::new();
    let client = world.connect("a", V5, |connect| {
        connect.keep_alive = 10;
        connect.will = Some(columba_testkit::will("gone", "a"));
    });
    let watch = world.connect("watch", V5, |_| ());
    watch.subscribe("gone", 0);
    world.fault(on(PacketType::PingReq).client("a").half_open());
    client.send(&Packet::PingReq);
    client.expect_closed();
    world.advance(seconds(14));
    assert!(world.session("a").unwrap().connection.is_some());
    watch.expect_nothing();
    world.advance(seconds(1));
    watch.expect_all(&["PUBLISH gone=a"]);
}

#[test]
fn a_blackhole_tells_nobody() {
    let (world, subscriber, publisher) = stage();
    world.fault(on(PacketType::PingReq).client("subscriber").blackhole());
    subscriber.send(&Packet::PingReq);
    publisher.publish("t", 1, "x");
    subscriber.expect_nothing();
    subscriber.expect_open();
    subscriber.drop_link();
    assert!(world.session("subscriber").unwrap().connection.is_some());
}

#[test]
fn what_is_held_waits_for_its_release() {
    let (world, subscriber, publisher) = stage();
    let held = world.fault(on(PacketType::Publish).from_broker().hold());
    publisher.publish("t", 1, "x");
    world.advance(seconds(1000));
    subscriber.expect_nothing();
    held.release();
    world.advance(Duration::ZERO);
    subscriber.expect_all(&["PUBLISH t=x q1 #1"]);
}

#[test]
fn a_packet_is_overtaken_on_other_connections() {
    let (world, subscriber, publisher) = stage();
    let other = world.connect("other", V5, |_| ());
    world.fault(on(PacketType::Publish).from_client().client("publisher").behind(1));
    publisher.start("t", 0, "first", |_| ());
    other.start("t", 0, "second", |_| ());
    subscriber.expect_all(&["PUBLISH t=second", "PUBLISH t=first"]);
}

#[test]
fn a_slow_reader_reads_slowly_and_the_broker_waits() {
    let (world, subscriber, publisher) = stage();
    world.fault(on(PacketType::Publish).from_broker().once().slow(1000));
    for _ in 0..300 {
        publisher.start("t", 0, vec![0; 993], |_| ());
    }
    // One more is on its way when the rate becomes known.
    world.advance(seconds(10));
    assert_eq!(subscriber.drain().len(), 10);
    assert!(world.session("subscriber").unwrap().queued > 100);
    world.advance(seconds(300));
    assert_eq!(subscriber.drain().len(), 290);
}

#[test]
fn another_answer_comes_in_the_brokers_stead() {
    let (world, subscriber, publisher) = stage();
    world.fault(on(PacketType::Publish).from_client().once().answer(ReasonCode::QuotaExceeded));
    publisher.start("t", 1, "x", |_| ());
    publisher.start("t", 1, "y", |_| ());
    publisher.expect_all(&["PUBACK #1 97", "PUBACK #2"]);
    assert_eq!(subscriber.messages(), ["t=y"]);
    world.fault(on(PacketType::Connect).answer(ReasonCode::ServerUnavailable));
    for version in [Version::V3_1_1, V5] {
        let refused = world.try_connect("late", version, |_| ());
        refused.expect_refused(if version == V5 { 0x88 } else { 3 });
    }
}

#[test]
fn a_handler_takes_over() {
    let (world, subscriber, publisher) = stage();
    let topic = columba_testkit::name;
    world.fault(on(PacketType::Publish).from_client().handle(move |packet, exchange| {
        let Packet::Publish(publish) = packet else { return };
        match publish.payload {
            b"swap" => {
                let mut other = publish.clone();
                other.payload = b"swapped";
                other.topic = Some(topic("elsewhere"));
                exchange.forward(&Packet::Publish(other));
            }
            b"leave" => {
                exchange.answer(&Packet::Disconnect(Disconnect::new(ReasonCode::UseAnotherServer)));
                exchange.close();
            }
            _ => {}
        }
    }));
    publisher.publish("t", 1, "x");
    publisher.publish("t", 1, "swap");
    publisher.start("t", 1, "leave", |_| ());
    publisher.expect_disconnect(0x9c);
    assert_eq!(subscriber.messages(), ["t=x", "elsewhere=swapped"]);
}

#[test]
fn messages_are_published_in_a_clients_name() {
    let (world, subscriber, publisher) = stage();
    for qos in 0..=2 {
        world.publish_as("publisher", "t", qos, format!("{qos}"));
    }
    assert_eq!(subscriber.messages(), ["t=0", "t=1", "t=2"]);
    publisher.expect_nothing();
    publisher.publish("t", 2, "own");
    assert_eq!(subscriber.messages(), ["t=own"]);
}

#[test]
fn triggers() {
    let count = |rule: columba_testkit::Rule| {
        let world = World::new();
        let client = world.connect("a", V5, |_| ());
        let fault = world.fault(rule.lose());
        for _ in 0..100 {
            client.send(&Packet::PingReq);
            world.advance(seconds(1));
        }
        fault.hits()
    };
    let ping = || on(PacketType::PingReq);
    assert_eq!(count(ping()), 100);
    assert_eq!(count(ping().once()), 1);
    assert_eq!(count(ping().nth(100)), 1);
    assert_eq!(count(ping().nth(101)), 0);
    assert_eq!(count(ping().times(7)), 7);
    assert_eq!(count(ping().every(3)), 33);
    assert_eq!(count(ping().between(seconds(10), seconds(15))), 5);
    assert_eq!(count(ping().client("b")), 0);
    assert_eq!(count(ping().from_broker()), 0);
    assert_eq!(count(ping().matching(|packet| matches!(packet, Packet::PingResp))), 0);
    let some = count(ping().with_probability(0.3));
    assert!((15..45).contains(&some), "{some}");
    assert_eq!(count(ping().with_probability(0.3)), some, "the seed decides");
}

#[test]
fn a_removed_fault_does_nothing() {
    let (world, _, publisher) = stage();
    let fault = world.fault(on_any().lose());
    publisher.send(&Packet::PingReq);
    publisher.expect_nothing();
    fault.remove();
    publisher.ping();
}

#[test]
fn faults_leave_nothing_behind() {
    let (world, subscriber, publisher) = stage();
    world.fault(on_any().client("subscriber").hold());
    world.fault(on(PacketType::PingReq).client("publisher").blackhole());
    publisher.publish("t", 1, "x");
    publisher.send(&Packet::PingReq);
    subscriber.send(&Packet::PingReq);
    world.wind_down();
}
