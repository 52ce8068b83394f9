//! Which message is retained under which topic. It keeps message numbers; counting references is its owner's.

use columba_codec::{TopicFilter, TopicName};

use super::trie::{NodeId, Trie};

#[derive(Debug)]
pub(crate) struct Retained {
    trie: Trie,
    count: usize,
}

impl Retained {
    pub(crate) fn new(secret: u64) -> Self {
        Self { trie: Trie::new(secret), count: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// The levels of all topics, each counted once where topics begin alike.
    #[cfg(test)]
    fn levels(&self) -> usize {
        self.trie.len()
    }

    /// What `levels` would be with one more topic.
    pub(crate) fn levels_with(&self, topic: TopicName<'_>) -> usize {
        self.trie.len() + self.trie.missing(topic.levels())
    }

    pub(crate) fn get(&self, topic: TopicName<'_>) -> Option<u32> {
        self.trie.find(topic.levels()).and_then(|node| self.trie.value(node))
    }

    /// Retains `message` and returns the one it replaces [MQTT-3.3.1-5].
    pub(crate) fn set(&mut self, topic: TopicName<'_>, message: u32) -> Option<u32> {
        let node = self.trie.insert(topic.levels());
        let old = self.trie.value(node);
        self.trie.set_value(node, message);
        self.count += usize::from(old.is_none());
        old
    }

    /// Removes what is retained under `topic` and returns it [MQTT-3.3.1-6].
    pub(crate) fn remove(&mut self, topic: TopicName<'_>) -> Option<u32> {
        let node = self.trie.find(topic.levels())?;
        let old = self.trie.value(node)?;
        self.trie.clear_value(node);
        self.count -= 1;
        Some(old)
    }

    /// Calls `found` with every message whose topic matches. Returns the cost: the nodes on the way. Those are what
    /// matches and the levels that lead there, not what else is retained; but a `+` with more levels behind it asks
    /// each level it stands for, some 5 to 50 ns, whether or not anything behind that matches.
    pub(crate) fn matches(&self, filter: TopicFilter<'_>, mut found: impl FnMut(u32)) -> usize {
        if !filter.has_wildcard() {
            let node = self.trie.find(filter.levels());
            let message = node.and_then(|node| self.trie.value(node));
            message.into_iter().for_each(found);
            return 1;
        }
        let mut visited = 0;
        let levels: Vec<&str> = filter.levels().collect();
        let mut open = vec![(self.trie.root(), 0)];
        while let Some((node, depth)) = open.pop() {
            visited += 1;
            match levels.get(depth) {
                None => self.trie.value(node).into_iter().for_each(&mut found),
                Some(&"#") => visited += self.subtree(node, &mut found),
                Some(&"+") => open.extend(self.trie.children(node).map(|child| (child, depth + 1))),
                Some(level) => {
                    let child = self.trie.level(level).and_then(|level| self.trie.child(node, level));
                    open.extend(child.map(|child| (child, depth + 1)));
                }
            }
        }
        visited
    }

    /// Every retained message, in no particular order.
    pub(crate) fn for_each(&self, mut found: impl FnMut(u32)) {
        let mut open = vec![self.trie.root()];
        while let Some(node) = open.pop() {
            self.trie.value(node).into_iter().for_each(&mut found);
            open.extend(self.trie.all_children(node));
        }
    }

    /// A node and all below it: `sport/#` matches `sport` too (§ 4.7.1.2). Returns their number.
    fn subtree(&self, node: NodeId, found: &mut impl FnMut(u32)) -> usize {
        let mut visited = 0;
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            visited += 1;
            self.trie.value(node).into_iter().for_each(&mut *found);
            open.extend(self.trie.children(node));
        }
        visited
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::topics::samples::{filters, topics};

    #[derive(Clone, Debug)]
    enum Step {
        Set(String),
        Remove(String),
        Match(String),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => topics().prop_map(Step::Set),
            2 => topics().prop_map(Step::Remove),
            3 => filters(false).prop_map(Step::Match),
        ]
    }

    proptest! {
        /// [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-4.7.2-1]
        #[test]
        fn agrees_with_the_rule_by_the_book(steps in prop::collection::vec(any_step(), 1..80)) {
            let (mut retained, mut model) = (Retained::new(7), BTreeMap::new());
            for (number, step) in (0..).zip(steps) {
                match step {
                    Step::Set(topic) => {
                        let levels = retained.levels_with(TopicName::parse(&topic).unwrap());
                        let before = retained.set(TopicName::parse(&topic).unwrap(), number);
                        prop_assert_eq!(retained.levels(), levels);
                        prop_assert_eq!(before, model.insert(topic, number));
                    }
                    Step::Remove(topic) => {
                        let removed = retained.remove(TopicName::parse(&topic).unwrap());
                        prop_assert_eq!(removed, model.remove(&topic));
                    }
                    Step::Match(filter) => {
                        let filter = TopicFilter::parse(&filter).unwrap();
                        let mut found = Vec::new();
                        retained.matches(filter, |message| found.push(message));
                        let matching = |topic: &str| filter.matches(TopicName::parse(topic).unwrap());
                        let mut expected: Vec<_> =
                            model.iter().filter(|(topic, _)| matching(topic)).map(|(_, &message)| message).collect();
                        found.sort_unstable();
                        expected.sort_unstable();
                        prop_assert_eq!(found, expected, "{}", filter);
                    }
                }
                prop_assert_eq!(retained.len(), model.len());
                retained.trie.assert_sound();
                let beginnings = model.keys().flat_map(|topic: &String| {
                    topic.match_indices('/').map(|(at, _)| &topic[..at]).chain([topic.as_str()])
                });
                prop_assert_eq!(retained.levels(), beginnings.collect::<BTreeSet<_>>().len());
                for (topic, &message) in &model {
                    prop_assert_eq!(retained.get(TopicName::parse(topic).unwrap()), Some(message));
                }
                let mut all = Vec::new();
                retained.for_each(|message| all.push(message));
                all.sort_unstable();
                let mut expected: Vec<_> = model.values().copied().collect();
                expected.sort_unstable();
                prop_assert_eq!(all, expected);
            }
            for topic in model.keys() {
                retained.remove(TopicName::parse(topic).unwrap());
            }
            prop_assert_eq!(retained.len(), 0);
            prop_assert!(retained.trie.is_clear());
        }
    }
}
