//! Who is subscribed to what. Filters without wildcards are found by one look-up of the whole topic; those with
//! wildcards by one walk of a tree. Shared subscriptions are grouped by group name and filter.

use std::hash::BuildHasher;

use columba_codec::{SubscriptionId, SubscriptionOptions, TopicFilter, TopicName};
use foldhash::fast::FixedState;
use slab::Slab;

use super::filter::{Filter, Place};
use super::level::Level;
use super::table::Table;
use super::trie::{NodeId, Trie};

#[derive(Debug)]
pub(crate) struct Subscriptions {
    filters: Slab<Filter>,
    /// Filters without wildcards by their text.
    exact: Table,
    hasher: FixedState,
    /// Filters with wildcards; a node's value is the filter's number.
    wild: Trie,
    groups: Slab<Group>,
    /// Groups made so far.
    serial: u32,
    /// The subscriptions of each session, at the session's number.
    by_session: Vec<Vec<Reference>>,
    /// The levels of each session's filters with wildcards, at the session's number; as far as there are any.
    wild_levels: Vec<usize>,
    count: usize,
    /// Topic levels of the match under way; kept for its allocation.
    levels: Vec<Option<Level>>,
    open: Vec<(NodeId, usize)>,
}

/// The members of one shared subscription: one group name, one filter.
#[derive(Debug)]
struct Group {
    filter: u32,
    name: Box<str>,
    members: Vec<Member>,
    /// Whose turn it is.
    turn: usize,
    serial: u32,
}

/// Names a shared subscription; one that is gone is not mistaken for its successor in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKey {
    number: u32,
    serial: u32,
}

/// One session's subscription to one filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    /// The session's number.
    pub(crate) session: u32,
    /// Where the session's own list has it.
    slot: u32,
    /// Subscription identifier.
    pub(crate) id: Option<SubscriptionId>,
    /// Options as asked for.
    pub(crate) options: SubscriptionOptions,
}

/// A session's note of one of its subscriptions.
#[derive(Clone, Copy, Debug)]
struct Reference {
    filter: u32,
    /// Group number, or `NO_GROUP`.
    group: u32,
    /// Where the filter's or group's list of members has it.
    position: u32,
}

const NO_GROUP: u32 = u32::MAX;

/// What matched a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hit {
    Member(Member),
    /// A shared subscription: [`Subscriptions::pick`] chooses the member.
    Group(GroupKey),
}

/// What became of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    New,
    Replaced,
}

/// A subscription as listed for people and tools.
#[derive(Debug)]
pub(crate) struct SubscriptionEntry {
    pub(crate) filter: String,
    pub(crate) id: Option<SubscriptionId>,
    pub(crate) options: SubscriptionOptions,
}

