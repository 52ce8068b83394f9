//! A broker with limits that are soon reached, and up to eight clients that do anything: each byte of the input chooses
//! a step and who takes it, the ones behind it choose the rest.

use std::time::Duration;

use bytes::BytesMut;
use columba_codec::vectors;
use columba_core::codec::{FixedHeader, Packet, PacketType, Publish, QoS, ReasonCode, Version};
use columba_core::{
    CloseCause, Config, ConnectionKey, Core, EventMask, Flow, FullQueue, Grant, Time, Verdict,
};

use crate::build;
use crate::seeds::noise;
use crate::source::Source;
use crate::world::World;

/// The longest script.
const MAX_STEPS: usize = 500;
/// Open connections.
const MAX_LINKS: usize = 8;
/// Bytes that [`config`] takes.
const CONFIG_BYTES: usize = 27;

/// Runs the script that `data` stands for.
pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let Some(config) = config(&mut source) else { return };
    let mut world = World::new(config);
    for _ in 0..MAX_STEPS {
        if step(&mut source, &mut world).is_none() {
            break;
        }
        world.check();
    }
    world.wind_down();
}

/// Each packet of the codec's table, from a client that is online and as the first; and scripts without a plan.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for vector in vectors::all() {
        let version = match vector.version {
            Version::V5 => 28,
            Version::V3_1_1 => 29,
            Version::V3_1 => 30,
        };
        let raw = [&[14, vector.bytes.len() as u8], vector.bytes].concat();
        let mut online = vec![0; CONFIG_BYTES];
        // A client `a` with a clean start that is subscribed to everything, and the packet.
        online.extend([version, 0, 1, 6, 0, 0, 2]);
        online.extend(&raw);
        seeds.push(online);
        let mut first = vec![0; CONFIG_BYTES];
        first.extend([31, version]);
        first.extend(&raw);
        seeds.push(first);
    }
    for version in [28, 29, 30] {
        let mut resumed = vec![0; CONFIG_BYTES];
        // A client with a session that is to last subscribes at QoS 2 and sends itself messages of QoS 1 and 2.
        resumed.extend([version, 0, 0, 6, 0, 0, 2]);
        for packet_id in 0..4 {
            resumed.extend([0, 0, 1 + packet_id % 2, 0, packet_id]);
        }
        // It answers one, goes, and comes back with a Receive Maximum of 1, where it has one; then it answers.
        resumed.extend([10, 0, 18, version, 0, 16, 3, 1, 1]);
        resumed.extend([10, 0, 10, 0, 12, 12, 12]);
        seeds.push(resumed);
    }
    seeds.extend((0..64).map(|seed| noise(seed, 400)));
    seeds
}

/// Mostly what is generous: with everything tight at once little happens.
fn config(source: &mut Source<'_>) -> Option<Config> {
    let mut config = Config::default();
    config.full_queue = source.pick(&[
        FullQueue::DropNewest,
        FullQueue::DropOldest,
        FullQueue::DisconnectConsumer,
        FullQueue::RefusePublisher,
    ])?;
    // The model needs to know of clients.
    config.events = source.pick(&[EventMask::ALL, EventMask::CLIENTS])?;
    config.authenticate = source.one_in(4)?;
    config.maximum_qos = source.pick(&[
        QoS::ExactlyOnce,
        QoS::ExactlyOnce,
        QoS::ExactlyOnce,
        QoS::AtLeastOnce,
        QoS::AtMostOnce,
    ])?;
    // Each is off where all of its bits are set, so seldom.
    let features = source.byte()?;
    let has = |bits: u8| features & bits != bits;
    config.retain_available = has(0b0000_0111);
    config.wildcard_subscriptions = has(0b0001_1100);
    config.subscription_ids = has(0b0111_0000);
    config.shared_subscriptions = has(0b1100_0001);
    config.assign_client_ids = has(0b0100_1010);
    config.queue_qos0_offline = source.one_in(2)?;
    config.response_information = source.one_in(2)?.then(|| "responses/".into());
    config.server_keep_alive = source.pick(&[None, None, None, Some(20)])?;
    config.maximum_session_expiry = source.pick(&[None, None, None, None, Some(30), Some(0)])?;
    let limits = &mut config.limits;
    limits.connections = source.pick(&[100, 100, 100, 3])?;
    limits.sessions = source.pick(&[100, 100, 100, 2])?;
    limits.pending_handshakes = source.pick(&[100, 100, 100, 2])?;
    limits.packet_size = source.pick(&[100_000, 100_000, 500])?;
    let control = source.byte()?;
    limits.control_size = if control & 0b0011 < 0b0011 { 1000 } else { 300 };
    limits.connect_size = if control & 0b1100 < 0b1100 { 1000 } else { 300 };
    limits.wildcard_levels = if control & 0b0011_0000 < 0b0011_0000 { 1000 } else { 4 };
    limits.inflight = source.pick(&[1000, 1000, 1000, 1, 3])?;
    limits.receive_maximum = source.pick(&[1000, 1000, 1000, 1, 2])?;
    limits.queued_messages = source.pick(&[1000, 1000, 1000, 1000, 0, 1, 3])?;
    limits.queued_bytes = source.pick(&[1_000_000, 1_000_000, 1_000_000, 300, 30_000])?;
    limits.stored_bytes = source.pick(&[1_000_000, 1_000_000, 1_000_000, 600, 30_000])?;
    limits.subscriptions = source.pick(&[100, 100, 100, 2])?;
    limits.topic_levels = source.pick(&[100, 100, 100, 3])?;
    let retained = source.byte()?;
    limits.retained_messages = if retained & 0b0000_0011 < 0b0000_0011 { 100 } else { 1 };
    limits.retained_bytes = if retained & 0b0000_1100 < 0b0000_1100 { 100_000 } else { 300 };
    limits.retained_payload = if retained & 0b0011_0000 < 0b0011_0000 { usize::MAX } else { 10 };
    limits.retained_levels = if retained & 0b1100_0000 < 0b1100_0000 { 1000 } else { 3 };
    limits.topic_aliases_in = source.pick(&[64, 0, 2])?;
    limits.topic_aliases_out = source.pick(&[64, 0, 2])?;
    limits.output_backlog = source.pick(&[100_000, 100_000, 10])?;
    limits.transmit_budget = source.pick(&[100_000, 1, 100])?;
    limits.client_id_len = source.pick(&[200, 200, 200, 23])?;
    Some(config)
}

