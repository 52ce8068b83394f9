//! Topic levels as numbers: each text is kept once, however many topics and filters it is part of.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;
use std::hash::BuildHasher;

/// A level's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Symbol(pub(crate) u32);

#[derive(Debug)]
pub(crate) struct Symbols {
    entries: Slab<Entry>,
    table: HashTable<u32>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Entry {
    /// UTF-8. Most levels are short enough to need no memory of their own.
    text: SmallVec<[u8; 16]>,
    references: u32,
}

impl Symbols {
    /// `secret` keeps outsiders from choosing texts that collide.
    pub(crate) fn new(secret: u64) -> Self {
        Self { entries: Slab::new(), table: HashTable::new(), hasher: FixedState::with_seed(secret) }
    }

    pub(crate) fn get(&self, text: &str) -> Option<Symbol> {
        let found = self.table.find(self.hasher.hash_one(text.as_bytes()), |&number| {
            *self.entries[number as usize].text == *text.as_bytes()
        });
        found.map(|&number| Symbol(number))
    }

    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        // It came as text.
        std::str::from_utf8(&self.entries[symbol.0 as usize].text).unwrap_or_default()
    }

    /// The number of `text`, new if need be, with one more reference.
    pub(crate) fn acquire(&mut self, text: &str) -> Symbol {
        if let Some(symbol) = self.get(text) {
            self.entries[symbol.0 as usize].references += 1;
            return symbol;
        }
        let number =
            self.entries.insert(Entry { text: SmallVec::from_slice(text.as_bytes()), references: 1 }) as u32;
        let Self { entries, table, hasher } = self;
        let rehash = |&n: &u32| hasher.hash_one(&*entries[n as usize].text);
        table.insert_unique(hasher.hash_one(text.as_bytes()), number, rehash);
        Symbol(number)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.table.len());
        self.entries.len()
    }

    /// Gives one reference back.
    pub(crate) fn release(&mut self, symbol: Symbol) {
        let entry = &mut self.entries[symbol.0 as usize];
        entry.references -= 1;
        if entry.references > 0 {
            return;
        }
        let hash = self.hasher.hash_one(&*entry.text);
        if let Ok(occupied) = self.table.find_entry(hash, |&number| number == symbol.0) {
            occupied.remove();
        }
        self.entries.remove(symbol.0 as usize);
        if self.entries.is_empty() {
            self.entries = Slab::new();
            self.table = HashTable::new();
        }
    }
}
