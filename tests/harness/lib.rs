//! What the whole-system tests share: a running broker, the clients under test behind one interface, and a
//! small client that writes its packets as bytes.
//!
//! The broker is `columba`, taken from `COLUMBA_BIN` or built once. With `COLUMBA_TEST_BROKER=mosquitto` the
//! same tests run against mosquitto, which is how a test is shown to be right before the broker is blamed.
//!
//! Nothing here sleeps for a fixed time: everything waits for a condition, and [`DEADLINE`] bounds the wait.
#![cfg(unix)]
// A helper for tests, not an interface: what can go wrong is read in the panic.
#![allow(missing_docs, clippy::missing_errors_doc)]

mod broker;
mod client;
mod message;
mod mosquitto;
mod mutate;
mod process;
pub mod raw;
mod rumqtt;
mod scratch;
mod script;
mod start;

pub use broker::{Broker, Failed};
pub use client::{Client, Kind, Library, Open, Transport, Version};
pub use message::{Message, Properties, from_hex, to_hex};
pub use mutate::{Mutator, Random};
pub use process::{Process, allow_open_files, wait_until};
pub use script::node;

use std::time::Duration;

/// How long any single thing may take. Long, because a busy machine is no fault of the broker's.
pub const DEADLINE: Duration = Duration::from_secs(30);
