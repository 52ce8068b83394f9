//! The future that owns a broker and its transports and moves bytes between them. It decides nothing about MQTT.

mod in_process;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use columba_core::{
    Chunks, CloseCause, ConnectionKey, Core, Event, EventMask, Flow, Intake, Parcel, Peer, Ticket, Time,
    Verdict,
};
use futures::StreamExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use slab::Slab;

use crate::broker::{Command, Shared};
use crate::client::ClientError;
use crate::hooks::{Authenticate, Observers};
use crate::listener::Listener;
use crate::local::Local;
use crate::post::Post;
use crate::ready::{Number, OneWaker, ReadyList};
use crate::timer::{ThreadTimer, Timer};
use crate::transport::Transport;

/// Runs a broker while it is polled; finished when the broker has been shut down. Dropping it ends everything at
/// once.
#[must_use = "a broker runs only while its driver is polled: spawn it or block on it"]
pub struct Driver {
    core: Core,
    started: Instant,
    shared: Arc<Shared>,
    post: Post,
    ready: Arc<ReadyList>,
    links: Vec<Option<Link>>,
    listeners: Slab<Accepting>,
    authenticate: Option<Arc<dyn Authenticate>>,
    /// Verdicts in the making.
    verdicts: FuturesUnordered<BoxFuture<'static, (Ticket, Verdict)>>,
    observers: Option<Observers>,
    subscribers: Vec<(EventMask, async_channel::Sender<Event>)>,
    timer: Box<dyn Timer>,
    /// What the timer is set to.
    deadline: Option<Time>,
    /// One read buffer and one output for all connections: an idle connection holds none.
    input: BytesMut,
    output: Chunks,
    /// The same for messages to clients in this process.
    parcels: Vec<Parcel>,
    /// What was taken off the ready list, kept for its allocation.
    batch: Vec<Arc<OneWaker>>,
    ending: Option<Ending>,
    /// When clients in this process have to show that they are there, if the broker wants every client to.
    ping: Option<Time>,
}

/// One connection's transport, and what could not be moved yet.
struct Link {
    key: ConnectionKey,
    io: Io,
    waker: Waker,
    /// Part of a packet, or packets that the core does not take yet.
    unread: BytesMut,
    /// Output that the transport has not accepted.
    unsent: Option<Box<Chunks>>,
    /// The transport has not accepted all, or has not passed on all that it accepted.
    writing: bool,
    /// The core takes no input for now.
    paused: bool,
    /// What is unread has packets in it that the core has not looked at.
    retry: bool,
    /// The core has more to send than went out in one turn.
    more: bool,
    closing: bool,
}

enum Io {
    Transport(Box<dyn Transport>),
    Local(Arc<Local>),
}

struct Accepting {
    listener: Box<dyn Listener>,
    waker: Waker,
    /// It has failed too often: until then it is not asked.
    rest: Option<Time>,
}

/// Whether a connection's turn goes on.
enum Turn {
    Over,
    More,
}

/// A shutdown under way.
struct Ending {
    until: Time,
    done: Vec<oneshot::Sender<()>>,
}

/// Room for one read.
const READ_SIZE: usize = 64 << 10;
/// Reads, or writes after a read, of one connection before it is another's turn.
const TURNS: usize = 4;
/// Rounds over the ready list before the executor gets its thread back.
const ROUNDS: usize = 32;
/// Connections accepted from one listener before it is another's turn.
const ACCEPTS: usize = 64;
/// How long a listener rests that has failed as often as this without a connection.
const REST: Duration = Duration::from_millis(100);

