//! What the kit promises to its users.

mod broker;
mod expect;
mod faults;
mod transcript;
mod world;
