//! What the drivers of one broker hand each other: batches of their cores, and connections that belong elsewhere. It never
//! looks into either.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use columba_core::{Batch, Core, Time};

use crate::broker::{Command, Shared};

/// A driver's place among those of its broker.
#[derive(Debug)]
pub(crate) struct Post {
    own: usize,
    /// All of them by number; one alone is a list of one.
    shards: Arc<[Arc<Shared>]>,
}

/// What one shard has for one other, in order.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    batches: Mutex<VecDeque<Batch>>,
    /// Bytes in it.
    size: AtomicUsize,
    /// The sender has more, and waits until there is room.
    is_awaited: AtomicBool,
    /// The last one that was received, for the sender to use again.
    spare: Mutex<Option<Batch>>,
}

/// Bytes in all mailboxes of a shard from which on they take no more, in equal parts. What comes then waits in the sender's
/// core, which stops publishers.
const ROOM: usize = 4 << 20;

impl Post {
    pub(crate) const fn new(own: usize, shards: Arc<[Arc<Shared>]>) -> Self {
        Self { own, shards }
    }

    /// Hands the core what other shards have sent; false if that was nothing. All that is there, which is not more than
    /// [`ROOM`] and a batch of each: so a subscriber gets in one write what came in several batches.
    pub(crate) fn take(&self, core: &mut Core, now: Time) -> bool {
        let mut busy = false;
        for (from, mailbox) in self.shards[self.own].mailboxes.iter().enumerate() {
            for batch in mailbox.take() {
                busy = true;
                core.receive_shard(now, from, &batch);
                *mailbox.spare() = Some(batch);
            }
            if mailbox.is_awaited.swap(false, Ordering::SeqCst) {
                self.shards[from].waker.wake();
            }
        }
        busy
    }

    /// Sends what the core has for other shards; false if there was nothing, or no room.
    pub(crate) fn send(&self, core: &mut Core) -> bool {
        let mut busy = false;
        if self.shards.len() == 1 {
            return busy;
        }
        for (to, shard) in self.shards.iter().enumerate().filter(|(to, _)| *to != self.own) {
            let mailbox = &shard.mailboxes[self.own];
            if mailbox.has_room(ROOM / self.shards.len())
                && let Some(batch) = core.poll_shard(to)
            {
                busy = true;
                mailbox.put(batch);
                shard.waker.wake();
                if let Some(spare) = mailbox.spare().take() {
                    core.reuse_batch(to, spare);
                }
            }
        }
        busy
    }

    /// Whether nothing waits to be taken. One wake may stand for several batches.
    pub(crate) fn is_idle(&self) -> bool {
        self.shards[self.own].mailboxes.iter().all(Mailbox::is_empty)
    }

    /// Hands a connection to another shard, unless `limit` of them wait there: then it is closed.
    pub(crate) fn hand_over(&self, to: usize, connection: Command, limit: usize) {
        let shard = &self.shards[to];
        if shard.moving.fetch_add(1, Ordering::Relaxed) >= limit {
            shard.moving.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        // If that shard is gone, so is the broker, and the connection with it.
        let _ = shard.ask(connection);
    }

    /// A connection from another shard has been taken in.
    pub(crate) fn arrived(&self) {
        self.shards[self.own].moving.fetch_sub(1, Ordering::Relaxed);
    }

    /// This shard has nothing left to do in a shutdown; whether all have nothing left.
    pub(crate) fn is_last_to_finish(&self) -> bool {
        if !self.shards[self.own].is_finished.swap(true, Ordering::SeqCst) {
            self.wake_others();
        }
        self.shards.iter().all(|shard| shard.is_finished.load(Ordering::SeqCst) || shard.is_gone())
    }

    /// Whether another driver has ended: then there is no broker any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.shards.len() > 1 && self.shards.iter().any(|shard| shard.is_gone())
    }

    /// Tells the others to look whether the broker is still there.
    pub(crate) fn wake_others(&self) {
        for (_, shard) in self.shards.iter().enumerate().filter(|(number, _)| *number != self.own) {
            shard.waker.wake();
        }
    }
}

impl Mailbox {
    fn put(&self, batch: Batch) {
        self.size.fetch_add(batch.size(), Ordering::SeqCst);
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).push_back(batch);
    }

    fn spare(&self) -> MutexGuard<'_, Option<Batch>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.size.load(Ordering::SeqCst) == 0
    }

    fn take(&self) -> VecDeque<Batch> {
        if self.is_empty() {
            return VecDeque::new();
        }
        let batches = std::mem::take(&mut *self.batches.lock().unwrap_or_else(PoisonError::into_inner));
        self.size.fetch_sub(batches.iter().map(Batch::size).sum(), Ordering::SeqCst);
        batches
    }

    /// If there is none, the sender is woken when there is.
    fn has_room(&self, room: usize) -> bool {
        if self.size.load(Ordering::SeqCst) < room {
            return true;
        }
        self.is_awaited.store(true, Ordering::SeqCst);
        // It may have been emptied just before.
        self.size.load(Ordering::SeqCst) < room
    }
}
