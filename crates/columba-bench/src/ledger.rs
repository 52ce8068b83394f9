//! Owns the record of what has come where: what was lost, came twice, came out of order or where it does not belong. Never
//! sees a packet.
//!
//! Messages are numbered within their lane: one publisher's messages on one topic, which MQTT keeps in order.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

/// Gaps that are remembered for one subscriber and lane. What fills an older one counts as doubled.
const GAPS: usize = 4_096;
/// Messages of a lane of a shared subscription among which a late one is told from a double.
const WINDOW: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Ledger {
    subscribers: Vec<Lanes>,
    /// For each lane of each subscriber: the number expected next.
    next: Vec<u64>,
    gaps: HashMap<usize, VecDeque<Range<u64>>>,
    /// For a shared subscription, for each lane: what any of the members has got.
    shared: Option<Vec<Seen>>,
    pub(crate) delivered: u64,
    /// Passed over so far: lost, or late.
    pub(crate) missing: u64,
    pub(crate) doubled: u64,
    pub(crate) disordered: u64,
    /// Came to a subscriber that they were not for.
    pub(crate) astray: u64,
}

/// The lanes a subscriber listens to, and where their cells begin.
#[derive(Debug)]
struct Lanes {
    first: u32,
    count: u32,
    cells: usize,
}

/// A set of numbers that grows upwards; of the old ones it only knows that they were there.
#[derive(Debug, Default)]
struct Seen {
    base: u64,
    words: VecDeque<u64>,
}

impl Ledger {
    /// Every subscriber gets all messages of its lanes.
    pub(crate) fn each(lanes: impl IntoIterator<Item = Range<u32>>) -> Self {
        let mut ledger = Self {
            subscribers: Vec::new(),
            next: Vec::new(),
            gaps: HashMap::new(),
            shared: None,
            delivered: 0,
            missing: 0,
            doubled: 0,
            disordered: 0,
            astray: 0,
        };
        for lanes in lanes {
            let cells = ledger.next.len();
            let count = lanes.len();
            ledger.next.resize(cells + count, 0);
            ledger.subscribers.push(Lanes { first: lanes.start, count: count as u32, cells });
        }
        ledger
    }

    /// One subscriber.
    pub(crate) fn one(lanes: Range<u32>) -> Self {
        Self::each(std::iter::once(lanes))
    }

    /// One of the subscribers gets each message of lanes `0..lanes`.
    pub(crate) fn shared(subscribers: usize, lanes: u32) -> Self {
        let mut ledger = Self::each((0..subscribers).map(|_| 0..lanes));
        ledger.shared = Some((0..lanes).map(|_| Seen::default()).collect());
        ledger
    }

    /// A message has come.
    #[inline]
    pub(crate) fn take(&mut self, subscriber: u32, lane: u32, number: u64) {
        let Some(lanes) = self.subscribers.get(subscriber as usize) else {
            self.astray += 1;
            return;
        };
        let offset = lane.wrapping_sub(lanes.first);
        if offset >= lanes.count {
            self.astray += 1;
            return;
        }
        let cell = lanes.cells + offset as usize;
        if self.shared.is_some() {
            self.take_shared(cell, lane, number);
        } else if self.next[cell] == number {
            self.next[cell] = number + 1;
            self.delivered += 1;
        } else {
            self.take_irregular(cell, number);
        }
    }

    pub(crate) fn has_subscribers(&self) -> bool {
        !self.subscribers.is_empty()
    }

    /// How many messages are known to have come, or to have been passed over.
    pub(crate) const fn settled(&self) -> u64 {
        self.delivered + self.missing
    }

    /// How many have not come, if so many were sent on each lane.
    pub(crate) fn lost(&self, sent: &[u64]) -> u64 {
        if self.shared.is_some() {
            return sent.iter().sum::<u64>().saturating_sub(self.delivered);
        }
        let behind = self.subscribers.iter().flat_map(|lanes| {
            (0..lanes.count as usize).map(|offset| {
                let sent = sent.get(lanes.first as usize + offset).copied().unwrap_or(0);
                sent.saturating_sub(self.next[lanes.cells + offset])
            })
        });
        self.missing + behind.sum::<u64>()
    }

    #[cold]
    fn take_irregular(&mut self, cell: usize, number: u64) {
        let next = self.next[cell];
        if number > next {
            self.missing += number - next;
            let gaps = self.gaps.entry(cell).or_default();
            if gaps.len() == GAPS {
                gaps.pop_front();
            }
            gaps.push_back(next..number);
            self.next[cell] = number + 1;
            self.delivered += 1;
            return;
        }
        let gaps = self.gaps.entry(cell).or_default();
        let Some(at) = gaps.iter().position(|gap| gap.contains(&number)) else {
            self.doubled += 1;
            return;
        };
        let gap = gaps[at].clone();
        gaps[at] = gap.start..number;
        if number + 1 < gap.end {
            gaps.insert(at + 1, number + 1..gap.end);
        }
        self.missing -= 1;
        self.disordered += 1;
        self.delivered += 1;
    }

