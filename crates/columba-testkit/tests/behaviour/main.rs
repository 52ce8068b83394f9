//! What the kit promises to its users.

mod faults;
mod world;
