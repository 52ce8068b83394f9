//! The thread: it polls its future when somebody has woken it, and waits for events otherwise.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use mio::{Events, Token};
use slab::Slab;

/// What one thread waits for.
pub(super) struct Reactor {
    poll: mio::Poll,
    events: Events,
    pub(super) sockets: Slab<Entry>,
    pub(super) deadlines: BTreeMap<(Instant, u64), Waker>,
    /// Small reads go through it: memory that is initialised once.
    pub(super) scratch: Box<[u8]>,
    /// Kept for its allocation.
    woken: Vec<Waker>,
    pub(super) shared: Arc<Shared>,
}

/// What is known of one socket.
#[derive(Debug)]
pub(super) struct Entry {
    waker: Option<Waker>,
    pub(super) is_readable: bool,
    /// Nothing comes after what can be read, so it stays readable to the end.
    pub(super) is_ended: bool,
    /// That end has been reached but for the zero that says so.
    pub(super) is_drained: bool,
    pub(super) is_writable: bool,
    pub(super) waits_to_write: bool,
    /// The last read filled all of `scratch`.
    pub(super) has_much: bool,
}

/// What other threads know of a reactor.
#[derive(Debug)]
pub(super) struct Shared {
    state: AtomicU8,
    waker: mio::Waker,
    pub(super) registry: mio::Registry,
    /// Places of sockets that were dropped, or moved away, on another thread.
    left: Mutex<Vec<usize>>,
    has_left: AtomicBool,
}

/// The future is being polled, or events are being looked at.
const AWAKE: u8 = 0;
/// The thread waits, or is about to.
const PARKED: u8 = 1;
/// The future is to be polled.
const NOTIFIED: u8 = 2;

const WAKE: Token = Token(usize::MAX);
/// Events taken at a time.
const EVENTS: usize = 1024;
/// A read that may fill more than this goes directly to where the bytes belong.
const SCRATCH: usize = 16 << 10;

thread_local! {
    static CURRENT: RefCell<Option<Reactor>> = const { RefCell::new(None) };
}

/// Whether a reactor runs on this thread.
pub(crate) fn is_current() -> bool {
    with_current(|_| ()).is_some()
}

/// Calls `f` with this thread's reactor, if there is one. `f` wakes nobody.
pub(super) fn with_current<T>(f: impl FnOnce(&mut Reactor) -> T) -> Option<T> {
    // A reactor that is in use already is one whose wakers are being dropped, and sockets with them.
    let current = |current: &RefCell<Option<Reactor>>| current.try_borrow_mut().ok()?.as_mut().map(f);
    CURRENT.try_with(current).ok().flatten()
}

impl Reactor {
    pub(super) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let shared = Shared {
            state: AtomicU8::new(NOTIFIED),
            waker: mio::Waker::new(poll.registry(), WAKE)?,
            registry: poll.registry().try_clone()?,
            left: Mutex::default(),
            has_left: AtomicBool::new(false),
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            sockets: Slab::new(),
            deadlines: BTreeMap::new(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            woken: Vec::new(),
            shared: Arc::new(shared),
        })
    }

    /// Runs a future on this thread.
    pub(super) fn block_on<F: Future>(self, mut future: Pin<&mut F>) -> io::Result<F::Output> {
        let shared = self.shared.clone();
        let waker = Waker::from(shared.clone());
        let _entered = Entered::enter(self);
        loop {
            if shared.state.swap(AWAKE, Ordering::AcqRel) == NOTIFIED
                && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return Ok(output);
            }
            let mut woken = with_current(Self::park).expect("nobody else has it")?;
            // Outside of the reactor, which a waker may use.
            woken.drain(..).for_each(Waker::wake);
            with_current(|reactor| reactor.woken = woken);
        }
    }

    /// Waits for the next event, deadline or waker, and returns who waited for it.
    fn park(&mut self) -> io::Result<Vec<Waker>> {
        self.forget_left();
        let mut timeout =
            self.deadlines.keys().next().map(|(at, _)| at.saturating_duration_since(Instant::now()));
        let state = &self.shared.state;
        if state.compare_exchange(AWAKE, PARKED, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // The future goes on, but sockets are not to wait for that.
            timeout = Some(Duration::ZERO);
        }
        let outcome = self.poll.poll(&mut self.events, timeout);
        // From here on nobody needs to wake the thread; that somebody did is kept.
        let _ = state.compare_exchange(PARKED, AWAKE, Ordering::AcqRel, Ordering::Acquire);
        let mut woken = std::mem::take(&mut self.woken);
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => self.events.clear(),
            Ok(()) => {}
        }
        for event in &self.events {
            // An event may be about a socket that is gone; the next one in its place then tries in vain.
            if let Some(entry) = self.sockets.get_mut(event.token().0) {
                entry.take_note(event);
                woken.extend(entry.waker.take());
            }
        }
        self.take_expired(&mut woken);
        Ok(woken)
    }

    fn take_expired(&mut self, woken: &mut Vec<Waker>) {
        if self.deadlines.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(first) = self.deadlines.first_entry()
            && first.key().0 <= now
        {
            woken.push(first.remove());
        }
    }

    fn forget_left(&mut self) {
        if self.shared.has_left.load(Ordering::Acquire) {
            let left = {
                let mut left = self.shared.left.lock().unwrap_or_else(PoisonError::into_inner);
                self.shared.has_left.store(false, Ordering::Release);
                std::mem::take(&mut *left)
            };
            for key in left {
                self.sockets.try_remove(key);
            }
        }
    }
}

impl Entry {
    pub(super) const fn new() -> Self {
        Self {
            waker: None,
            is_readable: false,
            is_ended: false,
            is_drained: false,
            is_writable: true,
            waits_to_write: false,
            has_much: false,
        }
    }

    /// This one is woken when something happens, and nobody who waited before.
    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    fn take_note(&mut self, event: &mio::event::Event) {
        self.is_ended |= event.is_read_closed() || event.is_error();
        self.is_readable |= self.is_ended || event.is_readable();
        self.is_writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }
}

impl Shared {
    /// A socket has gone that this reactor knows under `key`. From any thread.
    pub(super) fn leave(&self, key: usize) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        self.has_left.store(true, Ordering::Release);
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED {
            // It fails if the counter behind it is full, and then the thread is woken already.
            let _ = self.waker.wake();
        }
    }
}

/// This thread has a reactor; in the end the one that it had before, if any.
struct Entered {
    before: Option<Reactor>,
}

impl Entered {
    fn enter(reactor: Reactor) -> Self {
        Self { before: CURRENT.replace(Some(reactor)) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Dropped when it is not in use any more: its wakers may hold sockets.
        let reactor = CURRENT.replace(self.before.take());
        drop(reactor);
    }
}
