//! How long to wait before connecting again.

use std::time::Duration;

use columba_core::Time;

/// Each wait is twice the one before, up to the longest, less up to half of it by chance: so those that lost their connection
/// together do not all come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
    random: u64,
    connected: Option<Time>,
}

impl Backoff {
    pub(super) fn new(shortest: Duration, longest: Duration, seed: u64) -> Self {
        let shortest = shortest.max(Duration::from_millis(1));
        Self { shortest, longest: longest.max(shortest), next: shortest, random: seed, connected: None }
    }

    pub(super) const fn connected(&mut self, now: Time) {
        self.connected = Some(now);
    }

    /// How long to wait now. A connection that lasted at least as long as the next wait would be makes everything good again.
    pub(super) fn wait(&mut self, now: Time, is_permanent: bool) -> Duration {
        if self.connected.take().is_some_and(|since| now.since(since) >= self.next) {
            self.next = self.shortest;
        }
        if is_permanent {
            self.next = self.longest;
        }
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        let half = whole / 2;
        let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
        whole.saturating_sub(Duration::from_micros(self.random() % micros))
    }

    /// The generator known as `SplitMix64`.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_begin_anew_after_a_good_connection() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(10), 7);
        let mut now = Time::ZERO;
        for whole in [1, 2, 4, 8, 10, 10] {
            let wait = backoff.wait(now, false);
            assert!(wait >= seconds(whole) / 2 && wait <= seconds(whole), "{wait:?} of {whole}");
            now = now + wait;
        }
        // A short connection changes nothing.
        backoff.connected(now);
        assert!(backoff.wait(now + seconds(9), false) >= seconds(5));
        backoff.connected(now);
        assert!(backoff.wait(now + seconds(10), false) <= seconds(1));
        assert!(backoff.wait(now, true) >= seconds(5));
    }

    #[test]
    fn chance_comes_from_the_seed() {
        let waits = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1), seed);
            [(); 5].map(|()| backoff.wait(Time::ZERO, false))
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
