//! A recorded history replays a broker exactly: the same calls, made directly and as values, have the same results,
//! send the same bytes and report the same events.

use bytes::{Bytes, BytesMut};
use columba_core::codec::{
    Ack, Connect, ConnectProperties, FixedHeader, List, Packet, PacketId, PacketType, Publish, ReasonCode,
    Subscribe, SubscribeItem, SubscriptionId, SubscriptionOptions, TopicFilter, Version, Will,
};
use columba_core::{
    Chunks, CloseCause, Config, ConnectionKey, Content, Core, Event, EventMask, FullQueue, Input, Output,
    Parcel, Peer, Seed, Ticket, Time, Verdict,
};
use proptest::prelude::*;

use crate::world::{ALL, V5, level, name, will};

/// Something that happens. Small numbers name a connection, a client id, a topic and so on, modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Open {
        trusted: bool,
    },
    Connect {
        link: u8,
        version: u8,
        id: u8,
        clean: bool,
        expiry: u32,
        will: bool,
        method: bool,
    },
    Subscribe {
        link: u8,
        filter: u8,
        qos: u8,
    },
    Publish {
        link: u8,
        topic: u8,
        qos: u8,
        retain: bool,
        id: u16,
        size: u16,
        expiry: Option<u32>,
        form: Form,
    },
    Ack {
        link: u8,
        kind: u8,
        id: u16,
    },
    Bytes {
        link: u8,
        bytes: Vec<u8>,
    },
    Close {
        link: u8,
    },
    Transmit {
        link: u8,
        what: What,
    },
    Answer {
        ticket: u8,
        verdict: u8,
    },
    Wait {
        seconds: u16,
        /// The broker is told.
        awake: bool,
    },
    Disconnect {
        id: u8,
    },
    EnableEvents,
    ShutDown,
}

/// How a PUBLISH comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Bytes,
    Decoded,
    Parcel,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Bytes,
    Control,
    Parcels,
}

const IDS: [&str; 4] = ["a", "b", "c", ""];
const TOPICS: [&str; 4] = ["a", "a/b", "$x", "deep/er/topic"];
const FILTERS: [&str; 6] = ["#", "a", "a/+", "$share/g/#", "$share/g/a", "+/b"];

pub(crate) fn any_step() -> impl Strategy<Value = Step> {
    let link = || 0..5_u8;
    let form = prop_oneof![Just(Form::Bytes), Just(Form::Decoded), Just(Form::Parcel)];
    let what = prop_oneof![2 => Just(What::Bytes), 1 => Just(What::Control), 2 => Just(What::Parcels)];
    prop_oneof![
        3 => any::<bool>().prop_map(|trusted| Step::Open { trusted }),
        6 => (link(), 0..3_u8, 0..4_u8, any::<bool>(), 0..30_u32, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(link, version, id, clean, expiry, will, method)| Step::Connect { link, version, id, clean, expiry, will, method }
        ),
        6 => (link(), 0..6_u8, 0..3_u8).prop_map(|(link, filter, qos)| Step::Subscribe { link, filter, qos }),
        12 => (
            (link(), 0..4_u8, 0..3_u8, any::<bool>(), 1..4_u16),
            (prop_oneof![0..20_u16, Just(9000)], prop::option::weighted(0.2, 0..20_u32), form),
        )
            .prop_map(|((link, topic, qos, retain, id), (size, expiry, form))| {
                Step::Publish { link, topic, qos, retain, id, size, expiry, form }
            }),
        6 => (link(), 0..4_u8, 1..5_u16).prop_map(|(link, kind, id)| Step::Ack { link, kind, id }),
        2 => (link(), prop::collection::vec(any::<u8>(), 0..12)).prop_map(|(link, bytes)| Step::Bytes { link, bytes }),
        2 => link().prop_map(|link| Step::Close { link }),
        12 => (link(), what).prop_map(|(link, what)| Step::Transmit { link, what }),
        4 => (any::<u8>(), 0..4_u8).prop_map(|(ticket, verdict)| Step::Answer { ticket, verdict }),
        6 => (0..20_u16, any::<bool>()).prop_map(|(seconds, awake)| Step::Wait { seconds, awake }),
        1 => (0..4_u8).prop_map(|id| Step::Disconnect { id }),
        1 => Just(Step::EnableEvents),
        1 => prop::bool::weighted(0.1).prop_map(|down| {
            if down { Step::ShutDown } else { Step::Wait { seconds: 1, awake: true } }
        }),
    ]
}

