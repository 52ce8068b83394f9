//! Clients that do anything at any time, well and badly. Nothing they do may upset the broker, break a rule towards
//! another client, exceed a limit or leave anything behind: the world holds every packet against the rules, and looks
//! for what is left when it ends.

use std::collections::BTreeSet;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use columba_core::codec::{
    Connect, List, Packet, PacketId, PacketType, Publish, ReasonCode, RetainHandling, SubscriptionOptions,
    Version, Will,
};
use columba_core::{Config, Core, EventMask, FullQueue, Verdict};

use crate::world::{ALL, Client, V5, World, level, name, persistent, will};

const CASES: u64 = 10_000;
const STEPS: u32 = 30;

const IDS: [&str; 4] = ["a", "b", "c", ""];
const TOPICS: [&str; 6] = ["a", "a/b", "b/c/d", "$x", "a/long/topic/of/many/levels", "ä"];
const FILTERS: [&str; 9] =
    ["#", "a", "a/+", "+/+", "$share/g/#", "$share/g/a", "$share/h/+/b", "$x", "a/long/topic/of/many/levels"];

/// A sequence of numbers that depends on its start alone (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }
}

/// Limits that are soon reached.
fn tight(random: &mut Random, config: &mut Config) {
    config.full_queue = random.pick(&[
        FullQueue::DropNewest,
        FullQueue::DropOldest,
        FullQueue::DisconnectConsumer,
        FullQueue::RefusePublisher,
    ]);
    config.events = random.pick(&[EventMask::ALL, EventMask::NONE]);
    config.authenticate = random.one_in(5);
    config.maximum_qos = level(random.pick(&[0, 1, 2, 2, 2, 2]));
    config.retain_available = !random.one_in(10);
    config.queue_qos0_offline = random.one_in(3);
    config.server_keep_alive = random.pick(&[None, None, Some(20)]);
    config.maximum_session_expiry = random.pick(&[None, None, Some(30)]);
    let limits = &mut config.limits;
    limits.connections = random.pick(&[4, 100]);
    limits.sessions = random.pick(&[2, 100]);
    limits.pending_handshakes = random.pick(&[2, 100]);
    limits.packet_size = random.pick(&[500, 100_000]);
    limits.control_size = random.pick(&[200, 1000]);
    limits.inflight = random.pick(&[1, 3, 1000]);
    limits.receive_maximum = random.pick(&[2, 1000]);
    limits.queued_messages = random.pick(&[0, 1, 3, 1000]);
    limits.queued_bytes = random.pick(&[300, 30_000, 1_000_000]);
    limits.stored_bytes = random.pick(&[600, 30_000, 1_000_000]);
    limits.subscriptions = random.pick(&[2, 100]);
    limits.wildcard_levels = random.pick(&[4, 1000]);
    limits.topic_levels = random.pick(&[3, 100]);
    limits.retained_messages = random.pick(&[1, 100]);
    limits.retained_levels = random.pick(&[4, 1000]);
    limits.retained_bytes = random.pick(&[300, 100_000]);
    limits.topic_aliases_in = random.pick(&[0, 2, 64]);
    limits.topic_aliases_out = random.pick(&[0, 2, 64]);
    limits.output_backlog = random.pick(&[10, 100_000]);
    limits.transmit_budget = random.pick(&[1, 100, 100_000]);
}

fn connect(random: &mut Random, client: &Client) {
    let id = random.pick(&IDS);
    let random_will = random.one_in(2).then(|| Will {
        qos: level(random.pick(&[0, 1, 2])),
        retain: random.one_in(3),
        delay: random.pick(&[None, Some(5), Some(50)]),
        ..will(random.pick(&TOPICS), random.pick(&["", "gone"]))
    });
    client.connect(id, |connect: &mut Connect<'_>| {
        connect.clean_start = random.one_in(3);
        connect.keep_alive = random.pick(&[0, 0, 1, 10, 100]);
        connect.will = random_will;
        let properties = &mut connect.properties;
        properties.session_expiry = random.pick(&[None, Some(0), Some(20), Some(100), Some(u32::MAX)]);
        properties.receive_maximum = NonZeroU16::new(random.pick(&[0, 1, 2, 100]));
        properties.maximum_packet_size = NonZeroU32::new(random.pick(&[0, 0, 0, 10, 50, 1000]));
        properties.topic_alias_maximum = random.pick(&[None, Some(1), Some(100)]);
        properties.authentication_method = random.one_in(10).then_some("m");
    });
}