impl Driver {
    pub(crate) fn new(
        core: Core,
        started: Instant,
        shared: Arc<Shared>,
        post: Post,
        authenticate: Option<Arc<dyn Authenticate>>,
        observers: Option<Observers>,
        timer: Box<dyn Timer>,
    ) -> Self {
        Self {
            core,
            started,
            ready: Arc::new(ReadyList::new(shared.clone())),
            shared,
            post,
            links: Vec::new(),
            listeners: Slab::new(),
            authenticate,
            verdicts: FuturesUnordered::new(),
            observers,
            subscribers: Vec::new(),
            timer,
            deadline: None,
            input: BytesMut::new(),
            output: Chunks::new(),
            parcels: Vec::new(),
            batch: Vec::new(),
            ending: None,
            ping: None,
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.timer.now().saturating_duration_since(self.started)
    }

    /// One round: everything that is ready once. False if there was nothing.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.now();
        let mut busy = self.run_commands(now);
        busy |= self.run_verdicts(cx, now);
        busy |= self.run_timer(cx, now);
        busy |= self.post.take(&mut self.core, now);
        let mut batch = std::mem::take(&mut self.batch);
        self.ready.swap(&mut batch);
        busy |= !batch.is_empty();
        for waker in batch.drain(..) {
            match waker.begin() {
                Number::Link(at) => self.serve(at as usize, now),
                Number::Listener(at) => self.accept(at as usize, now),
            }
        }
        self.batch = batch;
        self.drain(now);
        // What is sent makes room for publishers that had to wait.
        while self.post.send(&mut self.core) {
            self.drain(now);
        }
        busy
    }

    fn run_commands(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(command) = self.shared.take_command() {
            busy = true;
            match command {
                Command::Attach(transport, peer) => {
                    self.attach(Io::Transport(transport), peer, BytesMut::new(), now);
                }
                Command::Moved(transport, peer, input) => {
                    self.post.arrived();
                    self.attach(Io::Transport(transport), peer, input, now);
                }
                Command::Serve(listener) => self.listen(listener),
                Command::Client(local) => {
                    let peer = Peer { transport: "in-process", trusted: true, ..Peer::default() };
                    self.attach(Io::Local(local), peer, BytesMut::new(), now);
                }
                Command::Events(kinds, sender) => {
                    self.core.enable_events(kinds);
                    self.subscribers.push((kinds, sender));
                }
                // Below: whoever asked may have stopped waiting for the answer.
                Command::Clients(answer) => drop(answer.send(self.core.clients().collect())),
                Command::Subscriptions(id, answer) => drop(answer.send(self.core.subscriptions(&id))),
                Command::Metrics(answer) => drop(answer.send(self.core.metrics())),
                Command::Disconnect(id, reason, answer) => {
                    let _ = answer.send(self.core.disconnect(now, &id, reason));
                }
                Command::Shutdown(grace, done) => self.begin_shutdown(now, now + grace, done),
            }
        }
        busy
    }

    fn begin_shutdown(&mut self, now: Time, until: Time, done: oneshot::Sender<()>) {
        match &mut self.ending {
            Some(ending) => {
                ending.until = ending.until.min(until);
                ending.done.push(done);
            }
            None => self.ending = Some(Ending { until, done: vec![done] }),
        }
        self.listeners.clear();
        self.core.shut_down(now);
    }

    fn attach(&mut self, io: Io, peer: Peer, input: BytesMut, now: Time) {
        if self.ending.is_some() {
            if let Io::Local(local) = io {
                local.close(ClientError::Closed);
            }
            return;
        }
        let key = self.core.open(now, peer);
        let at = key.index();
        let waker = self.ready.waker(Number::Link(at as u32));
        if let Io::Local(local) = &io {
            local.set_driver(waker.clone());
        }
        let link = Link {
            key,
            io,
            waker: waker.clone(),
            retry: !input.is_empty(),
            unread: input,
            unsent: None,
            writing: false,
            paused: false,
            more: false,
            closing: false,
        };
        if self.links.len() <= at {
            self.links.resize_with(at + 1, || None);
        }
        self.links[at] = Some(link);
        // The first poll is what makes a transport wake anybody.
        waker.wake();
    }

    fn listen(&mut self, listener: Box<dyn Listener>) {
        if self.ending.is_some() {
            return;
        }
        let entry = self.listeners.vacant_entry();
        let waker = self.ready.waker(Number::Listener(entry.key() as u32));
        entry.insert(Accepting { listener, waker: waker.clone(), rest: None });
        waker.wake();
    }

