//! What JavaScript gives: settings, verdicts, the hook that authorises.

use columba_core::codec::{QoS, ReasonCode};
use columba_core::{Action, Authorize, Client, Config, FullQueue, Grant, Limits, Verdict};
use js_sys::Function;
use wasm_bindgen::{JsCast, JsError, JsValue};

use crate::value::{self, Record, boolean, bytes, field, number, string, unsigned_16, unsigned_32, wrong};

/// A tab is not a server: what it may hold by default, in bytes.
const STORED_BYTES: usize = 256 << 20;
const RETAINED_BYTES: usize = 128 << 20;

pub(crate) fn config(given: &JsValue) -> Result<Config, JsError> {
    let mut config = Config::default();
    config.limits.stored_bytes = STORED_BYTES;
    config.limits.retained_bytes = RETAINED_BYTES;
    if given.is_undefined() || given.is_null() {
        return Ok(config);
    }
    if let Some(given) = field(given, "limits") {
        limits(&mut config.limits, &given)?;
    }
    if let Some(policy) = string(given, "fullQueue")? {
        config.full_queue = full_queue(&policy)?;
    }
    if let Some(level) = number(given, "maximumQos", 2)? {
        config.maximum_qos = QoS::from_u8(level as u8).ok_or_else(|| wrong("maximumQos", "0, 1 or 2"))?;
    }
    let flags = [
        ("retainAvailable", &mut config.retain_available),
        ("wildcardSubscriptions", &mut config.wildcard_subscriptions),
        ("subscriptionIds", &mut config.subscription_ids),
        ("sharedSubscriptions", &mut config.shared_subscriptions),
        ("assignClientIds", &mut config.assign_client_ids),
        ("queueQos0Offline", &mut config.queue_qos0_offline),
    ];
    for (name, flag) in flags {
        *flag = boolean(given, name)?.unwrap_or(*flag);
    }
    config.server_keep_alive = unsigned_16(given, "serverKeepAlive")?;
    config.maximum_session_expiry = unsigned_32(given, "maximumSessionExpiry")?;
    config.response_information = string(given, "responseInformation")?.map(Into::into);
    config.authenticate = field(given, "authenticate").is_some();
    // The JavaScript side says which it wants when somebody listens.
    config.events = columba_core::EventMask::NONE;
    Ok(config)
}

fn limits(limits: &mut Limits, given: &JsValue) -> Result<(), JsError> {
    let sizes = [
        ("connections", &mut limits.connections),
        ("pendingHandshakes", &mut limits.pending_handshakes),
        ("sessions", &mut limits.sessions),
        ("clientIdLength", &mut limits.client_id_len),
        ("queuedMessages", &mut limits.queued_messages),
        ("queuedBytes", &mut limits.queued_bytes),
        ("storedBytes", &mut limits.stored_bytes),
        ("subscriptions", &mut limits.subscriptions),
        ("wildcardLevels", &mut limits.wildcard_levels),
        ("topicLevels", &mut limits.topic_levels),
        ("retainedMessages", &mut limits.retained_messages),
        ("retainedLevels", &mut limits.retained_levels),
        ("retainedBytes", &mut limits.retained_bytes),
        ("retainedPayload", &mut limits.retained_payload),
        ("outputBacklog", &mut limits.output_backlog),
    ];
    for (name, limit) in sizes {
        if let Some(value) = number(given, name, u32::MAX.into())? {
            *limit = value as usize;
        }
    }
    let packets = [
        ("packetSize", &mut limits.packet_size),
        ("controlSize", &mut limits.control_size),
        ("connectSize", &mut limits.connect_size),
    ];
    for (name, limit) in packets {
        *limit = unsigned_32(given, name)?.unwrap_or(*limit);
    }
    let counts = [
        ("connectTimeout", &mut limits.connect_timeout),
        ("closeTimeout", &mut limits.close_timeout),
        ("receiveMaximum", &mut limits.receive_maximum),
        ("inflight", &mut limits.inflight),
        ("topicAliasesIn", &mut limits.topic_aliases_in),
        ("topicAliasesOut", &mut limits.topic_aliases_out),
    ];
    for (name, limit) in counts {
        *limit = unsigned_16(given, name)?.unwrap_or(*limit);
    }
    Ok(())
}

fn full_queue(policy: &str) -> Result<FullQueue, JsError> {
    match policy {
        "drop-newest" => Ok(FullQueue::DropNewest),
        "drop-oldest" => Ok(FullQueue::DropOldest),
        "disconnect-consumer" => Ok(FullQueue::DisconnectConsumer),
        "refuse-publisher" => Ok(FullQueue::RefusePublisher),
        _ => {
            let names = "drop-newest, drop-oldest, disconnect-consumer or refuse-publisher";
            Err(wrong("fullQueue", names))
        }
    }
}

/// What `authenticate` returned.
pub(crate) fn verdict(given: &JsValue) -> Result<Verdict, JsError> {
    if let Some(accepts) = given.as_bool() {
        return Ok(if accepts { Verdict::accept() } else { Verdict::reject(ReasonCode::NotAuthorized) });
    }
    if let Some(data) = bytes(given, "continue")? {
        return Ok(Verdict::Continue { data: data.into() });
    }
    match boolean(given, "accept")? {
        Some(true) => Ok(Verdict::Accept(Grant {
            username: string(given, "username")?.map(Into::into),
            data: bytes(given, "data")?.map(Into::into),
        })),
        Some(false) => {
            let code = number(given, "reasonCode", 255)?.map(|code| code as u8);
            let reason = code.and_then(ReasonCode::from_u8).unwrap_or(ReasonCode::NotAuthorized);
            Ok(Verdict::Reject { reason, text: string(given, "reason")?.unwrap_or_default().into() })
        }
        None => Err(JsError::new("authenticate has to return true, false, { accept: … } or { continue: … }")),
    }
}

/// The function that decides who may do what.
pub(crate) fn authorize(given: &JsValue) -> Option<impl Authorize + 'static> {
    let hook: Function = field(given, "authorize")?.dyn_into().ok()?;
    Some(JsAuthorize(hook))
}

struct JsAuthorize(Function);

impl Authorize for JsAuthorize {
    fn authorize(&self, client: Client<'_>, action: Action<'_>) -> bool {
        let record = Record::new();
        record.set("clientId", client.id);
        record.set_if("username", client.username);
        record.set("transport", client.peer.transport);
        record.set_if("address", client.peer.address.as_deref());
        match action {
            Action::Publish { topic, qos, retain } => {
                record.set("type", "publish");
                record.set("topic", topic.as_str());
                record.set("qos", qos as u8);
                record.set("retain", retain);
            }
            Action::Subscribe { filter, qos } => {
                record.set("type", "subscribe");
                record.set("filter", filter.as_str());
                record.set("qos", qos as u8);
            }
            _ => return false,
        }
        // The JavaScript side wraps the hook so that what it throws is reported; here it counts as no.
        self.0.call1(&JsValue::NULL, &record.into()).is_ok_and(|answer| value::is_true(&answer))
    }
}
