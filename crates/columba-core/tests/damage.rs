//! Snapshots that are not what was written. Whatever the bytes are, there is an error or a broker that works: never
//! a panic, and never a broker that something is left of.

use std::hash::Hasher;
use std::time::Duration;

use columba_core::{Config, Core, RestoreError, Seed, Time};
use proptest::prelude::*;
use siphasher::sip::SipHasher13;

use crate::snapshot::rich;
use crate::world::{V5, World};

const HEADER: usize = 8;
const CHECKSUM: usize = 8;

/// Limits that no text of a snapshot can reach: the world winds down what it finds by ordinary clients.
fn config() -> Config {
    let mut config = Config::default();
    config.limits.client_id_len = usize::MAX;
    config.limits.topic_levels = usize::MAX;
    config
}

/// Bytes with a checksum that fits, so that what is between is looked at.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    [bytes, &hasher.finish().to_le_bytes()].concat()
}

fn without_checksum(snapshot: &[u8]) -> &[u8] {
    &snapshot[..snapshot.len() - CHECKSUM]
}

fn restore(bytes: &[u8]) -> Result<Core, RestoreError> {
    Core::restore(config(), Seed::from(4), Time::from_secs(5), bytes, Duration::from_secs(7))
}

/// What came of the bytes has to work, and has to come to an end.
fn try_out(bytes: &[u8]) -> bool {
    let Ok(world) = World::restore(config(), bytes, Duration::from_secs(7)) else { return false };
    world.quiet();
    let again = world.snapshot();
    assert_eq!(world.restarted(0).snapshot(), again);
    let probe = world.connect("probe", V5, |_| ());
    probe.subscribe("probe/#", 2);
    probe.subscribe("$share/g/job/+", 1);
    probe.publish("probe/x", 2, "here");
    assert!(probe.messages().contains(&"probe/x=here".to_owned()));
    for topic in ["a/x", "job/1", "kept/2"] {
        probe.publish(topic, 1, "new");
    }
    world.advance(400);
    let back = world.connect("subscriber", V5, |connect| connect.clean_start = false);
    back.messages();
    probe.messages();
    // Now the world winds down, and nothing may be left of it.
    true
}

