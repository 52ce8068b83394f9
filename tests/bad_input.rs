//! Packets with mistakes, from many connections, while another client is served.
#![cfg(unix)]
#![allow(missing_docs)]

use std::env;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use columba_tests::raw::{CONNACK, PUBACK, PUBLISH, Raw, acknowledge, connect, publish};
use columba_tests::{Broker, Mutator, Random, Version};

/// The attackers, each on a thread of its own and with a seed of its own.
const ATTACKERS: [Version; 4] = [Version::V31, Version::V311, Version::V5, Version::V5];

const PACKETS_PER_ATTACK: usize = 2_500;

/// After so many packets a connection that survived them is given up: it may be waiting for the rest of one.
const PACKETS_PER_CONNECTION: usize = 12;

/// How long to wait whether the broker closes the connection over a packet, before the next is sent.
const VERDICT: Duration = Duration::from_millis(2);

/// How long the probe may wait for its own message. Far above what a busy machine needs, far below a stall.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn ten_thousand_bad_packets_hurt_nobody_else() {
    let mut broker = Broker::start();
    let address = broker.tcp();
    let (stop, stopped) = channel::<()>();
    let probe = thread::spawn(move || {
        let mut probe = Probe::connect(address);
        while stopped.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
            probe.round_trip();
        }
        probe.rounds
    });
    let attacks: Vec<_> = (first_seed()..)
        .zip(ATTACKERS)
        .map(|(seed, version)| (seed, version, thread::spawn(move || attack(address, seed, version))))
        .collect();
    for (seed, version, attack) in attacks {
        let refused = attack.join();
        assert!(broker.is_running(), "the broker ended");
        let refused =
            refused.unwrap_or_else(|_| panic!("the attack with seed {seed} ({version:?}) was not served"));
        assert!(refused > 100, "seed {seed} ({version:?}) made too few mistakes: {refused}");
    }
    drop(stop);
    let rounds = probe.join().expect("the probe was served throughout");
    assert!(rounds > 10, "the probe made only {rounds} round trips");
    Probe::connect(address).round_trip();
    assert!(broker.is_running(), "the broker ended");
}

/// A failure names the seed, and the seed gives the same packets again. Other seeds look in other places.
fn first_seed() -> u64 {
    env::var("COLUMBA_TEST_SEED").map_or(1, |seed| seed.parse().expect("COLUMBA_TEST_SEED is a number"))
}

/// Sends the packets of one seed and counts the connections that the broker closed over them.
fn attack(address: SocketAddr, seed: u64, version: Version) -> usize {
    let mut mutator = Mutator::new(seed, version);
    let mut random = Random::new(!seed);
    let mut connection: Option<(Raw, usize)> = None;
    let mut refused = 0;
    for index in 0..PACKETS_PER_ATTACK {
        let (mut raw, sent) = connection.take().unwrap_or_else(|| {
            // One in eight has to find its fault before the connection is made.
            let is_greeted = random.below(8) > 0;
            let raw = open(address, version, is_greeted, &format!("fuzz-{seed}"));
            (raw.unwrap_or_else(|error| panic!("seed {seed}, packet {index}: {error}")), 0)
        });
        // The broker may close the connection at any time; that is its right.
        if raw.send(&mutator.packet()).is_err() || !is_open(&raw) {
            refused += 1;
        } else if sent < PACKETS_PER_CONNECTION {
            connection = Some((raw, sent + 1));
        }
    }
    refused
}

fn open(address: SocketAddr, version: Version, is_greeted: bool, id: &str) -> std::io::Result<Raw> {
    if !is_greeted {
        return Raw::socket(address, version);
    }
    let mut raw = Raw::socket(address, version)?;
    raw.send(&connect(version, id))?;
    raw.expect(CONNACK)?;
    Ok(raw)
}

/// Reads what comes, so that the broker is never kept from writing, and notices the end.
fn is_open(raw: &Raw) -> bool {
    let mut stream = raw.stream();
    stream.set_read_timeout(Some(VERDICT)).expect("set a timeout");
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => {
                return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            }
        }
    }
}

/// A client that publishes to itself.
struct Probe {
    raw: Raw,
    rounds: usize,
}

impl Probe {
    fn connect(address: SocketAddr) -> Self {
        let mut raw = Raw::try_connect(address, Version::V311, "probe").expect("connect the probe");
        raw.subscribe(&[("probe", 1)]);
        Self { raw, rounds: 0 }
    }

    fn round_trip(&mut self) {
        let id = self.raw.new_id();
        let payload = self.rounds.to_be_bytes();
        let begin = Instant::now();
        self.raw.send(&publish(Version::V311, "probe", &payload, 1, id)).expect("publish");
        let (mut is_acknowledged, mut has_come) = (false, false);
        while !is_acknowledged || !has_come {
            let left = PATIENCE.saturating_sub(begin.elapsed());
            let frame =
                self.raw.read_frame_within(left).expect("an answer in time").expect("an open connection");
            if frame.kind == PUBACK {
                is_acknowledged = true;
            } else if frame.kind == PUBLISH {
                let message = frame.to_publish(Version::V311);
                assert_eq!(message.payload, payload);
                self.raw.send(&acknowledge(PUBACK, message.id)).expect("acknowledge");
                has_come = true;
            }
        }
        self.rounds += 1;
    }
}
