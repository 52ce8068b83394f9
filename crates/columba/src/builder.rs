//! Settings of a broker, and its making.

use std::sync::Arc;

use columba_core::{Authorize, Config, Core, EventMask, Limits, Seed};

use crate::broker::{Broker, Shared};
use crate::driver::Driver;
use crate::hooks::{Authenticate, Observe};
use crate::timer::{ThreadTimer, Timer};

/// Collects settings; [`build`](Self::build) makes the broker.
#[derive(Default)]
#[must_use]
pub struct BrokerBuilder {
    config: Config,
    authenticate: Option<Arc<dyn Authenticate>>,
    authorize: Option<Box<dyn Authorize>>,
    observers: Vec<(EventMask, Box<dyn Observe>)>,
    seed: Option<Seed>,
    timer: Option<Box<dyn Timer>>,
}

impl BrokerBuilder {
    /// Replaces all settings of [`Config`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Changes some settings.
    ///
    /// ```
    /// let builder = columba::Broker::builder().configure(|config| config.server_keep_alive = Some(30));
    /// # drop(builder);
    /// ```
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Replaces the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Lets this hook decide who comes in. Without one everybody does.
    pub fn authenticate(mut self, hook: impl Authenticate) -> Self {
        self.config.authenticate = true;
        self.authenticate = Some(Arc::new(hook));
        self
    }

    /// Lets this function decide who may publish and subscribe to what. It must be pure and fast.
    pub fn authorize(mut self, hook: impl Authorize + 'static) -> Self {
        self.authorize = Some(Box::new(hook));
        self
    }

    /// Shows this observer all events of these kinds.
    pub fn observe(mut self, kinds: EventMask, observer: impl Observe) -> Self {
        self.observers.push((kinds, Box::new(observer)));
        self
    }

    /// Makes client ids and the like predictable, for tests. By default they come from the system's random source.
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Uses a runtime's own timer instead of a thread.
    pub fn timer(mut self, timer: impl Timer) -> Self {
        self.timer = Some(Box::new(timer));
        self
    }

    /// The broker and its driver. Nothing happens until the driver is polled: spawn it on any executor, or run it on
    /// a thread with `block_on`.
    ///
    /// # Panics
    /// If the system has no random source and no [`seed`](Self::seed) is given.
    pub fn build(self) -> (Broker, Driver) {
        let Self { mut config, authenticate, authorize, observers, seed, timer } = self;
        for (kinds, _) in &observers {
            config.events = config.events | *kinds;
        }
        let mut core = Core::new(config, seed.unwrap_or_else(random_seed));
        if let Some(authorize) = authorize {
            core.set_authorize(authorize);
        }
        let shared = Arc::new(Shared::default());
        let timer = timer.unwrap_or_else(|| Box::new(ThreadTimer::new()));
        let driver = Driver::new(core, shared.clone(), authenticate, observers, timer);
        (Broker { shared }, driver)
    }
}

impl std::fmt::Debug for BrokerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

fn random_seed() -> Seed {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has a random source");
    Seed(u128::from_le_bytes(bytes))
}
