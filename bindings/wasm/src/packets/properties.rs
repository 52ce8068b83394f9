//! Properties of MQTT 5.0 as fields of an object. Knows their names there; which packet has which is said by what it
//! puts and takes.

use std::cell::Cell;
use std::num::{NonZeroU16, NonZeroU32};

use columba_codec::{
    List, MessageProperties, PayloadFormat, Property, SubscriptionId, UserProperty, Version,
};
use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsError, JsValue};

use crate::value::{Record, bytes_of, field, wrong};

/// All user properties share one field.
const USERS: &str = "userProperties";

/// Every identifier is below this.
const IDS: u8 = 0x2B;

/// A property's name as a field: the one the standard gives it, in camel case.
fn letters(property: Property) -> impl Iterator<Item = char> {
    let letters = property.name().char_indices().filter(|(_, letter)| *letter != ' ');
    letters.map(|(index, letter)| if index == 0 { letter.to_ascii_lowercase() } else { letter })
}

fn name_of(property: Property) -> String {
    letters(property).collect()
}

fn property_of(name: &str) -> Option<Property> {
    let mut properties = (0..IDS).filter_map(Property::from_u8);
    properties.find(|&property| property != Property::UserProperty && letters(property).eq(name.chars()))
}

/// Properties being written into an object.
#[derive(Debug, Default)]
pub(super) struct PropertyRecord {
    record: Record,
    is_empty_no_more: bool,
}

impl PropertyRecord {
    pub(super) fn put(&mut self, property: Property, value: Option<impl Into<JsValue>>) {
        if let Some(value) = value {
            self.set(&name_of(property), value.into());
        }
    }

    pub(super) fn bytes(&mut self, property: Property, value: Option<&[u8]>) {
        self.put(property, value.map(Uint8Array::from));
    }

    /// A name that comes once has its value, any other an array of its values.
    pub(super) fn users(&mut self, list: &List<'_, UserProperty<'_>>) {
        if list.is_empty() {
            return;
        }
        // Without a prototype: a name may be any.
        let object = Object::create(JsValue::NULL.unchecked_ref::<Object>());
        for (name, value) in list {
            let (name, value) = (JsValue::from_str(name), JsValue::from_str(value));
            let before = Reflect::get(&object, &name).unwrap_or_default();
            let value = match before.dyn_into::<Array>() {
                Ok(values) => {
                    values.push(&value);
                    continue;
                }
                Err(before) if before.is_undefined() => value,
                Err(before) => Array::of2(&before, &value).into(),
            };
            let _ = Reflect::set(&object, &name, &value);
        }
        self.set(USERS, object.into());
    }

    /// All that a PUBLISH has, in the order of the codec.
    pub(super) fn message(
        &mut self,
        properties: &MessageProperties<'_>,
        topic_alias: Option<NonZeroU16>,
        subscription_ids: List<'_, SubscriptionId>,
    ) {
        self.put(Property::TopicAlias, topic_alias.map(NonZeroU16::get));
        let ids: Array = subscription_ids.iter().map(|id| JsValue::from(id.get())).collect();
        let ids = match ids.length() {
            0 => None,
            1 => Some(ids.get(0)),
            _ => Some(ids.into()),
        };
        self.put(Property::SubscriptionIdentifier, ids);
        let is_text = properties.payload_format.map(|format| format == PayloadFormat::Utf8);
        self.put(Property::PayloadFormatIndicator, is_text);
        self.put(Property::MessageExpiryInterval, properties.message_expiry);
        self.put(Property::ContentType, properties.content_type);
        self.put(Property::ResponseTopic, properties.response_topic);
        self.bytes(Property::CorrelationData, properties.correlation_data);
        self.users(&properties.user_properties);
    }

    /// The object, even if it is empty.
    pub(super) fn into_value(self) -> JsValue {
        self.record.into()
    }

    /// Sets the field `properties` of a packet or a will, unless there are none.
    pub(super) fn set_in(self, record: &Record) {
        if self.is_empty_no_more {
            record.set("properties", self.record);
        }
    }

    fn set(&mut self, name: &str, value: JsValue) {
        self.is_empty_no_more = true;
        self.record.set(name, value);
    }
}

/// Properties read from an object, for a packet to take the ones it has.
#[derive(Debug, Default)]
pub(super) struct Properties {
    entries: Vec<Entry>,
    users: Vec<(String, String)>,
}

