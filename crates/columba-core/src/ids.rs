//! Everything random comes from here, and all of it from the seed.

use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// What makes one broker's choices differ from another's. The shell takes it from the system's random source; a test
/// gives a number. Client ids are unguessable only if the seed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u128);

/// A keyed pseudo-random function over a counter.
#[derive(Debug)]
pub(crate) struct Ids {
    key: [u8; 16],
    count: u64,
}

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl From<u64> for Seed {
    fn from(number: u64) -> Self {
        Self(u128::from(number))
    }
}

impl Ids {
    pub(crate) const fn new(seed: Seed) -> Self {
        Self { key: seed.0.to_le_bytes(), count: 0 }
    }

    /// The secret of the hash tables.
    pub(crate) fn hash_secret(&self) -> u64 {
        self.mix(b"hash", 0) as u64
    }

    /// A new client id: 22 letters and digits, which every version allows [MQTT-3.1.3-5].
    pub(crate) fn client_id(&mut self) -> String {
        self.count += 1;
        let mut bits = self.mix(b"client", self.count);
        let digits = (0..22).map(|_| {
            let digit = ALPHABET[(bits % 62) as usize];
            bits /= 62;
            char::from(digit)
        });
        digits.collect()
    }

    fn mix(&self, purpose: &[u8], number: u64) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(purpose);
        hasher.write_u64(number);
        hasher.finish128().as_u128()
    }
}