    fn accept(&mut self, at: usize, now: Time) {
        let mut failures = 0;
        for _ in 0..ACCEPTS {
            let Some(Accepting { listener, waker, rest: None }) = self.listeners.get_mut(at) else {
                return;
            };
            match listener.poll_accept(&mut Context::from_waker(waker)) {
                Poll::Ready(Ok((transport, peer))) => {
                    self.attach(Io::Transport(transport), peer, BytesMut::new(), now);
                }
                // One connection less. Whether the next one fares better shows when it is tried.
                Poll::Ready(Err(_)) => failures += 1,
                Poll::Pending => return,
            }
        }
        if let Some(accepting) = self.listeners.get_mut(at) {
            if failures == ACCEPTS {
                accepting.rest = Some(now + REST);
            } else {
                accepting.waker.wake_by_ref();
            }
        }
    }

    /// A transport can go on: write what is left, then read.
    fn serve(&mut self, at: usize, now: Time) {
        let Some(link) = self.links.get_mut(at).and_then(Option::as_mut) else {
            return;
        };
        let key = link.key;
        if link.writing || link.closing {
            if !self.flush(at) {
                return;
            }
            self.transmit(key, now);
        } else if std::mem::take(&mut link.more) {
            self.transmit(key, now);
        }
        let Some(link) = self.links.get_mut(at).and_then(Option::as_mut) else {
            return;
        };
        if link.paused || link.closing {
            return;
        }
        match link.io {
            Io::Transport(_) => self.read(at, now),
            Io::Local(_) => self.read_local(at, now),
        }
    }

    fn read(&mut self, at: usize, now: Time) {
        for _ in 0..TURNS {
            let Some(link) = self.links[at].as_mut() else {
                return;
            };
            let Io::Transport(transport) = &mut link.io else {
                return;
            };
            let shared = link.unread.is_empty();
            let buffer = if shared { &mut self.input } else { &mut link.unread };
            if !std::mem::take(&mut link.retry) {
                // What a peer announces is never reserved: a buffer grows with what has come.
                buffer.reserve(if shared { READ_SIZE } else { READ_SIZE.max(buffer.len()) });
                match transport.poll_read(&mut Context::from_waker(&link.waker), buffer) {
                    Poll::Ready(Ok(count)) if count > 0 => {}
                    outcome => return self.nothing_read(at, &outcome, now),
                }
            }
            let intake = self.core.receive(now, link.key, buffer);
            if shared && !self.input.is_empty() {
                // The buffer that all share is not for keeping.
                link.unread.extend_from_slice(&self.input);
                self.input.clear();
            } else if !shared && link.unread.is_empty() {
                link.unread = BytesMut::new();
            }
            link.paused = intake == Intake::Paused;
            match intake {
                Intake::Open => {}
                Intake::Moved(shard) => return self.hand_over(at, shard, now),
                Intake::Paused | Intake::Closed => return,
            }
        }
        // There may be more, but it is another's turn.
        if let Some(link) = &self.links[at] {
            link.waker.wake_by_ref();
        }
    }

    /// The client has turned out to belong to another shard.
    fn hand_over(&mut self, at: usize, shard: usize, now: Time) {
        let Some(Link { key, io: Io::Transport(transport), unread, .. }) = self.links[at].take() else {
            return;
        };
        if let Some(peer) = self.core.release(now, key) {
            let limit = self.core.config().limits.pending_handshakes;
            self.post.hand_over(shard, Command::Moved(transport, peer, unread), limit);
        }
    }

    fn nothing_read(&mut self, at: usize, outcome: &Poll<io::Result<usize>>, now: Time) {
        // What a transport appends without saying so is never taken for another's.
        self.input.clear();
        if let (Poll::Ready(Ok(_)), Some(Link { key, .. })) = (outcome, &self.links[at]) {
            // The other side may only have ended its sending, and wait for the answers.
            self.transmit(*key, now);
        }
        if outcome.is_ready() {
            self.lost(at, now);
        }
    }

    /// The transport has ended.
    fn lost(&mut self, at: usize, now: Time) {
        let Some(link) = self.links[at].take() else {
            return;
        };
        self.core.close(now, link.key, CloseCause::Transport);
        link.gone();
    }

