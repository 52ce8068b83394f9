//! Bytes in and out, over whatever carries them: pipes of every size, streams that fail, stall, buffer and half-close.

use std::num::NonZeroU16;

use columba::codec::{Ack, Connect, Disconnect, Packet, Publish, Will};
use columba::memory::{self, Pipe};
use columba::{
    Broker, BrokerGone, Cause, Event, EventMask, FuturesIo, Peer, QoS, ReasonCode, TopicName, Transport,
    Version,
};

use crate::world::{Frame, Link, LinkState, Wire, World, encode, next, text};

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

fn connect(id: &str, version: Version) -> Vec<u8> {
    encode(&Packet::Connect(Box::new(Connect::new(version, id))), version)
}

fn publish(topic: &str, payload: &[u8], qos: QoS) -> Vec<u8> {
    let mut packet = Publish::new(TopicName::parse(topic).unwrap(), payload);
    packet.qos = qos;
    packet.packet_id = (qos > QoS::AtMostOnce).then_some(NonZeroU16::MIN);
    encode(&Packet::Publish(packet), Version::V5)
}

/// What a client of any version does in its life, and what it sees.
async fn talk(wire: &mut Wire, version: Version) -> Vec<Frame> {
    let mut seen = Vec::new();
    wire.send_bytes(&connect("talker", version)).await;
    seen.push(wire.accepted().await);
    wire.subscribe("t/#", QoS::ExactlyOnce).await;

    wire.publish("t/0", b"zero", QoS::AtMostOnce).await;
    seen.push(wire.next().await);
    assert_eq!(seen.last().unwrap().publish().payload, b"zero");

    let id = wire.publish("t/1", &vec![1; 20_000], QoS::AtLeastOnce).await.unwrap();
    let ack = wire.next().await;
    assert_eq!((ack.packet().packet_type().name(), ack.acknowledged()), ("PUBACK", id));
    let came = wire.next().await;
    assert_eq!(came.publish().payload, vec![1; 20_000]);
    let came_id = came.publish().packet_id.unwrap();
    wire.send(&Packet::PubAck(Ack::new(came_id))).await;
    seen.extend([ack, came]);

    let id = wire.publish("t/2", b"two", QoS::ExactlyOnce).await.unwrap();
    assert_eq!(wire.next().await.acknowledged(), id);
    let came = wire.next().await;
    assert_eq!((came.publish().payload, came.publish().qos), (&b"two"[..], QoS::ExactlyOnce));
    let came_id = came.publish().packet_id.unwrap();
    wire.send(&Packet::PubRel(Ack::new(id))).await;
    assert_eq!(wire.next().await.packet(), Packet::PubComp(Ack::new(id)));
    wire.send(&Packet::PubRec(Ack::new(came_id))).await;
    assert_eq!(wire.next().await.packet(), Packet::PubRel(Ack::new(came_id)));
    wire.send(&Packet::PubComp(Ack::new(came_id))).await;
    seen.push(came);

    wire.send(&Packet::PingReq).await;
    assert_eq!(wire.next().await.packet(), Packet::PingResp);
    wire.disconnect().await;
    wire.ended().await;
    seen
}

#[test]
fn every_version_works_through_a_pipe_of_any_size() {
    for version in VERSIONS {
        let mut transcripts = Vec::new();
        for capacity in [1, 2, 3, 7, 64, 4096, 1 << 20] {
            let (broker, mut world) = World::new();
            let mut wire = Wire::open_sized(&broker, version, capacity);
            transcripts.push(world.run(talk(&mut wire, version)));
            world.settle();
            let metrics = world.run(broker.metrics()).unwrap();
            assert_eq!((metrics.connections, metrics.sessions, metrics.stored), (0, 0, 0));
        }
        assert!(transcripts.iter().all(|transcript| *transcript == transcripts[0]));
    }
}

#[test]
fn a_stream_of_futures_io_is_a_transport() {
    for capacity in [1, 5, 4096] {
        let (broker, mut world) = World::new();
        let (theirs, ours) = memory::pipe(capacity);
        broker.attach(FuturesIo::new(theirs), Peer::default()).unwrap();
        world.run(talk(&mut Wire::new(ours, Version::V5), Version::V5));
    }
}

#[test]
fn a_boxed_transport_is_a_transport() {
    let (broker, mut world) = World::new();
    let (theirs, ours) = memory::pipe(100);
    let boxed: Box<dyn Transport> = Box::new(theirs);
    broker.attach(boxed, Peer::default()).unwrap();
    world.run(talk(&mut Wire::new(ours, Version::V3_1_1), Version::V3_1_1));
}