pub(crate) fn any_config() -> impl Strategy<Value = Config> {
    let policy = prop_oneof![
        Just(FullQueue::DropNewest),
        Just(FullQueue::DropOldest),
        Just(FullQueue::DisconnectConsumer),
        Just(FullQueue::RefusePublisher),
    ];
    (policy, any::<bool>(), 1..6_usize, 300..20_000_usize).prop_map(|(policy, authenticate, queue, store)| {
        let mut config = Config::default();
        config.full_queue = policy;
        config.authenticate = authenticate;
        config.limits.queued_messages = queue;
        config.limits.stored_bytes = store;
        config.limits.transmit_budget = 1000;
        config
    })
}

/// One history, as it is made: which connections there are, which questions are open, what time it is.
pub(crate) struct History {
    now: Time,
    links: Vec<(ConnectionKey, Version)>,
    tickets: Vec<Ticket>,
}

impl Default for History {
    fn default() -> Self {
        Self { now: Time::from_secs(1), links: Vec::new(), tickets: Vec::new() }
    }
}

impl History {
    /// What a call has led to.
    pub(crate) fn note(&mut self, input: &Input, output: &Output, events: &[Event]) {
        self.tickets.extend(events.iter().filter_map(|event| match event {
            Event::Authenticate { ticket, .. } => Some(*ticket),
            _ => None,
        }));
        match (output, input) {
            (Output::Opened(key), _) => self.links.push((*key, V5)),
            (_, Input::Close { connection, .. }) => self.links.retain(|link| link.0 != *connection),
            _ => {}
        }
    }

    fn link(&mut self, number: u8) -> Option<&mut (ConnectionKey, Version)> {
        let count = self.links.len();
        self.links.get_mut(usize::from(number) % count.max(1))
    }

    fn receive(&mut self, link: u8, encode: impl FnOnce(Version, &mut Vec<u8>)) -> Option<Input> {
        let now = self.now;
        let &mut (connection, version) = self.link(link)?;
        let mut bytes = Vec::new();
        encode(version, &mut bytes);
        Some(Input::Receive { now, connection, bytes: bytes.into() })
    }

    fn send(&mut self, link: u8, packet: &Packet<'_>) -> Option<Input> {
        self.receive(link, |version, bytes| packet.encode(version, bytes).expect("it is one"))
    }

