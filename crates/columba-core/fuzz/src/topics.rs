//! Four clients that subscribe, unsubscribe, publish and retain, and a table of what they have done: the broker hands
//! out what a [naive](crate::naive) matcher finds in the table, no more and no less.

use std::collections::{BTreeMap, BTreeSet};

use columba_core::codec::{
    List, Packet, PacketId, Publish, QoS, ReasonCode, RetainHandling, Subscribe, SubscribeItem,
    SubscriptionId, SubscriptionOptions, TopicFilter, TopicName, Unsubscribe,
};

use crate::bus::{Bus, CLIENTS, Delivery};
use crate::naive;
use crate::seeds::noise;
use crate::source::Source;

/// The longest script.
const MAX_STEPS: usize = 300;
/// Few levels to choose from, so that much matches; empty ones, `$`, characters of two bytes and a long one among them.
const LEVELS: [&str; 9] = ["a", "b", "", "$a", "ä", "$SYS", "temperature in the kitchen", "+", "#"];
/// How many of them may be in a name.
const NAME_LEVELS: usize = 7;
const MAX_ID: u32 = 268_435_455;

/// What the clients have done so far.
#[derive(Default)]
struct Table {
    /// By client and filter.
    subscriptions: BTreeMap<(usize, String), Subscription>,
    /// Payload and QoS by topic.
    retained: BTreeMap<String, (Vec<u8>, QoS)>,
    /// Makes identifiers and payloads tell where they come from.
    count: u32,
}

#[derive(Clone, Copy)]
struct Subscription {
    id: u32,
    options: SubscriptionOptions,
}

/// Runs the script that `data` stands for.
pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let mut bus = Bus::new();
    let mut table = Table::default();
    for _ in 0..MAX_STEPS {
        if step(&mut source, &mut bus, &mut table).is_none() {
            break;
        }
        let metrics = bus.core.metrics();
        assert_eq!(metrics.subscriptions, table.subscriptions.len());
        assert_eq!(metrics.retained, table.retained.len());
        // All has been acknowledged.
        assert_eq!(metrics.stored, table.retained.len());
    }
}

/// Scripts without a plan.
pub fn seeds() -> Vec<Vec<u8>> {
    (0..256).map(|seed| noise(seed, 50 + 3 * seed as usize)).collect()
}

fn step(source: &mut Source<'_>, bus: &mut Bus, table: &mut Table) -> Option<()> {
    let byte = source.byte()?;
    let client = usize::from(byte >> 6) % CLIENTS;
    match byte % 16 {
        0..=5 => publish(source, bus, table, client),
        6..=9 => subscribe(source, bus, table, client),
        10 | 11 => unsubscribe(source, bus, table, client),
        12 => {
            bus.reconnect(client);
            table.subscriptions.retain(|&(owner, _), _| owner != client);
            Some(())
        }
        13 => {
            look(&filter(source)?, bus, table);
            Some(())
        }
        14 => {
            list(bus, table, client);
            Some(())
        }
        _ => {
            texts(&filter(source)?, &topic(source)?);
            Some(())
        }
    }
}

/// A topic name, most of the time.
fn topic(source: &mut Source<'_>) -> Option<String> {
    levels(source, NAME_LEVELS)
}

/// A topic filter, most of the time.
fn filter(source: &mut Source<'_>) -> Option<String> {
    let share = source.pick(&["", "", "", "", "$share/g/", "$share/h/", "$share/", "$share"])?;
    Some(format!("{share}{}", levels(source, LEVELS.len())?))
}

fn levels(source: &mut Source<'_>, choices: usize) -> Option<String> {
    let shape = source.byte()?;
    if shape >= 0xF8 {
        return source.text().map(str::to_owned);
    }
    let levels: Option<Vec<_>> = (0..=shape % 6).map(|_| source.pick(&LEVELS[..choices])).collect();
    Some(levels?.join("/"))
}

/// The codec agrees about what is a name and a filter, and about matching.
fn texts(filter: &str, topic: &str) {
    for text in [filter, topic] {
        assert_eq!(TopicName::parse(text).is_ok(), naive::is_name(text), "{text:?}");
        let parsed = TopicFilter::parse(text).ok();
        let parts = parsed.map(|it| naive::Filter { group: it.share_name(), filter: it.filter() });
        assert_eq!(parts, naive::filter(text), "{text:?}");
    }
    if let (Ok(filter), Ok(topic)) = (TopicFilter::parse(filter), TopicName::parse(topic)) {
        let expected = naive::matches(filter.filter(), topic.as_str());
        assert_eq!(filter.matches(topic), expected, "{filter} {topic}");
    }
}

