//! Shared subscriptions with members in several shards. Each shard knows how many members the others have and how many of
//! them could take a message; the shard of the publisher picks the shard in turn, and that shard its member.

use columba_codec::{SubscriptionOptions, TopicFilter};
use smallvec::SmallVec;

use super::Shards;
use super::wire::Frame;
use crate::core::Core;
use crate::message::NewMessage;
use crate::topics::GroupKey;

/// Members of a shared subscription in one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) members: u32,
    /// Those that are online and were not full when they were last heard of.
    pub(crate) ready: u32,
}

/// A shared subscription, as it is in all shards.
#[derive(Debug)]
pub(super) struct Group {
    /// With `$share/`.
    filter: Box<str>,
    /// What the others were told of the members here.
    own: Weight,
    /// What they have told, of those that have any.
    others: SmallVec<[(usize, Weight); 2]>,
    /// Whose turn it is, among all members.
    turn: u32,
    /// It is on the list of those that may have changed.
    changed: bool,
}

/// Who could take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Ready,
    Anybody,
}

impl Core {
    /// The members of this session's shared subscriptions are not what they were.
    pub(crate) fn members_changed(&mut self, session: u32) {
        let Some(shards) = self.shards.get_mut() else {
            return;
        };
        for group in self.subscriptions.groups_of(session) {
            let Shards { groups, changed_groups, .. } = shards;
            let entry = groups.entry(group);
            entry
                .or_insert_with(|| Group::new(&self.subscriptions.group_filter(group)))
                .mark(group, changed_groups);
        }
    }

    /// The same for one of them, before a member leaves or after one has come.
    pub(crate) fn group_changed(&mut self, filter: TopicFilter<'_>) {
        if let (Some(shards), Some(group)) = (self.shards.get_mut(), self.subscriptions.group_key(filter)) {
            let changed = &mut shards.changed_groups;
            shards.groups.entry(group).or_insert_with(|| Group::new(filter.as_str())).mark(group, changed);
        }
    }

    /// Tells the others how many members there are, where that has changed.
    pub(super) fn tell_weights(&mut self) {
        let Some(shards) = self.shards.get_mut().filter(|shards| !shards.changed_groups.is_empty()) else {
            return;
        };
        for key in std::mem::take(&mut shards.changed_groups) {
            let mut weight = Weight::default();
            for session in self.subscriptions.group_members(key) {
                let session = &self.sessions[session];
                weight.members += u32::from(session.sibling.is_none());
                weight.ready += u32::from(session.connection.is_some() && !session.queue.reported_full);
            }
            let Some(group) = shards.groups.get_mut(&key) else {
                continue;
            };
            group.changed = false;
            let filter = group.filter.clone();
            let told = std::mem::replace(&mut group.own, weight);
            if group.is_empty() {
                shards.groups.remove(&key);
            }
            if told != weight {
                shards.tell_all(&Frame::Group(&filter, weight));
            }
        }
    }

    /// Another shard tells how many members it has.
    pub(super) fn sibling_has_members(&mut self, from: usize, filter: &str, weight: Weight) {
        let (Some(shards), Ok(parsed)) = (self.shards.get_mut(), TopicFilter::parse(filter)) else {
            return;
        };
        let session = shards.siblings[from].session;
        if weight.members > 0 {
            self.subscriptions.subscribe(session, parsed, None, SubscriptionOptions::default());
        }
        if let Some(key) = self.subscriptions.group_key(parsed) {
            let group = shards.groups.entry(key).or_insert_with(|| Group::new(filter));
            group.others.retain(|(number, _)| *number != from);
            if weight.members > 0 {
                group.others.push((from, weight));
            }
            if group.is_empty() {
                shards.groups.remove(&key);
            }
        }
        if weight.members == 0 {
            self.subscriptions.unsubscribe(session, parsed);
        }
    }

    /// A message for a member here, by another shard's choice. If there is none that is online, one elsewhere may be.
    pub(super) fn publish_to_group(&mut self, filter: &str, hops: u8, message: &NewMessage<'_>) {
        let Some(group) = TopicFilter::parse(filter).ok().and_then(|it| self.subscriptions.group_key(it))
        else {
            return;
        };
        if self.give_new_to_group(group, message, Who::Ready)
            || self.pass_on(group, hops, message, Who::Ready)
            || self.give_new_to_group(group, message, Who::Anybody)
        {
            return;
        }
        self.pass_on(group, hops, message, Who::Anybody);
    }

    /// Sends a message to another shard that has members; false if there is none, or it has been passed on enough.
    pub(crate) fn pass_on(&mut self, group: GroupKey, hops: u8, message: &NewMessage<'_>, who: Who) -> bool {
        // Whoever gets it is not to send it back for a member that has just left.
        self.tell_weights();
        let Some(shards) = self.shards.get_mut() else {
            return false;
        };
        // Where nobody is any more it goes on for longer than in search of somebody who is better.
        let limit = match who {
            Who::Ready => shards.siblings.len(),
            Who::Anybody => 2 * shards.siblings.len(),
        };
        if usize::from(hops) >= limit {
            return false;
        }
        let Some(number) = shards.groups.get_mut(&group).and_then(|group| group.another(who)) else {
            return false;
        };
        shards.send_to_group(number, group, hops + 1, message);
        true
    }
}

impl Shards {
    /// The other shard whose member's turn it is, if it is not the turn of one here.
    #[inline]
    pub(crate) fn choose(&mut self, group: GroupKey) -> Option<usize> {
        let group = self.groups.get_mut(&group)?;
        if group.others.is_empty() {
            return None;
        }
        let who = if group.count(Who::Ready) > 0 { Who::Ready } else { Who::Anybody };
        let turn = group.turn % group.count(who).max(1);
        group.turn = turn + 1;
        let mut left = turn.checked_sub(group.own.count(who))?;
        group.others.iter().find_map(|&(number, weight)| match left.checked_sub(weight.count(who)) {
            Some(less) => {
                left = less;
                None
            }
            None => Some(number),
        })
    }

    pub(super) fn send_to_group(
        &mut self,
        number: usize,
        group: GroupKey,
        hops: u8,
        message: &NewMessage<'_>,
    ) {
        if let Some(group) = self.groups.get(&group) {
            self.siblings[number].out.put(&Frame::ForGroup(&group.filter, hops, *message));
        }
    }
}

impl Group {
    fn new(filter: &str) -> Self {
        Self {
            filter: filter.into(),
            own: Weight::default(),
            others: SmallVec::new(),
            turn: 0,
            changed: false,
        }
    }

    fn mark(&mut self, key: GroupKey, changed: &mut Vec<GroupKey>) {
        if !std::mem::replace(&mut self.changed, true) {
            changed.push(key);
        }
    }

    fn is_empty(&self) -> bool {
        self.own == Weight::default() && self.others.is_empty() && !self.changed
    }

    fn count(&self, who: Who) -> u32 {
        self.others.iter().map(|(_, weight)| weight.count(who)).sum::<u32>() + self.own.count(who)
    }

    /// Another shard with members, in turn.
    fn another(&mut self, who: Who) -> Option<usize> {
        let count = self.others.len();
        let from = self.turn as usize % count.max(1);
        self.turn = self.turn.wrapping_add(1);
        let mut in_turn = (0..count).map(|step| self.others[(from + step) % count]);
        in_turn.find(|(_, weight)| weight.count(who) > 0).map(|(number, _)| number)
    }
}

impl Weight {
    const fn count(self, who: Who) -> u32 {
        match who {
            Who::Ready => self.ready,
            Who::Anybody => self.members,
        }
    }
}
