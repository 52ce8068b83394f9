//! The `columba` command with several shards: to its clients it is one broker.
#![cfg(unix)]
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::time::Duration;

use columba_tests::raw::{DISCONNECT, PUBLISH, Raw};
use columba_tests::{Broker, Version};

const SHARDS: usize = 2;

/// So many clients that each shard has some.
const CLIENTS: usize = 16;

/// The reason codes of a DISCONNECT.
const SERVER_SHUTTING_DOWN: u8 = 0x8b;
const SESSION_TAKEN_OVER: u8 = 0x8e;

fn connect_all(broker: &Broker, name: &str) -> Vec<Raw> {
    (0..CLIENTS).map(|n| Raw::connect(broker, Version::V5, &format!("{name}-{n}"))).collect()
}

#[test]
fn everybody_hears_everybody() {
    let broker = Broker::start_shards(SHARDS);
    let mut listeners = connect_all(&broker, "listener");
    for listener in &mut listeners {
        listener.subscribe(&[("call/+", 1)]);
    }
    for (number, mut speaker) in connect_all(&broker, "speaker").into_iter().enumerate() {
        let topic = format!("call/{number}");
        speaker.publish(&topic, b"hello", 1).expect("PUBACK");
        for listener in &mut listeners {
            assert_eq!(listener.receive().expect("the message").topic, topic);
        }
    }
}

#[test]
fn each_message_of_a_shared_subscription_comes_once() {
    let broker = Broker::start_shards(SHARDS);
    let mut members = connect_all(&broker, "member");
    for member in &mut members {
        member.subscribe(&[("$share/crew/job", 1)]);
    }
    for mut speaker in connect_all(&broker, "speaker") {
        for number in 0..CLIENTS {
            speaker.publish("job", number.to_string().as_bytes(), 1).expect("PUBACK");
        }
        let done: BTreeSet<_> =
            members.iter_mut().map(|member| member.receive().expect("its share").payload).collect();
        assert_eq!(done.len(), CLIENTS, "nobody has what somebody else has: {done:?}");
    }
}

#[test]
fn a_session_is_taken_over_wherever_the_new_connection_comes_in() {
    let broker = Broker::start_shards(SHARDS);
    let mut watcher = Raw::connect(&broker, Version::V311, "watcher");
    watcher.subscribe(&[("still/here", 1)]);
    for _ in 0..4 {
        let mut older = connect_all(&broker, "client");
        let mut newer = connect_all(&broker, "client");
        for (older, newer) in older.iter_mut().zip(&mut newer) {
            let disconnect = older.expect(DISCONNECT).expect("DISCONNECT");
            assert_eq!(disconnect.body.first(), Some(&SESSION_TAKEN_OVER));
            assert_eq!(older.read_frame().expect("an orderly end"), None);
            newer.publish("still/here", b"", 1).expect("PUBACK");
            watcher.receive().expect("its message");
        }
    }
}

#[test]
fn a_signal_ends_all_shards_in_order() {
    let mut broker = Broker::start_shards(SHARDS);
    let mut clients = connect_all(&broker, "client");
    let mut speaker = Raw::connect(&broker, Version::V5, "speaker");
    for client in &mut clients {
        client.subscribe(&[("flood", 0)]);
    }
    for _ in 0..100 {
        speaker.publish("flood", &[0; 10_000], 0).expect("publish");
    }
    // What is under way between shards then may come or not.
    speaker.publish("flood", b"end", 1).expect("PUBACK");
    broker.terminate();
    for mut client in clients {
        let mut last = client.read_frame().expect("messages and an orderly end");
        while last.as_ref().is_some_and(|frame| frame.kind == PUBLISH) {
            last = client.read_frame().expect("messages and an orderly end");
        }
        let last = last.expect("DISCONNECT");
        assert_eq!((last.kind, last.body.first()), (DISCONNECT, Some(&SERVER_SHUTTING_DOWN)));
        assert_eq!(client.read_frame().expect("an orderly end"), None);
    }
    let status = broker.wait(Duration::from_secs(5)).expect("an end within seconds");
    assert_eq!(status.code(), Some(0));
}
