//! Owns the line that shows how far a run is, on a terminal only.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    shown: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self { is_shown: is_wanted && io::stderr().is_terminal(), shown: None }
    }

    /// Shows this text in place of the last one, if that has been there for a while.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.is_shown && self.shown.is_none_or(|shown| shown.elapsed() > INTERVAL) {
            self.shown = Some(Instant::now());
            // A terminal that is gone is no reason to stop measuring.
            let _ = write!(io::stderr(), "\r\x1B[K  {}", text());
            let _ = io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1B[K");
        }
    }
}
