//! Owns the list of what a broker did wrong apart from losing messages. Never judges how bad that is: anything is too much.

/// Kinds of mistakes, each with how often it happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Vec<(&'static str, u64)>);

impl Faults {
    #[cold]
    pub(crate) fn note(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, times)) => *times += count,
            None => self.0.push((what, count)),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|&(what, count)| self.add(what, count));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().copied()
    }
}
