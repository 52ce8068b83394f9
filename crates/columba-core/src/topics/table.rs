//! A hash table of numbers whose keys live elsewhere. A look-up costs one cache line: what is asked for is compared by 32
//! bits of its hash before its owner is asked, and growing never asks the owner at all.

/// Open addressing with linear probing. An entry's place follows from the upper half of its hash, which it keeps.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u32,
    number: u32,
}

/// No number that anybody keeps.
const EMPTY: Slot = Slot { tag: 0, number: u32::MAX };
const FIRST_SLOTS: usize = 8;

impl Table {
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The number that was inserted with `hash` and that `is_it` recognises.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.place(hash, is_it).map(|at| self.slots[at].number)
    }

    /// Adds a number that is not in the table; `u32::MAX` is none.
    pub(crate) fn insert(&mut self, hash: u64, number: u32) {
        // Three quarters full, a look-up in vain passes some eight entries, which is one cache line or two.
        if self.len * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        self.put(Slot { tag: tag(hash), number });
        self.len += 1;
    }

    /// Takes a number out that was inserted with `hash`.
    pub(crate) fn remove(&mut self, hash: u64, number: u32) {
        let Some(mut gap) = self.place(hash, |found| found == number) else {
            return;
        };
        self.len -= 1;
        if self.len == 0 {
            self.slots = Vec::new();
            return;
        }
        // What comes behind and is found only by passing the gap moves into it.
        let mut at = gap;
        loop {
            at = self.after(at);
            let slot = self.slots[at];
            if slot.number == EMPTY.number {
                break;
            }
            let count = self.slots.len();
            let distance = |from: usize| (at + count - from) % count;
            if distance(self.home(slot.tag)) >= distance(gap) {
                self.slots[gap] = slot;
                gap = at;
            }
        }
        self.slots[gap] = EMPTY;
    }

    #[inline]
    fn place(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        let tag = tag(hash);
        let mut at = self.home(tag);
        // There is an empty slot, or none at all.
        while let Some(slot) = self.slots.get(at).filter(|slot| slot.number != EMPTY.number) {
            if slot.tag == tag && is_it(slot.number) {
                return Some(at);
            }
            at = self.after(at);
        }
        None
    }

    fn put(&mut self, slot: Slot) {
        let mut at = self.home(slot.tag);
        while self.slots[at].number != EMPTY.number {
            at = self.after(at);
        }
        self.slots[at] = slot;
    }

    /// By half, so that a large table is not mostly room.
    #[cold]
    fn grow(&mut self) {
        let count = (self.slots.len() + self.slots.len() / 2).max(FIRST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; count]);
        // In the order of their homes, here and there: memory is passed once.
        old.into_iter().filter(|slot| slot.number != EMPTY.number).for_each(|slot| self.put(slot));
    }

    #[inline]
    const fn home(&self, tag: u32) -> usize {
        ((tag as u64 * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    const fn after(&self, at: usize) -> usize {
        if at + 1 < self.slots.len() { at + 1 } else { 0 }
    }
}

#[inline]
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// With few hashes, so that entries are in each other's way, around the end too.
        #[test]
        fn has_what_was_inserted_and_not_removed(steps in prop::collection::vec((any::<bool>(), 0..60_u32), 1..200)) {
            const HASHES: [u64; 4] = [0, 3, u32::MAX as u64 - 1, u32::MAX as u64];
            let hash = |number: u32| HASHES[number as usize % 4] << 32;
            let (mut table, mut model) = (Table::default(), BTreeSet::new());
            for (add, number) in steps {
                if !add {
                    table.remove(hash(number), number);
                    model.remove(&number);
                } else if model.insert(number) {
                    table.insert(hash(number), number);
                }
                prop_assert_eq!(table.len(), model.len());
                for number in 0..60 {
                    let found = table.find(hash(number), |found| found == number);
                    prop_assert_eq!(found, model.get(&number).copied());
                }
            }
            for &number in &model {
                table.remove(hash(number), number);
            }
            prop_assert_eq!(table.slots.capacity(), 0);
        }
    }

    /// Numbers that hashes tell apart are found where they belong, however many there are.
    #[test]
    fn grows() {
        let hash = |number: u32| u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut table = Table::default();
        (0..10_000).for_each(|number| table.insert(hash(number), number));
        assert!((0..10_000).all(|number| table.find(hash(number), |found| found == number) == Some(number)));
        assert!((10_000..20_000).all(|number| table.find(hash(number), |found| found == number).is_none()));
    }
}
