//! The handle to a running broker, and how it talks to its driver.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use columba_core::codec::ReasonCode;
use columba_core::{ClientInfo, Event, EventMask, Metrics, Peer, Placement, SubscriptionInfo};
use futures::channel::oneshot;
use futures::future::{join_all, try_join_all};
use futures::task::AtomicWaker;

use crate::builder::BrokerBuilder;
use crate::client::ClientBuilder;
use crate::events::Events;
use crate::listener::Listener;
use crate::local::Local;
use crate::post::Mailbox;
use crate::transport::Transport;

/// A broker. Cloning gives another handle to the same one; it runs as long as its [`Driver`](crate::Driver) is
/// polled, until [`shutdown`](Self::shutdown) or until the driver is dropped.
#[derive(Clone, Debug)]
pub struct Broker {
    /// One for each driver; mostly one.
    shards: Arc<[Arc<Shared>]>,
    placement: Placement,
    /// Whose turn it is to take what belongs nowhere yet.
    turn: Arc<AtomicUsize>,
}

/// The broker has been shut down, or its driver dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerGone;

/// What handles and driver share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    inbox: Mutex<VecDeque<Command>>,
    /// Whether there is something in it, so that a driver asks in every round without the lock. Changed with the lock
    /// held.
    has_commands: AtomicBool,
    pub(crate) waker: AtomicWaker,
    gone: AtomicBool,
    /// What other shards have for this one, by their numbers.
    pub(crate) mailboxes: Box<[Mailbox]>,
    /// Connections among the commands that come from other shards.
    pub(crate) moving: AtomicUsize,
    /// A shutdown is under way, and the driver has nothing left to do.
    pub(crate) is_finished: AtomicBool,
}

/// What a handle asks of the driver.
pub(crate) enum Command {
    Attach(Box<dyn Transport>, Peer),
    /// The same from another shard, with what has been read.
    Moved(Box<dyn Transport>, Peer, BytesMut),
    Serve(Box<dyn Listener>),
    Client(Arc<Local>),
    Events(EventMask, async_channel::Sender<Event>),
    Clients(oneshot::Sender<Vec<ClientInfo>>),
    Subscriptions(String, oneshot::Sender<Vec<SubscriptionInfo>>),
    Metrics(oneshot::Sender<Metrics>),
    Disconnect(String, ReasonCode, oneshot::Sender<bool>),
    Shutdown(Duration, oneshot::Sender<()>),
}

impl Broker {
    /// Settings for a new broker.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Speaks MQTT over a transport that is open. Returns at once.
    ///
    /// # Errors
    /// The broker is gone; the transport is dropped.
    pub fn attach(&self, transport: impl Transport, peer: Peer) -> Result<(), BrokerGone> {
        self.anywhere().ask(Command::Attach(Box::new(transport), peer))
    }

    /// Accepts connections from a listener until the broker is shut down. Returns at once. Where there are several shards,
    /// one of them accepts: each in its turn is given a listener.
    ///
    /// # Errors
    /// The broker is gone; the listener is dropped.
    pub fn serve(&self, listener: impl Listener) -> Result<(), BrokerGone> {
        self.anywhere().ask(Command::Serve(Box::new(listener)))
    }

    /// A client in this process. With an empty id the broker assigns one.
    pub fn client(&self, id: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(self.clone(), id.into())
    }

    /// A stream of what happens from now on, of the kinds asked for. A subscriber that does not keep up loses events
    /// and is told how many; it never slows the broker.
    ///
    /// # Errors
    /// The broker is gone.
    pub fn events(&self, kinds: EventMask) -> Result<Events, BrokerGone> {
        let (sender, events) = Events::channel();
        for shard in &*self.shards {
            shard.ask(Command::Events(kinds, sender.clone()))?;
        }
        Ok(events)
    }

    /// All sessions, of clients that are here and away.
    ///
    /// # Errors
    /// The broker is gone.
    pub async fn clients(&self) -> Result<Vec<ClientInfo>, BrokerGone> {
        Ok(self.question_all(|| Command::Clients).await?.concat())
    }

    /// The subscriptions of one client.
    ///
    /// # Errors
    /// The broker is gone.
    pub async fn subscriptions(
        &self,
        client_id: impl Into<String>,
    ) -> Result<Vec<SubscriptionInfo>, BrokerGone> {
        let client_id = client_id.into();
        question(self.home_of(&client_id), |answer| Command::Subscriptions(client_id, answer)).await
    }

    /// Counters and gauges. Where there are several shards they are those of all; retained messages, which every shard
    /// has, are counted once as such and once for each shard among what is stored.
    ///
    /// # Errors
    /// The broker is gone.
    pub async fn metrics(&self) -> Result<Metrics, BrokerGone> {
        let all = self.question_all(|| Command::Metrics).await?;
        Ok(all.into_iter().reduce(|sum, shard| sum.with_shard(&shard)).unwrap_or_default())
    }

