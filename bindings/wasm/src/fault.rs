//! The test kit's faults by their names in JavaScript.

use std::time::Duration;

use columba_core::codec::{PacketType, ReasonCode, TopicFilter};
use columba_testkit::{Fault, FaultHandle, Rule, on, on_any};
use js_sys::Array;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsError, JsValue};

use crate::value::{counter, duration, field, number, string, wrong};

/// A fault that was given to a broker.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawFault(FaultHandle);

#[wasm_bindgen]
impl RawFault {
    /// How many packets it has happened to.
    #[wasm_bindgen(getter)]
    pub fn hits(&self) -> f64 {
        counter(self.0.hits())
    }

    /// It happens to no packet any more.
    pub fn remove(&self) {
        self.0.remove();
    }

    /// What it holds goes on.
    pub fn release(&self) {
        self.0.release();
    }
}

impl RawFault {
    pub(crate) const fn new(handle: FaultHandle) -> Self {
        Self(handle)
    }
}

/// Every value of milliseconds up to some hundred years.
const MAX_MILLISECONDS: u64 = 1 << 42;

const PACKETS: [(&str, PacketType); 15] = [
    ("CONNECT", PacketType::Connect),
    ("CONNACK", PacketType::ConnAck),
    ("PUBLISH", PacketType::Publish),
    ("PUBACK", PacketType::PubAck),
    ("PUBREC", PacketType::PubRec),
    ("PUBREL", PacketType::PubRel),
    ("PUBCOMP", PacketType::PubComp),
    ("SUBSCRIBE", PacketType::Subscribe),
    ("SUBACK", PacketType::SubAck),
    ("UNSUBSCRIBE", PacketType::Unsubscribe),
    ("UNSUBACK", PacketType::UnsubAck),
    ("PINGREQ", PacketType::PingReq),
    ("PINGRESP", PacketType::PingResp),
    ("DISCONNECT", PacketType::Disconnect),
    ("AUTH", PacketType::Auth),
];

pub(crate) fn from_js(given: &JsValue) -> Result<Fault, JsError> {
    let mut rule = match string(given, "packet")? {
        Some(name) => {
            let known = PACKETS.iter().find(|(known, _)| *known == name);
            on(known.ok_or_else(|| wrong("packet", "the name of a packet, PUBLISH for example"))?.1)
        }
        None => on_any(),
    };
    rule = match string(given, "direction")?.as_deref() {
        None => rule,
        Some("to-broker") => rule.from_client(),
        Some("to-client") => rule.from_broker(),
        Some(_) => return Err(wrong("direction", "to-broker or to-client")),
    };
    if let Some(client) = string(given, "client")? {
        rule = rule.client(&client);
    }
    if let Some(filter) = string(given, "topic")? {
        TopicFilter::parse(&filter).map_err(|error| JsError::new(&error.to_string()))?;
        rule = rule.topic(&filter);
    }
    if let Some(when) = field(given, "when") {
        rule = trigger(rule, &when)?;
    }
    if let Some(between) = field(given, "between") {
        let times = between.dyn_ref::<Array>().map(|times| (times.get(0).as_f64(), times.get(1).as_f64()));
        let Some((Some(from), Some(to))) = times else {
            return Err(wrong("between", "two numbers of milliseconds"));
        };
        rule = rule.between(duration(from), duration(to));
    }
    let action = field(given, "action").ok_or_else(|| wrong("action", "given"))?;
    action_of(rule, &action)
}

fn trigger(rule: Rule, when: &JsValue) -> Result<Rule, JsError> {
    if when.as_string().as_deref() == Some("once") {
        return Ok(rule.once());
    }
    if let Some(probability) = field(when, "probability") {
        let probability = probability.as_f64().filter(|value| (0.0..=1.0).contains(value));
        return Ok(rule.with_probability(probability.ok_or_else(|| wrong("probability", "from 0 to 1"))?));
    }
    let counts =
        [("nth", Rule::nth as fn(Rule, u64) -> Rule), ("times", Rule::times), ("every", Rule::every)];
    for (name, apply) in counts {
        if let Some(count) = number(when, name, u32::MAX.into())? {
            return Ok(apply(rule, count.max(1)));
        }
    }
    Err(wrong("when", "'once' or an object with nth, times, every or probability"))
}

fn action_of(rule: Rule, action: &JsValue) -> Result<Fault, JsError> {
    if let Some(name) = action.as_string() {
        return Ok(match name.as_str() {
            "lose" => rule.lose(),
            "duplicate" => rule.duplicate(),
            "corrupt" => rule.corrupt(),
            "split" => rule.split(),
            "cut" => rule.cut(),
            "cut-after" => rule.cut_after(),
            "half-open" => rule.half_open(),
            "blackhole" => rule.blackhole(),
            "hold" => rule.hold(),
            _ => return Err(wrong("action", "one that there is")),
        });
    }
    if let Some(by) = number(action, "delay", MAX_MILLISECONDS)? {
        return Ok(rule.delay(Duration::from_millis(by)));
    }
    if let Some(keep) = number(action, "truncate", u32::MAX.into())? {
        return Ok(rule.truncate(keep as usize));
    }
    if let Some(packets) = number(action, "behind", u32::MAX.into())? {
        return Ok(rule.behind(packets));
    }
    if let Some(rate) = number(action, "slow", u32::MAX.into())? {
        return Ok(rule.slow(rate as u32));
    }
    if let Some(code) = number(action, "answer", 255)? {
        let reason = ReasonCode::from_u8(code as u8);
        return Ok(rule.answer(reason.ok_or_else(|| wrong("answer", "a reason code of MQTT 5"))?));
    }
    Err(wrong("action", "one that there is"))
}
