//! An MQTT broker as a state machine.
//!
//! This crate owns everything that makes a broker a broker: handshakes, sessions, quality of service, routing,
//! retained messages, wills, shared subscriptions, timers and limits, for MQTT 3.1, 3.1.1 and 5.0. It never does
//! I/O, reads a clock, starts a thread, waits, or asks for randomness. Most programs want the crate `columba`, which
//! puts a shell of futures around it; this one is for those who build a shell of their own, a simulation, or a test.
//!
//! # Vocabulary
//!
//! * A plain verb or `handle_*` takes something in: [`Core::open`], [`Core::receive`], [`Core::close`],
//!   [`Core::answer`], [`Core::handle_timeout`]. Each is also a value, [`Input`], for recording and replaying.
//! * `poll_*` hands something out: [`Core::poll_ready`] who has something to send, [`Core::poll_transmit`] the bytes,
//!   [`Core::poll_event`] news and questions, [`Core::poll_timeout`] the next deadline, [`Core::poll_abort`] whose
//!   transport has to go.
//! * Everything else looks and changes nothing. [`Core::snapshot`] does so too: what outlives connections, as bytes, for
//!   [`Core::restore`], which stands beside [`Core::new`].
//!
//! # Example
//!
//! ```
//! use bytes::BytesMut;
//! use columba_core::{Chunks, Config, Core, Flow, Intake, Peer, Seed, Time};
//!
//! let mut core = Core::new(Config::default(), Seed::from(1));
//! let now = Time::ZERO;
//! let connection = core.open(now, Peer::default());
//!
//! // CONNECT of MQTT 3.1.1 with client id "a", clean session.
//! let mut input = BytesMut::from(&b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a"[..]);
//! assert_eq!(core.receive(now, connection, &mut input), Intake::Open);
//!
//! assert_eq!(core.poll_ready(), Some(connection));
//! let mut out = Chunks::new();
//! assert_eq!(core.poll_transmit(now, connection, &mut out), Flow::Idle);
//! assert_eq!(out.to_vec(), b"\x20\x02\x00\x00"); // CONNACK: accepted
//! ```

mod aliases;
mod auth;
mod chunks;
mod config;
mod connection;
mod core;
mod event;
mod handshake;
mod ids;
mod incoming;
mod inflight;
mod input;
mod inspect;
mod keys;
mod lazy;
mod lifecycle;
mod message;
mod metrics;
mod packet_ids;
mod parcel;
mod route;
mod session;
#[cfg_attr(not(feature = "shards"), allow(dead_code, unused_imports))]
mod shards;
mod snapshot;
mod subscribe;
mod time;
mod timers;
mod topics;
mod transmit;

pub use columba_codec as codec;

pub use crate::auth::{Action, AuthRequest, AuthStage, Authorize, Client, Grant, Peer, Verdict};
pub use crate::chunks::Chunks;
pub use crate::config::{Config, FullQueue, Limits};
pub use crate::core::{CloseCause, Core, Flow, Intake};
pub use crate::event::{Cause, DropCause, Event, EventMask, Fault};
pub use crate::ids::Seed;
pub use crate::input::{Input, Output};
pub use crate::inspect::{ClientInfo, ConnectionInfo, SubscriptionInfo};
pub use crate::keys::{ConnectionKey, SessionKey, Ticket};
pub use crate::message::MESSAGE_OVERHEAD;
pub use crate::metrics::Metrics;
pub use crate::parcel::{Content, Parcel};
pub use crate::shards::{Batch, MAX_SHARDS, Placement};
pub use crate::snapshot::RestoreError;
pub use crate::time::Time;
