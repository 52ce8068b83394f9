//! The record of a conversation: every packet in both directions, with its time and its connection. It keeps bytes and
//! never interprets them until somebody reads it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use columba_codec::{FixedHeader, Packet, Version};

use crate::words::describe;

/// A record that grows while the conversation goes on. Cloning gives another handle to the same one.
///
/// It keeps the last 100,000 entries and at most 64 MiB of packets; what goes is counted.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    log: Arc<Mutex<Log>>,
    names: Arc<Mutex<Names>>,
}

/// The names of connections that something still refers to.
#[derive(Debug, Default)]
struct Names {
    known: BTreeMap<usize, Weak<Name>>,
    /// Connections so far.
    opened: usize,
    /// So many known names are looked through for those that nothing refers to.
    sweep_at: usize,
}

/// What a connection is called. Its line and its entries share it, and with the last of them it is gone.
#[derive(Debug)]
pub(crate) struct Name {
    number: usize,
    text: Mutex<Arc<str>>,
}

#[derive(Debug, Default)]
struct Log {
    entries: VecDeque<Entry>,
    /// Entries that were dropped to make room.
    forgotten: usize,
    bytes: usize,
    off: bool,
    /// A failure's message has shown it.
    shown: bool,
}

/// One thing that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Time since the start of the broker or the world.
    pub at: Duration,
    /// Number of the connection, counted from 0 in the order in which connections were opened.
    pub connection: usize,
    /// Which way it went.
    pub direction: Direction,
    /// What it was.
    pub what: What,
    /// What a fault did to it, if one did.
    pub fate: Option<Arc<str>>,
    name: Arc<Name>,
    /// What it counts for towards [`MAX_BYTES`].
    weight: usize,
}

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the broker.
    ToBroker,
    /// From the broker to the client.
    ToClient,
}

/// What an entry is about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// A packet, or bytes that are none.
    Packet {
        /// The protocol version of its connection.
        version: Version,
        /// As it went over the link, fixed header included.
        bytes: Bytes,
    },
    /// Something about the connection: it was opened, cut, closed.
    Link(&'static str),
}

/// The most entries that are kept.
const MAX_ENTRIES: usize = 100_000;
/// The most bytes of packets that are kept, and of the names of their connections.
const MAX_BYTES: usize = 64 << 20;
/// So many names may be known before any is looked for that can go.
const MIN_SWEEP: usize = 64;
/// Longer names stand out of their column.
const MAX_WIDTH: usize = 40;
/// How much of the end a failing test shows.
const TAIL: usize = 60;

impl Direction {
    /// The other way.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::ToBroker => Self::ToClient,
            Self::ToClient => Self::ToBroker,
        }
    }
}

