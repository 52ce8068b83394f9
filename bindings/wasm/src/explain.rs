//! Packets for people: what every byte means, and a capture for other tools.

use columba_testkit::dissect::{Bits, Field, dissect};
use columba_testkit::{Capture, Direction};
use js_sys::Array;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, JsValue};

use crate::packets::version_of;
use crate::value::{self, Record};

/// What every byte of a packet means, well-formed or not.
///
/// # Errors
/// There is no such version.
#[wasm_bindgen(js_name = explainPacket)]
pub fn explain_packet(version: u8, bytes: &[u8]) -> Result<Array, JsError> {
    let fields = dissect(version_of(version.into())?, bytes);
    Ok(fields.iter().map(|field| JsValue::from(object(field))).collect())
}

fn object(field: &Field) -> Record {
    let record = Record::new();
    record.set("start", field.range.start);
    record.set("end", field.range.end);
    record.set("name", &*field.name);
    record.set("value", &*field.value);
    record.set("note", &*field.note);
    if field.is_wrong {
        record.set("isWrong", true);
    }
    let bits = field.bits.iter().map(|bits| part(field, bits));
    let children: Array = bits.chain(field.children.iter().map(object)).map(JsValue::from).collect();
    record.set("children", children);
    record
}

/// Some bits of a byte.
fn part(field: &Field, bits: &Bits) -> Record {
    let record = Record::new();
    record.set("start", field.range.start);
    record.set("end", field.range.end);
    record.set("mask", bits.mask);
    record.set("name", &*bits.name);
    record.set("value", bits.value.to_string());
    record.set("note", &*bits.note);
    if bits.is_wrong {
        record.set("isWrong", true);
    }
    record.set("children", Array::new());
    record
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
        self.0.add(connection as usize, direction, value::duration(time), bytes);
    }

    /// The whole file.
    pub fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
}
