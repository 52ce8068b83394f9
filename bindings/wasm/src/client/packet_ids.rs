//! The packet identifiers this client uses, for PUBLISH, SUBSCRIBE and UNSUBSCRIBE alike.

use columba_codec::PacketId;

/// Which of the identifiers 1 to 65,535 are in use. 8 KiB, once one has been.
#[derive(Debug, Default)]
pub(super) struct PacketIds {
    bits: Vec<u64>,
    last: u16,
    used: u16,
}

impl PacketIds {
    /// The next identifier that is not in use [MQTT-2.2.1-3]; `None` if all are. They go round, so that one that has become
    /// free is not used again soon.
    pub(super) fn take(&mut self) -> Option<PacketId> {
        if self.is_exhausted() {
            return None;
        }
        self.bits.resize(1024, 0);
        loop {
            self.last = self.last.wrapping_add(1);
            let (word, bit) = place(self.last);
            if let Some(id) = PacketId::new(self.last)
                && self.bits[word] & bit == 0
            {
                self.bits[word] |= bit;
                self.used += 1;
                return Some(id);
            }
        }
    }

    /// Whether all are in use.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.used == u16::MAX
    }

    /// `id` may be used again [MQTT-2.2.1-4].
    pub(super) fn release(&mut self, id: PacketId) {
        let (word, bit) = place(id.get());
        if self.bits.get(word).is_some_and(|bits| bits & bit != 0) {
            self.bits[word] &= !bit;
            self.used -= 1;
        }
    }
}

const fn place(id: u16) -> (usize, u64) {
    (id as usize >> 6, 1 << (id & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identifier_is_given_once() {
        let mut ids = PacketIds::default();
        for expected in 1..=u16::MAX {
            assert_eq!(ids.take().map(PacketId::get), Some(expected));
        }
        assert_eq!(ids.take(), None);
        let free = PacketId::new(40_000).unwrap();
        ids.release(free);
        ids.release(free);
        assert_eq!(ids.take(), Some(free));
        assert_eq!(ids.take(), None);
    }

    #[test]
    fn they_go_round() {
        let mut ids = PacketIds::default();
        let first = ids.take().unwrap();
        ids.release(first);
        assert_eq!(ids.take().map(PacketId::get), Some(2));
        for _ in 3..=u16::MAX {
            let id = ids.take().unwrap();
            ids.release(id);
        }
        assert_eq!(ids.take(), Some(first));
    }
}