#[test]
fn an_altered_byte_is_found_by_the_checksum() {
    let snapshot = rich().snapshot();
    for at in 0..snapshot.len() {
        for bit in 0..8 {
            let mut bytes = snapshot.clone();
            bytes[at] ^= 1 << bit;
            assert!(restore(&bytes).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn what_is_cut_off_is_no_snapshot() {
    let snapshot = rich().snapshot();
    let body = without_checksum(&snapshot);
    for len in 0..snapshot.len() {
        assert!(restore(&snapshot[..len]).is_err(), "{len} bytes");
        assert!(len >= body.len() || restore(&sealed(&body[..len])).is_err(), "{len} bytes, sealed");
    }
    let longer = [body, &[0]].concat();
    let error = restore(&sealed(&longer)).expect_err("there is more than belongs there");
    assert!(matches!(error, RestoreError::Damaged { offset, .. } if offset == body.len()), "{error}");
}

/// Every byte, every value, with a checksum that fits.
#[test]
fn any_value_of_any_byte_does_no_harm() {
    let snapshot = rich().snapshot();
    let body = without_checksum(&snapshot);
    let (mut refused, mut taken) = (0, 0);
    for at in HEADER..body.len() {
        for value in (0..=255).filter(|&value| value != body[at]) {
            let mut bytes = body.to_vec();
            bytes[at] = value;
            let bytes = sealed(&bytes);
            // Each is read; of those that can be, some are played to the end.
            match restore(&bytes) {
                Err(RestoreError::Damaged { offset, .. }) => {
                    assert!(offset >= HEADER && offset <= body.len(), "byte {at} as {value}: {offset}");
                    refused += 1;
                }
                Err(error) => panic!("byte {at} as {value}: {error}"),
                Ok(_) => {
                    taken += 1;
                    if taken % 30 == 0 || value == body[at] ^ 1 {
                        assert!(try_out(&bytes), "byte {at} as {value}");
                    }
                }
            }
        }
    }
    assert!(refused > 1000 && taken > 1000, "{refused} were refused, {taken} taken");
}

/// A message at QoS 1 under "t".
const MESSAGE: &[u8] = b"\x01\x01t\x00\x01x";
/// The same retained.
const RETAINED: &[u8] = b"\x15\x01t\x00\x01x";
/// A session "a" that has no end, no will, and no subscriptions if a 0 follows.
const SESSION: &[u8] = b"\x01a\xff\xff\xff\xff\x0f\x00";
/// Nothing of something.
const NONE: &[u8] = b"\x00";
/// One of something.
const ONE: &[u8] = b"\x01";

/// Every rule that the values of a snapshot have to keep.
#[test]
fn what_breaks_a_rule_is_refused() {
    let subscribed = |subscriptions: &'static [u8]| vec![NONE, ONE, SESSION, subscriptions, b"\0\0\0\0"];
    // What follows the subscriptions of one session, and one message.
    let traffic = |traffic: &'static [u8]| vec![ONE, MESSAGE, ONE, SESSION, NONE, traffic];
    let cases: [(&str, Vec<&[u8]>); 33] = [
        ("", vec![NONE, NONE]),
        ("", vec![ONE, RETAINED, ONE, SESSION, b"\0\0\0\0\0"]),
        ("", subscribed(b"\x01\x26\x05\x03a/#")),
        ("", traffic(b"\x01\x11\0\x01\x07\x09\x02\x05\x01\0\x06\x40\x02\x01\x02")),
        ("there is more than belongs here", vec![NONE, NONE, NONE]),
        ("a text that is no topic name", vec![ONE, b"\0\x01+\0\0"]),
        ("a text that is no topic name", vec![ONE, b"\0\0\0\0"]),
        ("a text that is not UTF-8", vec![ONE, b"\0\x01\xff\0\0"]),
        ("properties that no message has", vec![ONE, b"\0\x01t\x01\xff\0"]),
        ("flags that mean nothing", vec![ONE, b"\x03\x01t\0\0"]),
        ("flags that mean nothing", vec![ONE, b"\x20\x01t\0\0"]),
        ("a message that cannot be retained", vec![ONE, b"\x10\x01t\0\x01x"]),
        ("a message that cannot be retained", vec![ONE, b"\x14\x01t\0\0"]),
        ("a second retained message of one topic", vec![b"\x02", RETAINED, RETAINED]),
        ("a text that is no client id", vec![NONE, ONE, b"\0"]),
        ("a text that is no client id", vec![NONE, ONE, b"\x01\0"]),
        ("a second session of one client id", vec![NONE, b"\x02", SESSION, NONE, SESSION, NONE]),
        ("neither yes nor no", vec![NONE, ONE, b"\x01a\0\0\x02"]),
        ("flags that mean nothing", subscribed(b"\x01\x40\0\x01a")),
        ("no Retain Handling", subscribed(b"\x01\x30\0\x01a")),
        ("a number that is no subscription identifier", subscribed(b"\x01\0\x80\x80\x80\x80\x01\x01a")),
        ("a text that is no topic filter", subscribed(b"\x01\0\0\x02a#")),
        ("No Local on a shared subscription", subscribed(b"\x01\x04\0\x0a$share/g/a")),
        ("a second subscription to one filter", subscribed(b"\x02\0\0\x01a\0\0\x01a")),
        ("a message that is not there", traffic(b"\x01\x01\x01")),
        ("a delivery above the QoS of its message", traffic(b"\x01\x02\0")),
        ("a number that is no subscription identifier", traffic(b"\x01\x11\0\x01\0")),
        ("a group that is not there", traffic(b"\x01\x21\0\0")),
        ("packet identifier 0", traffic(b"\0\0\x01\0\x40")),
        ("a packet identifier that is in use", traffic(b"\0\0\x02\x05\x40\x05\x40")),
        ("a delivery that cannot be in flight", traffic(b"\0\0\x01\x05\0\0")),
        ("a delivery that cannot be in flight", traffic(b"\0\0\x01\x05\x42")),
        ("not as many packet identifiers as it says", traffic(b"\0\0\0\x02\x01\x01")),
    ];
    for (expected, parts) in cases {
        let bytes = sealed(&[b"columba\x01", &parts.concat()[..]].concat());
        match restore(&bytes) {
            Ok(_) => assert_eq!(expected, "", "{parts:02x?}"),
            Err(RestoreError::Damaged { what, .. }) => assert_eq!(what, expected, "{parts:02x?}"),
            Err(error) => panic!("{parts:02x?}: {error}"),
        }
        assert_eq!(try_out(&bytes), expected.is_empty());
    }
}

/// Where identifiers are a map of bits.
#[test]
fn a_map_of_identifiers_has_as_many_as_it_says() {
    let mut map = [0; 8192];
    map[1..4].fill(0xFF);
    let mut with = |count: u8, first: u8| {
        map[0] = first;
        let parts = [b"columba\x01", NONE, ONE, SESSION, b"\0\0\0\0", &[count], &map];
        restore(&sealed(&parts.concat())).map(|core| core.client("a").map(|client| client.incoming))
    };
    assert_eq!(with(24, 0), Ok(Some(24)));
    assert_eq!(with(26, 6), Ok(Some(26)));
    for (count, first) in [(25, 0), (23, 0), (25, 1), (24, 1)] {
        assert!(matches!(with(count, first), Err(RestoreError::Damaged { .. })), "{count} {first}");
    }
}

/// A number in a snapshot that claims what is not there.
#[test]
fn counts_reserve_nothing() {
    for position in 0..2 {
        let mut bytes = b"columba\x01".to_vec();
        bytes.extend_from_slice(&[0].repeat(position));
        bytes.extend_from_slice(b"\xff\xff\xff\xff\x0f");
        assert!(matches!(restore(&sealed(&bytes)), Err(RestoreError::Damaged { .. })));
    }
}

/// How bytes are altered: where, how many are taken away, what is put there.
fn any_change() -> impl Strategy<Value = (prop::sample::Index, usize, Vec<u8>)> {
    (any::<prop::sample::Index>(), 0..6_usize, prop::collection::vec(any::<u8>(), 0..6))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_change_does_no_harm(
        changes in prop::collection::vec(any_change(), 1..4),
        small in any::<bool>(),
    ) {
        let mut body = BODY.with(Clone::clone);
        for (at, gone, mut new) in changes {
            let at = HEADER + at.index(body.len() - HEADER);
            if small {
                for byte in &mut new {
                    *byte %= 8;
                }
            }
            let end = (at + gone).min(body.len());
            body.splice(at..end, new);
            if body.len() <= HEADER {
                body.push(0);
            }
        }
        try_out(&sealed(&body));
    }

    #[test]
    fn anything_at_all_does_no_harm(garbage in prop::collection::vec(any::<u8>(), 0..200), small in 1..=255_u8) {
        let mut bytes = b"columba\x01".to_vec();
        bytes.extend(garbage.iter().map(|byte| byte % small));
        try_out(&sealed(&bytes));
        try_out(&bytes);
        try_out(&garbage);
    }
}

thread_local! {
    /// A snapshot with something of everything, without its checksum.
    static BODY: Vec<u8> = without_checksum(&rich().snapshot()).to_vec();
}
