//! A shell that does not wake the broker in time: every call first does what is due by the time it comes with, so that
//! nobody meets what should be over.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use columba_core::codec::{Connect, Packet, Publish, ReasonCode, Will};
use columba_core::{CloseCause, Core, Event, EventMask, Flow, Peer, Time, Verdict};

use crate::world::{ALL, Client, V5, World, name, persistent, will};

/// For CONNECT: a session of 100 seconds, and a will that waits for so many.
fn leaving(delay: u32) -> impl Fn(&mut Connect<'_>) {
    move |connect| {
        connect.clean_start = false;
        connect.properties.session_expiry = Some(100);
        connect.will = Some(Will { delay: Some(delay), ..will("will", "x") });
    }
}

fn asleep(world: &World, seconds: u64) {
    world.advance_asleep(Duration::from_secs(seconds));
}

fn is_resumed(world: &World, id: &str) -> bool {
    world.try_connect(id, V5, persistent).accepted().text.ends_with("present")
}

type Call = fn(&World, &Client);

/// Each call that is told the time, made by or for a client that has nothing to do with it.
const CALLS: [Call; 10] = [
    |world, _| drop(world.open("new", V5)),
    |_, other| other.send(&Packet::PingReq),
    |world, other| {
        let key = other.key();
        let _ = world.core(|core, now| core.receive(now, key, &mut BytesMut::new()));
    },
    |world, other| {
        let key = other.key();
        let publish = Publish::new(name("t"), b"");
        let _ = world.core(|core, now| core.receive_publish(now, key, &publish, &Bytes::new()));
    },
    |_, other| other.drop_link(),
    |world, _| assert!(!world.core(|core, now| core.disconnect(now, "nobody", ReasonCode::ServerBusy))),
    |world, _| world.core(Core::shut_down),
    |world, _| world.core(Core::handle_timeout),
    |_, other| assert_eq!(other.transmit(), Flow::Idle),
    |_, other| assert_eq!(other.transmit_control(), Flow::Idle),
];

/// [MQTT-3.1.2-8]
#[test]
fn every_call_does_what_is_due() {
    for (number, call) in CALLS.into_iter().enumerate() {
        for (seconds, due) in [(9, false), (10, true)] {
            let world = World::with(|config| config.events = EventMask::ALL);
            let other = world.connect("other", V5, |_| ());
            world.connect("a", V5, leaving(10)).drop_link();
            asleep(&world, seconds);
            world.events();
            call(&world, &other);
            // What the last two calls bring about is fetched with the next.
            world.core(|_, _| ());
            let is_will =
                |event: &Event| matches!(event, Event::Published { client_id, .. } if &**client_id == "a");
            assert_eq!(world.events().iter().any(is_will), due, "call {number} after {seconds} s");
        }
    }
}

/// [MQTT-4.1.0-2] [MQTT-3.1.2-5]
#[test]
fn a_session_that_has_expired_is_not_resumed() {
    for (seconds, kept) in [(99, true), (100, false), (1_000_000, false)] {
        let world = World::new();
        let client = world.connect("a", V5, |connect| {
            leaving(0)(connect);
            connect.will = None;
        });
        client.subscribe("t", 1);
        client.drop_link();
        asleep(&world, seconds);
        assert_eq!(is_resumed(&world, "a"), kept, "after {seconds} s");
        assert_eq!(world.metrics().subscriptions, usize::from(kept));
        assert_eq!(world.metrics().sessions_expired, u64::from(!kept));
    }
}

/// Also where it expires while its client is being judged. [MQTT-4.1.0-2]
#[test]
fn a_session_that_expires_before_the_verdict_is_not_resumed() {
    for (seconds, kept) in [(1, true), (2, false)] {
        let world = World::with(|config| config.authenticate = true);
        let client = world.try_connect("a", V5, leaving(0));
        world.answer(world.question().0, Verdict::accept());
        client.accepted();
        client.drop_link();
        asleep(&world, 98);
        let client = world.try_connect("a", V5, persistent);
        asleep(&world, seconds);
        world.answer(world.question().0, Verdict::accept());
        assert_eq!(client.accepted().text.ends_with("present"), kept);
    }
}