fn publish(source: &mut Source<'_>, bus: &mut Bus, table: &mut Table, client: usize) -> Option<()> {
    let topic = topic(source)?;
    let choice = source.byte()?;
    let Ok(name) = TopicName::parse(&topic) else { return Some(()) };
    table.count += 1;
    let payload = if choice & 8 == 0 { table.count.to_be_bytes().to_vec() } else { Vec::new() };
    let retain = choice & 4 != 0;
    let qos = if choice & 1 == 0 { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    let mut packet = Publish { retain, qos, ..Publish::new(name, &payload) };
    packet.packet_id = (qos > QoS::AtMostOnce).then_some(PacketId::MIN);
    let (reasons, deliveries) = bus.call(client, &Packet::Publish(packet));
    let refusal = if topic.split('/').count() > bus.core.config().limits.topic_levels {
        Some(ReasonCode::TopicNameInvalid)
    } else {
        topic.starts_with("$SYS/").then_some(ReasonCode::NotAuthorized)
    };
    if let Some(reason) = refusal {
        assert_eq!(deliveries, []);
        assert!(qos == QoS::AtMostOnce || reasons == [reason], "{reasons:?} for {topic:?}");
        return Some(());
    }
    let message = Delivery { client, topic, payload, qos, retain, ids: BTreeSet::new() };
    let reason = if deliveries.is_empty() { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
    assert!(qos == QoS::AtMostOnce || reasons == [reason], "{reasons:?} for {message:?}");
    table.compare(&message, deliveries);
    if retain && message.payload.is_empty() {
        table.retained.remove(&message.topic);
    } else if retain {
        table.retained.insert(message.topic, (message.payload, qos));
    }
    Some(())
}

fn subscribe(source: &mut Source<'_>, bus: &mut Bus, table: &mut Table, client: usize) -> Option<()> {
    let count = source.byte()? % 3;
    let mut wanted = Vec::new();
    for _ in 0..=count {
        let filter = filter(source)?;
        let choice = source.byte()?;
        let Some(is_shared) = naive::filter(&filter).map(|parts| parts.group.is_some()) else { continue };
        let options = SubscriptionOptions {
            qos: if choice & 1 == 0 { QoS::AtLeastOnce } else { QoS::AtMostOnce },
            no_local: choice & 2 != 0 && !is_shared,
            retain_as_published: choice & 4 != 0,
            retain_handling: match choice >> 3 & 3 {
                0 | 1 => RetainHandling::Send,
                2 => RetainHandling::SendIfNew,
                _ => RetainHandling::DoNotSend,
            },
        };
        wanted.push((filter, options));
    }
    if wanted.is_empty() {
        return Some(());
    }
    table.count += 1;
    let id = table.count.min(MAX_ID);
    let items: Vec<_> = wanted
        .iter()
        .map(|(filter, options)| SubscribeItem {
            filter: TopicFilter::parse(filter).expect("both say that it is one"),
            options: *options,
        })
        .collect();
    let (reasons, mut deliveries) = bus.call(
        client,
        &Packet::Subscribe(Subscribe {
            packet_id: PacketId::MIN,
            subscription_id: SubscriptionId::new(id),
            user_properties: List::EMPTY,
            filters: List::from_slice(&items),
        }),
    );
    assert_eq!(reasons.len(), wanted.len());
    let mut expected = Vec::new();
    for ((filter, options), reason) in wanted.into_iter().zip(reasons) {
        let parts = naive::filter(&filter).expect("it has been parsed");
        if parts.filter.split('/').count() > bus.core.config().limits.topic_levels {
            assert_eq!(reason, ReasonCode::TopicFilterInvalid);
            continue;
        }
        assert_eq!(reason.code(), options.qos as u8, "{filter:?}");
        expected.extend(table.replay(client, parts, &filter, id, options));
        table.subscriptions.insert((client, filter), Subscription { id, options });
    }
    deliveries.sort();
    expected.sort();
    assert_eq!(deliveries, expected, "retained messages for client {client}");
    Some(())
}

fn unsubscribe(source: &mut Source<'_>, bus: &mut Bus, table: &mut Table, client: usize) -> Option<()> {
    // One that there is, or any.
    let chosen = filter(source)?;
    let own = table.subscriptions.keys().filter(|key| key.0 == client).nth(chosen.len() % 4);
    let name = if source.one_in(2)? { chosen } else { own.map_or(chosen, |key| key.1.clone()) };
    let Ok(filter) = TopicFilter::parse(&name) else { return Some(()) };
    let (reasons, deliveries) = bus.call(
        client,
        &Packet::Unsubscribe(Unsubscribe {
            packet_id: PacketId::MIN,
            user_properties: List::EMPTY,
            filters: List::from_slice(&[filter]),
        }),
    );
    let existed = table.subscriptions.remove(&(client, name)).is_some();
    let reason = if existed { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted };
    assert_eq!((reasons, deliveries), (vec![reason], vec![]));
    Some(())
}

/// The broker finds the retained messages that the table has.
fn look(filter: &str, bus: &Bus, table: &Table) {
    let Ok(filter) = TopicFilter::parse(filter) else { return };
    let mut found = Vec::new();
    bus.core.retained(Some(filter), |topic, payload| found.push((topic.to_owned(), payload.to_vec())));
    found.sort();
    let expected = table.retained.iter().filter(|(topic, _)| naive::matches(filter.filter(), topic));
    let expected: Vec<_> = expected.map(|(topic, (payload, _))| (topic.clone(), payload.clone())).collect();
    assert_eq!(found, expected, "retained under {filter}");
}

/// The broker lists the subscriptions that the table has.
fn list(bus: &Bus, table: &Table, client: usize) {
    let mut listed = bus.core.subscriptions(Bus::id(client));
    listed.sort_by(|one, other| one.filter.cmp(&other.filter));
    let expected: Vec<_> = table.subscriptions.iter().filter(|((owner, _), _)| *owner == client).collect();
    assert_eq!(listed.len(), expected.len());
    for (found, ((_, filter), subscription)) in listed.iter().zip(expected) {
        assert_eq!(&found.filter, filter);
        assert_eq!(found.id, SubscriptionId::new(subscription.id));
        assert_eq!(found.options, subscription.options);
    }
}

impl Table {
    /// Everybody who is subscribed got `message`, as asked: each client once by its own subscriptions, and one
    /// member of each group.
    fn compare(&self, message: &Delivery, mut deliveries: Vec<Delivery>) {
        let mut groups: BTreeMap<(&str, &str), Vec<Delivery>> = BTreeMap::new();
        let mut own: BTreeMap<usize, Delivery> = BTreeMap::new();
        for ((client, filter), Subscription { id, options }) in &self.subscriptions {
            let parts = naive::filter(filter).expect("it has been parsed");
            let is_own = options.no_local && *client == message.client;
            if !naive::matches(parts.filter, &message.topic) || is_own {
                continue;
            }
            let delivery = Delivery {
                client: *client,
                qos: message.qos.min(options.qos),
                retain: message.retain && options.retain_as_published,
                ids: BTreeSet::from([*id]),
                ..message.clone()
            };
            if let Some(group) = parts.group {
                groups.entry((group, parts.filter)).or_default().push(delivery);
            } else {
                let merged = own.entry(*client).or_insert_with(|| delivery.clone());
                merged.qos = merged.qos.max(delivery.qos);
                merged.retain |= delivery.retain;
                merged.ids.extend(delivery.ids);
            }
        }
        for expected in own.values() {
            take(&mut deliveries, expected);
        }
        compare_groups(groups.into_values().collect(), deliveries);
    }

    /// What a subscription about to be made brings at once.
    fn replay(
        &self,
        client: usize,
        parts: naive::Filter<'_>,
        filter: &str,
        id: u32,
        options: SubscriptionOptions,
    ) -> Vec<Delivery> {
        let is_new = !self.subscriptions.contains_key(&(client, filter.to_owned()));
        let comes = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        if !comes || parts.group.is_some() {
            return Vec::new();
        }
        let found = self.retained.iter().filter(|(topic, _)| naive::matches(parts.filter, topic));
        found
            .map(|(topic, (payload, qos))| Delivery {
                client,
                topic: topic.clone(),
                payload: payload.clone(),
                qos: options.qos.min(*qos),
                retain: true,
                ids: BTreeSet::from([id]),
            })
            .collect()
    }
}

/// One member of each group got it. A subscription identifier may be that of several filters, so which delivery
/// is whose is found by trying.
fn compare_groups(mut groups: Vec<Vec<Delivery>>, mut deliveries: Vec<Delivery>) {
    let Some(members) = groups.pop() else {
        assert_eq!(deliveries, [], "nobody is subscribed that way");
        return;
    };
    let candidates: Vec<_> = members.iter().filter(|member| deliveries.contains(member)).collect();
    match candidates[..] {
        [] => panic!("none of a group got the message: {members:?} {deliveries:?}"),
        [only] => {
            take(&mut deliveries, only);
            compare_groups(groups, deliveries);
        }
        // Groups that share identifiers: counting is enough.
        _ => assert_eq!(deliveries.len(), groups.len() + 1, "{members:?} {deliveries:?}"),
    }
}

/// Takes one that must be there.
fn take(deliveries: &mut Vec<Delivery>, expected: &Delivery) {
    let at = deliveries.iter().position(|delivery| delivery == expected);
    let at = at.unwrap_or_else(|| panic!("missing: {expected:?}, there are {deliveries:?}"));
    deliveries.swap_remove(at);
}
