//! Settings of a test broker: what the broker does, and what some real servers do not.

use std::collections::HashMap;
use std::sync::Arc;

use columba::codec::{ConnAck, ConnAckProperties, Packet, PacketType};
use columba::{
    AuthRequest, Authenticate, Authorize, Broker, BrokerBuilder, Config, Limits, QoS, ReasonCode, Seed,
    Verdict, Version,
};

use super::TestBroker;
use super::clock::Clock;
use crate::fault::{Fault, on};

/// Collects settings; [`start`](Self::start) starts the broker.
#[derive(Debug, Default)]
#[must_use]
pub struct TestBrokerBuilder {
    inner: BrokerBuilder,
    users: HashMap<String, Vec<u8>>,
    faults: Vec<Fault>,
    seed: u64,
    port: u16,
    manual_clock: bool,
}

impl TestBrokerBuilder {
    /// Changes any setting of the broker.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        self.inner = self.inner.configure(change);
        self
    }

    /// Changes limits.
    pub fn limits(self, change: impl FnOnce(&mut Limits)) -> Self {
        self.configure(|config| change(&mut config.limits))
    }

    /// Lets in only who is named here, with this password.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.insert(name.to_owned(), password.as_bytes().to_vec());
        self
    }

    /// Lets this hook decide who comes in, in place of [`user`](Self::user).
    pub fn authenticate(mut self, hook: impl Authenticate) -> Self {
        self.users.clear();
        self.inner = self.inner.authenticate(hook);
        self
    }

    /// Lets this function decide who may publish and subscribe to what.
    ///
    /// ```
    /// use columba_testkit::columba::{Action, ClientIdentity};
    /// use columba_testkit::TestBroker;
    ///
    /// // Everybody may read, and publish below the own name.
    /// let broker = TestBroker::builder()
    ///     .acl(|client: ClientIdentity<'_>, action: Action<'_>| match action {
    ///         Action::Publish { topic, .. } => topic.as_str().starts_with(client.id),
    ///         _ => true,
    ///     })
    ///     .start();
    /// # drop(broker);
    /// ```
    pub fn acl(mut self, may: impl Authorize + Sync + 'static) -> Self {
        self.inner = self.inner.authorize(may);
        self
    }

    /// Serves no retained messages.
    pub fn without_retain(self) -> Self {
        self.configure(|config| config.retain_available = false)
    }

    /// Accepts messages up to this QoS only.
    pub fn maximum_qos(self, qos: QoS) -> Self {
        self.configure(|config| config.maximum_qos = qos)
    }

    /// Refuses topic filters with wildcards.
    pub fn without_wildcards(self) -> Self {
        self.configure(|config| config.wildcard_subscriptions = false)
    }

    /// Refuses subscription identifiers.
    pub fn without_subscription_ids(self) -> Self {
        self.configure(|config| config.subscription_ids = false)
    }

    /// Refuses shared subscriptions.
    pub fn without_shared_subscriptions(self) -> Self {
        self.configure(|config| config.shared_subscriptions = false)
    }

    /// Takes so many messages at QoS 2 at a time from each client (Receive Maximum).
    pub fn receive_maximum(self, messages: u16) -> Self {
        self.limits(|limits| limits.receive_maximum = messages)
    }

    /// Takes packets of up to so many bytes (Maximum Packet Size).
    pub fn maximum_packet_size(self, bytes: u32) -> Self {
        self.limits(|limits| limits.packet_size = bytes)
    }

    /// Tells MQTT 5 clients how many seconds their keep alive is to be.
    pub fn server_keep_alive(self, seconds: u16) -> Self {
        self.configure(|config| config.server_keep_alive = Some(seconds))
    }

    /// Refuses clients that have no id of their own.
    pub fn without_assigned_ids(self) -> Self {
        self.configure(|config| config.assign_client_ids = false)
    }

    /// Sends everybody to another server, with Server Reference for MQTT 5 clients: for now (0x9C), or for good (0x9D).
    /// Older clients are told that the server is not available.
    pub fn redirect(self, to: &str, for_good: bool) -> Self {
        let to: Arc<str> = to.into();
        let moved = if for_good { ReasonCode::ServerMoved } else { ReasonCode::UseAnotherServer };
        self.fault(on(PacketType::Connect).handle(move |_, exchange| {
            let is_v5 = exchange.version() == Version::V5;
            let reason = if is_v5 { moved } else { ReasonCode::ServerUnavailable };
            let server_reference = is_v5.then_some(&*to);
            let properties = ConnAckProperties { server_reference, ..ConnAckProperties::default() };
            exchange.answer(&Packet::ConnAck(Box::new(ConnAck {
                session_present: false,
                reason,
                properties,
            })));
            exchange.close();
        }))
    }

    /// This happens from the beginning, as with [`TestBroker::fault`].
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Decides what is random: faults with a probability, assigned client ids. Default 0.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Listens on this TCP port. By default the system picks a free one, and tests do not get in each other's way.
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The broker's time stands still, and moves when [`TestBroker::advance`] is called: a session expires after a month that
    /// takes no time, whatever client it belongs to.
    pub const fn manual_clock(mut self) -> Self {
        self.manual_clock = true;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If the system gives no threads.
    pub fn start(self) -> TestBroker {
        let Self { mut inner, users, faults, seed, port, manual_clock } = self;
        if !users.is_empty() {
            inner = inner.authenticate(move |request: AuthRequest| {
                let password = request.username.as_deref().and_then(|name| users.get(name));
                let is_right = password.is_some_and(|password| request.password.as_deref() == Some(password));
                let verdict = if is_right {
                    Verdict::accept()
                } else {
                    Verdict::reject(ReasonCode::BadUserNameOrPassword)
                };
                std::future::ready(verdict)
            });
        }
        let clock = if manual_clock { Clock::manual() } else { Clock::system() };
        inner = inner.seed(Seed(seed.into()));
        let broker = TestBroker::launch(inner, clock, seed, port);
        for fault in faults {
            let _ = broker.fault(fault);
        }
        broker
    }
}

impl TestBroker {
    /// Settings for a test broker.
    pub fn builder() -> TestBrokerBuilder {
        TestBrokerBuilder { inner: Broker::builder(), ..TestBrokerBuilder::default() }
    }
}