    /// Hands out what the core has: questions, news, bytes.
    fn drain(&mut self, now: Time) {
        loop {
            while let Some(event) = self.core.poll_event() {
                self.report(event);
            }
            let Some(key) = self.core.poll_ready() else {
                break;
            };
            self.transmit(key, now);
        }
        while let Some(key) = self.core.poll_abort() {
            self.core.close(now, key, CloseCause::Asked);
            if let Some(link) = self.links.get_mut(key.index()).and_then(Option::take) {
                link.gone();
            }
        }
    }

    fn report(&mut self, event: Event) {
        if let Event::Authenticate { ticket, request } = event {
            if let Some(hook) = &self.authenticate {
                let verdict = hook.authenticate(*request);
                self.verdicts.push(Box::pin(async move { (ticket, verdict.await) }));
                // The set has to be polled before its new member can wake anybody.
                self.shared.waker.wake();
            } else {
                let reason = columba_core::codec::ReasonCode::ServerUnavailable;
                let now = self.now();
                self.core.answer(now, ticket, Verdict::reject(reason));
            }
            return;
        }
        let kind = event.kind();
        if let Some(observers) = &self.observers {
            observers.observe(&event);
        }
        let core = &mut self.core;
        self.subscribers.retain(|(kinds, subscriber)| {
            if !kinds.contains(kind) {
                return true;
            }
            match subscriber.try_send(event.clone()) {
                Ok(()) => true,
                Err(async_channel::TrySendError::Full(_)) => {
                    core.count_lost_event();
                    true
                }
                Err(async_channel::TrySendError::Closed(_)) => false,
            }
        });
    }