fn step(source: &mut Source<'_>, world: &mut World) -> Option<()> {
    let byte = source.byte()?;
    let opens = [Version::V5, Version::V3_1_1, Version::V3_1];
    let kind = usize::from(byte & 31);
    if world.links.is_empty() || kind >= 28 {
        return open(source, world, opens.get(kind.wrapping_sub(28)).copied());
    }
    let link = &world.links[usize::from(byte >> 5) % world.links.len()];
    let (key, version) = (link.key, link.version);
    let mut bytes = Vec::new();
    match kind {
        0..=5 => {
            let packet = Packet::Publish(build::publish(source, version)?);
            build::encode(&packet, version, &mut bytes);
        }
        6..=8 => build::filters(source, version, true, &mut bytes)?,
        9 => build::filters(source, version, false, &mut bytes)?,
        10 | 11 => answers(world, key, 1, source.one_in(4)?, &mut bytes),
        12 => answers(world, key, usize::MAX, false, &mut bytes),
        13 => build::any(source, version, &mut bytes)?,
        14 => bytes.extend(source.bytes()?),
        15 => {
            build::any(source, version, &mut bytes)?;
            damage(source, &mut bytes)?;
        }
        16 => {
            let pace = usize::from(source.byte()?);
            world.links.iter_mut().filter(|link| link.key == key).for_each(|link| link.pace = pace);
        }
        17 => build::encode(&build::other(source, version)?, version, &mut bytes),
        _ => return event(kind, source, world, key),
    }
    if !bytes.is_empty() {
        world.send(key, &bytes);
    }
    Some(())
}

/// A new connection, with CONNECT if `version` says of what kind.
fn open(source: &mut Source<'_>, world: &mut World, version: Option<Version>) -> Option<()> {
    if world.links.len() == MAX_LINKS {
        return Some(());
    }
    if let Some(version) = version {
        let packet = build::connect(source, version)?;
        let mut bytes = Vec::new();
        build::encode(&packet, version, &mut bytes);
        let key = world.open(version, false);
        world.send(key, &bytes);
    } else {
        let choice = source.byte()?;
        let version = [Version::V5, Version::V3_1_1, Version::V3_1, Version::V5][usize::from(choice & 3)];
        world.open(version, choice & 4 != 0);
    }
    Some(())
}