#[test]
fn bytes_and_clients_in_the_same_process_meet() {
    let (broker, mut world) = World::new();
    world.run(async {
        let client = broker.client("in-process").connect().await.unwrap();
        client.subscribe("to/client", QoS::AtLeastOnce).await.unwrap();
        let mut wires = Vec::new();
        for version in VERSIONS {
            let mut wire = Wire::connect(&broker, &format!("{version}"), version).await;
            wire.subscribe("to/wires", QoS::AtMostOnce).await;
            wires.push(wire);
        }
        for wire in &mut wires {
            wire.publish("to/client", b"hello", QoS::AtLeastOnce).await;
            assert_eq!(text(&next(&client).await), "hello");
            assert_eq!(wire.next().await.packet().packet_type().name(), "PUBACK");
        }
        let message = columba::Publish::new("to/wires", vec![7; 100_000]).content_type("numbers");
        client.send(message).await.unwrap();
        for wire in &mut wires {
            let frame = wire.next().await;
            assert_eq!(frame.publish().payload, vec![7; 100_000]);
            let expected = (frame.version == Version::V5).then_some("numbers");
            assert_eq!(frame.publish().properties.content_type, expected);
        }
    });
}

#[test]
fn the_answers_reach_a_client_that_has_ended_its_sending() {
    let (broker, mut world) = World::new();
    world.run(async {
        let watcher = broker.client("watcher").connect().await.unwrap();
        watcher.subscribe("#", QoS::AtLeastOnce).await.unwrap();
        // All of it is there before the broker looks.
        let mut wire = Wire::open(&broker, Version::V5);
        let mut packet = Connect::new(Version::V5, "half");
        let topic = TopicName::parse("gone").unwrap();
        let (qos, retain, delay, properties) =
            (QoS::AtLeastOnce, false, None, columba::codec::MessageProperties::default());
        packet.will = Some(Will { topic, payload: b"half", qos, retain, delay, properties });
        wire.send(&Packet::Connect(Box::new(packet))).await;
        let id = wire.publish("t", b"last words", QoS::AtLeastOnce).await.unwrap();
        wire.close_write().await;
        wire.accepted().await;
        assert_eq!(wire.next().await.acknowledged(), id);
        wire.ended().await;
        assert_eq!(text(&next(&watcher).await), "last words");
        assert_eq!(next(&watcher).await.topic(), "gone", "it left without DISCONNECT");
    });
}

#[test]
fn a_client_that_ends_in_the_middle_of_a_packet_is_gone() {
    let (broker, mut world) = World::new();
    let events = broker.events(EventMask::CLIENTS).unwrap();
    world.run(async {
        let mut wire = Wire::connect(&broker, "cut", Version::V5).await;
        let bytes = publish("t", b"never", QoS::AtMostOnce);
        wire.send_bytes(&bytes[..bytes.len() - 1]).await;
        drop(wire);
        assert!(matches!(events.recv().await, Some(Event::Connected { .. })));
        let Some(Event::Disconnected { cause, .. }) = events.recv().await else { panic!("it is reported") };
        assert_eq!(cause, Cause::Transport);
        assert_eq!(broker.metrics().await.unwrap().publishes_received, 0);
    });
}

#[test]
fn a_transport_that_fails_ends_its_connection() {
    for fail in [
        |state: &mut LinkState| state.read_error = true,
        |state: &mut LinkState| {
            state.write_error = true;
            state.incoming.extend_from_slice(&encode(&Packet::PingReq, Version::V5));
        },
    ] {
        let (broker, mut world) = World::new();
        let events = broker.events(EventMask::CLIENTS).unwrap();
        let (link, state) = Link::new();
        broker.attach(link, Peer::default()).unwrap();
        LinkState::change(&state, |state| state.incoming.extend_from_slice(&connect("a", Version::V5)));
        world.settle();
        assert!(matches!(events.try_recv(), Some(Event::Connected { .. })));
        LinkState::change(&state, fail);
        world.settle();
        assert!(matches!(events.try_recv(), Some(Event::Disconnected { cause: Cause::Transport, .. })));
        assert!(state.lock().unwrap().dropped);
        assert_eq!(world.run(broker.metrics()).unwrap().connections, 0);
    }
}

#[test]
fn a_transport_that_fails_while_it_closes_is_dropped() {
    let (broker, mut world) = World::new();
    let (link, state) = Link::new();
    broker.attach(link, Peer::default()).unwrap();
    LinkState::change(&state, |state| state.incoming.extend_from_slice(&connect("a", Version::V5)));
    world.settle();
    LinkState::change(&state, |state| state.room = Some(0));
    assert_eq!(world.run(broker.disconnect("a", ReasonCode::AdministrativeAction)), Ok(true));
    world.settle();
    assert!(!state.lock().unwrap().dropped, "DISCONNECT is still to be sent");
    LinkState::change(&state, |state| state.write_error = true);
    world.settle();
    assert!(state.lock().unwrap().dropped);
}

