//! The record of a conversation: every packet in both directions, with its time and its connection. It keeps bytes and
//! never interprets them until somebody reads it.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use columba::Version;
use columba::codec::{FixedHeader, Packet};

use crate::words::describe;

/// A record that grows while the conversation goes on. Cloning gives another handle to the same one.
///
/// It keeps the last 100,000 entries and at most 64 MiB of packets; what goes is counted.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    log: Arc<Mutex<Log>>,
    /// By number of the connection.
    names: Arc<Mutex<Vec<Arc<str>>>>,
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
/// The most bytes of packets that are kept.
const MAX_BYTES: usize = 64 << 20;
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

    /// The name of a connection: its client id, or what it was opened as.
    pub fn name_of(&self, connection: usize) -> Arc<str> {
        self.names().get(connection).cloned().unwrap_or_else(|| "?".into())
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
        text + &self.render(&log, skipped)
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
    pub(crate) fn switch_off(&self) {
        self.log().off = true;
    }

    pub(crate) fn is_off(&self) -> bool {
        self.log().off
    }

    /// Calls `f` with what is kept and the number of the first entry, counted from the start.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&VecDeque<Entry>, usize) -> T) -> T {
        let log = self.log();
        f(&log.entries, log.forgotten)
    }

    /// The next connection's number.
    pub(crate) fn add_connection(&self, name: &str) -> usize {
        let mut names = self.names();
        names.push(name.into());
        names.len() - 1
    }

    pub(crate) fn rename(&self, connection: usize, name: &str) {
        if let Some(slot) = self.names().get_mut(connection) {
            *slot = name.into();
        }
    }

    pub(crate) fn add(&self, entry: Entry) {
        let mut log = self.log();
        if log.off {
            return;
        }
        log.bytes += entry.size();
        log.entries.push_back(entry);
        while log.entries.len() > MAX_ENTRIES || log.bytes > MAX_BYTES {
            let Some(oldest) = log.entries.pop_front() else { break };
            log.bytes -= oldest.size();
            log.forgotten += 1;
        }
    }

    /// Adds an entry for each packet in `bytes`, and for the rest.
    pub(crate) fn add_packets(&self, bytes: &[u8], entry: impl Fn(&[u8]) -> Entry) {
        if !self.is_off() {
            each_packet(bytes, |packet| self.add(entry(packet)));
        }
    }

    fn render(&self, log: &Log, skip: usize) -> String {
        let names = self.names();
        let entries = || log.entries.iter().skip(skip);
        let name = |entry: &Entry| names.get(entry.connection).map_or("?", |name| name);
        let width = entries().map(|entry| name(entry).chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for entry in entries() {
            let arrow = match (entry.direction, &entry.fate) {
                (Direction::ToBroker, None) => "──▶",
                (Direction::ToClient, None) => "◀──",
                (Direction::ToBroker, Some(_)) => "──×",
                (Direction::ToClient, Some(_)) => "×──",
            };
            let seconds = entry.at.as_secs_f64();
            let _ = write!(text, "{seconds:>12.3}  {:<width$} {arrow} {}", name(entry), entry.text());
            if let Some(fate) = &entry.fate {
                let _ = write!(text, "   [{fate}]");
            }
            text.push('\n');
        }
        text
    }

    fn names(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
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

    fn size(&self) -> usize {
        match &self.what {
            What::Packet { bytes, .. } => bytes.len(),
            What::Link(_) => 0,
        }
    }
}

impl fmt::Display for Transcript {
    /// All of it, one line each, in columns: seconds, client, direction, packet, fate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&self.log(), 0))
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