/// What happens besides packets.
fn event(kind: usize, source: &mut Source<'_>, world: &mut World, key: ConnectionKey) -> Option<()> {
    let now = world.now;
    match kind {
        18 => {
            world.close(key, CloseCause::Transport);
            world.pump();
        }
        19 => world.advance(Duration::from_millis(source.pick(&[0, 999, 1000, 5000, 20_000, 200_000])?)),
        20 => world.links.iter_mut().filter(|link| link.key == key).for_each(|link| link.stalled = true),
        21 => world.resume(key),
        22 => {
            let verdict = verdict(source)?;
            if let Some(ticket) = world.tickets.pop_front() {
                world.core.answer(now, ticket, verdict.clone());
                world.pump();
                // A second answer to one question says nothing.
                world.core.answer(now, ticket, verdict);
                world.pump();
            }
        }
        23 if source.one_in(8)? => {
            world.core.shut_down(now);
            world.pump();
        }
        24 => {
            let reasons = [ReasonCode::ServerBusy, ReasonCode::AdministrativeAction, ReasonCode::GrantedQoS1];
            let _ = world.core.disconnect(now, source.pick(&build::IDS)?, source.pick(&reasons)?);
            world.pump();
        }
        25 => {
            let poll = if source.one_in(2)? { Core::poll_transmit } else { Core::poll_transmit_control };
            if world.transmit(key, poll) == Flow::Close {
                world.close(key, CloseCause::Asked);
            }
            world.pump();
            // What was asked for besides may have been taken off the list of those who are ready.
            if world.find(key).is_some_and(|at| !world.links[at].stalled) {
                world.resume(key);
            }
        }
        26 => in_process(source, world, key)?,
        27 => odd(source, world)?,
        _ => {}
    }
    Some(())
}

fn verdict(source: &mut Source<'_>) -> Option<Verdict> {
    Some(match source.byte()? % 8 {
        0..=2 => Verdict::accept(),
        3 => Verdict::Accept(Grant { username: Some("somebody".into()), data: Some("data".into()) }),
        4 | 5 => Verdict::Continue { data: "?".into() },
        6 => Verdict::reject(ReasonCode::Banned),
        _ => Verdict::Reject { reason: ReasonCode::Success, text: source.text()?.into() },
    })
}

/// A PUBLISH that is handed over decoded, as it is only by clients of MQTT 5.
fn in_process(source: &mut Source<'_>, world: &mut World, key: ConnectionKey) -> Option<()> {
    let publish = build::publish(source, Version::V5)?;
    let mut bytes = Vec::new();
    build::encode(&Packet::Publish(publish), Version::V5, &mut bytes);
    let is_v5 = |at: usize| world.links[at].conversation.version == Some(Version::V5);
    if let Ok(Some(header)) = FixedHeader::read(&bytes, usize::MAX)
        && let Ok(publish) = Publish::decode(header.flags, &bytes[header.len..], Version::V5)
        && world.find(key).is_some_and(is_v5)
    {
        world.publish(key, &publish);
    }
    Some(())
}

/// Calls that a careless shell makes: they change nothing.
fn odd(source: &mut Source<'_>, world: &mut World) -> Option<()> {
    match source.byte()? % 4 {
        0 => {
            // Nobody wakes the broker in time.
            world.now = world.now + Duration::from_millis(source.pick(&[1, 1000, 30_000])?);
        }
        1 => {
            // A clock that goes back.
            world.core.handle_timeout(Time::from_secs(1));
            world.pump();
        }
        _ => {
            let Some(ghost) = world.ghost else { return Some(()) };
            let mut input = BytesMut::from(source.bytes()?);
            let _ = world.core.receive(world.now, ghost, &mut input);
            assert!(input.is_empty());
            world.core.close(world.now, ghost, CloseCause::Transport);
            assert_eq!(world.transmit(ghost, Core::poll_transmit), Flow::Close);
            world.pump();
        }
    }
    Some(())
}

/// The client acknowledges the oldest packets that wait for it.
fn answers(world: &mut World, key: ConnectionKey, count: usize, refuses: bool, out: &mut Vec<u8>) {
    let Some(at) = world.find(key) else { return };
    let link = &mut world.links[at];
    let count = count.min(link.answers.len());
    for (kind, id) in link.answers.drain(..count) {
        let may_refuse = kind == PacketType::PubAck || kind == PacketType::PubRec;
        let refuses = refuses && may_refuse;
        let reason = if refuses { ReasonCode::UnspecifiedError } else { ReasonCode::Success };
        if let Some(packet) = build::ack(kind, id, reason) {
            build::encode(&packet, link.version, out);
        }
    }
}

/// Changes, removes or adds a byte, or cuts the rest off.
fn damage(source: &mut Source<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let kind = source.byte()?;
    let (at, value) = (usize::from(source.byte()?), source.byte()?);
    if at >= bytes.len() {
        return Some(());
    }
    match kind % 4 {
        0 => bytes[at] ^= value,
        1 => bytes.insert(at, value),
        2 => drop(bytes.remove(at)),
        _ => bytes.truncate(at),
    }
    Some(())
}
