//! Topic aliases of one connection. Each direction has its own, and none outlives the connection [MQTT-3.3.2-7].

use std::hash::BuildHasher;
use std::num::NonZeroU16;

use foldhash::fast::FixedState;

/// Aliases the client has set.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    topics: Vec<Option<Box<str>>>,
}

/// Aliases towards the client. An alias is set when a topic comes the second time, so that a topic that never
/// repeats costs nothing; a topic gives its place up once others that want the place have come more often.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Made when the first message is sent.
    slots: Box<[Slot]>,
    maximum: u16,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    topic: String,
    /// The client knows it.
    set: bool,
    /// Uses that speak for the topic, against others that want its place.
    score: u8,
}

/// How to write a topic to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The topic alone.
    Plain,
    /// The topic and the alias it will have from now on.
    Set(NonZeroU16),
    /// The alias alone.
    Use(NonZeroU16),
}

/// Alias and its property take three bytes, so a topic must be longer to be worth it.
const WORTH_FROM: usize = 4;
const MAX_SCORE: u8 = 4;

impl Incoming {
    pub(crate) fn get(&self, alias: NonZeroU16) -> Option<&str> {
        self.topics.get(usize::from(alias.get()) - 1)?.as_deref()
    }

    /// Sets or replaces an alias. Whoever calls has checked it against the maximum.
    pub(crate) fn set(&mut self, alias: NonZeroU16, topic: &str) {
        let at = usize::from(alias.get()) - 1;
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        let slot = &mut self.topics[at];
        if slot.as_deref() != Some(topic) {
            *slot = Some(topic.into());
        }
    }
}

impl Outgoing {
    pub(crate) fn new(maximum: u16) -> Self {
        Self { slots: Box::default(), maximum }
    }

    /// What to do with `topic` if the packet is sent; only [`commit`](Self::commit) makes it so.
    pub(crate) fn choose(&self, topic: &str) -> Choice {
        if topic.len() < WORTH_FROM || self.slots.is_empty() {
            return Choice::Plain;
        }
        let (at, alias) = self.place(topic);
        let slot = &self.slots[at];
        match (slot.topic == topic, slot.set) {
            (true, true) => Choice::Use(alias),
            (true, false) => Choice::Set(alias),
            (false, _) => Choice::Plain,
        }
    }

    /// A packet with `topic` was sent as [`choose`](Self::choose) said.
    pub(crate) fn commit(&mut self, topic: &str) {
        if topic.len() < WORTH_FROM || self.maximum == 0 {
            return;
        }
        if self.slots.is_empty() {
            self.slots = vec![Slot::default(); usize::from(self.maximum)].into_boxed_slice();
        }
        let (at, _) = self.place(topic);
        let slot = &mut self.slots[at];
        if slot.topic == topic {
            slot.set = true;
            slot.score = (slot.score + 1).min(MAX_SCORE);
        } else if slot.score > 0 {
            slot.score -= 1;
        } else {
            slot.topic.clear();
            slot.topic.push_str(topic);
            slot.set = false;
            slot.score = 1;
        }
    }

    fn place(&self, topic: &str) -> (usize, NonZeroU16) {
        let hash = FixedState::with_seed(0).hash_one(topic);
        let at = (hash >> 16) as usize % self.slots.len();
        (at, NonZeroU16::MIN.saturating_add(at as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(aliases: &mut Outgoing, topic: &str) -> Choice {
        let choice = aliases.choose(topic);
        aliases.commit(topic);
        choice
    }

    #[test]
    fn a_topic_gets_an_alias_when_it_repeats() {
        let mut aliases = Outgoing::new(1);
        let one = NonZeroU16::MIN;
        assert_eq!(send(&mut aliases, "sensor/1"), Choice::Plain);
        assert_eq!(send(&mut aliases, "sensor/1"), Choice::Set(one));
        assert_eq!(send(&mut aliases, "sensor/1"), Choice::Use(one));
        assert_eq!(send(&mut aliases, "abc"), Choice::Plain, "too short to gain by it");
    }

    #[test]
    fn a_place_is_given_up_to_a_topic_that_comes_more_often() {
        let mut aliases = Outgoing::new(1);
        for _ in 0..10 {
            send(&mut aliases, "first");
        }
        let tries = (0..20).map(|_| send(&mut aliases, "second")).collect::<Vec<_>>();
        assert_eq!(tries[0], Choice::Plain);
        assert_eq!(tries.iter().filter(|choice| matches!(choice, Choice::Set(_))).count(), 1);
        assert_eq!(tries[19], Choice::Use(NonZeroU16::MIN));
        assert_eq!(send(&mut aliases, "first"), Choice::Plain, "the client has unlearnt it");
    }

    #[test]
    fn incoming_aliases_are_replaced() {
        let mut aliases = Incoming::default();
        let five = NonZeroU16::new(5).unwrap();
        assert_eq!(aliases.get(five), None);
        aliases.set(five, "a");
        aliases.set(five, "b");
        assert_eq!(aliases.get(five), Some("b"));
        assert_eq!(aliases.get(NonZeroU16::MIN), None);
    }
}
