//! State that most sessions do without: it takes the room of a pointer until somebody changes it.

use std::ops::{Deref, DerefMut};

/// A value that is [`Empty::EMPTY`] without room of its own until it is borrowed to be changed.
#[derive(Debug)]
pub(crate) struct Lazy<T>(Option<Box<T>>);

pub(crate) trait Empty: Default + 'static {
    /// The same as the default.
    const EMPTY: &'static Self;
}

impl<T> Lazy<T> {
    /// The value, if it has been changed.
    pub(crate) fn changed(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> From<T> for Lazy<T> {
    fn from(value: T) -> Self {
        Self(Some(Box::new(value)))
    }
}

impl<T: Empty> Deref for Lazy<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Empty> DerefMut for Lazy<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}
