//! Settings of a broker, and its making.

use std::sync::Arc;

use columba_core::{Action, Authorize, Client, Config, Core, EventMask, Limits, Seed};

use crate::broker::{Broker, Shared};
use crate::driver::Driver;
use crate::hooks::{Authenticate, Observe, Observers};
use crate::post::Post;
use crate::timer::{ThreadTimer, Timer};

/// Collects settings; [`build`](Self::build) makes the broker.
#[derive(Default)]
#[must_use]
pub struct BrokerBuilder {
    config: Config,
    authenticate: Option<Arc<dyn Authenticate>>,
    authorize: Option<Arc<dyn Authorize + Sync>>,
    observers: Vec<(EventMask, Box<dyn Observe>)>,
    seed: Option<Seed>,
    timers: Option<Box<dyn FnMut() -> Box<dyn Timer> + Send>>,
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
    pub fn authorize(mut self, hook: impl Authorize + Sync + 'static) -> Self {
        self.authorize = Some(Arc::new(hook));
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

    /// Uses a runtime's own timer instead of a thread. A broker of several shards needs one for each: `timers`.
    pub fn timer(mut self, timer: impl Timer) -> Self {
        let mut timer: Option<Box<dyn Timer>> = Some(Box::new(timer));
        self.timers = Some(Box::new(move || timer.take().unwrap_or_else(|| Box::new(ThreadTimer::new()))));
        self
    }

    /// The same for several shards: one timer for each, and all of one clock.
    #[cfg(feature = "shards")]
    pub fn timers<T: Timer>(mut self, mut make: impl FnMut() -> T + Send + 'static) -> Self {
        self.timers = Some(Box::new(move || Box::new(make())));
        self
    }

    /// The broker and its driver. Nothing happens until the driver is polled: spawn it on any executor, or run it on
    /// a thread with `block_on`.
    ///
    /// # Panics
    /// If the system has no random source and no [`seed`](Self::seed) is given.
    pub fn build(self) -> (Broker, Driver) {
        let (broker, mut drivers) = self.build_all(1);
        (broker, drivers.pop().expect("there is one"))
    }

    /// A broker that uses several cores of the machine: each driver is one shard of it, with its own part of the clients,
    /// chosen by their ids, and is to be polled on a thread of its own, all of them at the same time. To clients it is one
    /// broker. When one driver is dropped, the others end.
    ///
    /// Messages from one publisher under one topic stay in order, as ever. Each shard holds all retained messages.
    /// Limits hold for all shards together, where they are not for one session, to about a 64th for each shard. A
    /// publisher is not told of a full queue in another shard ([`FullQueue::RefusePublisher`](crate::FullQueue)): there
    /// the message is dropped for the session that is full. [`Metrics::stored`](crate::Metrics::stored) counts a retained
    /// message once for each shard, `authorize` is asked twice for a SUBSCRIBE, and a message that another shard's client
    /// has published at QoS 0 is in no order with this client's PINGRESP.
    ///
    /// Only with the feature `shards`.
    ///
    /// # Panics
    /// If `count` is 0 or more than [`MAX_SHARDS`](crate::MAX_SHARDS), or as [`build`](Self::build).
    #[cfg(feature = "shards")]
    pub fn build_shards(self, count: usize) -> (Broker, Vec<Driver>) {
        self.build_all(count)
    }

    fn build_all(self, count: usize) -> (Broker, Vec<Driver>) {
        let Self { mut config, authenticate, authorize, observers, seed, timers } = self;
        for (kinds, _) in &observers {
            config.events = config.events | *kinds;
        }
        let seed = seed.unwrap_or_else(random_seed);
        let mut timers = timers.unwrap_or_else(|| Box::new(|| Box::new(ThreadTimer::new())));
        let shards: Arc<[_]> = (0..count).map(|_| Arc::new(Shared::of(count))).collect();
        let observers = Observers::new(observers);
        let mut started = None;
        let mut placement = None;
        let drivers = (0..count).map(|own| {
            let mut core = Core::new(config.clone(), seed);
            if let Some(authorize) = &authorize {
                core.set_authorize(Box::new(Shareable(authorize.clone())));
            }
            #[cfg(feature = "shards")]
            core.join_shards(own, count);
            placement.get_or_insert_with(|| core.placement());
            let timer = timers();
            let started = *started.get_or_insert_with(|| timer.now());
            let post = Post::new(own, shards.clone());
            Driver::new(
                core,
                started,
                shards[own].clone(),
                post,
                authenticate.clone(),
                observers.share(),
                timer,
            )
        });
        let drivers = drivers.collect();
        let placement = placement.expect("a broker has a shard");
        (Broker::new(shards, placement), drivers)
    }
}

impl std::fmt::Debug for BrokerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// One hook for all shards.
struct Shareable(Arc<dyn Authorize + Sync>);

impl Authorize for Shareable {
    fn authorize(&self, client: Client<'_>, action: Action<'_>) -> bool {
        self.0.authorize(client, action)
    }
}

fn random_seed() -> Seed {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has a random source");
    Seed(u128::from_le_bytes(bytes))
}