#[derive(Debug)]
struct Entry {
    property: Property,
    value: Value,
    is_taken: Cell<bool>,
}

#[derive(Debug)]
enum Value {
    Flag(bool),
    Number(f64),
    Numbers(Vec<f64>),
    Text(String),
    Bytes(Vec<u8>),
}

impl Properties {
    /// The field `properties` of `object`; before 5.0 there are none, whatever is in it.
    pub(super) fn read(object: &JsValue, version: Version) -> Result<Self, JsError> {
        match field(object, "properties") {
            Some(value) if version == Version::V5 => Self::of(&value),
            _ => Ok(Self::default()),
        }
    }

    /// All fields of `object`; undefined and null are an object without.
    pub(super) fn of(object: &JsValue) -> Result<Self, JsError> {
        let mut properties = Self::default();
        if object.is_undefined() || object.is_null() {
            return Ok(properties);
        }
        for (name, value) in fields(object, "properties")? {
            if value.is_undefined() || value.is_null() {
                continue;
            }
            if name == USERS {
                properties.users = read_users(&value)?;
                continue;
            }
            let property = property_of(&name);
            let property = property.ok_or_else(|| JsError::new(&format!("there is no property '{name}'")))?;
            let value = Value::of(&value)
                .ok_or_else(|| wrong(&name, "a number, a string, bytes, or true or false"))?;
            properties.entries.push(Entry { property, value, is_taken: Cell::new(false) });
        }
        Ok(properties)
    }

    /// Refuses what was not taken. `place`: where it has no place.
    pub(super) fn finish(&self, place: &str) -> Result<(), JsError> {
        match self.entries.iter().find(|entry| !entry.is_taken.get()) {
            Some(Entry { property, .. }) => {
                Err(JsError::new(&format!("{} has no place in {place}", name_of(*property))))
            }
            None => Ok(()),
        }
    }

    pub(super) fn flag(&self, property: Property) -> Result<Option<bool>, JsError> {
        match self.take(property) {
            None => Ok(None),
            Some(Value::Flag(flag)) => Ok(Some(*flag)),
            Some(_) => Err(wrong(&name_of(property), "true or false")),
        }
    }

    pub(super) fn text(&self, property: Property) -> Result<Option<&str>, JsError> {
        match self.take(property) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(&name_of(property), "a string")),
        }
    }

    pub(super) fn bytes(&self, property: Property) -> Result<Option<&[u8]>, JsError> {
        match self.take(property) {
            None => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Value::Text(text)) => Ok(Some(text.as_bytes())),
            Some(_) => Err(wrong(&name_of(property), "a string or bytes")),
        }
    }

    pub(super) fn number(&self, property: Property, min: u32, max: u32) -> Result<Option<u32>, JsError> {
        match self.take(property) {
            None => Ok(None),
            Some(Value::Number(number)) => whole(property, *number, min, max).map(Some),
            Some(_) => Err(out_of(property, min, max)),
        }
    }

    pub(super) fn unsigned_32(&self, property: Property) -> Result<Option<u32>, JsError> {
        self.number(property, 0, u32::MAX)
    }

    pub(super) fn unsigned_16(&self, property: Property) -> Result<Option<u16>, JsError> {
        Ok(self.number(property, 0, u16::MAX.into())?.map(|number| number as u16))
    }

    pub(super) fn nonzero_16(&self, property: Property) -> Result<Option<NonZeroU16>, JsError> {
        let number = self.number(property, 1, u16::MAX.into())?;
        Ok(number.and_then(|number| NonZeroU16::new(number as u16)))
    }

    pub(super) fn nonzero_32(&self, property: Property) -> Result<Option<NonZeroU32>, JsError> {
        Ok(self.number(property, 1, u32::MAX)?.and_then(NonZeroU32::new))
    }

    pub(super) fn topic_alias(&self) -> Result<Option<NonZeroU16>, JsError> {
        self.nonzero_16(Property::TopicAlias)
    }

    /// Given as a number or an array of numbers.
    pub(super) fn subscription_ids(&self) -> Result<Vec<SubscriptionId>, JsError> {
        let property = Property::SubscriptionIdentifier;
        let max = SubscriptionId::MAX.get();
        let numbers = match self.take(property) {
            None => &[],
            Some(Value::Number(number)) => std::slice::from_ref(number),
            Some(Value::Numbers(numbers)) => numbers.as_slice(),
            Some(_) => return Err(out_of(property, 1, max)),
        };
        let id = |number: &f64| {
            let number = whole(property, *number, 1, max)?;
            SubscriptionId::new(number).ok_or_else(|| out_of(property, 1, max))
        };
        numbers.iter().map(id).collect()
    }

    /// For a [`List`] of them.
    pub(super) fn users(&self) -> Vec<(&str, &str)> {
        self.users.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Those that travel with a message; `users` are [`users`](Self::users).
    pub(super) fn message<'a>(
        &'a self,
        users: &'a [(&'a str, &'a str)],
    ) -> Result<MessageProperties<'a>, JsError> {
        let format = |utf8| if utf8 { PayloadFormat::Utf8 } else { PayloadFormat::Bytes };
        Ok(MessageProperties {
            payload_format: self.flag(Property::PayloadFormatIndicator)?.map(format),
            message_expiry: self.unsigned_32(Property::MessageExpiryInterval)?,
            content_type: self.text(Property::ContentType)?,
            response_topic: self.text(Property::ResponseTopic)?,
            correlation_data: self.bytes(Property::CorrelationData)?,
            user_properties: List::from_slice(users),
        })
    }

    fn take(&self, property: Property) -> Option<&Value> {
        let entry = self.entries.iter().find(|entry| entry.property == property)?;
        entry.is_taken.set(true);
        Some(&entry.value)
    }
}