#[test]
fn a_reader_that_never_reads_costs_no_more_than_its_limits() {
    let limit = 100;
    let (broker, mut world) = World::with(Broker::builder().configure(|config| {
        config.limits.queued_messages = limit;
        config.limits.output_backlog = 1000;
    }));
    let (link, state) = Link::new();
    broker.attach(link, Peer::default()).unwrap();
    LinkState::change(&state, |state| {
        state.incoming.extend_from_slice(&connect("slow", Version::V5));
        // SUBSCRIBE to # at QoS 1.
        state.incoming.extend_from_slice(b"\x82\x07\x00\x01\x00\x00\x01#\x01");
    });
    world.settle();
    assert_eq!(world.run(broker.subscriptions("slow")).unwrap()[0].filter, "#");
    LinkState::change(&state, |state| state.room = Some(0));

    world.run(async {
        let publisher = broker.client("publisher").connect().await.unwrap();
        let reader = broker.client("reader").connect().await.unwrap();
        reader.subscribe("#", QoS::AtLeastOnce).await.unwrap();
        for number in 0..50_000 {
            let message = columba::Publish::new("n", number.to_string()).qos(QoS::AtLeastOnce);
            publisher.send(message).await.unwrap();
            assert_eq!(text(&next(&reader).await), number.to_string());
        }
        let metrics = broker.metrics().await.unwrap();
        let inflight = 1024;
        assert!(metrics.stored <= limit + inflight, "{} are kept", metrics.stored);
        assert!(metrics.dropped_queue_full >= 50_000 - (limit + inflight) as u64);
    });
    // Nor does it make the broker hold answers without end.
    let before = world.run(broker.metrics()).unwrap().packets_received;
    for _ in 0..100 {
        let pings = encode(&Packet::PingReq, Version::V5).repeat(1000);
        LinkState::change(&state, |state| state.incoming.extend_from_slice(&pings));
        world.settle();
    }
    let taken = world.run(broker.metrics()).unwrap().packets_received - before;
    assert!(taken < 1000, "{taken} of 100,000 were read");
    // When it reads again, it gets everything that is left.
    LinkState::change(&state, |state| state.room = None);
    world.settle();
    let taken = world.run(broker.metrics()).unwrap().packets_received - before;
    assert_eq!(taken, 100_000);
    assert_eq!(state.lock().unwrap().sent.windows(2).filter(|pair| *pair == b"\xD0\x00").count(), 100_000);
}

#[test]
fn what_a_transport_holds_back_is_flushed() {
    let (broker, mut world) = World::new();
    let (link, state) = Link::new();
    broker.attach(link, Peer::default()).unwrap();
    LinkState::change(&state, |state| {
        state.flushing = true;
        state.incoming.extend_from_slice(&connect("a", Version::V3_1_1));
    });
    world.settle();
    assert_eq!(state.lock().unwrap().sent, b"", "all of it was accepted, and none passed on");
    // It comes to be passed on by being asked again, without anything new to send.
    LinkState::change(&state, |state| state.flushing = false);
    world.settle();
    assert_eq!(state.lock().unwrap().sent, b"\x20\x02\x00\x00");
}

#[test]
fn a_stream_with_a_buffer_of_its_own_loses_nothing() {
    // A writer that passes bytes on in `poll_flush` only, into a pipe that is far too small for a message.
    let (broker, mut world) = World::new();
    let (theirs, ours) = memory::pipe(10);
    broker.attach(FuturesIo::new(Buffered::new(theirs)), Peer::default()).unwrap();
    world.run(async {
        let client = broker.client("in-process").connect().await.unwrap();
        let mut wire = Wire::new(ours, Version::V5);
        wire.send_bytes(&connect("wire", Version::V5)).await;
        wire.accepted().await;
        wire.subscribe("#", QoS::AtMostOnce).await;
        for number in 0..2000 {
            client.publish("n", number.to_string().repeat(100)).await.unwrap();
        }
        for number in 0..2000 {
            assert_eq!(wire.next().await.publish().payload, number.to_string().repeat(100).as_bytes());
        }
    });
}

/// What a TLS stream does: bytes are accepted into a buffer and passed on when it is flushed.
struct Buffered {
    pipe: Pipe,
    buffer: std::collections::VecDeque<u8>,
}

impl Buffered {
    fn new(pipe: Pipe) -> Self {
        Self { pipe, buffer: std::collections::VecDeque::new() }
    }
}

mod buffered {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use futures::io::{AsyncRead, AsyncWrite};

    use super::Buffered;

