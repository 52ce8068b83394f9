//! What the kit promises to its users.

#[cfg(feature = "sockets")]
mod broker;
mod dissect;
mod expect;
#[cfg(feature = "sockets")]
mod expectation;
mod faults;
mod line;
mod transcript;
mod world;