impl Value {
    fn of(value: &JsValue) -> Option<Self> {
        if let Some(flag) = value.as_bool() {
            return Some(Self::Flag(flag));
        }
        if let Some(number) = value.as_f64() {
            return Some(Self::Number(number));
        }
        if let Some(text) = value.as_string() {
            return Some(Self::Text(text));
        }
        if let Some(array) = value.dyn_ref::<Array>() {
            return array.iter().map(|value| value.as_f64()).collect::<Option<_>>().map(Self::Numbers);
        }
        bytes_of(value).map(Self::Bytes)
    }
}

/// Names with a value or several each.
pub(super) fn read_users(object: &JsValue) -> Result<Vec<(String, String)>, JsError> {
    let mut users = Vec::new();
    for (name, value) in fields(object, USERS)? {
        let values = match value.dyn_into::<Array>() {
            Ok(values) => values,
            Err(value) => Array::of1(&value),
        };
        for value in values.iter() {
            let value = value
                .as_string()
                .ok_or_else(|| wrong(&format!("{USERS}.{name}"), "a string or an array of strings"))?;
            users.push((name.clone(), value));
        }
    }
    Ok(users)
}

/// The object's own fields.
fn fields(object: &JsValue, name: &str) -> Result<Vec<(String, JsValue)>, JsError> {
    if !object.is_object() {
        return Err(wrong(name, "an object"));
    }
    let entries = Object::entries(object.unchecked_ref());
    let entry = |entry: JsValue| {
        let entry: Array = entry.unchecked_into();
        (entry.get(0).as_string().unwrap_or_default(), entry.get(1))
    };
    Ok(entries.iter().map(entry).collect())
}

// The number is one that `u32` has.
#[allow(clippy::cast_sign_loss)]
fn whole(property: Property, number: f64, min: u32, max: u32) -> Result<u32, JsError> {
    if number.fract() == 0.0 && number >= f64::from(min) && number <= f64::from(max) {
        Ok(number as u32)
    } else {
        Err(out_of(property, min, max))
    }
}

fn out_of(property: Property, min: u32, max: u32) -> JsError {
    wrong(&name_of(property), &format!("a whole number from {min} to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_has_a_name_of_its_own() {
        let properties: Vec<Property> = (0..=u8::MAX).filter_map(Property::from_u8).collect();
        assert_eq!(properties.len(), 27);
        for property in properties {
            assert!(property.id() < IDS, "{property}");
            let found = property_of(&name_of(property));
            assert_eq!(found, (property != Property::UserProperty).then_some(property));
        }
        assert_eq!(name_of(Property::MaximumQoS), "maximumQoS");
        assert_eq!(property_of("maximum QoS"), None);
        assert_eq!(property_of(USERS), None);
    }
}
