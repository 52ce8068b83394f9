//! Waiting for a condition on a broker with sockets: for a test's thread, or as a future for any executor.

use std::future::IntoFuture;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Inner, PATIENCE, TestBroker};
use crate::expect::{Condition, View, came_since};

/// How often a condition is looked at that is not so yet.
const INTERVAL: Duration = Duration::from_millis(1);

/// A condition on a broker that is waited for: `.await` it, or call [`wait`](Self::wait). Either panics when it is not so in
/// time, and shows what is there instead and the end of the transcript.
#[must_use = "an expectation is checked when it is awaited, or by `wait`"]
pub struct Expectation<'a> {
    broker: &'a TestBroker,
    condition: Condition,
    patience: Duration,
    location: &'static Location<'static>,
}

impl TestBroker {
    /// Expects that this is so, or comes to be so within 5 seconds.
    #[track_caller]
    pub fn expect(&self, condition: impl Into<Condition>) -> Expectation<'_> {
        Expectation {
            broker: self,
            condition: condition.into(),
            patience: PATIENCE,
            location: Location::caller(),
        }
    }

    /// Expects that this client is sent nothing for so long. Only here does a test wait for a time, as there is nothing else to
    /// wait for; on a manual clock it takes none.
    ///
    /// # Panics
    /// If something is sent.
    #[track_caller]
    pub fn expect_quiet(&self, client: &str, duration: Duration) {
        let transcript = self.transcript();
        let mark = transcript.with(|entries, forgotten| entries.len() + forgotten);
        if self.inner.clock.is_manual() {
            self.advance(duration);
        } else {
            std::thread::sleep(duration);
        }
        let came = came_since(&transcript, client, mark);
        assert!(
            came.is_empty(),
            "{client:?} was to be sent nothing, and was sent {came:?}\n{}\n",
            transcript.tail()
        );
    }
}

impl Expectation<'_> {
    /// Waits no longer than this. Default 5 s.
    pub const fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Waits on this thread.
    ///
    /// # Panics
    /// If it is not so in time.
    #[track_caller]
    pub fn wait(self) {
        let Self { broker, condition, patience, .. } = self;
        let inner = broker.inner.clone();
        let outcome = broker.host.wait(check(inner, condition, patience));
        if let Some(Err(problem)) = outcome {
            panic!("{problem}\n{}\n", broker.transcript().tail());
        }
    }
}

impl<'a> IntoFuture for Expectation<'a> {
    type Output = ();
    type IntoFuture = BoxFuture<'a, ()>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { broker, condition, patience, location } = self;
        let outcome = broker.host.spawn(check(broker.inner.clone(), condition, patience));
        async move {
            if let Ok(Err(problem)) = outcome.await {
                // A future's panic does not say who asked for it.
                panic!("{problem}\nexpected at {location}\n{}\n", broker.transcript().tail());
            }
        }
        .boxed()
    }
}

async fn check(inner: Arc<Inner>, condition: Condition, patience: Duration) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    loop {
        let sessions = inner.broker.clients().await.unwrap_or_default();
        let subscriptions = match condition.client() {
            Some(client) => inner.broker.subscriptions(client).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let outcome = inner.net.transcript().with(|entries, _| {
            condition.check(&View { entries, sessions: &sessions, subscriptions: &subscriptions })
        });
        if outcome.is_ok() || Instant::now() >= deadline {
            return outcome;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
