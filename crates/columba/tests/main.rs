//! The shell around the core: clients in the same process, transports, listeners, hooks, timers, and how it all ends.

mod chaos;
mod clients;
mod endings;
mod hooks;
mod listeners;
mod pressure;
mod runtimes;
mod splits;
mod timers;
mod transports;
mod watching;
mod world;

/// What brokers here consist of, unless a test says otherwise.
const SHARDS: usize = 1;
