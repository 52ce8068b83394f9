//! A message as every client reports it.

use std::fmt;

use serde_json::{Value, json};

#[derive(Clone, PartialEq, Eq, Default)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Properties,
}

/// The properties an application sees; all empty with MQTT 3.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Properties {
    pub user: Vec<(String, String)>,
    pub content_type: Option<String>,
    pub response_topic: Option<String>,
    pub correlation: Option<Vec<u8>>,
}

impl Message {
    pub fn new(topic: &str, payload: impl Into<Vec<u8>>, qos: u8) -> Self {
        Self { topic: topic.to_owned(), payload: payload.into(), qos, ..Self::default() }
    }

    #[must_use]
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    #[must_use]
    pub fn with(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }

    pub fn to_json(&self) -> Value {
        json!({
            "topic": self.topic,
            "payload": to_hex(&self.payload),
            "qos": self.qos,
            "retain": self.retain,
            "user": self.properties.user,
            "content_type": self.properties.content_type,
            "response_topic": self.properties.response_topic,
            "correlation": self.properties.correlation.as_deref().map(to_hex),
        })
    }

    pub fn from_json(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let user = value["user"].as_array().into_iter().flatten().map(|pair| {
            let part = |index: usize| pair[index].as_str().unwrap_or_default().to_owned();
            (part(0), part(1))
        });
        Self {
            topic: text("topic").unwrap_or_default(),
            payload: from_hex(&text("payload").unwrap_or_default()),
            qos: value["qos"].as_u64().and_then(|qos| u8::try_from(qos).ok()).unwrap_or(u8::MAX),
            retain: value["retain"].as_bool().unwrap_or(false),
            properties: Properties {
                user: user.collect(),
                content_type: text("content_type"),
                response_topic: text("response_topic"),
                correlation: text("correlation").map(|hex| from_hex(&hex)),
            },
        }
    }
}

/// A failed comparison prints both messages, and a payload may be 4 MB.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.payload[..self.payload.len().min(64)];
        write!(f, "{:?} ({} bytes: \"{}\")", self.topic, self.payload.len(), shown.escape_ascii())?;
        write!(f, " at QoS {}{}", self.qos, if self.retain { ", retained" } else { "" })?;
        if self.properties != Properties::default() {
            write!(f, ", {:?}", self.properties)?;
        }
        Ok(())
    }
}

pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub fn from_hex(text: &str) -> Vec<u8> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8;
    text.as_bytes().chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect()
}
