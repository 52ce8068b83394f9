//! Owns how durations are counted: as many buckets for each power of two, so that a percentile is off by less than 1 %
//! whether it is a microsecond or a minute. Never keeps single values.

/// Each power of two has 2 to the power of this many buckets.
const PRECISION: u32 = 7;
const PER_OCTAVE: usize = 1 << PRECISION;
/// Values below are exact; above, the highest bit and so many after it choose the bucket.
const BUCKETS: usize = (64 - PRECISION as usize + 1) * PER_OCTAVE;

/// Counts of values, nanoseconds say.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }

    #[inline]
    pub(crate) fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// Adds all that `other` has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many values there are.
    pub(crate) const fn len(&self) -> u64 {
        self.total
    }

    /// The largest value, exactly.
    pub(crate) const fn max(&self) -> u64 {
        self.max
    }

    /// The value that this share of all values does not exceed, at most 1 % too large; 0 if there is none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = ((share * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return highest(index).min(self.max);
            }
        }
        self.max
    }
}

#[inline]
const fn bucket(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(PRECISION + 1);
    shift as usize * PER_OCTAVE + (value >> shift) as usize
}

/// The largest value of a bucket.
const fn highest(bucket: usize) -> u64 {
    if bucket < 2 * PER_OCTAVE {
        return bucket as u64;
    }
    let shift = bucket / PER_OCTAVE - 1;
    let lead = (bucket - shift * PER_OCTAVE) as u128;
    // The last bucket ends where the numbers end, which does not fit before the subtraction.
    (((lead + 1) << shift) - 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_narrow() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(highest(BUCKETS - 1), u64::MAX);
        for index in 0..BUCKETS - 1 {
            let end = highest(index);
            assert_eq!(bucket(end), index);
            assert_eq!(bucket(end + 1), index + 1);
            let width = highest(index + 1) - end;
            assert!(width as f64 <= 1.0 + end as f64 / 100.0, "{width} at {end}");
        }
    }

    #[test]
    fn percentiles_of_a_known_distribution() {
        let mut histogram = Histogram::new();
        (1..=100_000).for_each(|value| histogram.record(value * 1_000));
        for (share, expected) in [(0.5, 50_000_000.0), (0.9, 90_000_000.0), (0.99, 99_000_000.0)] {
            let ratio = histogram.quantile(share) as f64 / expected;
            assert!((1.0..1.01).contains(&ratio), "{share}: {ratio}");
        }
        assert_eq!(histogram.quantile(1.0), 100_000_000);
        assert_eq!(histogram.max(), 100_000_000);
        assert_eq!(histogram.len(), 100_000);
    }

    #[test]
    fn few_values() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), 0);
        histogram.record(7);
        assert_eq!([0.0, 0.5, 1.0].map(|share| histogram.quantile(share)), [7; 3]);
    }

    #[test]
    fn merging_is_recording_both() {
        let (mut one, mut other, mut both) = (Histogram::new(), Histogram::new(), Histogram::new());
        for value in 0..5_000 {
            if value % 3 == 0 { &mut one } else { &mut other }.record(value * value);
            both.record(value * value);
        }
        one.merge(&other);
        assert_eq!(one.counts, both.counts);
        assert_eq!((one.len(), one.max()), (both.len(), both.max()));
    }
}