    /// Sends what a connection has, until there is no more or its transport takes no more.
    fn transmit(&mut self, key: ConnectionKey, now: Time) {
        let at = key.index();
        for _ in 0..TURNS {
            let Some(link) = self.links.get_mut(at).and_then(Option::as_mut) else {
                return;
            };
            if link.writing {
                // What is under way is sent first; the transport says when.
                return;
            }
            let Io::Transport(transport) = &mut link.io else {
                match self.transmit_local(at, now) {
                    Turn::Over => return,
                    Turn::More => continue,
                }
            };
            let flow = self.core.poll_transmit(now, key, &mut self.output);
            link.closing = flow == Flow::Close;
            if !self.output.is_empty() {
                match transport.poll_write(&mut Context::from_waker(&link.waker), &mut self.output) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => {
                        self.output.clear();
                        return self.lost(at, now);
                    }
                    Poll::Pending => {
                        link.unsent = Some(Box::new(std::mem::take(&mut self.output)));
                        link.writing = true;
                        return;
                    }
                }
            }
            match flow {
                Flow::Close => {
                    self.flush(at);
                    return;
                }
                Flow::Idle => return self.resume(at),
                Flow::More => {}
            }
        }
        // There is more, but it is another's turn.
        if let Some(link) = self.links.get_mut(at).and_then(Option::as_mut) {
            link.more = true;
            link.waker.wake_by_ref();
        }
    }

    /// The core may take input again that it would not take before: when it is this connection's turn.
    fn resume(&mut self, at: usize) {
        if let Some(link) = self.links[at].as_mut()
            && std::mem::take(&mut link.paused)
        {
            link.retry = !link.unread.is_empty();
            link.waker.wake_by_ref();
        }
    }

    /// Writes what is left and, if the connection is closing, closes it. True if nothing is left and it is open.
    fn flush(&mut self, at: usize) -> bool {
        let now = self.now();
        let Some(link) = self.links[at].as_mut() else {
            return false;
        };
        let Io::Transport(transport) = &mut link.io else {
            return true;
        };
        let mut cx = Context::from_waker(&link.waker);
        let mut outcome = match &mut link.unsent {
            Some(unsent) if link.writing => transport.poll_write(&mut cx, unsent),
            _ => Poll::Ready(Ok(())),
        };
        if matches!(outcome, Poll::Ready(Ok(()))) {
            link.unsent = None;
            link.writing = false;
            if !link.closing {
                return true;
            }
            outcome = transport.poll_close(&mut cx);
        }
        if outcome.is_ready() {
            self.lost(at, now);
        }
        false
    }

    fn run_verdicts(&mut self, cx: &mut Context<'_>, now: Time) -> bool {
        if self.verdicts.is_empty() {
            return false;
        }
        let mut busy = false;
        while let Poll::Ready(Some((ticket, verdict))) = self.verdicts.poll_next_unpin(cx) {
            self.core.answer(now, ticket, verdict);
            busy = true;
        }
        busy
    }

    fn run_timer(&mut self, cx: &mut Context<'_>, now: Time) -> bool {
        let mut busy = false;
        self.ping(now);
        if self.core.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.core.handle_timeout(now);
            busy = true;
        }
        for (_, Accepting { rest, waker, .. }) in &mut self.listeners {
            if rest.is_some_and(|until| until <= now) {
                *rest = None;
                waker.wake_by_ref();
            }
        }
        let next = self.next_deadline();
        if next != self.deadline {
            self.deadline = next;
            self.timer.set(next.map(|at| self.started + at.since(Time::ZERO)));
        }
        // Asked in every round, also without a deadline: a timer of a test may count them.
        if self.timer.poll_expired(cx).is_ready() {
            self.deadline = None;
            busy = true;
        }
        busy
    }

    fn next_deadline(&self) -> Option<Time> {
        let ending = self.ending.as_ref().map(|ending| ending.until);
        let resting = self.listeners.iter().filter_map(|(_, accepting)| accepting.rest);
        self.core.poll_timeout().into_iter().chain(ending).chain(resting).chain(self.ping).min()
    }

    /// Whether another round would find nothing to do: it costs more to go through it than to ask.
    fn is_settled(&self) -> bool {
        self.verdicts.is_empty()
            && self.shared.is_idle()
            && self.post.is_idle()
            && self.next_deadline() == self.deadline
            && self.ready.rests()
    }

    /// Keeps alive who cannot fall silent: a client in this process is there until it is dropped.
    fn ping(&mut self, now: Time) {
        let Some(interval) = self.core.config().server_keep_alive.filter(|&seconds| seconds > 0) else {
            return;
        };
        if self.ping.is_some_and(|at| at > now) {
            return;
        }
        self.ping = Some(now + Duration::from_secs(interval.into()));
        for link in self.links.iter().flatten() {
            if let Io::Local(local) = &link.io {
                local.ping();
            }
        }
    }

    /// Whether a shutdown is under way and nothing is left to do, or no time to do it.
    fn has_ended(&self) -> bool {
        let Some(ending) = &self.ending else {
            return false;
        };
        // Whoever asks something meanwhile is answered by all shards, so all end together.
        (self.links.iter().all(Option::is_none) && self.post.is_last_to_finish())
            || ending.until <= self.now()
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.waker.register(cx.waker());
        // Whoever ends wakes the others.
        let is_broken = this.ending.is_none() && this.post.is_broken();
        for _ in 0..ROUNDS {
            let busy = this.round(cx);
            if this.has_ended() || is_broken {
                this.end();
                return Poll::Ready(());
            }
            if !busy || this.is_settled() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Driver {
    fn end(&mut self) {
        self.shared.close();
        for link in self.links.drain(..).flatten() {
            link.gone();
        }
        self.listeners.clear();
        self.subscribers.clear();
        self.verdicts.clear();
        self.observers = None;
        self.post.wake_others();
        self.timer = Box::new(ThreadTimer::new());
        self.ready.close();
        // Whoever waits is told last, when everything is dropped.
        for done in self.ending.take().into_iter().flat_map(|ending| ending.done) {
            let _ = done.send(());
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end();
    }
}

impl Link {
    /// The connection is over; an in-process client is told.
    fn gone(self) {
        if let Io::Local(local) = self.io {
            local.close(ClientError::Closed);
        }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("core", &self.core).finish_non_exhaustive()
    }
}
