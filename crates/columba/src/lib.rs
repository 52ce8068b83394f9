//! An MQTT broker that lives inside your program.
//!
//! [`Broker`] is a handle, [`Driver`] a future that runs it: on any executor, over any transport. Clients can be in the
//! same process ([`Broker::client`]), behind sockets (the crate `columba-net`), or at the other end of whatever
//! implements [`Transport`]. The broker itself, a state machine without I/O, is the crate `columba-core`.
//!
//! ```
//! use columba::{Broker, QoS};
//! use futures::executor::block_on;
//! use futures::future::{Either, select};
//! use std::pin::pin;
//!
//! let (broker, driver) = Broker::builder().build();
//! let program = async {
//!     let kitchen = broker.client("kitchen").connect().await?;
//!     let display = broker.client("display").connect().await?;
//!     display.subscribe("+/temperature", QoS::AtLeastOnce).await?;
//!     kitchen.publish("kitchen/temperature", "21.5").await?;
//!     let message = display.recv().await.expect("the broker runs");
//!     assert_eq!((message.topic(), &message.payload()[..]), ("kitchen/temperature", &b"21.5"[..]));
//!     Ok::<_, columba::ClientError>(())
//! };
//! // One thread, no runtime: the driver and the program take turns.
//! match block_on(select(pin!(program), driver)) {
//!     Either::Left((result, _)) => result?,
//!     Either::Right(((), _)) => unreachable!("nobody shut the broker down"),
//! }
//! # Ok::<_, columba::ClientError>(())
//! ```
//!
//! # Features
//! None is on by default.
//!
//! * `tokio`: the module `tokio`, with adapters for its streams and a driver spawned on its runtime.
//! * `smol`: the module `smol`, with a driver spawned on smol.
//! * `shards`: `BrokerBuilder::build_shards`, one broker on several cores of the machine.

mod broker;
mod builder;
mod client;
mod driver;
mod events;
mod hooks;
mod listener;
mod local;
pub mod memory;
mod message;
mod post;
mod ready;
#[cfg(feature = "smol")]
pub mod smol;
mod timer;
#[cfg(feature = "tokio")]
pub mod tokio;
mod transport;

pub use columba_core as core;

pub use columba_core::codec::{
    self, QoS, ReasonCode, RetainHandling, SubscriptionId, SubscriptionOptions, TopicFilter, TopicName,
    Version,
};
pub use columba_core::{
    Action, AuthRequest, AuthStage, Authorize, Cause, Chunks, Client as ClientIdentity, ClientInfo, Config,
    ConnectionInfo, DropCause, Event, EventMask, Fault, FullQueue, Grant, Limits, MAX_SHARDS, Metrics, Peer,
    Seed, SubscriptionInfo, Verdict,
};

pub use crate::broker::{Broker, BrokerGone};
pub use crate::builder::BrokerBuilder;
pub use crate::client::{Client, ClientBuilder, ClientError};
pub use crate::driver::Driver;
pub use crate::events::Events;
pub use crate::hooks::{Authenticate, Observe};
pub use crate::listener::Listener;
pub use crate::message::{Message, Publish};
pub use crate::timer::{ThreadTimer, Timer};
pub use crate::transport::{FuturesIo, Transport};
