//! The packet identifiers of QoS 2 messages that a client has sent and not yet released.

use crate::lazy::Empty;

/// A set of packet identifiers. Small while it is small; 8 KiB at the most.
#[derive(Debug, Default)]
pub(crate) struct PacketIds(Repr);

#[derive(Debug, Default)]
enum Repr {
    #[default]
    Empty,
    Few(Vec<u16>),
    Many {
        bits: Box<[u64; 1024]>,
        count: u32,
    },
}

/// A linear search of more than this costs more than a bit.
const FEW: usize = 16;

impl Empty for PacketIds {
    const EMPTY: &'static Self = &Self(Repr::Empty);
}

impl PacketIds {
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Repr::Empty => 0,
            Repr::Few(ids) => ids.len(),
            Repr::Many { count, .. } => *count as usize,
        }
    }

    pub(crate) fn contains(&self, id: u16) -> bool {
        match &self.0 {
            Repr::Empty => false,
            Repr::Few(ids) => ids.contains(&id),
            Repr::Many { bits, .. } => bits[usize::from(id >> 6)] & bit(id) != 0,
        }
    }

    /// All of them in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        let mut few = match &self.0 {
            Repr::Few(ids) => ids.clone(),
            Repr::Empty | Repr::Many { .. } => Vec::new(),
        };
        few.sort_unstable();
        let bits = match &self.0 {
            Repr::Many { bits, .. } => &bits[..],
            Repr::Empty | Repr::Few(_) => &[],
        };
        let many = (0..=u16::MAX).zip(bits.iter().flat_map(|word| (0..64).map(move |at| word >> at & 1)));
        few.into_iter().chain(many.filter(|(_, set)| *set == 1).map(|(id, _)| id))
    }

    /// Adds `id`; false if it was there.
    pub(crate) fn insert(&mut self, id: u16) -> bool {
        if self.contains(id) {
            return false;
        }
        match &mut self.0 {
            Repr::Empty => self.0 = Repr::Few(vec![id]),
            Repr::Few(ids) if ids.len() < FEW => ids.push(id),
            Repr::Few(ids) => {
                let mut bits = Box::new([0; 1024]);
                for &id in ids.iter().chain([&id]) {
                    bits[usize::from(id >> 6)] |= bit(id);
                }
                self.0 = Repr::Many { bits, count: FEW as u32 + 1 };
            }
            Repr::Many { bits, count } => {
                bits[usize::from(id >> 6)] |= bit(id);
                *count += 1;
            }
        }
        true
    }

    /// Takes `id` away; false if it was not there.
    pub(crate) fn remove(&mut self, id: u16) -> bool {
        if !self.contains(id) {
            return false;
        }
        match &mut self.0 {
            Repr::Empty => {}
            Repr::Few(ids) => ids.retain(|&other| other != id),
            Repr::Many { bits, count } => {
                bits[usize::from(id >> 6)] &= !bit(id);
                *count -= 1;
            }
        }
        true
    }

    /// Gives memory back that an empty set holds.
    pub(crate) fn shrink(&mut self) {
        if self.len() == 0 {
            self.0 = Repr::Empty;
        }
    }
}

const fn bit(id: u16) -> u64 {
    1 << (id & 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_as_a_set_at_every_size() {
        let mut ids = PacketIds::default();
        let all = [1, 2, 63, 64, 65, 127, 128, 1000, 65_535, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];
        for (before, &id) in all.iter().enumerate() {
            assert_eq!(ids.len(), before);
            assert!(!ids.contains(id));
            assert!(ids.insert(id));
            assert!(!ids.insert(id));
            assert!(ids.contains(id));
            let mut sorted = all[..=before].to_vec();
            sorted.sort_unstable();
            assert_eq!(ids.iter().collect::<Vec<_>>(), sorted);
        }
        for &id in &all {
            assert!(ids.remove(id));
            assert!(!ids.remove(id));
        }
        assert_eq!(ids.len(), 0);
        ids.shrink();
        assert!(!ids.contains(1));
    }
}
