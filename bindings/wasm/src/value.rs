//! Plain JavaScript objects: reading fields with errors that name them, and writing. Knows nothing of MQTT.

// JavaScript has one kind of number. What is cast is in range, or checked.
#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]

use std::time::Duration;

use columba_core::Time;
use js_sys::{Array, ArrayBuffer, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsError, JsValue};

/// An object under construction.
#[derive(Debug, Default)]
pub(crate) struct Record(Object);

impl Record {
    pub(crate) fn new() -> Self {
        Self(Object::new())
    }

    /// Sets a field.
    pub(crate) fn set(&self, name: &str, value: impl Into<JsValue>) {
        // Fails for frozen objects and setters that throw; this one is ours and plain.
        let _ = Reflect::set(&self.0, &JsValue::from_str(name), &value.into());
    }

    /// Sets a field that may be absent.
    pub(crate) fn set_if(&self, name: &str, value: Option<impl Into<JsValue>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    pub(crate) fn set_bytes(&self, name: &str, bytes: &[u8]) {
        self.set(name, Uint8Array::from(bytes));
    }
}

impl From<Record> for JsValue {
    fn from(record: Record) -> Self {
        record.0.into()
    }
}

/// The field of an object; `None` where it is absent, undefined or null.
pub(crate) fn field(object: &JsValue, name: &str) -> Option<JsValue> {
    let value = Reflect::get(object, &JsValue::from_str(name)).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}

pub(crate) fn string(object: &JsValue, name: &str) -> Result<Option<String>, JsError> {
    let Some(value) = field(object, name) else { return Ok(None) };
    value.as_string().map(Some).ok_or_else(|| wrong(name, "a string"))
}

pub(crate) fn boolean(object: &JsValue, name: &str) -> Result<Option<bool>, JsError> {
    let Some(value) = field(object, name) else { return Ok(None) };
    value.as_bool().map(Some).ok_or_else(|| wrong(name, "true or false"))
}

/// A whole number from 0 to `max`, or infinity for `max`.
pub(crate) fn number(object: &JsValue, name: &str, max: u64) -> Result<Option<u64>, JsError> {
    let Some(value) = field(object, name) else { return Ok(None) };
    let number = value.as_f64().filter(|number| *number >= 0.0);
    let number = number.ok_or_else(|| wrong(name, "a number that is not negative"))?;
    if number.is_infinite() {
        return Ok(Some(max));
    }
    if number.fract() != 0.0 || number > max as f64 {
        return Err(wrong(name, &format!("a whole number up to {max}")));
    }
    Ok(Some(number as u64))
}

pub(crate) fn unsigned_32(object: &JsValue, name: &str) -> Result<Option<u32>, JsError> {
    Ok(number(object, name, u32::MAX.into())?.map(|number| number as u32))
}

pub(crate) fn unsigned_16(object: &JsValue, name: &str) -> Result<Option<u16>, JsError> {
    Ok(number(object, name, u16::MAX.into())?.map(|number| number as u16))
}

/// Text as UTF-8, or the bytes of an `ArrayBuffer` or of a view of one.
pub(crate) fn bytes(object: &JsValue, name: &str) -> Result<Option<Vec<u8>>, JsError> {
    let Some(value) = field(object, name) else { return Ok(None) };
    bytes_of(&value).map(Some).ok_or_else(|| wrong(name, "a string or bytes"))
}

pub(crate) fn bytes_of(value: &JsValue) -> Option<Vec<u8>> {
    if let Some(text) = value.as_string() {
        return Some(text.into_bytes());
    }
    if let Some(array) = value.dyn_ref::<Uint8Array>() {
        return Some(array.to_vec());
    }
    if ArrayBuffer::is_view(value) {
        let start = field(value, "byteOffset")?.as_f64()? as u32;
        let length = field(value, "byteLength")?.as_f64()? as u32;
        let buffer = field(value, "buffer")?;
        return Some(Uint8Array::new_with_byte_offset_and_length(&buffer, start, length).to_vec());
    }
    value.is_instance_of::<ArrayBuffer>().then(|| Uint8Array::new(value).to_vec())
}

/// The elements of a field that is an array; none where it is absent.
pub(crate) fn list(object: &JsValue, name: &str) -> Result<Vec<JsValue>, JsError> {
    let Some(value) = field(object, name) else { return Ok(Vec::new()) };
    let array = value.dyn_ref::<Array>().ok_or_else(|| wrong(name, "an array"))?;
    Ok(array.iter().collect())
}

pub(crate) fn wrong(name: &str, what: &str) -> JsError {
    JsError::new(&format!("{name} has to be {what}"))
}

/// Only `true` itself: a promise, say, is no answer.
pub(crate) fn is_true(value: &JsValue) -> bool {
    value.as_bool() == Some(true)
}

/// Milliseconds as the core's time. Negative and unreasonable ones count as the nearest reasonable one: `as` saturates.
pub(crate) fn time(milliseconds: f64) -> Time {
    Time::from_micros((milliseconds * 1000.0) as u64)
}

/// The same for a span.
pub(crate) fn duration(milliseconds: f64) -> Duration {
    Duration::from_micros((milliseconds * 1000.0) as u64)
}

/// The core's time in milliseconds, rounded up: whoever came a moment early would find nothing to do.
pub(crate) fn deadline(time: Time) -> f64 {
    (time.as_micros() as f64 / 1000.0).ceil()
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A counter as JavaScript has numbers: exact up to 2^53.
pub(crate) const fn counter(count: u64) -> f64 {
    count as f64
}

/// An array of these values.
pub(crate) fn array<const N: usize>(values: &[JsValue; N]) -> Array {
    values.iter().collect()
}