fn publish(random: &mut Random, client: &Client) {
    let size = random.pick(&[0, 1, 100, 400, 9000]);
    let payload = vec![b'x'; size];
    let mut publish = Publish::new(name(random.pick(&TOPICS)), &payload);
    publish.qos = level(random.pick(&[0, 1, 2]));
    publish.retain = random.one_in(3);
    publish.packet_id = PacketId::new(random.pick(&[1, 1, 2, 3, 65_535])).filter(|_| publish.qos > level(0));
    publish.dup = publish.packet_id.is_some() && random.one_in(3);
    publish.properties.message_expiry = random.pick(&[None, None, Some(0), Some(5), Some(1000)]);
    if random.one_in(4) {
        publish.properties.user_properties = List::from_slice(&[("k", "v")]);
    }
    if client.is_v5() && random.one_in(3) {
        publish.topic_alias = NonZeroU16::new(random.pick(&[1, 2, 3]));
        if random.one_in(2) {
            publish.topic = None;
        }
    }
    client.send(&Packet::Publish(publish));
}

fn subscribe(random: &mut Random, client: &Client) {
    let filters: Vec<_> = (0..=random.below(3))
        .map(|_| {
            let filter = random.pick(&FILTERS);
            let options = SubscriptionOptions {
                qos: level(random.pick(&[0, 1, 2])),
                no_local: !filter.starts_with("$share") && random.one_in(4),
                retain_as_published: random.one_in(2),
                retain_handling: random.pick(&[RetainHandling::Send, RetainHandling::SendIfNew]),
            };
            (filter, options)
        })
        .collect();
    client.start_subscribe(&filters, random.pick(&[None, Some(1), Some(2)]));
}

/// Answers what has come, mostly as it should be.
fn acknowledge(random: &mut Random, client: &Client) {
    let count = random.below(4) as usize;
    for received in client.drain().into_iter().take(count) {
        let (kind, id) = match received.packet() {
            Packet::Publish(publish) => match (publish.qos as u8, publish.packet_id) {
                (1, Some(id)) => (PacketType::PubAck, id),
                (2, Some(id)) => (PacketType::PubRec, id),
                _ => continue,
            },
            Packet::PubRel(ack) => (PacketType::PubComp, ack.packet_id),
            Packet::PubRec(ack) => (PacketType::PubRel, ack.packet_id),
            _ => continue,
        };
        let may_fail = kind == PacketType::PubAck || kind == PacketType::PubRec;
        let reason =
            if may_fail && random.one_in(8) { ReasonCode::UnspecifiedError } else { ReasonCode::Success };
        client.ack_with(kind, id.get(), reason);
    }
}

/// Bytes that are no packet, or hardly one.
fn garbage(random: &mut Random, client: &Client) {
    let mut bytes = Vec::new();
    Publish::new(name("a"), b"payload").encode(client.version(), &mut bytes).expect("it is one");
    match random.below(4) {
        0 => bytes = random.bytes(20),
        1 => {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next() as u8;
        }
        2 => bytes.truncate(random.below(bytes.len() as u64) as usize),
        _ => {
            bytes = random.bytes(6);
            bytes.splice(0..0, [random.next() as u8, random.below(8) as u8]);
        }
    }
    client.send_bytes(&bytes);
}

fn step(random: &mut Random, world: &World, clients: &mut Vec<Client>) {
    if clients.is_empty() || random.one_in(8) {
        let version: Version = random.pick(&ALL);
        let client = world.open("x", version);
        if !random.one_in(10) {
            connect(random, &client);
        }
        clients.push(client);
    }
    let at = random.below(clients.len() as u64) as usize;
    let client = &clients[at];
    match random.below(40) {
        0..=11 => publish(random, client),
        12..=17 => subscribe(random, client),
        18..=24 => acknowledge(random, client),
        25 => {
            let kinds = [PacketType::PubAck, PacketType::PubRec, PacketType::PubRel, PacketType::PubComp];
            client.ack(random.pick(&kinds), random.pick(&[1, 2, 9]));
        }
        26 => garbage(random, client),
        27 => client.stall(),
        28 | 29 => client.resume(),
        30 => world.advance(random.pick(&[0, 1, 5, 20, 200])),
        31 | 32 if client.is_open() => client.drop_link(),
        33 => client.disconnect_with(
            random.pick(&[ReasonCode::Success, ReasonCode::DisconnectWithWill]),
            random.pick(&[None, Some(0), Some(20)]),
        ),
        34 => drop(client.start_unsubscribe(&[random.pick(&FILTERS)])),
        35 => client.send(&Packet::PingReq),
        36 if client.version() == V5 => client.auth(
            random.pick(&[ReasonCode::ReAuthenticate, ReasonCode::ContinueAuthentication]),
            random.pick(&[None, Some("m"), Some("n")]),
            None,
        ),
        37 => drop(world.core(|core, now| core.disconnect(now, random.pick(&IDS), ReasonCode::ServerBusy))),
        38 if random.one_in(20) => world.core(Core::shut_down),
        39 => world.advance_asleep(Duration::from_secs(random.pick(&[0, 1, 5, 20, 200]))),
        _ => {}
    }
    if let Some(ticket) = world.next_ticket().filter(|_| random.one_in(2)) {
        world.answer(
            ticket,
            match random.below(5) {
                0 => Verdict::reject(ReasonCode::Banned),
                1 => Verdict::Continue { data: "?".into() },
                _ => Verdict::accept(),
            },
        );
    }
    clients.retain(Client::is_open);
}

