//! Repeated parts of a packet: borrowed from the wire or from the caller's slice, never collected.

use std::fmt;

use crate::property::{Property, next_property};
use crate::wire::{Reader, Writer, checked_filter};
use crate::{
    Field, ReasonCode, SubscribeItem, SubscriptionId, SubscriptionOptions, TopicFilter, UserProperty,
};

/// What a [`List`] can hold. Nothing outside this crate can be one.
pub trait Item<'a>: Copy + PartialEq + fmt::Debug + sealed::Sealed {
    /// Takes the next item off checked bytes, passing over what is not one.
    #[doc(hidden)]
    fn next(bytes: &mut &'a [u8]) -> Option<Self>;
}

/// A sequence of `T`, either still encoded inside a received packet (checked when that packet was decoded) or a
/// slice of the caller's. Both read the same.
#[derive(Clone, Copy)]
pub struct List<'a, T> {
    repr: Repr<'a, T>,
}

/// Encoded bytes begin with an item and end with one: there is none exactly if there are no bytes.
#[derive(Clone, Copy)]
enum Repr<'a, T> {
    Encoded(&'a [u8]),
    Slice(&'a [T]),
}

/// Iterator over a [`List`].
#[derive(Clone)]
pub struct Items<'a, T> {
    repr: Repr<'a, T>,
}

impl<'a, T> List<'a, T> {
    /// No item.
    pub const EMPTY: Self = Self::from_slice(&[]);

    /// A list of the items of `slice`.
    pub const fn from_slice(slice: &'a [T]) -> Self {
        Self { repr: Repr::Slice(slice) }
    }

    /// A list of the items in `bytes`, which are checked, begin with one and end with one.
    pub(crate) const fn from_encoded(bytes: &'a [u8]) -> Self {
        Self { repr: Repr::Encoded(bytes) }
    }

    /// Whether there is none. Takes constant time.
    pub const fn is_empty(&self) -> bool {
        match self.repr {
            Repr::Encoded(bytes) => bytes.is_empty(),
            Repr::Slice(slice) => slice.is_empty(),
        }
    }

    /// The caller's slice; empty for items from a packet, which need no check before they are encoded again.
    pub(crate) const fn unchecked(&self) -> &'a [T] {
        match self.repr {
            Repr::Encoded(_) => &[],
            Repr::Slice(slice) => slice,
        }
    }
}

impl<'a, T: Item<'a>> List<'a, T> {
    /// The items in order.
    pub fn iter(&self) -> Items<'a, T> {
        Items { repr: self.repr }
    }

    /// How many there are. Counts them if they are still encoded.
    pub fn len(&self) -> usize {
        match self.repr {
            Repr::Encoded(_) => self.iter().count(),
            Repr::Slice(slice) => slice.len(),
        }
    }
}

impl<'a> List<'a, UserProperty<'a>> {
    /// Writes all of them as properties, copying those from a packet as they are.
    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        match self.repr {
            Repr::Encoded(mut bytes) => {
                while let Some((property, encoded)) = next_property(&mut bytes) {
                    if property == Property::UserProperty {
                        writer.bytes(encoded);
                    }
                }
            }
            Repr::Slice(slice) => {
                for (name, value) in slice {
                    writer.u8(Property::UserProperty.id());
                    writer.binary(name.as_bytes());
                    writer.binary(value.as_bytes());
                }
            }
        }
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a, T: Item<'a>> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Item<'a>> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T> From<&'a [T]> for List<'a, T> {
    fn from(slice: &'a [T]) -> Self {
        Self::from_slice(slice)
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for List<'a, T> {
    fn from(array: &'a [T; N]) -> Self {
        Self::from_slice(array)
    }
}

impl<'a, T: Item<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

impl<'a, T: Item<'a>> IntoIterator for &List<'a, T> {
    type Item = T;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

impl<'a, T: Item<'a>> Iterator for Items<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.repr {
            Repr::Encoded(bytes) => T::next(bytes),
            Repr::Slice(slice) => {
                let (first, rest) = slice.split_first()?;
                *slice = rest;
                Some(*first)
            }
        }
    }
}

impl<'a, T: Item<'a>> fmt::Debug for Items<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

// Encoded as a stretch of a property block, among other properties.
impl<'a> Item<'a> for UserProperty<'a> {
    fn next(bytes: &mut &'a [u8]) -> Option<Self> {
        loop {
            let (property, encoded) = next_property(bytes)?;
            if property == Property::UserProperty {
                let field = Field::Property(property);
                let mut reader = Reader::new(encoded.get(1..)?);
                return Some((reader.string(field).ok()?, reader.string(field).ok()?));
            }
        }
    }
}

// Likewise.
impl<'a> Item<'a> for SubscriptionId {
    fn next(bytes: &mut &'a [u8]) -> Option<Self> {
        loop {
            let (property, encoded) = next_property(bytes)?;
            if property == Property::SubscriptionIdentifier {
                let mut reader = Reader::new(encoded.get(1..)?);
                return Self::new(reader.varint(Field::Property(property)).ok()?);
            }
        }
    }
}

// Encoded as the payload of SUBSCRIBE.
impl<'a> Item<'a> for SubscribeItem<'a> {
    fn next(bytes: &mut &'a [u8]) -> Option<Self> {
        let filter = checked_filter(bytes)?;
        let (&options, rest) = bytes.split_first()?;
        *bytes = rest;
        Some(Self { filter, options: SubscriptionOptions::from_bits(options)? })
    }
}

// Encoded as the payload of UNSUBSCRIBE.
impl<'a> Item<'a> for TopicFilter<'a> {
    fn next(bytes: &mut &'a [u8]) -> Option<Self> {
        checked_filter(bytes)
    }
}

// Encoded as the payload of SUBACK and UNSUBACK.
impl<'a> Item<'a> for ReasonCode {
    fn next(bytes: &mut &'a [u8]) -> Option<Self> {
        let (&code, rest) = bytes.split_first()?;
        *bytes = rest;
        Self::from_u8(code)
    }
}

mod sealed {
    use crate::{ReasonCode, SubscribeItem, SubscriptionId, TopicFilter, UserProperty};

    pub trait Sealed {}

    impl Sealed for UserProperty<'_> {}
    impl Sealed for SubscriptionId {}
    impl Sealed for SubscribeItem<'_> {}
    impl Sealed for TopicFilter<'_> {}
    impl Sealed for ReasonCode {}
}
