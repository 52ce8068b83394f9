//! The threads that all test brokers of a process share. They are started for the first broker and end with the last.

use std::future::Future;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// How many threads. Brokers are small; two keep a slow hook of one from holding up all others.
const THREADS: usize = 2;

static SHARED: Mutex<Weak<Host>> = Mutex::new(Weak::new());

/// A runtime that ends, without a trace, when nobody uses it any more.
#[derive(Debug)]
pub(super) struct Host {
    runtime: Option<Runtime>,
}

impl Host {
    /// The one that runs, or a new one.
    ///
    /// # Panics
    /// If the system gives no threads.
    pub(super) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let mut builder = Builder::new_multi_thread();
            let runtime = builder.worker_threads(THREADS).thread_name("columba-testkit").enable_all().build();
            let host = Arc::new(Self { runtime: Some(runtime.expect("the system starts two threads")) });
            *shared = Arc::downgrade(&host);
            host
        })
    }

    pub(super) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        self.runtime().spawn(future)
    }

    /// Runs a future on these threads, and waits for it on the caller's, whatever executor that belongs to. `None` if it
    /// panicked.
    pub(super) fn wait<F>(&self, future: F) -> Option<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let (sender, receiver) = channel();
        drop(self.spawn(async move {
            // Nobody listens any more if the caller has panicked.
            let _ = sender.send(future.await);
        }));
        receiver.recv().ok()
    }

    /// Runs `f` where sockets can be registered.
    pub(super) fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        let _guard = self.runtime().enter();
        f()
    }

    pub(super) fn handle(&self) -> Handle {
        self.runtime().handle().clone()
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken when the host is dropped")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // A runtime may not be waited for on an executor's thread, which is where a test may drop its broker.
        let ended = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5)));
        // That the thread panicked is not this test's matter.
        let _ = ended.join();
    }
}
