//! No thread is left behind. A program of its own, because threads are counted for the whole process.
#![cfg(target_os = "linux")]

use std::fs;
use std::time::{Duration, Instant};

use columba::{Broker, memory};
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::select;

/// Threads of timers in this process.
fn timers() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("Linux lists them");
    let name = |path: std::path::PathBuf| fs::read_to_string(path.join("comm")).unwrap_or_default();
    threads.filter_map(Result::ok).filter(|thread| name(thread.path()).trim() == "columba-timer").count()
}

/// Waits until there are this many: a thread is listed a moment after it was started, and after it was joined.
#[track_caller]
fn wait_for(count: usize) {
    let from = Instant::now();
    while timers() != count {
        assert!(from.elapsed() < Duration::from_mins(1), "{} threads instead of {count}", timers());
        std::thread::yield_now();
    }
}

#[test]
fn a_broker_leaves_no_thread() {
    for shut_down in [true, false] {
        let running: Vec<_> = (0..5)
            .map(|_| {
                let (broker, driver) = Broker::builder().build();
                // A connection has a deadline from its beginning, so a timer runs.
                let (theirs, ours) = memory::pipe(100);
                broker.attach(theirs, columba::Peer::default()).unwrap();
                let (stop, stopped) = oneshot::channel::<()>();
                let thread = std::thread::spawn(|| drop(block_on(select(driver, stopped))));
                block_on(broker.metrics()).unwrap();
                (broker, thread, stop, ours)
            })
            .collect();
        wait_for(5);
        if shut_down {
            for (broker, ..) in &running {
                block_on(broker.shutdown(Duration::ZERO));
            }
            // The drivers' futures are finished, whether they have been dropped or not.
            wait_for(0);
        }
        for (broker, thread, stop, _ours) in running {
            drop(stop);
            thread.join().unwrap();
            assert!(broker.is_gone());
        }
        wait_for(0);
    }
}
