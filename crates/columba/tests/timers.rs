//! Deadlines: the driver sets them, and whatever wakes it keeps them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use columba::codec::{Connect, Packet};
use columba::{
    Broker, Cause, Driver, Event, EventMask, Peer, QoS, ReasonCode, ThreadTimer, Timer, Version, memory,
};

use futures::FutureExt;

use crate::world::{DEADLINE, Link, Wire, World};

async fn greet(wire: &mut Wire, id: &str, keep_alive: u16) {
    let mut packet = Connect::new(Version::V5, id);
    packet.keep_alive = keep_alive;
    wire.send(&Packet::Connect(Box::new(packet))).await;
    wire.accepted().await;
}

#[test]
fn a_client_that_falls_silent_is_sent_away() {
    let (broker, mut world) = World::new();
    let events = broker.events(EventMask::CLIENTS).unwrap();
    world.run(async {
        let mut silent = Wire::open(&broker, Version::V5);
        let from = Instant::now();
        greet(&mut silent, "silent", 1).await;
        let _patient = broker.client("patient").connect().await.unwrap();
        assert_eq!(silent.disconnected().await, ReasonCode::KeepAliveTimeout);
        assert!(from.elapsed() >= Duration::from_millis(1500), "{:?}", from.elapsed());
        assert_eq!(broker.metrics().await.unwrap().connections, 1);
    });
    let ended =
        std::iter::from_fn(|| events.try_recv()).find(|event| matches!(event, Event::Disconnected { .. }));
    assert!(matches!(ended, Some(Event::Disconnected { cause: Cause::KeepAlive, .. })), "{ended:?}");
}

#[test]
fn one_who_never_says_connect_is_sent_away() {
    let (broker, mut world) =
        World::with(Broker::builder().configure(|config| config.limits.connect_timeout = 1));
    world.run(async {
        let mut silent = Wire::open(&broker, Version::V5);
        silent.send_bytes(b"\x10").await;
        silent.ended().await;
    });
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let (broker, mut world) = World::new();
    let events = broker.events(EventMask::CLIENTS).unwrap();
    world.run(async {
        let client = broker.client("short").session_expiry(1).connect().await.unwrap();
        let watcher = broker.client("watcher").connect().await.unwrap();
        watcher.subscribe("gone", QoS::AtMostOnce).await.unwrap();
        client.disconnect().await.unwrap();
        loop {
            match events.recv().await {
                Some(Event::SessionEnded { client_id, expired }) => {
                    assert_eq!((&*client_id, expired), ("short", true));
                    break;
                }
                Some(_) => {}
                None => panic!("the broker runs"),
            }
        }
    });
}

/// A timer that does what the test says.
#[derive(Clone, Default)]
struct FakeTimer {
    state: Arc<Mutex<FakeState>>,
}

#[derive(Default)]
struct FakeState {
    set: VecDeque<Option<Instant>>,
    fired: bool,
    waker: Option<Waker>,
}

impl FakeTimer {
    fn fire(&self) {
        let waker = {
            let mut state = self.state.lock().unwrap();
            state.fired = true;
            state.waker.take()
        };
        waker.expect("the driver waits for it").wake();
    }

    /// What it was set to since the last look.
    fn take(&self) -> Vec<Option<Instant>> {
        self.state.lock().unwrap().set.drain(..).collect()
    }
}

impl Timer for FakeTimer {
    fn set(&mut self, deadline: Option<Instant>) {
        self.state.lock().unwrap().set.push_back(deadline);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        if std::mem::take(&mut state.fired) {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[test]
fn the_timer_is_set_to_the_next_deadline() {
    let timer = FakeTimer::default();
    let (broker, mut world) = World::with(Broker::builder().timer(timer.clone()));
    world.settle();
    assert_eq!(timer.take(), [], "there is nothing to wait for");

    let from = Instant::now();
    // Set once, and to what lies this far from when it was set.
    let assert_set = |seconds| {
        let [Some(deadline)] = timer.take()[..] else { panic!("one deadline, once") };
        let seconds = Duration::from_secs(seconds);
        assert!((from + seconds..=Instant::now() + seconds).contains(&deadline), "{:?}", deadline - from);
    };
    let mut wire = Wire::open(&broker, Version::V5);
    world.settle();
    assert_set(10); // until CONNECT has come
    world.run(greet(&mut wire, "a", 60));
    world.settle();
    assert_set(90); // one and a half times the keep alive

    // It is early, and nothing is due: the deadline is set once more, and the driver does not spin.
    timer.fire();
    world.settle();
    assert_set(90);
    world.run(async {
        wire.send(&Packet::PingReq).await;
        assert_eq!(wire.next().await.packet(), Packet::PingResp);
        wire.disconnect().await;
        wire.ended().await;
    });
    world.settle();
    assert_eq!(timer.take().last(), Some(&None), "nothing is left to wait for");
    world.drop_driver();
    assert_eq!(Arc::strong_count(&timer.state), 1);
}

#[test]
fn a_timer_that_fires_makes_the_driver_look() {
    let timer = FakeTimer::default();
    let builder =
        Broker::builder().timer(timer.clone()).configure(|config| config.limits.connect_timeout = 1);
    let (broker, mut world) = World::with(builder);
    let mut wire = Wire::open(&broker, Version::V5);
    world.settle();
    let deadline = timer.take().pop().flatten().expect("CONNECT has a deadline");
    let other = memory::pipe(1);
    thread::scope(|scope| {
        // The test's own clock: fires when the deadline is reached.
        scope.spawn(|| {
            while Instant::now() < deadline {
                thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
            }
            timer.fire();
        });
        world.run(wire.ended());
    });
    drop(other);
}

/// Drops the driver when it is woken, as an executor does that has ended meanwhile.
struct Reaper {
    driver: Mutex<Option<Driver>>,
    dropped: mpsc::Sender<ThreadId>,
}

impl Wake for Reaper {
    fn wake(self: Arc<Self>) {
        let driver = self.driver.lock().unwrap().take();
        if driver.is_some() {
            drop(driver);
            self.dropped.send(thread::current().id()).expect("the test waits for it");
        }
    }
}

#[test]
fn a_driver_can_be_dropped_by_its_own_timer() {
    let (broker, mut driver) = Broker::builder()
        .configure(|config| config.limits.connect_timeout = 1)
        .timer(ThreadTimer::new())
        .build();
    let (link, _silent) = Link::new();
    broker.attach(link, Peer::default()).unwrap();
    let (dropped, when_dropped) = mpsc::channel();
    let reaper = Arc::new(Reaper { driver: Mutex::default(), dropped });
    let waker = Waker::from(reaper.clone());
    assert!(driver.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    *reaper.driver.lock().unwrap() = Some(driver);
    // From here on nothing but the timer's thread has a reason to wake it.
    let thread = when_dropped.recv_timeout(DEADLINE).expect("the timer's thread gets through it");
    assert_ne!(thread, thread::current().id());
    assert!(broker.is_gone());
}

#[test]
fn clients_in_the_same_process_are_never_silent() {
    let builder = Broker::builder().configure(|config| config.server_keep_alive = Some(1));
    let (broker, mut world) = World::with(builder);
    world.run(async {
        let idle = broker.client("idle").connect().await.unwrap();
        // Twice the time after which a client over a wire is given up.
        for _ in 0..2 {
            let mut silent = Wire::open(&broker, Version::V5);
            greet(&mut silent, "silent", 0).await;
            assert_eq!(silent.disconnected().await, ReasonCode::KeepAliveTimeout);
        }
        idle.subscribe("t", QoS::AtMostOnce).await.expect("it is still there");
    });
}
