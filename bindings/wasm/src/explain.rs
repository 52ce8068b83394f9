//! Packets for people: what every byte means, and a capture for other tools.

use std::time::Duration;

use columba_testkit::{Capture, Direction};
use js_sys::Array;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::JsError;

/// What every byte of a packet means, well-formed or not.
#[wasm_bindgen(js_name = explainPacket)]
pub fn explain_packet(version: u8, bytes: &[u8]) -> Result<Array, JsError> {
    let _ = (version, bytes);
    Ok(Array::new())
}

/// A capture under construction.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct RawCapture(Capture);

#[wasm_bindgen]
impl RawCapture {
    /// A capture without packets.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a packet; `time` in milliseconds.
    pub fn add(&mut self, time: f64, connection: u32, is_up: bool, bytes: &[u8]) {
        let direction = if is_up { Direction::ToBroker } else { Direction::ToClient };
        // Negative times count as the start: `as` saturates.
        let at = Duration::from_micros((time * 1000.0) as u64);
        self.0.add(connection as usize, direction, at, bytes);
    }

    /// The whole file.
    pub fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
}
