//! Where a test runs: the simulated world or a broker behind a socket. Tests do not see which.

use std::panic;
use std::time::Duration;

use columba_testkit::codec::Connect;
use columba_testkit::columba::{AuthRequest, Config, Verdict};
use columba_testkit::{Client, Version, World};

pub(crate) use columba_testkit::Version::{V3_1, V3_1_1, V5};

use crate::foreign::Foreign;
use crate::own::Own;

/// For a test's versions: behaviour that all share.
pub(crate) const ALL: &[Version] = &[V3_1, V3_1_1, V5];
/// For a test's versions: what the statements of 3.1.1 and 5.0 have in common.
pub(crate) const NUMBERED: &[Version] = &[V3_1_1, V5];
/// For a test's versions: before 5.0.
pub(crate) const OLD: &[Version] = &[V3_1, V3_1_1];
/// For a test's versions: 3.1.1 only.
pub(crate) const ONLY_3_1_1: &[Version] = &[V3_1_1];
/// For a test's versions: 3.1 only.
pub(crate) const ONLY_3_1: &[Version] = &[V3_1];
/// For a test's versions: 5.0 only.
pub(crate) const ONLY_5: &[Version] = &[V5];

/// Tests that run with the same versions and settings.
pub(crate) struct Group {
    /// The versions each test runs with, one after the other.
    pub(crate) versions: &'static [Version],
    /// Settings that the broker needs; a broker that cannot be configured is not tested with it.
    pub(crate) config: Option<fn(&mut Config)>,
    /// Decides who comes in; the same goes for it.
    pub(crate) authenticate: Option<Judge>,
    pub(crate) tests: &'static [Test],
}

/// The answer to a client that asks to be let in.
pub(crate) type Judge = fn(&AuthRequest) -> Verdict;

impl Group {
    /// The same tests with a broker that asks this judge about every client.
    pub(crate) const fn asking(mut self, judge: Judge) -> Self {
        self.authenticate = Some(judge);
        self
    }

    /// It runs only against a broker that can be told how to behave.
    pub(crate) fn needs_settings(&self) -> bool {
        self.config.is_some() || self.authenticate.is_some()
    }
}

/// One test.
pub(crate) struct Test {
    /// Module and function: `conformance::session::a_clean_start_ends_the_session`.
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Stage),
}

/// A group of tests of a module: `tests!(ALL => one, two)`, `tests!(ONLY_5, |config| config.retain_available = false => three)`,
/// `tests!(ONLY_5 => four).asking(judge)`.
macro_rules! tests {
    ($versions:ident => $($run:ident),+ $(,)?) => {
        $crate::stage::Group {
            versions: $crate::stage::$versions,
            config: None,
            authenticate: None,
            tests: &[$($crate::stage::Test { name: concat!(module_path!(), "::", stringify!($run)), run: $run }),+],
        }
    };
    ($versions:ident, $config:expr => $($run:ident),+ $(,)?) => {
        $crate::stage::Group { config: Some($config), ..tests!($versions => $($run),+) }
    };
}
pub(crate) use tests;

/// A broker, and the version the test speaks to it.
pub(crate) struct Stage {
    pub(crate) version: Version,
    place: Place,
}

pub(crate) enum Place {
    Simulated(World),
    /// Of several shards.
    Sharded(World),
    Own(Own),
    Foreign(Foreign),
}

/// Why a test does not run where it is; ends a test as a panic's payload.
pub(crate) struct NotRun(pub(crate) String);

impl Place {
    pub(crate) fn simulated(group: &Group, shards: usize) -> Self {
        let world = World::with_options(|options| {
            options.shards = shards;
            if let Some(adjust) = group.config {
                adjust(&mut options.config);
            }
            options.config.authenticate |= group.authenticate.is_some();
        });
        if let Some(judge) = group.authenticate {
            world.authenticate(judge);
        }
        if shards == 1 { Self::Simulated(world) } else { Self::Sharded(world) }
    }
}

