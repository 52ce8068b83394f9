//! The shell around the core: clients in the same process, transports, listeners, hooks, timers, and how it all ends.

mod clients;
mod pressure;
mod world;
