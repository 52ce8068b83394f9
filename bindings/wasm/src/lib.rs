//! The broker for JavaScript: `columba-core` driven from a tab, a worker or Node. What decides anything about MQTT is in
//! the core; what has the shape of one host's object is in the JavaScript beside this crate.

pub mod bridge;
pub mod client;