/// Who is back after the delay has left a will, which a late broker still sends; once. [MQTT-3.1.2-8] [MQTT-3.1.3-9]
#[test]
fn a_will_that_is_due_is_not_taken_back() {
    for (seconds, sent) in [(9, false), (10, true), (100, true)] {
        let world = World::new();
        let watcher = world.connect("watcher", V5, |_| ());
        watcher.subscribe("will", 0);
        world.connect("a", V5, leaving(10)).drop_link();
        asleep(&world, seconds);
        let _back = world.connect("a", V5, persistent);
        assert_eq!(watcher.messages().len(), usize::from(sent), "after {seconds} s");
        world.advance(1000);
        watcher.expect_nothing();
    }
}

/// A CONNECT that comes too late is not answered, and a connection that never sends one makes room for others.
#[test]
fn a_handshake_that_took_too_long_is_over() {
    for version in ALL {
        for (seconds, accepted) in [(9, true), (10, false)] {
            let world = World::with(|config| config.limits.pending_handshakes = 1);
            let client = world.open("a", version);
            asleep(&world, seconds);
            client.connect("a", |_| ());
            if accepted {
                client.accepted();
            } else {
                client.expect_closed();
            }
            let _waits = world.open("b", version);
            asleep(&world, 10);
            world.connect("c", version, |_| ()).ping();
        }
    }
}

/// [MQTT-3.1.2-22]
#[test]
fn a_client_that_was_silent_for_too_long_is_not_heard() {
    for version in ALL {
        for (millis, heard) in [(14_999, true), (15_000, false)] {
            let world = World::new();
            let client = world.connect("a", version, |connect| connect.keep_alive = 10);
            world.advance_asleep(Duration::from_millis(millis));
            client.send(&Packet::PingReq);
            if heard {
                client.expect_all(&["PINGRESP"]);
            } else {
                client.expect_disconnect(0x8d);
            }
        }
    }
}

/// What is retained and has expired is not brought by a subscription. [MQTT-3.3.2-5]
#[test]
fn a_retained_message_that_has_expired_is_gone() {
    let world = World::new();
    let publisher = world.connect("p", V5, |_| ());
    publisher.publish_with("t", 0, "x", |publish| {
        (publish.retain, publish.properties.message_expiry) = (true, Some(10));
    });
    asleep(&world, 10);
    publisher.ping();
    assert_eq!(world.metrics().retained, 0);
    publisher.subscribe("t", 1);
    publisher.expect_nothing();
}

/// A time before that of an earlier call makes nothing due that is not, and undoes nothing.
#[test]
fn an_earlier_time_is_the_time_it_was() {
    let world = World::new();
    world.connect("a", V5, persistent).drop_link();
    let start = world.core(|_, now| now);
    let after = |seconds| start + Duration::from_secs(seconds);
    world.core(|core, _| {
        let first = core.open(after(3590), Peer::default());
        // Taken for the same time: the session has as much left as it had.
        let second = core.open(start, Peer::default());
        core.handle_timeout(Time::ZERO);
        assert_eq!(core.metrics().sessions, 1);
        assert_eq!(core.poll_timeout(), Some(after(3600)));
        core.handle_timeout(after(3599));
        assert_eq!((core.metrics().sessions, core.metrics().connects_refused), (1, 0));
        core.close(after(3600), second, CloseCause::Transport);
        assert_eq!((core.metrics().sessions, core.metrics().connects_refused), (0, 2));
        core.close(start, first, CloseCause::Transport);
        assert_eq!((core.metrics().sessions, core.metrics().connections), (0, 0));
    });
}