impl Subscriptions {
    pub(crate) fn new(secret: u64) -> Self {
        Self {
            filters: Slab::new(),
            exact: Table::default(),
            hasher: FixedState::with_seed(secret),
            wild: Trie::new(secret),
            groups: Slab::new(),
            serial: 0,
            by_session: Vec::new(),
            wild_levels: Vec::new(),
            count: 0,
            levels: Vec::new(),
            open: Vec::new(),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn count_of(&self, session: u32) -> usize {
        self.by_session.get(session as usize).map_or(0, Vec::len)
    }

    /// The levels of all filters with wildcards that the session is subscribed to: what a match can come by for its
    /// sake, and what the tree holds for it at most.
    pub(crate) fn wild_levels_of(&self, session: u32) -> usize {
        self.wild_levels.get(session as usize).copied().unwrap_or(0)
    }

    pub(crate) fn contains(&self, session: u32, filter: TopicFilter<'_>) -> bool {
        self.slot_of(session, filter).is_some()
    }

    /// Subscribes, or replaces the subscription that this session has to the same filter [MQTT-3.8.4-3].
    pub(crate) fn subscribe(
        &mut self,
        session: u32,
        filter: TopicFilter<'_>,
        id: Option<SubscriptionId>,
        options: SubscriptionOptions,
    ) -> Change {
        if let Some(slot) = self.slot_of(session, filter) {
            let member = self.member_mut(self.by_session[session as usize][slot]);
            member.id = id;
            member.options = options;
            return Change::Replaced;
        }
        let number = self.find(filter).unwrap_or_else(|| self.add_filter(filter));
        let group = filter.share_name().map_or(NO_GROUP, |name| self.group(number, name));
        let session_at = session as usize;
        if self.by_session.len() <= session_at {
            self.by_session.resize_with(session_at + 1, Vec::new);
        }
        let slot = self.by_session[session_at].len() as u32;
        let member = Member { session, slot, id, options };
        let position = if group == NO_GROUP {
            let filter = &mut self.filters[number as usize];
            filter.add_member(member);
            filter.members().len() - 1
        } else {
            let members = &mut self.groups[group as usize].members;
            members.push(member);
            members.len() - 1
        };
        let own = &mut self.by_session[session_at];
        if own.capacity() == 0 {
            // Most sessions have one subscription, or few.
            own.reserve_exact(1);
        }
        own.push(Reference { filter: number, group, position: position as u32 });
        self.count += 1;
        if filter.has_wildcard() {
            if self.wild_levels.len() <= session_at {
                self.wild_levels.resize(session_at + 1, 0);
            }
            self.wild_levels[session_at] += filter.levels().count();
        }
        Change::New
    }

    /// Ends the subscription to this very filter, compared character by character [MQTT-3.10.4-1].
    pub(crate) fn unsubscribe(&mut self, session: u32, filter: TopicFilter<'_>) -> bool {
        let Some(slot) = self.slot_of(session, filter) else {
            return false;
        };
        self.remove(session, slot);
        true
    }

    pub(crate) fn remove_session(&mut self, session: u32) {
        while let Some(last) = self.count_of(session).checked_sub(1) {
            self.remove(session, last);
        }
        if let Some(own) = self.by_session.get_mut(session as usize) {
            *own = Vec::new();
        }
        if self.count == 0 {
            self.by_session = Vec::new();
            self.wild_levels = Vec::new();
        }
    }

    /// Calls `found` with every subscription that matches `topic`. `$`-topics match no filter that begins with a
    /// wildcard [MQTT-4.7.2-1]; nothing is normalised on the way [MQTT-4.7.3-4]. Returns the cost: the nodes on the
    /// way.
    pub(crate) fn matches(&mut self, topic: TopicName<'_>, mut found: impl FnMut(Hit)) -> usize {
        if let Some(filter) = self.find_exact(topic.as_str()) {
            report(&self.filters[filter as usize], &self.groups, &mut found);
        }
        if self.wild.is_empty() {
            return 0;
        }
        let Self { wild, filters, groups, levels, open, .. } = self;
        // A level is looked at when the walk comes to it: for most topics the tree ends before.
        levels.clear();
        let mut names = topic.levels();
        let mut report = |filter: Option<u32>| {
            if let Some(filter) = filter {
                report(&filters[filter as usize], groups, &mut found);
            }
        };
        let mut visited = 0;
        let (mut node, mut depth) = (wild.root(), 0);
        let mut wildcards = !topic.as_str().starts_with('$');
        loop {
            visited += 1;
            if depth == levels.len() {
                levels.extend(names.next().map(|name| wild.level(name)));
            }
            if wildcards {
                // `a/#` matches `a` as well as all below it.
                report(wild.value_below(node));
            }
            let mut child = None;
            if let Some(&level) = levels.get(depth) {
                if wildcards {
                    open.extend(wild.plus(node).map(|plus| (plus, depth + 1)));
                }
                child = level.and_then(|level| wild.child(node, level));
            } else {
                report(wild.value(node));
            }
            let next = child.map(|child| (child, depth + 1)).or_else(|| open.pop());
            let Some(next) = next else { break };
            (node, depth) = next;
            wildcards = true;
        }
        visited
    }

    /// Chooses the member of a group that gets the next message: in turn, the first for which `ready` holds, else
    /// the first for which `possible` does.
    pub(crate) fn pick(
        &mut self,
        group: GroupKey,
        ready: impl Fn(&Member) -> bool,
        possible: impl Fn(&Member) -> bool,
    ) -> Option<Member> {
        let group =
            self.groups.get_mut(group.number as usize).filter(|found| found.serial == group.serial)?;
        let count = group.members.len();
        let from = group.turn;
        let in_turn = |accept: &dyn Fn(&Member) -> bool| {
            (0..count).map(|step| (from + step) % count).find(|&at| accept(&group.members[at]))
        };
        let chosen = in_turn(&ready).or_else(|| in_turn(&possible))?;
        group.turn = (chosen + 1) % count;
        Some(group.members[chosen])
    }

    /// The shared subscriptions of a session, in the order of its list.
    pub(crate) fn groups_of(&self, session: u32) -> impl Iterator<Item = GroupKey> {
        let own = self.by_session.get(session as usize).map_or(&[][..], Vec::as_slice);
        own.iter().filter(|reference| reference.group != NO_GROUP).map(|reference| GroupKey {
            number: reference.group,
            serial: self.groups[reference.group as usize].serial,
        })
    }

    /// Whether anybody has a subscription of its own to this filter for whom `accept` holds.
    pub(crate) fn any_member(&self, filter: TopicFilter<'_>, accept: impl Fn(u32) -> bool) -> bool {
        let members = self.find(filter).map(|number| self.filters[number as usize].members());
        members.is_some_and(|members| members.iter().any(|member| accept(member.session)))
    }

    /// The shared subscription of this name and filter.
    pub(crate) fn group_key(&self, filter: TopicFilter<'_>) -> Option<GroupKey> {
        let name = filter.share_name()?;
        let groups = self.filters[self.find(filter)? as usize].groups();
        let number = *groups.iter().find(|&&number| *self.groups[number as usize].name == *name)?;
        Some(GroupKey { number, serial: self.groups[number as usize].serial })
    }

    /// Sessions of its members.
    pub(crate) fn group_members(&self, group: GroupKey) -> impl Iterator<Item = u32> {
        let found = self.groups.get(group.number as usize).filter(|found| found.serial == group.serial);
        found.into_iter().flat_map(|group| &group.members).map(|member| member.session)
    }

    /// The filter of a shared subscription, `$share/` included.
    pub(crate) fn group_filter(&self, group: GroupKey) -> String {
        let filter = self.groups[group.number as usize].filter;
        self.text(Reference { filter, group: group.number, position: 0 })
    }

    pub(crate) fn list(&self, session: u32) -> impl Iterator<Item = SubscriptionEntry> {
        let own = self.by_session.get(session as usize).map_or(&[][..], Vec::as_slice);
        own.iter().map(|&reference| {
            let member = self.member(reference);
            SubscriptionEntry { filter: self.text(reference), id: member.id, options: member.options }
        })
    }

    fn text(&self, reference: Reference) -> String {
        let filter = match &self.filters[reference.filter as usize].place {
            Place::Exact(text) => text.to_string(),
            Place::Wild(node) => self.wild.text(*node),
            Place::Below(node) if *node == self.wild.root() => "#".to_owned(),
            Place::Below(node) => format!("{}/#", self.wild.text(*node)),
        };
        match self.groups.get(reference.group as usize) {
            Some(group) if reference.group != NO_GROUP => format!("$share/{}/{filter}", group.name),
            _ => filter,
        }
    }

    #[inline]
    fn find_exact(&self, text: &str) -> Option<u32> {
        let is_it =
            |number: u32| matches!(&self.filters[number as usize].place, Place::Exact(own) if **own == *text);
        self.exact.find(self.hasher.hash_one(text), is_it)
    }

    fn find(&self, filter: TopicFilter<'_>) -> Option<u32> {
        if !filter.has_wildcard() {
            return self.find_exact(filter.filter());
        }
        let node = self.wild.find(levels(filter))?;
        if ends_with_hash(filter) { self.wild.value_below(node) } else { self.wild.value(node) }
    }

    fn add_filter(&mut self, filter: TopicFilter<'_>) -> u32 {
        let place = if !filter.has_wildcard() {
            Place::Exact(filter.filter().into())
        } else if ends_with_hash(filter) {
            Place::Below(self.wild.insert(levels(filter)))
        } else {
            Place::Wild(self.wild.insert(levels(filter)))
        };
        let number = self.filters.insert(Filter::new(place)) as u32;
        match self.filters[number as usize].place {
            Place::Exact(_) => self.exact.insert(self.hasher.hash_one(filter.filter()), number),
            Place::Wild(node) => self.wild.set_value(node, number),
            Place::Below(node) => self.wild.set_value_below(node, number),
        }
        number
    }

    /// The group of this name on this filter, made if need be. Two filters with one name are two groups (§ 4.8.2).
    fn group(&mut self, filter: u32, name: &str) -> u32 {
        let known = self.filters[filter as usize]
            .groups()
            .iter()
            .find(|&&group| *self.groups[group as usize].name == *name);
        if let Some(&group) = known {
            return group;
        }
        self.serial = self.serial.wrapping_add(1);
        let group = Group { filter, name: name.into(), members: Vec::new(), turn: 0, serial: self.serial };
        let number = self.groups.insert(group) as u32;
        self.filters[filter as usize].add_group(number);
        number
    }

    /// Where the session's list has its subscription to `filter`. Looks through the shorter of the two lists that
    /// would tell.
    fn slot_of(&self, session: u32, filter: TopicFilter<'_>) -> Option<usize> {
        let own = self.by_session.get(session as usize)?;
        let number = self.find(filter)?;
        let entry = &self.filters[number as usize];
        let (members, group) = match filter.share_name() {
            None => (entry.members(), NO_GROUP),
            Some(name) => {
                let group =
                    *entry.groups().iter().find(|&&group| *self.groups[group as usize].name == *name)?;
                (self.groups[group as usize].members.as_slice(), group)
            }
        };
        if members.len() < own.len() {
            members.iter().find(|member| member.session == session).map(|member| member.slot as usize)
        } else {
            own.iter().position(|reference| reference.filter == number && reference.group == group)
        }
    }

    fn member(&self, reference: Reference) -> &Member {
        let position = reference.position as usize;
        if reference.group == NO_GROUP {
            &self.filters[reference.filter as usize].members()[position]
        } else {
            &self.groups[reference.group as usize].members[position]
        }
    }

    fn member_mut(&mut self, reference: Reference) -> &mut Member {
        let position = reference.position as usize;
        if reference.group == NO_GROUP {
            &mut self.filters[reference.filter as usize].members_mut()[position]
        } else {
            &mut self.groups[reference.group as usize].members[position]
        }
    }

    fn remove(&mut self, session: u32, slot: usize) {
        let reference = self.by_session[session as usize].swap_remove(slot);
        if let Some(&moved) = self.by_session[session as usize].get(slot) {
            self.member_mut(moved).slot = slot as u32;
        }
        let position = reference.position as usize;
        let moved = if reference.group == NO_GROUP {
            let filter = &mut self.filters[reference.filter as usize];
            filter.remove_member(position);
            filter.members().get(position).copied()
        } else {
            let group = &mut self.groups[reference.group as usize];
            group.members.swap_remove(position);
            group.turn = 0;
            group.members.get(position).copied()
        };
        if let Some(moved) = moved {
            self.by_session[moved.session as usize][moved.slot as usize].position = reference.position;
        }
        self.count -= 1;
        let levels = match self.filters[reference.filter as usize].place {
            Place::Exact(_) => 0,
            Place::Wild(node) => self.wild.depth(node),
            Place::Below(node) => self.wild.depth(node) + 1,
        };
        if levels > 0 {
            self.wild_levels[session as usize] -= levels;
        }
        self.drop_if_unused(reference);
    }

    fn drop_if_unused(&mut self, reference: Reference) {
        let filter = &mut self.filters[reference.filter as usize];
        if reference.group != NO_GROUP && self.groups[reference.group as usize].members.is_empty() {
            let group = self.groups.remove(reference.group as usize);
            debug_assert_eq!(group.filter, reference.filter, "a group stays with its filter");
            filter.remove_group(reference.group);
        }
        if !filter.is_unused() {
            return;
        }
        match self.filters.remove(reference.filter as usize).place {
            Place::Exact(text) => self.exact.remove(self.hasher.hash_one(&*text), reference.filter),
            Place::Wild(node) => self.wild.clear_value(node),
            Place::Below(node) => self.wild.clear_value_below(node),
        }
        if self.filters.is_empty() {
            self.filters = Slab::new();
        }
    }
}

#[inline]
fn report(filter: &Filter, groups: &Slab<Group>, found: &mut impl FnMut(Hit)) {
    filter.members().iter().for_each(|&member| found(Hit::Member(member)));
    for &number in filter.groups() {
        found(Hit::Group(GroupKey { number, serial: groups[number as usize].serial }));
    }
}

fn ends_with_hash(filter: TopicFilter<'_>) -> bool {
    filter.filter().ends_with('#')
}

/// The levels that a filter with wildcards has nodes for: all but `#`, which is the last wherever it is.
fn levels(filter: TopicFilter<'_>) -> impl Iterator<Item = &str> {
    filter.levels().take_while(|&level| level != "#")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use columba_codec::QoS;
    use proptest::prelude::*;

    use super::*;
    use crate::topics::samples::{filters, topics};

    #[derive(Clone, Debug)]
    enum Step {
        Subscribe { session: u32, filter: String, id: u32, qos: u8 },
        Unsubscribe { session: u32, filter: String },
        RemoveSession(u32),
        Match(String),
    }

    /// Subscriptions by the book: what each session asked for under each filter.
    type Model = BTreeMap<(u32, String), (Option<SubscriptionId>, SubscriptionOptions)>;

    fn any_step() -> impl Strategy<Value = Step> {
        let session = 0..4_u32;
        prop_oneof![
            6 => (session.clone(), filters(true), 0..3_u32, 0..3_u8)
                .prop_map(|(session, filter, id, qos)| Step::Subscribe { session, filter, id, qos }),
            3 => (session.clone(), filters(true))
                .prop_map(|(session, filter)| Step::Unsubscribe { session, filter }),
            1 => session.prop_map(Step::RemoveSession),
            6 => topics().prop_map(Step::Match),
        ]
    }

    fn parse(filter: &str) -> TopicFilter<'_> {
        TopicFilter::parse(filter).unwrap()
    }

    fn step(index: &mut Subscriptions, model: &mut Model, step: Step) {
        match step {
            Step::Subscribe { session, filter, id, qos } => {
                let id = SubscriptionId::new(id);
                let qos = QoS::from_u8(qos).unwrap();
                let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
                let change = index.subscribe(session, parse(&filter), id, options);
                let before = model.insert((session, filter), (id, options));
                assert_eq!(change == Change::Replaced, before.is_some());
            }
            Step::Unsubscribe { session, filter } => {
                let existed = index.unsubscribe(session, parse(&filter));
                assert_eq!(existed, model.remove(&(session, filter)).is_some());
            }
            Step::RemoveSession(session) => {
                index.remove_session(session);
                model.retain(|key, _| key.0 != session);
            }
            Step::Match(topic) => check_matches(index, model, TopicName::parse(&topic).unwrap()),
        }
        assert_eq!(index.len(), model.len());
        index.wild.assert_sound();
        for session in 0..4 {
            let mut listed: Vec<_> =
                index.list(session).map(|entry| (entry.filter, entry.id, entry.options.qos)).collect();
            listed.sort();
            let own = model.iter().filter(|entry| entry.0.0 == session);
            let expected: Vec<_> =
                own.map(|((_, filter), (id, options))| (filter.clone(), *id, options.qos)).collect();
            assert_eq!(index.count_of(session), expected.len());
            let wild = expected.iter().map(|entry| parse(&entry.0)).filter(|filter| filter.has_wildcard());
            assert_eq!(index.wild_levels_of(session), wild.map(|filter| filter.levels().count()).sum());
            assert!(expected.iter().all(|entry| index.contains(session, parse(&entry.0))));
            assert_eq!(listed, expected);
        }
    }

    /// What matches is what the rule by the book says: each subscription once, each group once, and in turn each of
    /// its members once.
    fn check_matches(index: &mut Subscriptions, model: &Model, topic: TopicName<'_>) {
        let (mut members, mut keys) = (Vec::new(), Vec::new());
        index.matches(topic, |hit| match hit {
            Hit::Member(member) => members.push((member.session, member.id, member.options.qos)),
            Hit::Group(group) => keys.push(group),
        });
        let matching = || model.iter().filter(|((_, filter), _)| parse(filter).matches(topic));
        let shared = |filter: &str| parse(filter).share_name().is_some();
        let mut expected: Vec<_> = matching()
            .filter(|((_, filter), _)| !shared(filter))
            .map(|((session, _), (id, options))| (*session, *id, options.qos))
            .collect();
        members.sort();
        expected.sort();
        assert_eq!(members, expected, "{topic}");

        let mut groups: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for ((session, filter), (id, options)) in matching().filter(|((_, filter), _)| shared(filter)) {
            groups.entry(filter).or_default().push((*session, *id, options.qos));
        }
        let picked = keys.iter().map(|&group| {
            let count = index.groups[group.number as usize].members.len();
            let once_round = std::iter::repeat_with(|| index.pick(group, |_| false, |_| true).unwrap());
            let mut members: Vec<_> = once_round
                .take(count)
                .map(|member| (member.session, member.id, member.options.qos))
                .collect();
            members.sort();
            members
        });
        let mut picked: Vec<_> = picked.collect();
        let mut groups: Vec<_> = groups.into_values().collect();
        picked.sort();
        groups.sort();
        assert_eq!(picked, groups, "{topic}");
    }

    fn assert_empty(index: &Subscriptions) {
        assert_eq!((index.len(), index.filters.len(), index.groups.len(), index.exact.len()), (0, 0, 0, 0));
        assert!(index.wild.is_clear() && index.by_session.is_empty() && index.wild_levels.is_empty());
    }

    proptest! {
        /// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT-3.10.4-1]
        #[test]
        fn agrees_with_the_rule_by_the_book(steps in prop::collection::vec(any_step(), 1..80)) {
            let (mut index, mut model) = (Subscriptions::new(7), Model::new());
            for next in steps {
                step(&mut index, &mut model, next);
            }
            for session in [2, 0, 3, 1] {
                step(&mut index, &mut model, Step::RemoveSession(session));
            }
            assert_empty(&index);
        }

        #[test]
        fn is_empty_when_all_have_unsubscribed(
            wanted in prop::collection::btree_set((0..4_u32, filters(true)), 1..40),
            order: prop::sample::Index,
        ) {
            let mut index = Subscriptions::new(7);
            for (session, filter) in &wanted {
                index.subscribe(*session, parse(filter), None, SubscriptionOptions::default());
            }
            let mut left: Vec<_> = wanted.into_iter().collect();
            while !left.is_empty() {
                let (session, filter) = left.swap_remove(order.index(left.len()));
                prop_assert!(index.unsubscribe(session, parse(&filter)));
                prop_assert!(!index.unsubscribe(session, parse(&filter)));
                prop_assert_eq!(index.len(), left.len());
            }
            prop_assert_eq!((index.filters.len(), index.groups.len(), index.exact.len()), (0, 0, 0));
            prop_assert!(index.wild.is_clear());
        }
    }

    #[test]
    fn members_are_chosen_in_turn_and_the_ready_ones_first() {
        let mut index = Subscriptions::new(7);
        let filter = parse("$share/g/t");
        for session in 0..4 {
            index.subscribe(session, filter, None, SubscriptionOptions::default());
        }
        let mut key = None;
        index.matches(TopicName::parse("t").unwrap(), |hit| {
            if let Hit::Group(group) = hit {
                key = Some(group);
            }
        });
        let key = key.unwrap();
        let mut pick = |ready: &[u32], possible: bool| {
            index
                .pick(key, |member| ready.contains(&member.session), |_| possible)
                .map(|member| member.session)
        };
        assert_eq!([0; 6].map(|_| pick(&[0, 1, 2, 3], true)), [0, 1, 2, 3, 0, 1].map(Some));
        assert_eq!([0; 4].map(|_| pick(&[0, 2], true)), [2, 0, 2, 0].map(Some));
        assert_eq!([0; 2].map(|_| pick(&[], true)), [1, 2].map(Some));
        assert_eq!(pick(&[], false), None);
        assert_eq!(pick(&[3], false), Some(3));
        // The group goes with its last member, and what comes in its place is another one.
        (0..4).for_each(|session| index.remove_session(session));
        index.subscribe(9, filter, None, SubscriptionOptions::default());
        assert!(index.pick(key, |_| true, |_| true).is_none());
    }

    /// A match costs what its own levels lead to, whatever else there is.
    #[test]
    fn a_match_comes_by_no_other_subscriptions() {
        let mut index = Subscriptions::new(7);
        let mut subscribe = |session: u32, filter: &str| {
            index.subscribe(session, parse(filter), None, SubscriptionOptions::default());
        };
        subscribe(0, "a/+/c");
        subscribe(1, "a/b/#");
        subscribe(2, "+/b/c/d");
        for number in 0..1000 {
            subscribe(3, &format!("a/{number}/#"));
            subscribe(4, &format!("{number}/+/c"));
            subscribe(5, &format!("a/b/c/{number}"));
        }
        let mut cost = |topic: &str| {
            let mut hits = 0;
            (index.matches(TopicName::parse(topic).unwrap(), |_| hits += 1), hits)
        };
        // Root, `a`, `a/+`, `a/+/c`, `a/b`, `+`, `+/b`, `+/b/c`.
        assert_eq!(cost("a/b/c"), (8, 2));
        assert_eq!(cost("x"), (2, 0));
        assert_eq!(cost("$x"), (1, 0));
    }
}
