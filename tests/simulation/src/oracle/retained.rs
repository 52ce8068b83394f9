//! What is retained under a topic: one message or none, and several possible ones where nothing orders two changes. It never
//! looks at who gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::session::{Message, Micros};

#[derive(Debug, Default)]
pub(super) struct Retained {
    topics: BTreeMap<String, Topic>,
    /// Topics that have changed since all shards have heard of everything.
    fresh: BTreeSet<String>,
}

#[derive(Debug)]
struct Topic {
    /// Whose change was the last.
    publisher: usize,
    /// What may be retained, or that nothing is; mostly one. The last to come is the last.
    candidates: Vec<Option<Rc<Message>>>,
}

impl Retained {
    /// [MQTT-3.3.1-5], [MQTT-3.3.1-6]. Two clients of different shards that change a topic before the shards have heard of
    /// each other do so in either order (ARCHITECTURE.md).
    pub(super) fn change(&mut self, message: &Rc<Message>, shards: usize) {
        let is_fresh = !self.fresh.insert(message.topic.clone());
        let publisher = message.publisher;
        let candidate = (!message.payload.is_empty()).then(|| message.clone());
        let topic = self.topics.entry(message.topic.clone());
        let topic = topic.or_insert_with(|| Topic { publisher, candidates: vec![None] });
        let is_ordered =
            shards == 1 || !is_fresh || (topic.publisher == publisher && topic.candidates.len() == 1);
        if is_ordered {
            topic.candidates.clear();
        }
        topic.candidates.push(candidate);
        topic.publisher = publisher;
    }

    /// All shards have heard of everything.
    pub(super) fn settle(&mut self) {
        self.fresh.clear();
    }

    /// All messages that may be retained, and whether they must be.
    pub(super) fn messages(&self) -> impl Iterator<Item = (&Rc<Message>, bool)> {
        self.topics.values().flat_map(|topic| {
            let is_certain = topic.candidates.len() == 1;
            topic.candidates.iter().flatten().map(move |message| (message, is_certain))
        })
    }

    /// Whether these may be what is retained, as topics and payloads.
    pub(super) fn agrees_with(&self, found: &BTreeMap<String, Vec<u8>>, now: Micros) -> bool {
        found.keys().all(|topic| self.topics.contains_key(topic))
            && self.topics.iter().all(|(name, topic)| {
                let possible = |candidate: &Option<Rc<Message>>| {
                    let message = candidate.as_ref().filter(|message| !message.is_expired(now));
                    message.map(|message| &message.payload) == found.get(name)
                };
                topic.candidates.iter().any(possible)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(publisher: usize, payload: &str) -> Rc<Message> {
        let (topic, payload) = ("t".to_owned(), payload.as_bytes().to_vec());
        Rc::new(Message {
            order: 0,
            first: 0,
            topic,
            payload,
            publisher,
            qos: 0,
            retain: true,
            expires: None,
        })
    }

    /// What may be retained after these changes.
    fn possible(shards: usize, changes: &[(usize, &str)], settle: bool) -> Vec<&'static str> {
        let mut retained = Retained::default();
        for &(publisher, payload) in changes {
            retained.change(&message(publisher, payload), shards);
            if settle {
                retained.settle();
            }
        }
        let agrees = |payload: &&str| {
            let found =
                [("t".to_owned(), payload.as_bytes().to_vec())].into_iter().filter(|_| !payload.is_empty());
            retained.agrees_with(&found.collect(), 0)
        };
        ["", "a", "b", "c"].into_iter().filter(agrees).collect()
    }

    #[test]
    fn the_last_change_is_known_where_something_orders_it() {
        assert_eq!(possible(1, &[(0, "a"), (1, "b")], false), ["b"]);
        assert_eq!(possible(2, &[(0, "a"), (1, "b")], true), ["b"]);
        assert_eq!(possible(2, &[(0, "a"), (0, "b")], false), ["b"]);
        assert_eq!(possible(2, &[(0, "a"), (0, "")], false), [""]);
        assert_eq!(possible(2, &[], false), [""]);
    }

    #[test]
    fn nothing_orders_changes_in_two_shards() {
        assert_eq!(possible(2, &[(0, "a"), (1, "b")], false), ["a", "b"]);
        assert_eq!(possible(2, &[(0, "a"), (1, "")], false), ["", "a"]);
    }
}
