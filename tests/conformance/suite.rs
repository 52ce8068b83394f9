//! Runs tests, one after the other and each with a broker of its own, and keeps what came of them.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use columba_testkit::Version;

use crate::foreign::{Foreign, Home};
use crate::own::{Own, Site};
use crate::stage::{Group, NotRun, Place, Stage, Test};

/// What came of one test with one version in one place.
pub(crate) struct Run {
    /// Module and function, without the program's name.
    pub(crate) test: &'static str,
    pub(crate) version: Version,
    pub(crate) place: &'static str,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    Passed,
    /// With the message of the panic.
    Failed(String),
    /// With the reason.
    NotRun(String),
}

/// Where all tests are run.
pub(crate) enum Venue {
    /// With so many shards.
    Simulated(usize),
    Own(Site),
    Foreign(Rc<Home>),
}

impl Venue {
    fn name(&self) -> &'static str {
        match self {
            Self::Simulated(1) => "simulated",
            Self::Simulated(_) => "simulated shards",
            Self::Own(site) => site.name(),
            Self::Foreign(_) => "foreign",
        }
    }
}

/// Runs every test whose name contains one of the filters, or all if there are none.
pub(crate) fn run_all(modules: &[&[Group]], venue: &Venue, filters: &[String]) -> Vec<Run> {
    let mut runs = Vec::new();
    for group in modules.iter().copied().flatten() {
        for test in group.tests {
            let name = short(test.name);
            if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
                continue;
            }
            for &version in group.versions {
                let outcome = run(group, test, version, venue);
                if let Outcome::Failed(message) = &outcome {
                    println!("FAILED {name}, {version}, {}: {}", venue.name(), message.trim_end());
                }
                runs.push(Run { test: name, version, place: venue.name(), outcome });
            }
        }
    }
    runs
}

fn run(group: &Group, test: &Test, version: Version, venue: &Venue) -> Outcome {
    let place = match venue {
        Venue::Simulated(shards) => Place::simulated(group, *shards),
        Venue::Own(site) => Place::Own(Own::new(site, group)),
        Venue::Foreign(_) if group.needs_settings() => {
            return Outcome::NotRun("needs settings of the broker".to_owned());
        }
        Venue::Foreign(home) => Place::Foreign(Foreign::new(home)),
    };
    let stage = Stage::new(place, version);
    let mut outcome = attempt(|| (test.run)(&stage));
    if let Err(Outcome::Failed(message)) = &mut outcome
        && message.lines().count() == 1
    {
        // A plain assertion knows nothing of the conversation.
        message.push('\n');
        message.push_str(&stage.conversation());
    }
    let tidied = attempt(|| stage.tidy());
    match outcome.and(tidied) {
        Ok(()) => Outcome::Passed,
        Err(outcome) => outcome,
    }
}

/// Calls `f`; where it panics, the message with its place.
pub(crate) fn attempt<T>(f: impl FnOnce() -> T) -> Result<T, Outcome> {
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(|payload| match payload.downcast::<NotRun>() {
        Ok(reason) => Outcome::NotRun(reason.0),
        Err(payload) => Outcome::Failed(message(&*payload)),
    })
}

thread_local! {
    /// Where the last panic was.
    static SITE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics print nothing: their message belongs to the test's result.
pub(crate) fn silence_panics() {
    panic::set_hook(Box::new(|info| {
        let site = info.location().map(|place| format!("{}:{}: ", place.file(), place.line()));
        SITE.with(|last| last.replace(site.unwrap_or_default()));
    }));
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
    SITE.with(|site| format!("{}{text}", site.borrow()))
}

/// A test's name without the program's.
fn short(name: &'static str) -> &'static str {
    name.strip_prefix("conformance::").unwrap_or(name)
}
