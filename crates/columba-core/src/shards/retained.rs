//! Retained messages of all shards: every shard has them all. Each change bears a stamp, and of two changes of one topic
//! that of the higher stamp remains, in every shard and whatever order they come in. What was forgotten is remembered
//! until nothing older can come.

use std::collections::VecDeque;

use columba_codec::TopicName;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::wire::Frame;
use super::{MAX_SHARDS, Shards};
use crate::core::Core;

/// Topics under which nothing is retained any more, and since when.
#[derive(Debug)]
pub(super) struct Forgotten {
    stamps: HashMap<Box<str>, u64, FixedState>,
    /// In the order of their coming.
    order: VecDeque<(u64, Box<str>)>,
    /// A [`Frame::Sync`] that makes the others tell their clocks is under way.
    asked: u64,
}

/// So many are remembered before the others are asked how far they are.
const ASK_FROM: usize = 1024;

impl Core {
    /// The stamp of a change that is made here and now: higher than any that is known here.
    pub(crate) fn stamp(&mut self) -> Option<u64> {
        let shards = self.shards.get_mut()?;
        shards.clock += 1;
        Some(shards.clock * MAX_SHARDS as u64 + shards.own as u64)
    }

    /// Nothing is retained under `topic` any more, by the will of a publisher.
    pub(crate) fn tell_forgotten(&mut self, topic: TopicName<'_>) {
        let Some(stamp) = self.stamp() else {
            return;
        };
        if let Some(shards) = self.shards.get_mut() {
            shards.tell_all(&Frame::Forget(topic.as_str(), stamp));
            shards.remember_forgotten(topic.as_str(), stamp);
        }
    }

    /// The same, as another shard says.
    pub(super) fn forget_as_sibling(&mut self, topic: &str, stamp: u64) {
        let Ok(name) = TopicName::parse(topic) else {
            return;
        };
        if !self.is_latest(name, stamp) {
            return;
        }
        self.drop_retained(name);
        if let Some(shards) = self.shards.get_mut() {
            shards.remember_forgotten(topic, stamp);
        }
    }

    /// Whether nothing is known of this topic that is later.
    pub(crate) fn is_latest(&self, topic: TopicName<'_>, stamp: u64) -> bool {
        let known = self.retained.get(topic).map_or(0, |id| self.messages.get(id).stamp());
        let forgotten = self.shards.get().and_then(|shards| shards.forgotten.stamps.get(topic.as_str()));
        stamp > known.max(forgotten.copied().unwrap_or(0))
    }

    /// Lets go of what was forgotten before anything that can still come.
    pub(super) fn prune_forgotten(&mut self) {
        let Some(shards) = self.shards.get_mut() else {
            return;
        };
        let oldest = shards.others().map(|sibling| sibling.clock).min().unwrap_or(u64::MAX);
        let Forgotten { stamps, order, .. } = &mut shards.forgotten;
        while let Some((stamp, topic)) = order.front()
            && *stamp / (MAX_SHARDS as u64) <= oldest
        {
            if stamps.get(topic) == Some(stamp) {
                stamps.remove(topic);
            }
            order.pop_front();
        }
        if order.is_empty() {
            *order = VecDeque::new();
        }
    }
}

impl Shards {
    fn remember_forgotten(&mut self, topic: &str, stamp: u64) {
        self.forgotten.stamps.insert(topic.into(), stamp);
        self.forgotten.order.push_back((stamp, topic.into()));
        if self.forgotten.order.len() > ASK_FROM && self.forgotten.asked <= self.synced() {
            // Every batch tells its sender's clock, and one with an answer is sure to come.
            self.forgotten.asked = self.sync();
        }
    }
}

impl Forgotten {
    pub(super) fn new(hasher: FixedState) -> Self {
        Self { stamps: HashMap::with_hasher(hasher), order: VecDeque::new(), asked: 0 }
    }
}