    fn take_shared(&mut self, cell: usize, lane: u32, number: u64) {
        let is_new = self.shared.as_mut().is_some_and(|lanes| lanes[lane as usize].insert(number));
        if !is_new {
            self.doubled += 1;
            return;
        }
        self.delivered += 1;
        // Each member has its messages in order, whatever the others get in between.
        if number < self.next[cell] {
            self.disordered += 1;
        } else {
            self.next[cell] = number + 1;
        }
    }
}

impl Seen {
    /// Whether it was not there yet.
    fn insert(&mut self, number: u64) -> bool {
        if number < self.base {
            return false;
        }
        if number - self.base > 2 * WINDOW {
            self.words.clear();
            self.base = number & !63;
        }
        let at = ((number - self.base) / 64) as usize;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let bit = 1 << (number % 64);
        let is_new = self.words[at] & bit == 0;
        self.words[at] |= bit;
        while self.words.front() == Some(&u64::MAX) || self.words.len() as u64 > WINDOW / 64 {
            self.words.pop_front();
            self.base += 64;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ledger: &Ledger) -> [u64; 4] {
        [ledger.delivered, ledger.doubled, ledger.disordered, ledger.astray]
    }

    fn take_all(ledger: &mut Ledger, subscriber: u32, lane: u32, numbers: &[u64]) {
        for &number in numbers {
            ledger.take(subscriber, lane, number);
        }
    }

    #[test]
    fn in_order_is_all_right() {
        let mut ledger = Ledger::each([0..2, 1..2]);
        take_all(&mut ledger, 0, 0, &[0, 1, 2]);
        take_all(&mut ledger, 0, 1, &[0, 1]);
        take_all(&mut ledger, 1, 1, &[0, 1]);
        assert_eq!(counts(&ledger), [7, 0, 0, 0]);
        assert_eq!(ledger.lost(&[3, 2]), 0);
        assert_eq!(ledger.lost(&[4, 3]), 3, "one of lane 0, one of lane 1 for each");
    }

    #[test]
    fn a_gap_is_lost_until_it_is_filled() {
        let mut ledger = Ledger::one(0..1);
        take_all(&mut ledger, 0, 0, &[0, 1, 6]);
        assert_eq!((ledger.missing, ledger.settled()), (4, 7));
        assert_eq!(ledger.lost(&[7]), 4);
        take_all(&mut ledger, 0, 0, &[3, 2, 5]);
        assert_eq!(counts(&ledger), [6, 0, 3, 0]);
        assert_eq!(ledger.lost(&[7]), 1);
        take_all(&mut ledger, 0, 0, &[3, 6, 0]);
        assert_eq!(counts(&ledger), [6, 3, 3, 0]);
    }

    #[test]
    fn other_peoples_messages_are_astray() {
        let mut ledger = Ledger::each([0..1, 1..2]);
        take_all(&mut ledger, 0, 1, &[0]);
        take_all(&mut ledger, 1, 0, &[0]);
        take_all(&mut ledger, 2, 0, &[0]);
        take_all(&mut ledger, 0, u32::MAX, &[0]);
        assert_eq!(counts(&ledger), [0, 0, 0, 4]);
    }

    #[test]
    fn members_of_a_group_share() {
        let mut ledger = Ledger::shared(2, 1);
        take_all(&mut ledger, 0, 0, &[0, 2, 3]);
        take_all(&mut ledger, 1, 0, &[1, 5, 4]);
        assert_eq!(counts(&ledger), [6, 0, 1, 0]);
        take_all(&mut ledger, 0, 0, &[1]);
        assert_eq!(counts(&ledger), [6, 1, 1, 0]);
        assert_eq!(ledger.lost(&[8]), 2);
    }

    #[test]
    fn what_was_seen_is_bounded() {
        let mut seen = Seen::default();
        // Number 0 never comes, so the set cannot shrink from its beginning by itself.
        assert!((1..3 * WINDOW).all(|number| seen.insert(number)));
        assert!(seen.words.len() as u64 <= WINDOW / 64);
        assert!(!seen.insert(3 * WINDOW - 1));
        assert!(!seen.insert(5));
        assert!(seen.insert(u64::MAX - 1));
        assert!(seen.words.len() as u64 <= WINDOW / 64);
    }

    #[test]
    fn many_gaps_are_bounded() {
        let mut ledger = Ledger::one(0..1);
        (0..2 * GAPS as u64).for_each(|number| ledger.take(0, 0, 2 * number + 1));
        assert_eq!(ledger.gaps[&0].len(), GAPS);
        assert_eq!(ledger.missing, 2 * GAPS as u64);
    }
}
