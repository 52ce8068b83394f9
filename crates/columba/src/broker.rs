//! The handle to a running broker, and how it talks to its driver.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use columba_core::codec::ReasonCode;
use columba_core::{ClientInfo, Event, EventMask, Metrics, Peer, SubscriptionInfo};
use futures::channel::oneshot;
use futures::task::AtomicWaker;

use crate::builder::BrokerBuilder;
use crate::client::ClientBuilder;
use crate::events::Events;
use crate::listener::Listener;
use crate::local::Local;
use crate::transport::Transport;

/// A broker. Cloning gives another handle to the same one; it runs as long as its [`Driver`](crate::Driver) is
/// polled, until [`shutdown`](Self::shutdown) or until the driver is dropped.
#[derive(Clone, Debug)]
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
}

/// The broker has been shut down, or its driver dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerGone;

/// What handles and driver share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    inbox: Mutex<VecDeque<Command>>,
    pub(crate) waker: AtomicWaker,
    gone: AtomicBool,
}

/// What a handle asks of the driver.
pub(crate) enum Command {
    Attach(Box<dyn Transport>, Peer),
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
        self.ask(Command::Attach(Box::new(transport), peer))
    }

    /// Accepts connections from a listener until the broker is shut down. Returns at once.
    ///
    /// # Errors
    /// The broker is gone; the listener is dropped.
    pub fn serve(&self, listener: impl Listener) -> Result<(), BrokerGone> {
        self.ask(Command::Serve(Box::new(listener)))
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
        self.ask(Command::Events(kinds, sender))?;
        Ok(events)
    }

    /// All sessions, of clients that are here and away.
    ///
    /// # Errors
    /// The broker is gone.
    pub async fn clients(&self) -> Result<Vec<ClientInfo>, BrokerGone> {
        self.question(Command::Clients).await
    }

    /// The subscriptions of one client.
    ///
    /// # Errors
    /// The broker is gone.
    pub async fn subscriptions(
        &self,
        client_id: impl Into<String>,
    ) -> Result<Vec<SubscriptionInfo>, BrokerGone> {
        self.question(|answer| Command::Subscriptions(client_id.into(), answer)).await
    }

    /// Counters and gauges.
    ///
    /// # Errors
    /// The broker is gone.
    pub async fn metrics(&self) -> Result<Metrics, BrokerGone> {
        self.question(Command::Metrics).await
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
        self.question(|answer| Command::Disconnect(client_id.into(), reason, answer)).await
    }

    /// Ends the broker: no new connections, DISCONNECT 0x8B to MQTT 5 clients, and up to `grace` for what is still
    /// to be sent. When this returns, transports and listeners are dropped and the driver's future is finished. A
    /// broker that is gone already is fine.
    pub async fn shutdown(&self, grace: Duration) {
        // An answer that never comes means that the driver is gone, which is what was asked for.
        let _ = self.question(|answer| Command::Shutdown(grace, answer)).await;
    }

    /// Whether the broker has been shut down, or its driver dropped.
    pub fn is_gone(&self) -> bool {
        self.shared.gone.load(Ordering::Acquire)
    }

    /// Hands a command over; false if nobody will take it.
    pub(crate) fn send(&self, command: Command) -> bool {
        self.ask(command).is_ok()
    }

    fn ask(&self, command: Command) -> Result<(), BrokerGone> {
        {
            let mut inbox = self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            if self.is_gone() {
                return Err(BrokerGone);
            }
            inbox.push_back(command);
        }
        self.shared.waker.wake();
        Ok(())
    }

    async fn question<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, BrokerGone> {
        let (sender, receiver) = oneshot::channel();
        self.ask(ask(sender))?;
        receiver.await.map_err(|_| BrokerGone)
    }
}

impl Shared {
    pub(crate) fn take_command(&self) -> Option<Command> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Whether no command waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// No command will be taken any more; those that wait are dropped, which answers them.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            self.gone.store(true, Ordering::Release);
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
