//! The same with brokers of several shards, all driven on one thread, and what is only about shards.

mod across;
mod chaos;
mod clients;
mod endings;
mod hooks;
mod listeners;
mod pressure;
mod splits;
mod timers;
mod transports;
mod watching;
mod world;

/// What brokers here consist of, unless a test says otherwise.
const SHARDS: usize = 3;
