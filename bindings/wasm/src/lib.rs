//! The broker for JavaScript: `columba-core` driven from a tab, a worker or Node. What decides anything about MQTT is in
//! the core; what has the shape of one host's object is in the JavaScript beside this crate.

pub mod bridge;
// What these throw is told in the type declarations.
#[allow(clippy::missing_errors_doc)]
mod bridge_js;
#[allow(clippy::missing_errors_doc)]
mod broker;
pub mod client;
#[allow(clippy::missing_errors_doc, clippy::needless_pass_by_value)] // wasm-bindgen hands values over
mod client_js;
mod events;
mod explain;
mod fault;
mod inspect;
mod options;
mod packets;
mod value;

pub use bridge_js::RawBridge;
pub use broker::RawBroker;
pub use client_js::RawClient;
pub use explain::{RawCapture, explain_packet};
pub use fault::RawFault;
pub use packets::{decode_packet_js, encode_packet_js};

use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
}
