//! Deadlines of futures on a reactor.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use super::park::with_current;

/// Ready at its deadline. Polled on reactors only.
#[derive(Debug)]
pub(crate) struct Sleep {
    deadline: Instant,
    /// Tells apart who waits for the same instant.
    number: u64,
}

/// The timer of a driver that runs on a reactor: a thread that waits for sockets waits no longer than to the next deadline.
/// As exact as the system's waiting, to a millisecond.
///
/// # Panics
/// When the driver is polled elsewhere.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Sleep>,
}

impl Timer {
    /// A timer without a deadline.
    pub const fn new() -> Self {
        Self { sleep: None }
    }
}

impl columba::Timer for Timer {
    fn set(&mut self, deadline: Option<Instant>) {
        self.sleep = deadline.map(Sleep::until);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = &mut self.sleep else { return Poll::Pending };
        std::task::ready!(Pin::new(sleep).poll(cx));
        self.sleep = None;
        Poll::Ready(())
    }
}

impl Sleep {
    pub(crate) fn until(deadline: Instant) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self { deadline, number: NUMBERS.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let key = (self.deadline, self.number);
        let waits = with_current(|reactor| {
            let Some(waker) = reactor.deadlines.get_mut(&key) else { return false };
            waker.clone_from(cx.waker());
            true
        });
        if waits == Some(true) {
            return Poll::Pending;
        }
        if self.deadline <= Instant::now() {
            return Poll::Ready(());
        }
        let entered = with_current(|reactor| reactor.deadlines.insert(key, cx.waker().clone()));
        assert!(entered.is_some(), "a deadline of a reactor is waited for elsewhere");
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // On another thread it stays until it is due, and then wakes somebody in vain.
        drop(with_current(|reactor| reactor.deadlines.remove(&(self.deadline, self.number))));
    }
}
