//! What the kit promises to its users.

mod world;