    /// Ends one client's connection with this reason, which MQTT 5 clients are told. False if it has none.
    ///
    /// # Errors
    /// The broker is gone.
    pub async fn disconnect(
        &self,
        client_id: impl Into<String>,
        reason: ReasonCode,
    ) -> Result<bool, BrokerGone> {
        let client_id = client_id.into();
        question(self.home_of(&client_id), |answer| Command::Disconnect(client_id, reason, answer)).await
    }

    /// Ends the broker: no new connections, DISCONNECT 0x8B to MQTT 5 clients, and up to `grace` for what is still
    /// to be sent. When this returns, transports and listeners are dropped and the driver's future is finished. A
    /// broker that is gone already is fine.
    pub async fn shutdown(&self, grace: Duration) {
        // An answer that never comes means that the driver is gone, which is what was asked for.
        let ask = |shard| question(shard, move |answer| Command::Shutdown(grace, answer));
        join_all(self.shards.iter().map(|shard| ask(&**shard))).await;
    }

    /// Whether the broker has been shut down, or its driver dropped.
    pub fn is_gone(&self) -> bool {
        self.shards.iter().any(|shard| shard.is_gone())
    }

    pub(crate) fn new(shards: Arc<[Arc<Shared>]>, placement: Placement) -> Self {
        Self { shards, placement, turn: Arc::default() }
    }

    /// Hands a client over to the shard where its session is; false if nobody will take it.
    pub(crate) fn take_in(&self, client_id: &str, local: Arc<Local>) -> bool {
        // Who has no id gets one that belongs where it comes in.
        let shard = if client_id.is_empty() { self.anywhere() } else { self.home_of(client_id) };
        shard.ask(Command::Client(local)).is_ok()
    }

    fn home_of(&self, client_id: &str) -> &Shared {
        &self.shards[self.placement.shard_of(client_id)]
    }

    fn anywhere(&self) -> &Shared {
        match self.shards.len() {
            1 => &self.shards[0],
            count => &self.shards[self.turn.fetch_add(1, Ordering::Relaxed) % count],
        }
    }

    /// Asks all shards the same, and waits for all.
    async fn question_all<T, A>(&self, ask: impl Fn() -> A) -> Result<Vec<T>, BrokerGone>
    where
        A: FnOnce(oneshot::Sender<T>) -> Command,
    {
        try_join_all(self.shards.iter().map(|shard| question(shard, ask()))).await
    }
}

async fn question<T>(
    shard: &Shared,
    ask: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, BrokerGone> {
    let (sender, receiver) = oneshot::channel();
    shard.ask(ask(sender))?;
    receiver.await.map_err(|_| BrokerGone)
}

impl Shared {
    /// One of so many shards.
    pub(crate) fn of(count: usize) -> Self {
        // One alone gets no post.
        let mailboxes = (0..count).filter(|_| count > 1).map(|_| Mailbox::default());
        Self { mailboxes: mailboxes.collect(), ..Self::default() }
    }

    pub(crate) fn ask(&self, command: Command) -> Result<(), BrokerGone> {
        {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            if self.is_gone() {
                return Err(BrokerGone);
            }
            inbox.push_back(command);
            self.has_commands.store(true, Ordering::Release);
        }
        self.waker.wake();
        Ok(())
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn take_command(&self) -> Option<Command> {
        if self.is_idle() {
            return None;
        }
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let command = inbox.pop_front();
        self.has_commands.store(!inbox.is_empty(), Ordering::Release);
        command
    }

    /// Whether no command waits. One that comes at the same time wakes the driver.
    pub(crate) fn is_idle(&self) -> bool {
        !self.has_commands.load(Ordering::Acquire)
    }

    /// No command will be taken any more; those that wait are dropped, which answers them.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            self.gone.store(true, Ordering::Release);
            self.has_commands.store(false, Ordering::Release);
            std::mem::take(&mut *inbox)
        };
        for command in waiting {
            if let Command::Client(local) = command {
                local.close(crate::ClientError::Closed);
            }
        }
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Attach(..) => "Attach",
            Self::Moved(..) => "Moved",
            Self::Serve(_) => "Serve",
            Self::Client(_) => "Client",
            Self::Events(..) => "Events",
            Self::Clients(_) => "Clients",
            Self::Subscriptions(..) => "Subscriptions",
            Self::Metrics(_) => "Metrics",
            Self::Disconnect(..) => "Disconnect",
            Self::Shutdown(..) => "Shutdown",
        })
    }
}

impl std::fmt::Display for BrokerGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the broker has been shut down, or its driver dropped")
    }
}

impl std::error::Error for BrokerGone {}
