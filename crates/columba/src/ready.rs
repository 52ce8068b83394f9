//! Who can be served: wakers that put a number on a list, and the list.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use crate::broker::Shared;

/// Filled by wakers, emptied by the driver.
pub(crate) struct ReadyList {
    queue: Mutex<Queue>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Queue {
    wakers: Vec<Arc<OneWaker>>,
    /// The driver is at work, and will look at the list before it rests.
    awake: bool,
    /// There is no driver any more. Wakers may live on, in a transport that somebody else holds, say.
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Link(u32),
    Listener(u32),
}

/// Wakes the driver for one link or listener.
pub(crate) struct OneWaker {
    number: Number,
    queued: AtomicBool,
    list: Arc<ReadyList>,
}

impl ReadyList {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { queue: Mutex::default(), shared }
    }

    pub(crate) fn waker(self: &Arc<Self>, number: Number) -> Waker {
        Waker::from(Arc::new(OneWaker { number, queued: AtomicBool::new(false), list: self.clone() }))
    }

    /// Exchanges what is on the list for `batch`, which is empty and lends its allocation. If there is nothing, the next
    /// waker wakes the driver.
    pub(crate) fn swap(&self, batch: &mut Vec<Arc<OneWaker>>) {
        let mut queue = self.lock();
        queue.awake = !queue.wakers.is_empty();
        std::mem::swap(batch, &mut queue.wakers);
    }

    /// Whether there is nothing; then the next waker wakes the driver.
    pub(crate) fn rests(&self) -> bool {
        let mut queue = self.lock();
        queue.awake = !queue.wakers.is_empty();
        !queue.awake
    }

    /// Nothing is put on the list any more.
    pub(crate) fn close(&self) {
        let wakers = {
            let mut queue = self.lock();
            queue.closed = true;
            std::mem::take(&mut queue.wakers)
        };
        drop(wakers);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OneWaker {
    /// The number to be served. Whatever wakes it from here on puts it on the list again.
    pub(crate) fn begin(&self) -> Number {
        self.queued.swap(false, Ordering::AcqRel);
        self.number
    }

    fn enter(self: &Arc<Self>) {
        let mut queue = self.list.lock();
        if queue.closed {
            return;
        }
        queue.wakers.push(self.clone());
        let is_first = !std::mem::replace(&mut queue.awake, true);
        drop(queue);
        if is_first {
            self.list.shared.waker.wake();
        }
    }
}

impl Wake for OneWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.enter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_on_the_list_once_until_it_is_served() {
        let list = Arc::new(ReadyList::new(Arc::default()));
        let waker = list.waker(Number::Link(7));
        waker.wake_by_ref();
        waker.wake_by_ref();
        let mut batch = Vec::new();
        list.swap(&mut batch);
        assert_eq!(batch.len(), 1);
        waker.wake_by_ref();
        assert_eq!(batch.pop().unwrap().begin(), Number::Link(7));
        list.swap(&mut batch);
        assert!(batch.is_empty(), "that was before it was served");
        waker.wake();
        list.swap(&mut batch);
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn a_waker_that_outlives_the_driver_keeps_nothing_alive() {
        let list = Arc::new(ReadyList::new(Arc::default()));
        let waker = list.waker(Number::Listener(0));
        list.close();
        waker.wake_by_ref();
        let weak = Arc::downgrade(&list);
        drop((list, waker));
        assert!(weak.upgrade().is_none());
    }
}