impl Transcript {
    /// All entries that are kept, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.log().entries.iter().cloned().collect()
    }

    /// Hands out all entries that are kept, oldest first, and keeps them no longer.
    pub fn take(&self) -> Vec<Entry> {
        let mut log = self.log();
        log.forgotten += log.entries.len();
        log.bytes = 0;
        log.entries.drain(..).collect()
    }

    /// The name of a connection: its client id, or what it was opened as. A connection that is closed has one as long as
    /// there are entries about it, here or [taken](Self::take); then it is `?`. See also [`Entry::client`].
    pub fn name_of(&self, connection: usize) -> Arc<str> {
        let name = self.names().known.get(&connection).and_then(Weak::upgrade);
        name.map_or_else(|| "?".into(), |name| name.get())
    }

    /// The last entries as text, for a failure's message.
    pub fn tail(&self) -> String {
        let mut log = self.log();
        log.shown = true;
        let skipped = log.entries.len().saturating_sub(TAIL);
        let mut text = String::new();
        if skipped + log.forgotten > 0 {
            text = format!("… {} entries before\n", skipped + log.forgotten);
        }
        text + &Self::render(&log, skipped)
    }

    /// Forgets everything so far.
    pub fn clear(&self) {
        let mut log = self.log();
        log.entries.clear();
        log.forgotten = 0;
        log.bytes = 0;
    }

    /// Prints the end of it to standard error, which the test harness shows where a test fails.
    pub(crate) fn show(&self) {
        let (off, shown) = {
            let log = self.log();
            (log.off, log.shown)
        };
        if !off && !shown {
            eprintln!("{}", self.tail());
        }
    }

    /// Records nothing from now on.
    pub fn switch_off(&self) {
        self.log().off = true;
    }

    /// Records again.
    pub fn switch_on(&self) {
        self.log().off = false;
    }

    pub(crate) fn is_off(&self) -> bool {
        self.log().off
    }

    /// Calls `f` with what is kept and the number of the first entry, counted from the start.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&VecDeque<Entry>, usize) -> T) -> T {
        let log = self.log();
        f(&log.entries, log.forgotten)
    }

    /// Gives the next connection its number.
    pub(crate) fn add_connection(&self, name: &str) -> Arc<Name> {
        let mut names = self.names();
        let number = names.opened;
        names.opened += 1;
        if names.known.len() >= names.sweep_at {
            names.known.retain(|_, name| name.strong_count() > 0);
            // As many again have to come before the next time: a connection pays for a constant number of others.
            names.sweep_at = MIN_SWEEP.max(names.known.len() * 2);
        }
        let name = Arc::new(Name { number, text: Mutex::new(name.into()) });
        names.known.insert(number, Arc::downgrade(&name));
        name
    }

    pub(crate) fn add(&self, entry: Entry) {
        let mut log = self.log();
        if log.off {
            return;
        }
        log.bytes += entry.weight;
        log.entries.push_back(entry);
        while log.entries.len() > MAX_ENTRIES || log.bytes > MAX_BYTES {
            let Some(oldest) = log.entries.pop_front() else { break };
            log.bytes -= oldest.weight;
            log.forgotten += 1;
        }
    }

    /// Adds an entry for each packet in `bytes`, and for the rest.
    pub(crate) fn add_packets(&self, bytes: &[u8], entry: impl Fn(&[u8]) -> Entry) {
        if !self.is_off() {
            each_packet(bytes, |packet| self.add(entry(packet)));
        }
    }

    fn render(log: &Log, skip: usize) -> String {
        let entries = || log.entries.iter().skip(skip);
        let width = entries().map(|entry| entry.client().chars().count()).max().unwrap_or(0).min(MAX_WIDTH);
        let mut text = String::new();
        for entry in entries() {
            let arrow = match (entry.direction, &entry.fate) {
                (Direction::ToBroker, None) => "──▶",
                (Direction::ToClient, None) => "◀──",
                (Direction::ToBroker, Some(_)) => "──×",
                (Direction::ToClient, Some(_)) => "×──",
            };
            let seconds = entry.at.as_secs_f64();
            let _ = write!(text, "{seconds:>12.3}  {:<width$} {arrow} {}", entry.client(), entry.text());
            if let Some(fate) = &entry.fate {
                let _ = write!(text, "   [{fate}]");
            }
            text.push('\n');
        }
        text
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        lock(&self.names)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

impl Name {
    /// The number of the connection.
    pub(crate) const fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn get(&self) -> Arc<str> {
        lock(&self.text).clone()
    }

    pub(crate) fn set(&self, text: &str) {
        *lock(&self.text) = text.into();
    }
}

impl Entry {
    pub(crate) fn new(name: &Arc<Name>, at: Duration, direction: Direction, what: What) -> Self {
        let size = match &what {
            What::Packet { bytes, .. } => bytes.len(),
            What::Link(_) => 0,
        };
        let (connection, weight) = (name.number, size + name.get().len());
        Self { at, connection, direction, what, fate: None, name: name.clone(), weight }
    }

    /// The name of its connection: the client id, or what it was opened as before the client had sent one.
    pub fn client(&self) -> Arc<str> {
        self.name.get()
    }

    /// The packet, if it is one that can be read.
    pub fn packet(&self) -> Option<Packet<'_>> {
        let What::Packet { version, bytes } = &self.what else { return None };
        let header = FixedHeader::read(bytes, usize::MAX).ok().flatten()?;
        let body = bytes.get(header.len..).filter(|_| header.total() == bytes.len())?;
        Packet::decode(header, body, *version).ok()
    }

    /// What it was, in one line.
    pub fn text(&self) -> String {
        match &self.what {
            What::Packet { bytes, .. } => match self.packet() {
                Some(packet) => describe(&packet),
                None => format!("({} bytes) {}", bytes.len(), hex(&bytes[..bytes.len().min(24)])),
            },
            What::Link(what) => format!("({what})"),
        }
    }
}

impl fmt::Display for Transcript {
    /// All of it, one line each, in columns: seconds, client, direction, packet, fate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self::render(&self.log(), 0))
    }
}

/// Calls `f` with each whole packet, and with the rest.
pub(crate) fn each_packet(mut bytes: &[u8], mut f: impl FnMut(&[u8])) {
    while !bytes.is_empty() {
        let header = FixedHeader::read(bytes, usize::MAX).ok().flatten();
        let total = header.map_or(bytes.len(), |header| header.total()).min(bytes.len());
        let (packet, rest) = bytes.split_at(total);
        f(packet);
        bytes = rest;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_connections_that_are_gone_take_no_room() {
        let transcript = Transcript::default();
        let kept: Vec<_> = (0..100).map(|_| transcript.add_connection("kept")).collect();
        for _ in 0..100_000 {
            transcript.add_connection("app");
        }
        assert!(transcript.names().known.len() <= 1 + 2 * kept.len());
        assert!(kept.iter().all(|name| *transcript.name_of(name.number()) == *"kept"));
    }

    #[test]
    fn names_count_as_bytes() {
        let transcript = Transcript::default();
        let name = transcript.add_connection(&"x".repeat(1 << 20));
        for _ in 0..100 {
            transcript.add(Entry::new(&name, Duration::ZERO, Direction::ToBroker, What::Link("opened")));
        }
        assert_eq!(transcript.entries().len(), 64);
        assert!(transcript.tail().starts_with("… 40 entries before"));
    }
}