    /// The step as a call, if there is what it names.
    pub(crate) fn input(&mut self, step: &Step) -> Option<Input> {
        let now = self.now;
        match *step {
            Step::Open { trusted } => Some(Input::Open { now, peer: Peer { trusted, ..Peer::default() } }),
            Step::Connect { link, version, id, clean, expiry, will: has_will, method } => {
                let version = ALL[usize::from(version)];
                self.link(link)?.1 = version;
                let properties = ConnectProperties {
                    session_expiry: Some(expiry),
                    authentication_method: method.then_some("m"),
                    receive_maximum: PacketId::new(2),
                    ..ConnectProperties::default()
                };
                let delay = Some(expiry / 2);
                let will = has_will.then(|| Will { delay, qos: level(1), ..will("a", "will") });
                let id = IDS[usize::from(id)];
                let keep_alive = (expiry % 7) as u16;
                let connect =
                    Connect { clean_start: clean, keep_alive, will, properties, ..Connect::new(version, id) };
                self.send(link, &Packet::Connect(Box::new(connect)))
            }
            Step::Subscribe { link, filter, qos } => {
                let subscription_id = SubscriptionId::new(u32::from(filter / 2));
                let filter = TopicFilter::parse(FILTERS[usize::from(filter)]).expect("it is one");
                let options = SubscriptionOptions { qos: level(qos), ..SubscriptionOptions::default() };
                let filters = [SubscribeItem { filter, options }];
                self.send(
                    link,
                    &Packet::Subscribe(Subscribe {
                        packet_id: PacketId::MIN,
                        subscription_id,
                        user_properties: List::EMPTY,
                        filters: List::from_slice(&filters),
                    }),
                )
            }
            Step::Publish { link, topic, qos, retain, id, size, expiry, form } => {
                let payload = vec![b'x'; size.into()];
                let mut publish = Publish::new(name(TOPICS[usize::from(topic)]), &payload);
                (publish.qos, publish.retain) = (level(qos), retain);
                publish.packet_id = PacketId::new(id).filter(|_| qos > 0);
                publish.properties.message_expiry = expiry;
                publish.properties.content_type = expiry.map(|_| "text");
                let &mut (connection, version) = self.link(link)?;
                match (form, self.send(link, &Packet::Publish(publish.clone()))?) {
                    (Form::Bytes, input) => Some(input),
                    (Form::Decoded, Input::Receive { bytes, .. }) => {
                        Some(Input::ReceivePublish { now, connection, version, bytes })
                    }
                    (Form::Parcel, _) => {
                        let parcel = parcel(&publish, Bytes::from(payload.clone()));
                        let parcels = vec![parcel; 1 + usize::from(id % 3)];
                        Some(Input::ReceiveParcels { now, connection, parcels })
                    }
                    (_, input) => panic!("{input:?} is no PUBLISH"),
                }
            }
            Step::Ack { link, kind, id } => {
                let ack = Ack::new(PacketId::new(id)?);
                let packet =
                    [Packet::PubAck, Packet::PubRec, Packet::PubRel, Packet::PubComp][usize::from(kind)](ack);
                self.send(link, &packet)
            }
            Step::Bytes { link, ref bytes } => self.receive(link, |_, out| out.extend_from_slice(bytes)),
            Step::Close { link } => {
                let connection = self.link(link)?.0;
                Some(Input::Close { now, connection, cause: CloseCause::Transport })
            }
            Step::Transmit { link, what } => {
                let connection = self.link(link)?.0;
                Some(match what {
                    What::Bytes => Input::Transmit { now, connection },
                    What::Control => Input::TransmitControl { now, connection },
                    What::Parcels => Input::TransmitParcels { now, connection },
                })
            }
            Step::Answer { ticket, verdict } => {
                let ticket = *self.tickets.get(usize::from(ticket) % self.tickets.len().max(1))?;
                let verdict = match verdict {
                    0 => Verdict::reject(ReasonCode::Banned),
                    1 => Verdict::Continue { data: Bytes::from_static(b"?") },
                    _ => Verdict::accept(),
                };
                Some(Input::Answer { now, ticket, verdict })
            }
            Step::Wait { seconds, awake } => {
                self.now = self.now + std::time::Duration::from_secs(seconds.into());
                awake.then_some(Input::Timeout { now: self.now })
            }
            Step::Disconnect { id } => {
                let client_id = IDS[usize::from(id)].into();
                Some(Input::Disconnect { now, client_id, reason: ReasonCode::ServerMoved })
            }
            Step::EnableEvents => Some(Input::EnableEvents { kinds: EventMask::ALL }),
            Step::ShutDown => Some(Input::ShutDown { now }),
        }
    }
}

/// A PUBLISH as a program in the same process hands it over.
pub(crate) fn parcel(publish: &Publish<'_>, payload: Bytes) -> Parcel {
    let topic = publish.topic.expect("there are no aliases");
    let content = Content::new(topic.into(), payload).with_properties(&publish.properties);
    Parcel::new(content)
        .with_qos(publish.qos, publish.packet_id)
        .with_retain(publish.retain)
        .with_expiry(publish.properties.message_expiry)
}