impl Stage {
    pub(crate) fn new(place: Place, version: Version) -> Self {
        Self { version, place }
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.version == V5
    }

    /// Whether the broker is several shards that hear late of each other's queues.
    pub(crate) fn has_shards(&self) -> bool {
        matches!(self.place, Place::Sharded(_))
    }

    /// The client id that a test's `name` stands for here: at most 23 letters and digits if `name` is at most 16. A broker
    /// that outlives the test gets one that no other test has. [`connect`](Self::connect) and
    /// [`try_connect`](Self::try_connect) use it.
    pub(crate) fn id(&self, name: &str) -> String {
        match &self.place {
            Place::Simulated(_) | Place::Sharded(_) | Place::Own(_) => name.to_owned(),
            Place::Foreign(broker) => broker.id(name),
        }
    }

    /// Opens a connection and sends nothing.
    pub(crate) fn open(&self, name: &str) -> Client {
        self.open_as(self.version, name)
    }

    pub(crate) fn open_as(&self, version: Version, name: &str) -> Client {
        match &self.place {
            Place::Simulated(world) | Place::Sharded(world) => world.open(name, version),
            Place::Own(broker) => broker.open(name, version),
            Place::Foreign(broker) => broker.open(name, version),
        }
    }

    /// Sends CONNECT with a clean start, as `adjust` changes it, and leaves the answer to the test.
    pub(crate) fn try_connect(&self, id: &str, adjust: impl FnOnce(&mut Connect<'_>)) -> Client {
        self.try_connect_as(self.version, id, adjust)
    }

    pub(crate) fn try_connect_as(
        &self,
        version: Version,
        id: &str,
        adjust: impl FnOnce(&mut Connect<'_>),
    ) -> Client {
        let client = self.open_as(version, id);
        client.connect(&self.id(id), adjust);
        client
    }

    /// Connects with a clean start, unless `adjust` says otherwise, and takes the CONNACK.
    #[track_caller]
    pub(crate) fn connect(&self, id: &str, adjust: impl FnOnce(&mut Connect<'_>)) -> Client {
        self.connect_as(self.version, id, adjust)
    }

    #[track_caller]
    pub(crate) fn connect_as(
        &self,
        version: Version,
        id: &str,
        adjust: impl FnOnce(&mut Connect<'_>),
    ) -> Client {
        let client = self.try_connect_as(version, id, adjust);
        client.accepted();
        client
    }

    /// Lets time pass: instantly where the broker's clock is the test's.
    pub(crate) fn advance(&self, seconds: u64) {
        let duration = Duration::from_secs(seconds);
        match &self.place {
            Place::Simulated(world) | Place::Sharded(world) => world.advance(duration),
            Place::Own(broker) => broker.advance(duration),
            Place::Foreign(broker) => broker.wait(duration),
        }
    }

    /// Where the broker takes WebSocket connections; `None` is Columba where it takes none.
    pub(crate) fn websocket(&self) -> Option<&str> {
        match &self.place {
            Place::Simulated(_) | Place::Sharded(_) => None,
            Place::Own(broker) => broker.reach().websocket(),
            Place::Foreign(broker) => broker.reach().websocket().or_else(|| not_run("needs a WebSocket")),
        }
    }

    /// What was said so far.
    pub(crate) fn conversation(&self) -> String {
        match &self.place {
            Place::Simulated(world) | Place::Sharded(world) => world.transcript().tail(),
            Place::Own(broker) => broker.conversation(),
            Place::Foreign(broker) => broker.conversation(),
        }
    }

    /// Leaves the broker as the next test wants to find it.
    ///
    /// # Panics
    /// If that cannot be done.
    pub(crate) fn tidy(&self) {
        if let Place::Foreign(broker) = &self.place {
            broker.tidy().expect("the broker still takes connections");
        }
    }
}

/// Ends the test without a result.
pub(crate) fn not_run(reason: impl Into<String>) -> ! {
    panic::resume_unwind(Box::new(NotRun(reason.into())))
}
