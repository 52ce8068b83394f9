//! One broker and the test, taking turns on one thread: nothing runs but when [`World::run`] or [`World::settle`] says
//! so, and no test waits for a time, only for a condition that has a deadline.

mod link;
mod wire;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use columba::{Broker, BrokerBuilder, Client, Driver, Message, Seed};

pub(crate) use self::link::{Door, Link, LinkState};
pub(crate) use self::wire::{Frame, Wire, encode};

/// What takes longer has failed. Far beyond what anything here needs, also on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// A broker whose driver the test polls, or drivers: each only when it was woken.
pub(crate) struct World {
    drivers: Vec<(Option<Driver>, Arc<Flag>)>,
    /// The program's.
    flag: Arc<Flag>,
}

/// Notes that somebody was woken, and unparks the test's thread.
struct Flag {
    woken: AtomicBool,
    thread: Thread,
}

impl World {
    pub(crate) fn new() -> (Broker, Self) {
        Self::with(Broker::builder())
    }

    pub(crate) fn with(builder: BrokerBuilder) -> (Broker, Self) {
        Self::with_shards(builder, crate::SHARDS)
    }

    pub(crate) fn with_shards(builder: BrokerBuilder, count: usize) -> (Broker, Self) {
        let builder = builder.seed(Seed::from(1));
        let (broker, drivers) = match count {
            1 => {
                let (broker, driver) = builder.build();
                (broker, vec![driver])
            }
            #[cfg(feature = "shards")]
            _ => builder.build_shards(count),
            #[cfg(not(feature = "shards"))]
            _ => panic!("{count} shards need the feature"),
        };
        let drivers = drivers.into_iter().map(|driver| (Some(driver), Flag::new()));
        (broker, Self { drivers: drivers.collect(), flag: Flag::new() })
    }

    /// Polls `program` and the driver until the program is done.
    #[track_caller]
    pub(crate) fn run<T>(&mut self, program: impl Future<Output = T>) -> T {
        let mut program = pin!(program);
        let from = Instant::now();
        loop {
            self.flag.woken.store(false, Ordering::Release);
            if let Poll::Ready(output) = self.poll(program.as_mut()) {
                return output;
            }
            self.poll_drivers();
            while !self.is_woken() {
                let left = DEADLINE.saturating_sub(from.elapsed());
                assert!(!left.is_zero(), "nothing happens any more, and the program is not done");
                thread::park_timeout(left);
            }
        }
    }

    /// Polls `future` once, and nothing else.
    pub(crate) fn poll<T>(&self, future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        let waker = Waker::from(self.flag.clone());
        future.poll(&mut Context::from_waker(&waker))
    }

    /// Polls the driver until there is nothing left that it can do by itself.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        for (_, flag) in &self.drivers {
            flag.woken.store(true, Ordering::Release);
        }
        self.follow();
    }

    /// Polls each driver as often as it is woken, until none is.
    #[track_caller]
    pub(crate) fn follow(&mut self) {
        let from = Instant::now();
        while self.poll_drivers() {
            assert!(from.elapsed() < DEADLINE, "the driver finds no end");
        }
    }

    /// Whether the driver's future is finished, or has been dropped.
    pub(crate) fn is_over(&self) -> bool {
        self.drivers.iter().all(|(driver, _)| driver.is_none())
    }

    /// All of them.
    pub(crate) fn drop_driver(&mut self) {
        for shard in 0..self.drivers.len() {
            self.drop_shard(shard);
        }
    }

    pub(crate) fn drop_shard(&mut self, shard: usize) {
        self.drivers[shard].0 = None;
    }

    /// False if none was woken.
    fn poll_drivers(&mut self) -> bool {
        (0..self.drivers.len()).fold(false, |busy, shard| self.poll_shard(shard) | busy)
    }

    /// Polls a driver once, if it was woken.
    pub(crate) fn poll_shard(&mut self, shard: usize) -> bool {
        let (driver, flag) = &mut self.drivers[shard];
        if !flag.woken.swap(false, Ordering::AcqRel) {
            return false;
        }
        let waker = Waker::from(flag.clone());
        if let Some(running) = driver
            && Pin::new(running).poll(&mut Context::from_waker(&waker)).is_ready()
        {
            *driver = None;
        }
        true
    }

    fn is_woken(&self) -> bool {
        let mut flags = self.drivers.iter().map(|(_, flag)| flag).chain([&self.flag]);
        flags.any(|flag| flag.woken.load(Ordering::Acquire))
    }
}

impl Flag {
    fn new() -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), thread: thread::current() })
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Runs `test` on a thread of its own and fails if it does not end: for tests that bring their own executor.
#[track_caller]
pub(crate) fn within_deadline<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        // Whoever waited may have given up.
        let _ = sender.send(test());
    });
    match receiver.recv_timeout(DEADLINE) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("not done in time"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("the thread sends before it ends"),
        },
    }
}

/// The next message, which must come.
#[track_caller]
pub(crate) fn next(client: &Client) -> impl Future<Output = Message> {
    let caller = std::panic::Location::caller();
    async move { client.recv().await.unwrap_or_else(|| panic!("{caller}: the client's connection has ended")) }
}

/// The payload of a message as text.
pub(crate) fn text(message: &Message) -> &str {
    std::str::from_utf8(message.payload()).expect("the tests' payloads are text")
}

/// A number sequence that a seed repeats.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The upper half of a linear congruence is the random one.
        (self.0 >> 33) as usize % limit
    }
}
