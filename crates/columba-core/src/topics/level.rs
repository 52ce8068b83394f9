//! Topic levels of one size, so that comparing two is comparing two numbers. Most are short and are their own text;
//! the text of a long one is kept once, however many topics and filters it is part of.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use slab::Slab;

use super::table::Table;

/// A level as sixteen bytes: its text, padded, and in the last its length; or the number of a text, and `LONG`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    low: u64,
    high: u64,
}

const LONGEST_SHORT: usize = 15;
const LONG: u8 = u8::MAX;

/// The level `+`.
pub(crate) const PLUS: Level = Level::new(b'+' as u64, 0, 1);

/// The long texts.
#[derive(Debug)]
pub(crate) struct LongLevels {
    entries: Slab<Entry>,
    table: Table,
    hasher: FixedState,
}

#[derive(Debug)]
struct Entry {
    text: Box<str>,
    references: u32,
}

impl Level {
    const fn new(low: u64, high: u64, last: u8) -> Self {
        Self { low, high: high | (last as u64) << 56 }
    }

    #[inline]
    fn short(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let length = bytes.len();
        if length > LONGEST_SHORT {
            return None;
        }
        // Whole numbers that overlap: copied byte by byte, they would have to come back from memory before they can be
        // compared.
        let (low, high) =
            if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
                let last = u64::from_le_bytes(*last).checked_shr(8 * (16 - length as u32));
                (u64::from_le_bytes(*first), last.unwrap_or(0))
            } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
                let last = u64::from(u32::from_le_bytes(*last)) << (8 * (length - 4));
                (u64::from(u32::from_le_bytes(*first)) | last, 0)
            } else {
                (bytes.iter().rev().fold(0, |low, &byte| low << 8 | u64::from(byte)), 0)
            };
        Some(Self::new(low, high, length as u8))
    }

    const fn long(number: u32) -> Self {
        Self::new(number as u64, 0, LONG)
    }

    /// The number of a long level's text.
    const fn number(self) -> Option<u32> {
        if self.last() == LONG { Some(self.low as u32) } else { None }
    }

    const fn last(self) -> u8 {
        (self.high >> 56) as u8
    }
}

impl Hash for Level {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low);
        state.write_u64(self.high);
    }
}

impl LongLevels {
    /// `secret` keeps outsiders from choosing texts that collide.
    pub(crate) fn new(secret: u64) -> Self {
        Self { entries: Slab::new(), table: Table::default(), hasher: FixedState::with_seed(secret) }
    }

    /// `text` as a level; none if it is a long one that is part of no topic or filter here.
    #[inline]
    pub(crate) fn level(&self, text: &str) -> Option<Level> {
        Level::short(text).or_else(|| self.find(text).map(Level::long))
    }

    pub(crate) fn text(&self, level: Level) -> Cow<'_, str> {
        if let Some(number) = level.number() {
            return Cow::Borrowed(&self.entries[number as usize].text);
        }
        let bytes = [level.low.to_le_bytes(), level.high.to_le_bytes()].concat();
        // It came as text.
        Cow::Owned(String::from_utf8_lossy(&bytes[..usize::from(level.last())]).into_owned())
    }

    /// `text` as a level, with one more reference.
    pub(crate) fn acquire(&mut self, text: &str) -> Level {
        if let Some(level) = Level::short(text) {
            return level;
        }
        let number = self.find(text).unwrap_or_else(|| {
            let number = self.entries.insert(Entry { text: text.into(), references: 0 }) as u32;
            self.table.insert(self.hasher.hash_one(text), number);
            number
        });
        self.entries[number as usize].references += 1;
        Level::long(number)
    }

    /// Gives one reference back.
    pub(crate) fn release(&mut self, level: Level) {
        let Some(number) = level.number() else {
            return;
        };
        let entry = &mut self.entries[number as usize];
        entry.references -= 1;
        if entry.references == 0 {
            self.table.remove(self.hasher.hash_one(&*entry.text), number);
            self.entries.remove(number as usize);
            if self.entries.is_empty() {
                self.entries = Slab::new();
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.table.len());
        self.entries.len()
    }

    #[cold]
    fn find(&self, text: &str) -> Option<u32> {
        let is_it = |number: u32| *self.entries[number as usize].text == *text;
        self.table.find(self.hasher.hash_one(text), is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_its_text_and_no_other() {
        let mut long = LongLevels::new(7);
        // Both sides of the limit, and texts that would be alike if only their bytes were looked at.
        let texts =
            ["", "+", "a", "a\u{1}", "123456789012345", "1234567890123456", "12345678901234\u{f}é", "ä"];
        let levels: Vec<Level> = texts.iter().map(|text| long.acquire(text)).collect();
        assert_eq!(long.len(), 2);
        for (at, level) in levels.iter().enumerate() {
            assert_eq!(long.text(*level), texts[at]);
            assert_eq!(long.level(texts[at]), Some(*level));
            assert_eq!(levels.iter().position(|other| other == level), Some(at));
        }
        assert_eq!(long.level("another long one"), None);
        assert_eq!(long.level("+"), Some(PLUS));
    }

    #[test]
    fn a_long_text_goes_with_its_last_reference() {
        let mut long = LongLevels::new(7);
        let text = "temperature in the kitchen";
        let level = long.acquire(text);
        assert_eq!(long.acquire(text), level);
        long.release(level);
        assert_eq!(long.level(text), Some(level));
        long.release(level);
        assert_eq!((long.level(text), long.len()), (None, 0));
    }
}
