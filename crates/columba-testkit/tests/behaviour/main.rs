//! What the kit promises to its users.

mod broker;
mod faults;
mod world;
