//! What all connections of a broker or a world share: the faults and the transcript. It decides what happens to a packet;
//! it carries nothing itself.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use columba::codec::Packet;
use columba::{ReasonCode, TopicName, Version};

use crate::expect::Condition;
use crate::fault::{Action, Exchange, Fault, Passing};
use crate::rng::Rng;
use crate::transcript::{Direction, Transcript};

/// Shared by all lines.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    pub(crate) transcript: Transcript,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug)]
struct Book {
    rules: Vec<Active>,
    next_id: u64,
    rng: Rng,
    /// Packets that have passed, per connection number.
    passed: Vec<u64>,
    released: Vec<u64>,
    /// Lines that hold something back.
    wakers: Vec<Waker>,
}

#[derive(Debug)]
struct Active {
    id: u64,
    fault: Fault,
    seen: u64,
    /// Shared with the handle, which may ask when the fault is gone, and from within a handler.
    hits: Arc<AtomicU64>,
}

/// A fault that was given to a broker or a world. Dropping the handle changes nothing.
#[derive(Clone, Debug)]
pub struct FaultHandle {
    net: Net,
    id: u64,
    hits: Arc<AtomicU64>,
}

/// What is to happen to a packet.
#[derive(Debug)]
pub(crate) enum Decision {
    Pass,
    Delay(Duration),
    Lose,
    Duplicate,
    /// This bit of the packet is wrong, counted over the bytes behind the fixed header.
    Corrupt(u64),
    Truncate(usize),
    Split,
    Cut,
    CutAfter,
    HalfOpen,
    Blackhole,
    Hold(Hold),
    Slow(u32),
    Answer(ReasonCode),
    Handled(Exchange),
}

/// What something waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    /// The release of this fault.
    Release(u64),
    /// So many packets on other connections than this, in all since the start.
    Others { connection: usize, count: u64 },
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        let book = Book {
            rules: Vec::new(),
            next_id: 0,
            rng: Rng::new(seed),
            passed: Vec::new(),
            released: Vec::new(),
            wakers: Vec::new(),
        };
        Self { transcript: Transcript::default(), book: Arc::new(Mutex::new(book)) }
    }

    pub(crate) fn add(&self, fault: Fault) -> FaultHandle {
        let mut book = self.book();
        let id = book.next_id;
        book.next_id += 1;
        let hits = Arc::<AtomicU64>::default();
        book.rules.push(Active { id, fault, seen: 0, hits: hits.clone() });
        FaultHandle { net: self.clone(), id, hits }
    }

    pub(crate) fn clear(&self) {
        let mut book = self.book();
        let held: Vec<u64> = book.rules.iter().map(|rule| rule.id).collect();
        book.rules.clear();
        book.released.extend(held);
        book.wake();
    }

    /// Nothing can happen to a packet.
    pub(crate) fn is_calm(&self) -> bool {
        self.book().rules.is_empty()
    }

    /// The first rule whose time it is decides, and its name for the transcript comes with it.
    pub(crate) fn decide(
        &self,
        passing: &Passing<'_>,
        connection: usize,
        version: Version,
    ) -> (Decision, Option<String>) {
        let mut book = self.book();
        let Book { rules, rng, .. } = &mut *book;
        let found = rules
            .iter_mut()
            .find_map(|rule| rule.fault.applies(passing, &mut rule.seen, rng).then_some(rule));
        let Some(rule) = found else { return (Decision::Pass, None) };
        rule.hits.fetch_add(1, Ordering::AcqRel);
        let name = rule.fault.action.name();
        let (id, random) = (rule.id, rng.next());
        let decision = match &mut rule.fault.action {
            Action::Delay(by) => Decision::Delay(*by),
            Action::Lose => Decision::Lose,
            Action::Duplicate => Decision::Duplicate,
            Action::Corrupt => Decision::Corrupt(random),
            Action::Truncate(keep) => Decision::Truncate(*keep),
            Action::Split => Decision::Split,
            Action::Cut => Decision::Cut,
            Action::CutAfter => Decision::CutAfter,
            Action::HalfOpen => Decision::HalfOpen,
            Action::Blackhole => Decision::Blackhole,
            Action::Hold => Decision::Hold(Hold::Release(id)),
            Action::Behind(packets) => {
                let packets = *packets;
                let count = book.passed_by_others(connection) + packets;
                Decision::Hold(Hold::Others { connection, count })
            }
            Action::Slow(rate) => Decision::Slow(*rate),
            Action::Answer(reason) => Decision::Answer(*reason),
            Action::Handle(handler) => {
                let mut exchange = Exchange::new(version, passing.client);
                handler(passing.packet, &mut exchange);
                let touched = !exchange.passes;
                return (Decision::Handled(exchange), touched.then_some(name));
            }
        };
        (decision, Some(name))
    }

    /// A packet has arrived.
    pub(crate) fn passed(&self, connection: usize) {
        let mut book = self.book();
        if book.passed.len() <= connection {
            book.passed.resize(connection + 1, 0);
        }
        book.passed[connection] += 1;
        book.wake();
    }

    pub(crate) fn holds(&self, hold: Hold) -> bool {
        let book = self.book();
        match hold {
            Hold::Release(id) => !book.released.contains(&id),
            Hold::Others { connection, count } => book.passed_by_others(connection) < count,
        }
    }

    /// Wakes when something held may go on.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut book = self.book();
        if !book.wakers.iter().any(|known| known.will_wake(waker)) {
            book.wakers.push(waker.clone());
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn passed_by_others(&self, connection: usize) -> u64 {
        let others = self.passed.iter().enumerate().filter(|&(number, _)| number != connection);
        others.map(|(_, count)| count).sum()
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl FaultHandle {
    /// How many packets it has happened to.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Acquire)
    }

    /// A condition to [expect](crate::TestBroker::expect): it has happened to so many packets, or more.
    pub fn happened(&self, times: u64) -> Condition {
        let hits = self.hits.clone();
        Condition::happened(times, move || hits.load(Ordering::Acquire))
    }

    /// It happens to no packet any more. What it holds is released.
    pub fn remove(&self) {
        self.net.book().rules.retain(|rule| rule.id != self.id);
        self.release();
    }

    /// What it holds goes on, and what it would hold from now on does not wait.
    pub fn release(&self) {
        let mut book = self.net.book();
        book.released.push(self.id);
        book.wake();
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToBroker => "to the broker",
            Self::ToClient => "to the client",
        })
    }
}

/// What a packet is about that has a topic.
pub(crate) fn topic_of<'a>(packet: &'a Packet<'a>) -> Option<&'a str> {
    match packet {
        Packet::Publish(publish) => publish.topic.map(TopicName::as_str),
        _ => None,
    }
}
