//! Waiting for a deadline. Runtimes have their own timers; where there is none, a thread does it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Instant;

/// A driver's clock, which wakes it at its next deadline.
pub trait Timer: Send + 'static {
    /// What time it is. The system's unless a timer has a clock of its own, a simulated one, say; it must not go
    /// backwards.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// From now on this is the deadline; `None` is never.
    fn set(&mut self, deadline: Option<Instant>);

    /// Ready once the deadline has been reached; wakes the task then. With none set it stays pending.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A timer on a thread of its own, started when the first deadline is set and joined when the timer is dropped.
#[derive(Debug, Default)]
pub struct ThreadTimer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Whether there is a deadline to be asked for.
    is_set: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    deadline: Option<Instant>,
    waker: Option<Waker>,
    stop: bool,
}

impl ThreadTimer {
    /// A timer without a deadline.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Timer for ThreadTimer {
    fn set(&mut self, deadline: Option<Instant>) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).deadline = deadline;
        self.is_set = deadline.is_some();
        if deadline.is_some() && self.thread.is_none() {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name("columba-timer".into()).spawn(move || shared.run());
            // Without a thread there are no timeouts; everything else goes on.
            self.thread = thread.ok();
        }
        self.shared.changed.notify_one();
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_set {
            return Poll::Pending;
        }
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.deadline {
            Some(deadline) if deadline <= Instant::now() => {
                state.deadline = None;
                self.is_set = false;
                Poll::Ready(())
            }
            _ => {
                if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    state.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for ThreadTimer {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A driver may be dropped by the very waker that this thread calls.
            if thread.thread().id() != std::thread::current().id() {
                // The thread ends at once; that it panicked is not this thread's matter.
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.stop {
            let now = Instant::now();
            state = match state.deadline {
                Some(deadline) if deadline <= now => {
                    if let Some(waker) = state.waker.take() {
                        // Outside of the lock: it may run the driver, or drop it.
                        drop(state);
                        waker.wake();
                        self.state.lock().unwrap_or_else(PoisonError::into_inner)
                    } else {
                        // The driver takes the deadline off, or sets the next.
                        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
                    }
                }
                Some(deadline) => {
                    let waited = self.changed.wait_timeout(state, deadline - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
