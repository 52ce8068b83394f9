//! Messages and connections that break after each packet in turn.

use columba_codec::{QoS, ReasonCode, Version};
use columba_wasm::client::{ClientEvent, State};

use crate::world::{ALL, Cut, QOS, World, message, persistent};

/// How many messages each run publishes.
const COUNT: usize = 4;

/// Asserts what QoS promises of messages that were all published, in their order.
#[track_caller]
fn assert_promises(qos: QoS, came: &[String], context: &str) {
    let expected: Vec<String> = (0..COUNT).map(|number| format!("m{number}")).collect();
    let mut first = came.to_vec();
    match qos {
        QoS::AtMostOnce => {
            assert!(came.is_sorted() && came.len() <= COUNT, "{came:?} {context}");
            first.dedup();
            assert_eq!(first, came, "{context}");
        }
        QoS::AtLeastOnce => {
            let mut seen = Vec::new();
            first.retain(|text| {
                let is_new = !seen.contains(text);
                seen.push(text.clone());
                is_new
            });
            assert_eq!(first, expected, "{context}");
        }
        QoS::ExactlyOnce => assert_eq!(came, expected, "{context}"),
    }
}

/// Runs `run` with connections that break at every point, once and twice, until nothing breaks any more.
fn everywhere(run: impl Fn(&[Cut]) -> bool) {
    for lost in [false, true] {
        for first in 1.. {
            if !run(&[Cut { after: first, lost }]) {
                break;
            }
            for second in 1.. {
                if !run(&[Cut { after: first, lost }, Cut { after: first + second, lost: !lost }]) {
                    break;
                }
            }
        }
    }
}

/// Connects again as often as the connection breaks. Whether it has broken as often as it should.
fn persist(world: &mut World, end: usize, cuts: &[Cut]) -> bool {
    let mut cuts = cuts.iter().copied().peekable();
    for _ in 0..10 {
        if world.ends[end].cut.is_none() {
            world.ends[end].cut = cuts.next();
        }
        if world.client(end).state() != State::Offline {
            break;
        }
        world.connect(end);
    }
    assert_eq!(world.client(end).state(), State::Online, "{:#?}", world.ends[end].log);
    world.run();
    cuts.peek().is_none() && world.ends[end].cut.is_none()
}

#[test]
fn what_is_published_over_broken_connections_arrives_as_promised() {
    for version in ALL {
        for qos in QOS {
            everywhere(|cuts| {
                let mut world = World::new();
                let reader = world.join(persistent(Version::V5, "reader"));
                world.subscribe(reader, "t", QoS::ExactlyOnce);
                let writer = world.add(persistent(version, "writer"));
                world.ends[writer].cut = Some(cuts[0]);
                world.connect(writer);
                let now = world.now;
                // Without a connection too, once it has broken.
                for number in 0..COUNT {
                    let message = message("t", qos, &format!("m{number}"));
                    world.client(writer).publish(now, message).unwrap();
                    world.run();
                }
                let is_over = persist(&mut world, writer, &cuts[1..]);
                let context = format!("{version} {cuts:?} {:#?}", world.ends[writer].log);
                assert_promises(qos, &world.payloads(reader), &context);
                assert_eq!(world.outcomes(writer), vec![Ok(ReasonCode::Success); COUNT], "{context}");
                let client = world.client(writer);
                assert_eq!((client.inflight(), client.queued(), client.queued_bytes()), (0, 0, 0));
                is_over
            });
        }
    }
}

#[test]
fn what_is_received_over_broken_connections_comes_as_promised() {
    for version in ALL {
        for qos in QOS {
            for manual in [false, true] {
                everywhere(|cuts| {
                    let mut world = World::new();
                    let writer = world.join(persistent(Version::V5, "writer"));
                    let mut options = persistent(version, "reader");
                    options.manual_acks = manual;
                    let reader = world.join(options);
                    world.subscribe(reader, "t", QoS::ExactlyOnce);
                    world.ends[reader].packets = 0;
                    world.ends[reader].cut = Some(cuts[0]);
                    let mut came = Vec::new();
                    for number in 0..COUNT {
                        world.publish(writer, "t", qos, &format!("m{number}"));
                        came.extend(take(&mut world, reader, manual));
                    }
                    let is_over = persist(&mut world, reader, &cuts[1..]);
                    for _ in 0..COUNT {
                        came.extend(take(&mut world, reader, manual));
                        persist(&mut world, reader, &[]);
                    }
                    let context = format!("{version} {manual} {cuts:?} {:#?}", world.ends[reader].log);
                    assert_promises(qos, &came, &context);
                    let info = world.cores[0].client("reader").expect("the session is there");
                    assert_eq!((info.inflight, info.queued), (0, 0), "{context}");
                    is_over
                });
            }
        }
    }
}

/// Takes what came, and acknowledges it in the wrong order if it is to be acknowledged.
fn take(world: &mut World, reader: usize, manual: bool) -> Vec<String> {
    let now = world.now;
    let messages = world.messages(reader);
    let texts = messages.iter().map(|message| String::from_utf8(message.payload().to_vec()).unwrap());
    let texts = texts.collect();
    for message in messages.iter().rev().filter(|_| manual) {
        if let Some(ack) = message.ack() {
            // Stale, if the connection has broken meanwhile.
            let _ = world.client(reader).acknowledge(now, ack, ReasonCode::Success);
        }
    }
    world.run();
    texts
}

#[test]
fn a_session_that_is_lost_loses_no_message() {
    for version in [Version::V3_1_1, Version::V5] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for after in 1..20 {
                let mut world = World::new();
                let reader = world.join(persistent(Version::V5, "reader"));
                world.subscribe(reader, "t", QoS::ExactlyOnce);
                let mut options = persistent(version, "writer");
                options.clean_start = true;
                options.session_expiry = None;
                let writer = world.add(options);
                world.ends[writer].cut = Some(Cut { after, lost: after % 2 == 0 });
                world.connect(writer);
                let now = world.now;
                for number in 0..COUNT {
                    world.client(writer).publish(now, message("t", qos, &format!("m{number}"))).unwrap();
                }
                world.run();
                persist(&mut world, writer, &[]);
                let came = world.payloads(reader);
                // Without a session nobody can know what was there already.
                assert_promises(QoS::AtLeastOnce, &came, &format!("{after} {:#?}", world.ends[writer].log));
                assert_eq!(world.outcomes(writer), vec![Ok(ReasonCode::Success); COUNT]);
                assert_eq!(world.client(writer).inflight(), 0);
            }
        }
    }
}

#[test]
fn requests_are_answered_or_told_unanswered() {
    for version in ALL {
        for (after, lost) in [(3, true), (3, false), (4, true), (4, false)] {
            let mut world = World::new();
            let end = world.add(persistent(version, "a"));
            world.ends[end].cut = Some(Cut { after, lost });
            world.connect(end);
            let now = world.now;
            let filter = columba_codec::TopicFilter::parse("t").unwrap();
            let token = world.client(end).unsubscribe(now, &[filter], &[]).unwrap();
            world.run();
            let tells = |event: &ClientEvent| match event {
                ClientEvent::Unsubscribed { token: other, codes } => {
                    assert_eq!(codes.len(), 1);
                    *other == token && after == 4 && !lost
                }
                ClientEvent::Unanswered { token: other } => *other == token && (after == 3 || lost),
                _ => false,
            };
            assert_eq!(world.ends[end].events.iter().filter(|event| tells(event)).count(), 1);
        }
    }
}
