//! The log: lines on standard error. A thread of its own writes them, so that a terminal or a pipe that takes no more
//! never stops the broker; then lines are left out, and counted.

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

/// How much matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// The broker cannot go on, or part of it cannot.
    Error,
    /// Somebody did not get what they wanted.
    Warn,
    /// Who comes and goes.
    #[default]
    Info,
    /// Everything that might explain something.
    Debug,
}

struct Log {
    level: Level,
    lines: SyncSender<Line>,
    left_out: AtomicUsize,
}

enum Line {
    Text(String),
    /// Answered when everything before is written.
    Flush(SyncSender<()>),
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Lines that may wait for being written.
const WAITING: usize = 4096;
/// Lines are gathered as long as this after the first of them was written.
const GATHERING: Duration = Duration::from_millis(5);
/// How long the end of the program waits for them.
const PATIENCE: Duration = Duration::from_secs(1);

/// Starts writing lines of this level and those that matter more. Before, and without the thread, nothing is logged.
pub(crate) fn start(level: Level) {
    let (lines, receiver) = sync_channel(WAITING);
    let thread = thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&receiver));
    if thread.is_ok() {
        let _ = LOG.set(Log { level, lines, left_out: AtomicUsize::new(0) });
    }
}

/// Whether lines of this level are written.
pub(crate) fn is_on(level: Level) -> bool {
    LOG.get().is_some_and(|log| level <= log.level)
}

/// Writes a line.
pub(crate) fn line(level: Level, text: impl fmt::Display) {
    if is_on(level) {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        plain(format!("{now} {level:5} {text}"));
    }
}

/// Writes a line as it is, if information is wanted at all.
pub(crate) fn hint(text: impl fmt::Display) {
    if is_on(Level::Info) {
        plain(text.to_string());
    }
}

/// Waits until everything is written, or nothing more can be.
pub(crate) fn flush() {
    let Some(log) = LOG.get() else { return };
    let (done, written) = sync_channel(1);
    if log.lines.try_send(Line::Flush(done)).is_ok() {
        let _ = written.recv_timeout(PATIENCE);
    }
}

fn plain(text: String) {
    let Some(log) = LOG.get() else { return };
    if let Err(TrySendError::Full(_)) = log.lines.try_send(Line::Text(text)) {
        log.left_out.fetch_add(1, Ordering::Relaxed);
    }
}

fn write_lines(lines: &Receiver<Line>) {
    let mut text = String::new();
    // Nobody is left to tell if standard error fails.
    for first in lines {
        let mut waiting = Vec::new();
        for line in std::iter::once(first).chain(lines.try_iter().take(WAITING)) {
            match line {
                Line::Text(line) => {
                    text.push_str(&line);
                    text.push('\n');
                }
                Line::Flush(done) => waiting.push(done),
            }
        }
        let _ = std::io::stderr().write_all(text.as_bytes());
        text.clear();
        let is_last = !waiting.is_empty();
        for done in waiting {
            // Whoever waited has lost its patience.
            let _ = done.send(());
        }
        let left_out = LOG.get().map_or(0, |log| log.left_out.swap(0, Ordering::Relaxed));
        if left_out > 0 {
            let _ = writeln!(std::io::stderr(), "{left_out} lines were left out here");
        }
        if !is_last {
            // Who logs much does not wake this thread for every line, and the system writes many at a time.
            thread::sleep(GATHERING);
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        })
    }
}

impl FromStr for Level {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            _ => Err("it can be error, warn, info or debug"),
        }
    }
}