/// The call that an input stands for, as a shell makes it.
fn call(core: &mut Core, input: &Input, out: &mut Chunks) -> Output {
    match input {
        Input::Open { now, peer } => Output::Opened(core.open(*now, peer.clone())),
        Input::Receive { now, connection, bytes } => {
            let mut input = BytesMut::from(&bytes[..]);
            let intake = core.receive(*now, *connection, &mut input);
            Output::Intake(intake, input.len())
        }
        Input::ReceivePublish { now, connection, version, bytes } => {
            let header = FixedHeader::read(bytes, usize::MAX).ok().flatten().expect("it is whole");
            assert_eq!(header.packet_type, PacketType::Publish);
            let body = bytes.slice(header.len..);
            let publish = Publish::decode(header.flags, &body, *version).expect("it is one");
            let payload = bytes.slice(bytes.len() - publish.payload.len()..);
            Output::Intake(core.receive_publish(*now, *connection, &publish, &payload), 0)
        }
        Input::ReceiveParcels { now, connection, parcels } => {
            let mut parcels = parcels.iter().cloned();
            let intake = core.receive_parcels(*now, *connection, &mut parcels);
            Output::Intake(intake, parcels.len())
        }
        Input::Close { now, connection, cause } => {
            core.close(*now, *connection, *cause);
            Output::None
        }
        Input::Answer { now, ticket, verdict } => {
            core.answer(*now, *ticket, verdict.clone());
            Output::None
        }
        Input::Timeout { now } => {
            core.handle_timeout(*now);
            Output::None
        }
        Input::Transmit { now, connection } => Output::Flow(core.poll_transmit(*now, *connection, out)),
        Input::TransmitParcels { now, connection } => {
            let mut parcels = Vec::new();
            let flow = core.poll_transmit_parcels(*now, *connection, out, &mut parcels);
            Output::Parcels(flow, parcels)
        }
        Input::TransmitControl { now, connection } => {
            Output::Flow(core.poll_transmit_control(*now, *connection, out))
        }
        Input::EnableEvents { kinds } => {
            core.enable_events(*kinds);
            Output::None
        }
        Input::Disconnect { now, client_id, reason } => {
            Output::Found(core.disconnect(*now, client_id, *reason))
        }
        Input::ShutDown { now } => {
            core.shut_down(*now);
            Output::None
        }
        _ => panic!("an input that this test does not know"),
    }
}

/// What a core hands out besides bytes: who is ready, who is to be closed, news, the deadline.
type Polled = (Vec<ConnectionKey>, Vec<ConnectionKey>, Vec<Event>, Option<Time>);

pub(crate) fn polled(core: &mut Core) -> Polled {
    (
        std::iter::from_fn(|| core.poll_ready()).collect(),
        std::iter::from_fn(|| core.poll_abort()).collect(),
        std::iter::from_fn(|| core.poll_event()).collect(),
        core.poll_timeout(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn inputs_replay_what_calls_did(
        config in any_config(),
        seed: u64,
        steps in prop::collection::vec(any_step(), 1..120),
    ) {
        let mut live = Core::new(config.clone(), Seed::from(seed));
        let mut replayed = Core::new(config, Seed::from(seed));
        let mut history = History::default();
        for step in &steps {
            let Some(input) = history.input(step) else { continue };
            let (mut sent, mut again) = (Chunks::new(), Chunks::new());
            let output = call(&mut live, &input, &mut sent);
            prop_assert_eq!(&replayed.apply(&input, &mut again), &output, "{:?}", input);
            prop_assert_eq!(sent.to_vec(), again.to_vec());
            let now = polled(&mut live);
            history.note(&input, &output, &now.2);
            prop_assert_eq!(now, polled(&mut replayed));
            prop_assert_eq!(live.metrics(), replayed.metrics());
        }
    }
}

/// What is no PUBLISH does nothing when it is replayed as one.
#[test]
fn a_recorded_publish_that_is_none_is_ignored() {
    let mut core = Core::new(Config::default(), Seed::from(1));
    let connection = core.open(Time::ZERO, Peer::default());
    for bytes in
        [&b""[..], b"\x30", b"\x30\x05", b"\x36\x03\x00\x01t", b"\x30\xff\xff\xff\xff\x01", b"\xc0\x00"]
    {
        let bytes = Bytes::from_static(bytes);
        let input = Input::ReceivePublish { now: Time::ZERO, connection, version: V5, bytes };
        assert_eq!(core.apply(&input, &mut Chunks::new()), Output::None, "{input:?}");
    }
}
