//! A look into the broker as plain JavaScript objects.

use columba_core::codec::RetainHandling;
use columba_core::{ClientInfo, Metrics, SubscriptionInfo};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use crate::events::level;
use crate::value::{Record, counter, milliseconds};

pub(crate) fn client(info: &ClientInfo) -> JsValue {
    let record = Record::new();
    record.set("clientId", &*info.client_id);
    if let Some(connection) = &info.connection {
        let inner = Record::new();
        inner.set("version", level(connection.version));
        inner.set_if("username", connection.username.as_deref());
        inner.set("transport", connection.peer.transport);
        inner.set_if("address", connection.peer.address.as_deref());
        inner.set("keepAlive", connection.keep_alive);
        record.set("connection", inner);
    }
    record.set("sessionExpiry", info.session_expiry);
    record.set_if("expiresIn", info.expires_in.map(milliseconds));
    record.set("subscriptions", info.subscriptions);
    record.set("queued", info.queued);
    record.set("inflight", info.inflight);
    record.set("queuedBytes", info.queued_bytes);
    record.set("incoming", info.incoming);
    record.set("hasWill", info.has_will);
    record.into()
}

pub(crate) fn subscription(info: &SubscriptionInfo) -> JsValue {
    let record = Record::new();
    record.set("filter", &*info.filter);
    record.set("qos", info.options.qos as u8);
    record.set("noLocal", info.options.no_local);
    record.set("retainAsPublished", info.options.retain_as_published);
    let handling = match info.options.retain_handling {
        RetainHandling::Send => 0,
        RetainHandling::SendIfNew => 1,
        RetainHandling::DoNotSend => 2,
    };
    record.set("retainHandling", handling);
    record.set_if("subscriptionIdentifier", info.id.map(columba_core::codec::SubscriptionId::get));
    record.into()
}

pub(crate) fn retained(topic: &str, payload: &Uint8Array) -> JsValue {
    let record = Record::new();
    record.set("topic", topic);
    record.set("payload", payload);
    record.into()
}

/// Counters as numbers of JavaScript: exact up to 2^53.
pub(crate) fn metrics(metrics: &Metrics) -> JsValue {
    let record = Record::new();
    let dropped = metrics.dropped_queue_full + metrics.dropped_expired + metrics.dropped_too_large;
    let counters = [
        ("connectionsOpened", metrics.connections_opened),
        ("connectsAccepted", metrics.connects_accepted),
        ("connectsRefused", metrics.connects_refused),
        ("sessionsExpired", metrics.sessions_expired),
        ("packetsReceived", metrics.packets_received),
        ("packetsSent", metrics.packets_sent),
        ("bytesReceived", metrics.bytes_received),
        ("bytesSent", metrics.bytes_sent),
        ("published", metrics.publishes_received),
        ("delivered", metrics.publishes_sent),
        ("dropped", dropped),
        ("droppedQueueFull", metrics.dropped_queue_full),
        ("droppedExpired", metrics.dropped_expired),
        ("droppedTooLarge", metrics.dropped_too_large),
        ("notRetained", metrics.not_retained),
        ("publishesRefused", metrics.publishes_refused),
        ("eventsLost", metrics.events_lost),
    ];
    for (name, value) in counters {
        record.set(name, counter(value));
    }
    let gauges = [
        ("connections", metrics.connections),
        ("sessions", metrics.sessions),
        ("subscriptions", metrics.subscriptions),
        ("retained", metrics.retained),
        ("retainedBytes", metrics.retained_bytes),
        ("stored", metrics.stored),
        ("storedBytes", metrics.stored_bytes),
    ];
    for (name, value) in gauges {
        record.set(name, counter(value as u64));
    }
    record.into()
}
