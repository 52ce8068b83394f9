//! The modules of this crate that know no JavaScript, driven against the real core, on the machine that builds them.

mod bridge;
mod client;
mod damage;
mod handshake;
mod interruptions;
mod limits;
mod rules;
mod script;
mod world;
