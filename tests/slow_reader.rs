//! A subscriber that stops reading costs the broker bounded memory and the others nothing.
#![cfg(unix)]
#![allow(missing_docs)]

use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use columba_tests::raw::{PUBACK, Raw, publish};
use columba_tests::{Broker, Random, Version};

const TOTAL: usize = 300 << 20;
const PAYLOAD: usize = 16 << 10;
const COUNT: usize = TOTAL / PAYLOAD;

/// How far the publisher may be ahead of the subscriber that reads.
const WINDOW: usize = 32;

/// What a broker may occupy that was sent more than this and cannot deliver it.
const MEMORY_LIMIT: u64 = 250 << 20;

#[test]
fn at_qos_0() {
    run(0);
}

#[test]
fn at_qos_1() {
    run(1);
}

fn run(qos: u8) {
    let mut broker = Broker::start();
    let mut stalled = Raw::connect(&broker, Version::V311, "stalled");
    stalled.subscribe(&[("flood", qos)]);
    let mut pinger = Raw::connect(&broker, Version::V311, "pinger");
    let (stop, stopped) = channel::<()>();
    let pings = thread::spawn(move || {
        let mut count = 0_usize;
        while stopped.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
            pinger.ping().expect("an answer to a ping");
            count += 1;
        }
        count
    });
    let memory = flood(&broker, qos);
    drop(stop);
    assert!(pings.join().expect("pings were answered throughout") > 0);
    assert!(broker.is_running());
    if let Some(memory) = memory {
        assert!(memory < MEMORY_LIMIT, "the broker occupied {} MB", memory >> 20);
    }
    drop(stalled);
}

/// Publishes everything past the stalled subscriber to one that reads; the most memory seen on the way.
fn flood(broker: &Broker, qos: u8) -> Option<u64> {
    let mut reader = Raw::connect(broker, Version::V311, "reader");
    reader.subscribe(&[("flood", qos)]);
    let mut publisher = Raw::connect(broker, Version::V311, "publisher");
    let body = Random::new(50).bytes(PAYLOAD);
    let mut unacknowledged = VecDeque::new();
    let mut memory = None;
    for index in 0..COUNT + WINDOW {
        if index < COUNT {
            let id = publisher.new_id();
            let payload = numbered(&body, index);
            publisher.send(&publish(Version::V311, "flood", &payload, qos, id)).expect("publish");
            unacknowledged.push_back(id);
        }
        let Some(due) = index.checked_sub(WINDOW) else {
            continue;
        };
        let message = reader.receive().expect("a message for the subscriber that reads");
        assert!(message.payload == numbered(&body, due), "message {due} is not the one that came");
        let id = unacknowledged.pop_front().expect("one for each message");
        if qos == 1 {
            let puback = publisher.expect(PUBACK).expect("PUBACK");
            assert_eq!(puback.body[..2], id.to_be_bytes());
        }
        if due % 64 == 0 {
            memory = memory.max(broker.resident_memory());
        }
    }
    memory.max(broker.resident_memory())
}

fn numbered(body: &[u8], index: usize) -> Vec<u8> {
    let mut payload = body.to_vec();
    payload[..8].copy_from_slice(&(index as u64).to_be_bytes());
    payload
}
