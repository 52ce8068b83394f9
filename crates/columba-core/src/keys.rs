//! Keys of connections and sessions, and the store behind them. A key carries a generation, so that one which
//! outlived its connection cannot reach the next one in the same place.

use slab::Slab;

/// Names one connection for as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey(Key);

/// Names one session for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(Key);

/// Names one question to the authenticator; good for one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub(crate) connection: ConnectionKey,
    pub(crate) number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    index: u32,
    generation: u32,
}

/// Values under keys with a generation.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Slab<Slot<T>>,
    generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: T,
}

impl ConnectionKey {
    /// The number of the connection: unique among those open now, reused later. For logs and for shells that keep
    /// a table beside the core.
    pub const fn index(self) -> usize {
        self.0.index as usize
    }

    /// A key that no connection has.
    #[cfg(test)]
    pub(crate) const fn invalid() -> Self {
        Self(Key { index: u32::MAX, generation: u32::MAX })
    }
}

impl SessionKey {
    /// The number of the session: unique among those alive now, reused later.
    pub const fn index(self) -> usize {
        self.0.index as usize
    }
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Slab::new(), generation: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.slots.iter().map(|(index, slot)| (index as u32, &slot.value))
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.slots.insert(Slot { generation: self.generation, value }) as u32
    }

    pub(crate) fn remove(&mut self, index: u32) -> T {
        let value = self.slots.remove(index as usize).value;
        if self.slots.is_empty() {
            self.slots.shrink_to_fit();
        }
        value
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize).map(|slot| &slot.value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize).map(|slot| &mut slot.value)
    }

    fn key(&self, index: u32) -> Key {
        Key { index, generation: self.slots[index as usize].generation }
    }

    fn resolve(&self, key: Key) -> Option<u32> {
        let slot = self.slots.get(key.index as usize)?;
        (slot.generation == key.generation).then_some(key.index)
    }

    /// The key of a connection that is in the store.
    pub(crate) fn connection_key(&self, index: u32) -> ConnectionKey {
        ConnectionKey(self.key(index))
    }

    /// The key of a session that is in the store.
    pub(crate) fn session_key(&self, index: u32) -> SessionKey {
        SessionKey(self.key(index))
    }

    #[inline]
    pub(crate) fn resolve_connection(&self, key: ConnectionKey) -> Option<u32> {
        self.resolve(key.0)
    }
}

impl<T> std::ops::Index<u32> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: u32) -> &T {
        &self.slots[index as usize].value
    }
}

impl<T> std::ops::IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.slots[index as usize].value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_does_not_reach_its_successor() {
        let mut arena = Arena::new();
        let first = arena.insert('a');
        let key = arena.connection_key(first);
        assert_eq!(arena.resolve_connection(key), Some(first));
        arena.remove(first);
        assert_eq!(arena.insert('b'), first, "the place is used again");
        assert_eq!(arena.resolve_connection(key), None);
        assert_eq!(arena.resolve_connection(ConnectionKey::invalid()), None);
    }
}
