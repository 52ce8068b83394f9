//! What the broker reports, as JavaScript values. The order of the fields in an array is known here and in
//! `js/broker.js` only.

use columba_core::codec::Version;
use columba_core::{AuthRequest, AuthStage, DropCause, Event, EventMask};
use js_sys::{Array, Uint8Array};

use crate::broker::Output;
use crate::value::{Record, array};

/// The event kinds that bits stand for, lowest first.
const KINDS: [EventMask; 6] = [
    EventMask::CLIENTS,
    EventMask::SUBSCRIPTIONS,
    EventMask::PRESSURE,
    EventMask::PUBLISHED,
    EventMask::DELIVERED,
    EventMask::DROPPED,
];

/// Unknown bits are ignored.
pub(crate) fn mask(bits: u8) -> EventMask {
    let chosen = KINDS.into_iter().enumerate().filter(|(bit, _)| bits & 1 << bit != 0);
    chosen.fold(EventMask::NONE, |mask, (_, kind)| mask | kind)
}

pub(crate) fn to_array(output: Output) -> Array {
    match output {
        Output::Data { link, bytes } => array(&[0.into(), link.into(), Uint8Array::from(&bytes[..]).into()]),
        Output::Close { link, is_cut } => array(&[1.into(), link.into(), is_cut.into()]),
        Output::Drained { link } => array(&[2.into(), link.into()]),
        Output::Authenticate { ticket, request } => {
            array(&[3.into(), ticket.into(), auth_request(&request).into()])
        }
        Output::Event { event, link } => {
            let (name, record) = describe(&event, link);
            array(&[4.into(), name.into(), record.into()])
        }
        Output::Packet { time, link, client, is_up, version, bytes, fate } => array(&[
            5.into(),
            time.into(),
            link.into(),
            (&*client).into(),
            is_up.into(),
            level(version).into(),
            Uint8Array::from(&bytes[..]).into(),
            fate.as_deref().into(),
        ]),
        Output::Noted { time, link, client, what } => {
            array(&[6.into(), time.into(), link.into(), (&*client).into(), (&*what).into()])
        }
    }
}

/// The protocol level: 3, 4 or 5.
pub(crate) const fn level(version: Version) -> u8 {
    match version {
        Version::V3_1 => 3,
        Version::V3_1_1 => 4,
        Version::V5 => 5,
    }
}

fn auth_request(request: &AuthRequest) -> Record {
    let record = Record::new();
    let stage = match request.stage {
        AuthStage::Connect => "connect",
        AuthStage::Continue => "continue",
        AuthStage::ReAuthenticate => "re-authenticate",
    };
    record.set("stage", stage);
    record.set("clientId", &*request.client_id);
    record.set("version", level(request.version));
    record.set_if("username", request.username.as_deref());
    record.set_if("method", request.method.as_deref());
    for (name, bytes) in [("password", &request.password), ("data", &request.data)] {
        record.set_if(name, bytes.as_ref().map(|bytes| Uint8Array::from(&bytes[..])));
    }
    record.set("transport", request.peer.transport);
    record.set_if("address", request.peer.address.as_deref());
    record
}

fn describe(event: &Event, link: u32) -> (&'static str, Record) {
    let record = Record::new();
    if link != 0 {
        record.set("connection", link);
    }
    if let Some(id) = client_id(event) {
        record.set("clientId", id);
    }
    let name = match event {
        Event::Connected { version, session_present, .. } => {
            record.set("version", level(*version));
            record.set("sessionPresent", *session_present);
            "connected"
        }
        Event::Refused { cause, .. } => {
            record.set("cause", cause.to_string());
            "refused"
        }
        Event::Disconnected { cause, session_kept, .. } => {
            record.set("cause", cause.to_string());
            record.set("sessionKept", *session_kept);
            "disconnected"
        }
        Event::SessionEnded { expired, .. } => {
            record.set("expired", *expired);
            "sessionended"
        }
        Event::Subscribed { filter, qos, .. } => {
            record.set("filter", &**filter);
            record.set("qos", *qos as u8);
            "subscribed"
        }
        Event::Unsubscribed { filter, .. } => {
            record.set("filter", &**filter);
            "unsubscribed"
        }
        Event::QueueFull { messages, bytes, .. } => {
            record.set("messages", *messages);
            record.set("bytes", *bytes);
            "queuefull"
        }
        Event::StoreFull { .. } => "storefull",
        other => describe_message(other, &record),
    };
    (name, record)
}

/// The events that come once per message.
fn describe_message(event: &Event, record: &Record) -> &'static str {
    match event {
        Event::Published { topic, payload, qos, retain, .. } => {
            record.set("topic", &**topic);
            record.set_bytes("payload", payload);
            record.set("qos", *qos as u8);
            record.set("retain", *retain);
            "published"
        }
        Event::Delivered { topic, qos, dup, .. } => {
            record.set("topic", &**topic);
            record.set("qos", *qos as u8);
            record.set("dup", *dup);
            "delivered"
        }
        Event::Dropped { topic, qos, cause, .. } => {
            record.set("topic", &**topic);
            record.set("qos", *qos as u8);
            record.set("cause", dropped_for(*cause));
            "dropped"
        }
        _ => "other",
    }
}

fn client_id(event: &Event) -> Option<&str> {
    match event {
        Event::Connected { client_id, .. }
        | Event::Disconnected { client_id, .. }
        | Event::SessionEnded { client_id, .. }
        | Event::Subscribed { client_id, .. }
        | Event::Unsubscribed { client_id, .. }
        | Event::Published { client_id, .. }
        | Event::Delivered { client_id, .. }
        | Event::Dropped { client_id, .. }
        | Event::QueueFull { client_id, .. }
        | Event::StoreFull { client_id } => Some(client_id),
        _ => None,
    }
}

fn dropped_for(cause: DropCause) -> String {
    match cause {
        DropCause::QueueFull => "the queue was full".to_owned(),
        DropCause::Expired => "it expired".to_owned(),
        DropCause::TooLarge => "the client takes no packet of this size".to_owned(),
        DropCause::Refused(reason) => format!("refused: 0x{:02X} {}", reason.code(), reason.name()),
        DropCause::SessionEnded => "the session ended".to_owned(),
        DropCause::NotRetained => "no room to retain it".to_owned(),
        _ => "another reason".to_owned(),
    }
}
