//! Many connections at once.
#![cfg(unix)]
#![allow(missing_docs)]

use std::time::Instant;

use columba_tests::raw::{CONNACK, Raw, SUBACK, connect, subscribe};
use columba_tests::{Broker, DEADLINE, Version, allow_open_files};

const CROWD: usize = 2_000;

/// How many may wait for their CONNACK. More than a listener's backlog, and the system makes them wait for seconds.
const ENTERING: usize = 50;

#[test]
fn two_thousand_connections_hear_one_message_and_leave() {
    allow_open_files(2 * CROWD as u64 + 500);
    let broker = Broker::start();
    let mut crowd: Vec<Raw> = Vec::with_capacity(CROWD);
    for index in 0..CROWD + ENTERING {
        if index < CROWD {
            let mut member = Raw::socket(broker.tcp(), version(index)).expect("open a socket");
            member.send(&connect(version(index), &format!("crowd-{index}"))).expect("send CONNECT");
            crowd.push(member);
        }
        if let Some(entered) = index.checked_sub(ENTERING) {
            let connack = crowd[entered].expect(CONNACK).expect("CONNACK");
            assert_eq!(connack.body[1], 0, "connection {entered} is accepted");
        }
    }
    for (index, member) in crowd.iter_mut().enumerate() {
        member.send(&subscribe(version(index), 1, &[("crowd/call", 1)])).expect("send SUBSCRIBE");
    }
    for member in &mut crowd {
        assert_eq!(member.expect(SUBACK).expect("SUBACK").body.last(), Some(&1));
    }

    let mut observer = Raw::connect(&broker, Version::V311, "observer");
    observer.subscribe(&[("$SYS/broker/clients/connected", 0)]);
    wait_for_count(&mut observer, |count| count > CROWD);

    let mut speaker = Raw::connect(&broker, Version::V5, "speaker");
    speaker.publish("crowd/call", b"is everybody here?", 1).expect("publish");
    for member in &mut crowd {
        let message = member.receive().expect("the one message");
        assert_eq!(message.payload, b"is everybody here?");
    }
    drop(crowd);
    wait_for_count(&mut observer, |count| count <= 10);
    speaker.ping().expect("the broker still answers");
}

fn version(index: usize) -> Version {
    [Version::V31, Version::V311, Version::V5][index % 3]
}

/// Waits until the number of connected clients that the broker publishes is as `wanted`.
fn wait_for_count(observer: &mut Raw, wanted: impl Fn(usize) -> bool) {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        let message = observer.receive().expect("the number of connected clients");
        if String::from_utf8_lossy(&message.payload).parse().is_ok_and(&wanted) {
            return;
        }
    }
    panic!("the number of connected clients is not as it should be");
}