    impl AsyncRead for Buffered {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            AsyncRead::poll_read(Pin::new(&mut self.pipe), cx, buf)
        }
    }

    impl AsyncWrite for Buffered {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.buffer.extend(buf);
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            while !self.buffer.is_empty() {
                let Self { pipe, buffer } = &mut *self;
                let count = ready!(AsyncWrite::poll_write(Pin::new(pipe), cx, buffer.make_contiguous()))?;
                buffer.drain(..count);
            }
            Poll::Ready(Ok(()))
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            ready!(self.as_mut().poll_flush(cx))?;
            AsyncWrite::poll_close(Pin::new(&mut self.pipe), cx)
        }
    }
}

#[test]
fn what_is_announced_is_not_reserved() {
    let (broker, mut world) = World::new();
    let (link, state) = Link::new();
    broker.attach(link, Peer::default()).unwrap();
    LinkState::change(&state, |state| state.incoming.extend_from_slice(&connect("a", Version::V5)));
    // A PUBLISH of 16 MiB, of which one byte comes at a time.
    for byte in b"\x30\xF0\xFF\xFF\x07\x00\x01t\x00" {
        LinkState::change(&state, |state| state.incoming.extend_from_slice(&[*byte]));
        world.settle();
    }
    let state = state.lock().unwrap();
    assert!(!state.dropped && state.reads > 10);
    assert!(state.offered <= 256 << 10, "{} bytes were offered for nine", state.offered);
}

#[test]
fn stray_bytes_of_one_transport_never_reach_another() {
    for fails in [false, true] {
        let (broker, mut world) = World::new();
        let ((bad, bad_state), (good, good_state)) = (Link::new(), Link::new());
        broker.attach(bad, Peer::default()).unwrap();
        broker.attach(good, Peer::default()).unwrap();
        world.settle();
        LinkState::change(&bad_state, |state| state.stray = Some((connect("stranger", Version::V5), fails)));
        world.settle();
        LinkState::change(&good_state, |state| {
            state.incoming.extend_from_slice(&connect("good", Version::V5));
        });
        world.settle();
        let clients = world.run(broker.clients()).unwrap();
        let ids: Vec<&str> = clients.iter().map(|info| &*info.client_id).collect();
        assert_eq!(ids, ["good"]);
    }
}

#[test]
fn a_transport_that_does_not_close_is_dropped_in_the_end() {
    let (broker, mut world) =
        World::with(Broker::builder().configure(|config| config.limits.close_timeout = 0));
    for state_of_it in [
        |state: &mut LinkState| state.close_pending = true,
        |state: &mut LinkState| {
            state.room = Some(0);
        },
    ] {
        let (link, state) = Link::new();
        broker.attach(link, Peer::default()).unwrap();
        LinkState::change(&state, |state| state.incoming.extend_from_slice(&connect("a", Version::V5)));
        world.settle();
        LinkState::change(&state, state_of_it);
        world.run(async {
            assert_eq!(broker.disconnect("a", ReasonCode::AdministrativeAction).await, Ok(true));
            while !state.lock().unwrap().dropped {
                broker.metrics().await.unwrap();
            }
        });
        assert!(!state.lock().unwrap().closed);
    }
}

#[test]
fn the_last_packet_arrives_before_the_end() {
    for capacity in [1, 64 << 10] {
        let (broker, mut world) = World::new();
        world.run(async {
            let mut wire = Wire::open_sized(&broker, Version::V5, capacity);
            wire.send_bytes(&connect("a", Version::V5)).await;
            wire.accepted().await;
            wire.send(&Packet::Disconnect(Disconnect::new(ReasonCode::DisconnectWithWill))).await;
            wire.ended().await;

            let mut wire = Wire::open_sized(&broker, Version::V5, capacity);
            wire.send_bytes(&connect("a", Version::V5)).await;
            wire.accepted().await;
            wire.send_bytes(b"\x00\x00").await;
            assert_eq!(wire.disconnected().await, ReasonCode::MalformedPacket);

            let mut wire = Wire::open_sized(&broker, Version::V3_1_1, capacity);
            wire.send_bytes(b"\x10\x0c\x00\x04MQTT\x06\x02\x00\x00\x00\x00").await;
            assert_eq!(wire.refused().await, ReasonCode::UnsupportedProtocolVersion);
        });
    }
}

#[test]
fn a_broker_that_is_gone_takes_no_transport() {
    let (broker, mut world) = World::new();
    let (link, before) = Link::new();
    broker.attach(link, Peer::default()).unwrap();
    world.drop_driver();
    assert!(before.lock().unwrap().dropped, "also one that the driver had not seen yet");
    assert!(broker.is_gone());
    let (link, after) = Link::new();
    assert_eq!(broker.attach(link, Peer::default()), Err(BrokerGone));
    assert!(after.lock().unwrap().dropped);
}
