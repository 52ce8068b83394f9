//! The clock of a test broker: the system's, or one that the test moves.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use columba::Timer;

/// A sleep for longer is set anew.
const DAY: Duration = Duration::from_hours(24);

/// Time since the start of a broker.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    start: Instant,
    manual: Option<Arc<Mutex<Manual>>>,
}

#[derive(Debug, Default)]
struct Manual {
    elapsed: Duration,
    /// The broker's next deadline.
    deadline: Option<Duration>,
    /// How often the broker has looked whether its deadline has passed, which it does once a round.
    rounds: u64,
    /// Who wants to know that time has passed.
    wakers: Vec<Waker>,
}

/// The manual clock as a driver's timer.
#[derive(Debug)]
pub(super) struct ManualTimer {
    clock: Clock,
}

/// A point in time that is waited for.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Clock {
    pub(super) fn system() -> Self {
        Self { start: Instant::now(), manual: None }
    }

    pub(super) fn manual() -> Self {
        Self { start: Instant::now(), manual: Some(Arc::default()) }
    }

    /// The test moves it.
    pub(super) const fn is_manual(&self) -> bool {
        self.manual.is_some()
    }

    pub(super) fn now(&self) -> Duration {
        match &self.manual {
            Some(manual) => lock(manual).elapsed,
            None => self.start.elapsed(),
        }
    }

    /// The driver's timer, if it cannot be the runtime's own.
    pub(super) fn timer(&self) -> Option<ManualTimer> {
        self.manual.is_some().then(|| ManualTimer { clock: self.clone() })
    }

    /// Sets a manual clock, and says so to everybody.
    pub(super) fn set(&self, elapsed: Duration) {
        let Some(manual) = &self.manual else { return };
        let wakers = {
            let mut manual = lock(manual);
            manual.elapsed = manual.elapsed.max(elapsed);
            std::mem::take(&mut manual.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The broker's next deadline on a manual clock.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.manual.as_ref().and_then(|manual| lock(manual).deadline)
    }

    /// How many rounds of the broker have seen to a manual clock's deadlines.
    pub(super) fn rounds(&self) -> u64 {
        self.manual.as_ref().map_or(0, |manual| lock(manual).rounds)
    }

    /// Wakes the task at this time.
    pub(super) fn wake_at(&self, at: Duration, alarm: &mut Alarm, cx: &mut Context<'_>) {
        if let Some(manual) = &self.manual {
            return lock(manual).register(cx.waker());
        }
        let at = tokio::time::Instant::from_std(self.start + at.min(DAY));
        let sleep = alarm.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
            alarm.sleep = None;
        }
    }
}

impl Timer for ManualTimer {
    fn now(&self) -> Instant {
        self.clock.start + self.clock.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        if let Some(manual) = &self.clock.manual {
            let start = self.clock.start;
            lock(manual).deadline = deadline.map(|deadline| deadline.saturating_duration_since(start));
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(manual) = &self.clock.manual else { return Poll::Pending };
        let mut manual = lock(manual);
        manual.rounds += 1;
        if manual.deadline.is_some_and(|deadline| deadline <= manual.elapsed) {
            manual.deadline = None;
            return Poll::Ready(());
        }
        manual.register(cx.waker());
        Poll::Pending
    }
}

impl Manual {
    fn register(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }
}

fn lock(manual: &Mutex<Manual>) -> MutexGuard<'_, Manual> {
    manual.lock().unwrap_or_else(PoisonError::into_inner)
}
