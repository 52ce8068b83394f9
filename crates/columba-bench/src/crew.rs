//! Owns what the threads of a run share: when it begins, how far each is, and whether one has given up. Never a socket.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::arguments::Options;
use crate::net::Target;

#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) options: Options,
    pub(crate) target: Target,
    /// In the messages of this run, and in the names of its clients and topics: 24 bits.
    pub(crate) run: u32,
    pub(crate) epoch: Instant,
    arrived: AtomicUsize,
    /// Threads that publish no more.
    finished: AtomicUsize,
    begin: AtomicU64,
    has_failed: AtomicBool,
    tallies: Vec<Tally>,
    /// QoS 0 deliveries nobody waits for any more.
    written_off: AtomicU64,
}

/// How far one thread is. On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Tally {
    published: AtomicU64,
    expected: AtomicU64,
    delivered: AtomicU64,
    settled: AtomicU64,
}

/// How far one thread, or all of them, are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) published: u64,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) settled: u64,
}

impl Crew {
    pub(crate) fn new(options: Options, target: Target, run: u32) -> Self {
        let tallies = (0..options.threads).map(|_| Tally::default()).collect();
        Self {
            options,
            target,
            run: run & 0x00FF_FFFF,
            epoch: Instant::now(),
            arrived: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            begin: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            tallies,
            written_off: AtomicU64::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.tallies.len()
    }

    /// One more thread has come to the meeting.
    pub(crate) fn arrive(&self) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether all threads have come to this many meetings.
    pub(crate) fn has_met(&self, meetings: usize) -> bool {
        self.arrived.load(Ordering::SeqCst) >= meetings * self.len()
    }

    /// A thread publishes no more, and has posted all that it has published.
    pub(crate) fn finish(&self) {
        self.finished.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether no thread publishes any more. Only then the totals say what is outstanding.
    pub(crate) fn has_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst) == self.len()
    }

    pub(crate) fn give_up(&self) {
        self.has_failed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_given_up(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_begin(&self, begin: u64) {
        self.begin.store(begin, Ordering::SeqCst);
    }

    pub(crate) fn begin(&self) -> u64 {
        self.begin.load(Ordering::SeqCst)
    }

    pub(crate) fn post(&self, thread: usize, totals: Totals) {
        let tally = &self.tallies[thread];
        tally.published.store(totals.published, Ordering::Relaxed);
        tally.expected.store(totals.expected, Ordering::Relaxed);
        tally.delivered.store(totals.delivered, Ordering::Relaxed);
        tally.settled.store(totals.settled, Ordering::Relaxed);
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for tally in &self.tallies {
            totals.published += tally.published.load(Ordering::Relaxed);
            totals.expected += tally.expected.load(Ordering::Relaxed);
            totals.delivered += tally.delivered.load(Ordering::Relaxed);
            totals.settled += tally.settled.load(Ordering::Relaxed);
        }
        totals
    }

    /// Deliveries that are still to come. Threads post one after the other, so for a moment more may have come than was
    /// expected.
    pub(crate) fn outstanding(&self) -> u64 {
        let totals = self.totals();
        totals.expected.saturating_sub(totals.settled + self.written_off.load(Ordering::Relaxed))
    }

    /// No longer waits for what is outstanding. What comes late all the same makes room for as many more; that is
    /// accepted.
    pub(crate) fn write_off(&self) {
        self.written_off.fetch_add(self.outstanding(), Ordering::Relaxed);
    }

    /// What was written off is waited for again.
    pub(crate) fn recall(&self) {
        self.written_off.store(0, Ordering::Relaxed);
    }
}
