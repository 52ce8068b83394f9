//! Deadlines: a heap whose entries know their place, so that one can be moved or withdrawn at any time. It holds
//! no stale entries, however fast connections come and go.

use crate::Time;

/// Names a deadline that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey(u32);

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Handshake, keep alive or closing of the connection with this index.
    Connection(u32),
    /// Will delay or expiry of the session with this index.
    Session(u32),
    /// Expiry of the message with this index.
    Message(u32),
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// A heap of four children per node: fewer levels, and siblings share a cache line.
    heap: Vec<Entry>,
    slots: slab::Slab<Slot>,
    /// Breaks ties: equal deadlines fire in the order they were set.
    sequence: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Time,
    sequence: u32,
    slot: u32,
}

#[derive(Debug)]
struct Slot {
    place: u32,
    due: Due,
}

const ARITY: usize = 4;

impl Timers {
    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.first().map(|entry| entry.at)
    }

    pub(crate) fn set(&mut self, at: Time, due: Due) -> TimerKey {
        let slot = self.slots.insert(Slot { place: self.heap.len() as u32, due }) as u32;
        self.sequence = self.sequence.wrapping_add(1);
        self.heap.push(Entry { at, sequence: self.sequence, slot });
        self.rise(self.heap.len() - 1);
        TimerKey(slot)
    }

    pub(crate) fn cancel(&mut self, key: TimerKey) {
        let place = self.slots.remove(key.0 as usize).place as usize;
        self.take(place);
    }

    /// Takes the first deadline that `now` has reached.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Due> {
        let first = *self.heap.first().filter(|entry| entry.at <= now)?;
        self.take(0);
        Some(self.slots.remove(first.slot as usize).due)
    }

    /// Removes the heap entry at `place`; its slot is the caller's.
    fn take(&mut self, place: usize) {
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.settle(place);
            self.rise(place);
        }
        if self.heap.is_empty() {
            self.heap.shrink_to(64);
            self.slots.shrink_to_fit();
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if !self.before(place, parent) {
                break;
            }
            self.heap.swap(place, parent);
            self.settle(place);
            place = parent;
        }
        self.sink(place);
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let children = place * ARITY + 1..(place * ARITY + 1 + ARITY).min(self.heap.len());
            let Some(least) = children.reduce(|a, b| if self.before(b, a) { b } else { a }) else {
                break;
            };
            if !self.before(least, place) {
                break;
            }
            self.heap.swap(place, least);
            self.settle(place);
            place = least;
        }
        self.settle(place);
    }

    /// Tells the slot of the entry at `place` where it is.
    fn settle(&mut self, place: usize) {
        let slot = self.heap[place].slot as usize;
        self.slots[slot].place = place as u32;
    }

    fn before(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.heap[a], &self.heap[b]);
        // Sequence numbers wrap: their distance, not their size, tells which came first.
        a.at.cmp(&b.at).then_with(|| a.sequence.wrapping_sub(b.sequence).cast_signed().cmp(&0)).is_lt()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn deadlines_come_in_order_whatever_is_withdrawn() {
        let mut timers = Timers::default();
        let mut model = BTreeSet::new();
        let mut keys = Vec::new();
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for number in 0..20_000_u32 {
            match random(3) {
                0 | 1 => {
                    let at = Time::from_micros(random(1000));
                    keys.push((at, number, timers.set(at, Due::Message(number))));
                    model.insert((at, number));
                }
                _ if !keys.is_empty() => {
                    let place = random(keys.len() as u64) as usize;
                    let (at, number, key) = keys.swap_remove(place);
                    timers.cancel(key);
                    model.remove(&(at, number));
                }
                _ => {}
            }
            assert_eq!(timers.next(), model.first().map(|(at, _)| *at));
        }
        for (at, number) in model {
            assert_eq!(timers.next(), Some(at));
            assert_eq!(timers.pop(at), Some(Due::Message(number)));
        }
        assert_eq!(timers.next(), None);
    }
}