fn check_limits(world: &World) {
    world.core(|core, _| {
        let (metrics, limits) = (core.metrics(), &core.config().limits);
        assert!(metrics.stored_bytes <= limits.stored_bytes, "{metrics:?} {limits:?}");
        assert!(metrics.retained <= limits.retained_messages, "{metrics:?} {limits:?}");
        assert!(metrics.retained_bytes <= limits.retained_bytes, "{metrics:?} {limits:?}");
        assert!(metrics.retained <= metrics.stored, "{metrics:?}");
        assert!(metrics.sessions <= limits.sessions, "{metrics:?} {limits:?}");
        for client in core.clients() {
            assert!(client.queued <= limits.queued_messages, "{client:?} {limits:?}");
            assert!(client.queued_bytes <= limits.queued_bytes, "{client:?} {limits:?}");
            assert!(client.subscriptions <= limits.subscriptions, "{client:?} {limits:?}");
        }
    });
}

#[test]
fn whatever_clients_do_the_broker_stays_whole() {
    for seed in 0..CASES {
        run(seed, 1);
    }
}

/// The same of a broker in several shards, and in the end all retain the same.
#[test]
fn whatever_clients_do_the_shards_stay_whole() {
    for seed in 0..CASES / 4 {
        run(seed, 2 + (seed % 3) as usize);
    }
}

/// Whatever they did, the broker can die at any moment: what comes back from a snapshot is the same again from its own,
/// keeps the limits, and leaves nothing behind.
#[test]
fn whatever_clients_did_the_broker_comes_back() {
    for seed in 0..CASES / 4 {
        caught(seed, || {
            let mut random = Random(seed);
            let (world, mut clients) = play(&mut random, 1);
            let back = world.restarted(random.pick(&[0, 1, 5, 30, 1000]));
            check_limits(&back);
            assert_eq!(back.restarted(0).snapshot(), back.snapshot());
            clients.clear();
            for _ in 0..STEPS {
                step(&mut random, &back, &mut clients);
            }
            check_limits(&back);
        });
    }
}

/// One case, by its number.
fn run(seed: u64, shards: usize) {
    caught(seed, || {
        let (world, _) = play(&mut Random(seed), shards);
        check_limits(&world);
    });
}

fn play(random: &mut Random, shards: usize) -> (World, Vec<Client>) {
    let world = World::sharded(shards, |config| tight(random, config));
    let mut clients = Vec::new();
    for _ in 0..STEPS {
        step(random, &world, &mut clients);
    }
    (world, clients)
}

/// Names the case that fails.
fn caught(seed: u64, case: impl FnOnce() + std::panic::UnwindSafe) {
    let outcome = std::panic::catch_unwind(case);
    if let Err(panic) = outcome {
        eprintln!("in case {seed}");
        std::panic::resume_unwind(panic);
    }
}

/// A publisher that keeps the rules of QoS 1 and 2 over any number of connections.
struct Sender {
    link: Client,
    next: u32,
    /// Packet identifier, number and QoS of what is under way, and whether PUBREC has come.
    under_way: Vec<(u16, u32, u8, bool)>,
}

/// A subscriber that does the same, and acknowledges when it pleases.
struct Receiver {
    link: Client,
    /// QoS 2 messages that are not released.
    unreleased: BTreeSet<u16>,
    unanswered: Vec<(PacketType, u16)>,
    /// Numbers received at QoS 1 and 2.
    numbers: [Vec<u32>; 2],
}

impl Sender {
    fn publish(&self, (id, number, qos, released): (u16, u32, u8, bool), dup: bool) {
        if released {
            return self.link.ack(PacketType::PubRel, id);
        }
        let topic = if qos == 1 { "one" } else { "two" };
        self.link.start(topic, qos, number.to_string(), |publish| {
            (publish.packet_id, publish.dup) = (PacketId::new(id), dup);
        });
    }

    fn send(&mut self) {
        let used = |id| self.under_way.iter().any(|message| message.0 == id);
        if let Some(id) = (1..6).find(|&id| !used(id)) {
            let qos = 1 + (self.next % 2) as u8;
            self.under_way.push((id, self.next / 2, qos, false));
            self.next += 1;
            self.publish((id, (self.next - 1) / 2, qos, false), false);
        }
    }

