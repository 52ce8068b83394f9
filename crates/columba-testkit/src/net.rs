//! What all connections of a broker or a world share: the faults and the transcript. It decides what happens to a packet;
//! it carries nothing itself and knows no line.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use columba_codec::{Packet, ReasonCode, TopicName, Version};

use crate::expect::Condition;
use crate::fault::{Action, Exchange, Fault, Passing};
use crate::rng::Rng;
use crate::transcript::{Direction, Transcript};

/// What the lines of a broker share: the faults that happen on them, and the transcript. Cloning gives another handle to the
/// same one.
///
/// [`TestBroker`](crate::TestBroker) and [`World`](crate::World) have one each. It is for programs that move the bytes of
/// [lines](crate::Line) themselves.
///
/// It holds nothing of a line that is gone but what the transcript has about it.
#[derive(Clone, Debug)]
pub struct Net {
    transcript: Transcript,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug)]
struct Book {
    rules: Vec<Active>,
    next_id: u64,
    rng: Rng,
    /// Packets that have arrived, on all connections.
    passed: u64,
    packet_limit: usize,
    /// By number of the connection: who moves lines that hold something back.
    wakers: BTreeMap<usize, Waker>,
}

#[derive(Debug)]
struct Active {
    id: u64,
    fault: Fault,
    /// What it holds does not wait.
    released: bool,
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
    /// So many packets on other connections than its own, in all since the start.
    Others(u64),
}

impl Net {
    /// One without faults. `seed` decides everything that is random about those it will have.
    pub fn new(seed: u64) -> Self {
        let book = Book {
            rules: Vec::new(),
            next_id: 0,
            rng: Rng::new(seed),
            passed: 0,
            packet_limit: usize::MAX,
            wakers: BTreeMap::new(),
        };
        Self { transcript: Transcript::default(), book: Arc::new(Mutex::new(book)) }
    }

    /// What has happened so far on all lines.
    pub const fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Packets larger than so many bytes go on as they come: nothing happens to them, and the transcript has their beginning.
    /// So a line holds no more of a packet than this that has not come whole. Without it there is no limit but MQTT's, 256 MiB.
    pub fn limit_packets(&self, bytes: usize) {
        self.book().packet_limit = bytes;
    }

    /// From now on this happens to packets on all lines, after the faults that were added before.
    pub fn add(&self, fault: Fault) -> FaultHandle {
        let mut book = self.book();
        let id = book.next_id;
        book.next_id += 1;
        let hits = Arc::<AtomicU64>::default();
        book.rules.push(Active { id, fault, released: false, seen: 0, hits: hits.clone() });
        FaultHandle { net: self.clone(), id, hits }
    }

    /// No fault happens any more, and what was held may go on. What a fault did to a line stays done.
    pub fn clear(&self) {
        // A handler may own a line: it is dropped when nobody waits for the book.
        let rules = std::mem::take(&mut self.book().rules);
        drop(rules);
        self.wake();
    }

    /// There is no fault: nothing can happen to a packet, and lines let go on what they have of one.
    pub fn is_calm(&self) -> bool {
        self.book().rules.is_empty()
    }

    /// The first rule whose time it is decides, and its name for the transcript comes with it. `own` is how many packets have
    /// arrived on this connection.
    pub(crate) fn decide(
        &self,
        passing: &Passing<'_>,
        own: u64,
        version: Version,
    ) -> (Decision, Option<String>) {
        let mut book = self.book();
        let Book { rules, rng, passed, .. } = &mut *book;
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
            Action::Behind(packets) => Decision::Hold(Hold::Others((*passed - own).saturating_add(*packets))),
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
    pub(crate) fn passed(&self) {
        let mut book = self.book();
        book.passed += 1;
        let wakers = std::mem::take(&mut book.wakers);
        drop(book);
        wakers.into_values().for_each(Waker::wake);
    }

    /// Whether this still waits on a connection on which `own` packets have arrived.
    pub(crate) fn holds(&self, hold: Hold, own: u64) -> bool {
        let book = self.book();
        match hold {
            Hold::Release(id) => book.rules.iter().any(|rule| rule.id == id && !rule.released),
            Hold::Others(count) => book.passed - own < count,
        }
    }

    pub(crate) fn packet_limit(&self) -> usize {
        self.book().packet_limit
    }

    /// Wakes when something may go on that is held on this connection.
    pub(crate) fn register(&self, connection: usize, waker: &Waker) {
        self.book().wakers.insert(connection, waker.clone());
    }

    /// The line is gone.
    pub(crate) fn forget(&self, connection: usize) {
        let waker = self.book().wakers.remove(&connection);
        drop(waker);
    }

    fn wake(&self) {
        // Not under the lock: whoever is woken may drop a line.
        let wakers = std::mem::take(&mut self.book().wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut book = self.net.book();
        let removed: Vec<Active> = book.rules.extract_if(.., |rule| rule.id == self.id).collect();
        drop(book);
        drop(removed);
        self.net.wake();
    }

    /// What it holds goes on, and what it would hold from now on does not wait.
    pub fn release(&self) {
        if let Some(rule) = self.net.book().rules.iter_mut().find(|rule| rule.id == self.id) {
            rule.released = true;
        }
        self.net.wake();
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