    fn read(&mut self) {
        for received in self.link.drain() {
            match received.packet() {
                Packet::PubRec(ack) => {
                    let id = ack.packet_id.get();
                    for message in self.under_way.iter_mut().filter(|message| message.0 == id) {
                        message.3 = true;
                    }
                    self.link.ack(PacketType::PubRel, id);
                }
                Packet::PubAck(ack) | Packet::PubComp(ack) => {
                    self.under_way.retain(|message| message.0 != ack.packet_id.get());
                }
                _ => {}
            }
        }
    }

    fn reconnect(&mut self, world: &World, version: Version) {
        self.link = world.connect("sender", version, persistent);
        for &message in &self.under_way {
            self.publish(message, true);
        }
    }
}

impl Receiver {
    fn read(&mut self) {
        for received in self.link.drain() {
            match received.packet() {
                Packet::Publish(publish) => {
                    let id = publish.packet_id.map_or(0, PacketId::get);
                    let number = std::str::from_utf8(publish.payload).ok().and_then(|text| text.parse().ok());
                    let number = number.expect("it is a number");
                    if publish.qos == level(1) {
                        self.numbers[0].push(number);
                        self.unanswered.push((PacketType::PubAck, id));
                    } else {
                        if self.unreleased.insert(id) {
                            self.numbers[1].push(number);
                        }
                        self.unanswered.push((PacketType::PubRec, id));
                    }
                }
                Packet::PubRel(ack) => {
                    self.unreleased.remove(&ack.packet_id.get());
                    self.unanswered.push((PacketType::PubComp, ack.packet_id.get()));
                }
                _ => {}
            }
        }
    }

    /// Answers so much of what has come, at whichever end.
    fn answer(&mut self, random: &mut Random, count: usize) {
        for _ in 0..count.min(self.unanswered.len()) {
            let at = if random.one_in(2) { 0 } else { random.below(self.unanswered.len() as u64) as usize };
            let (kind, id) = self.unanswered.remove(at);
            self.link.ack(kind, id);
        }
    }

    fn reconnect(&mut self, world: &World, version: Version) {
        self.unanswered.clear();
        self.link = world.connect("receiver", version, persistent);
    }
}

/// Links break, are taken over and stand still, acknowledgements are lost, late and out of order: what was published
/// at QoS 2 arrives once and in order; at QoS 1 it arrives, the first time in order. [MQTT-4.3.3-10] [MQTT-4.6.0-5]
#[test]
fn messages_arrive_whatever_the_links_do() {
    for seed in 0..150 {
        let mut random = Random(seed);
        let shards = 1 + (seed % 3) as usize;
        let world = World::sharded(shards, |config| config.limits.inflight = random.pick(&[1, 4, 1000]));
        let version: Version = random.pick(&ALL);
        let mut receiver = Receiver {
            link: world.connect("receiver", version, persistent),
            unreleased: BTreeSet::new(),
            unanswered: Vec::new(),
            numbers: [Vec::new(), Vec::new()],
        };
        receiver.link.subscribe("+", 2);
        let link = world.connect("sender", version, persistent);
        let mut sender = Sender { link, next: 0, under_way: Vec::new() };
        for _ in 0..300 {
            match random.below(20) {
                0..=7 => sender.send(),
                8..=10 => sender.read(),
                11..=13 => receiver.read(),
                14..=15 => receiver.answer(&mut random, 2),
                16 => receiver.link.stall(),
                17 => receiver.link.resume(),
                18 => {
                    // What has come and was not read is lost; now and then the old connection does not even know.
                    if random.one_in(2) {
                        sender.link.drop_link();
                    }
                    sender.reconnect(&world, version);
                }
                _ => {
                    if random.one_in(2) {
                        receiver.link.drop_link();
                    }
                    receiver.reconnect(&world, version);
                }
            }
        }
        receiver.link.resume();
        for _ in 0..1000 {
            sender.read();
            receiver.read();
            receiver.answer(&mut random, usize::MAX);
        }
        assert_eq!((world.metrics().stored, sender.under_way.len()), (0, 0), "in case {seed}");
        let expected = |count: u32| (0..count).collect::<Vec<_>>();
        let mut first_times = receiver.numbers[0].clone();
        let mut seen = BTreeSet::new();
        first_times.retain(|number| seen.insert(*number));
        assert_eq!(first_times, expected(sender.next.div_ceil(2)), "QoS 1 in case {seed}");
        assert_eq!(receiver.numbers[1], expected(sender.next / 2), "QoS 2 in case {seed}");
    }
}
