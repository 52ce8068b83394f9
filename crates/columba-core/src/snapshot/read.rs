//! From bytes to a broker. Every value is checked before anything is made of it: what this lets through, the rest of
//! the core can take for its own.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use columba_codec::{
    MessageProperties, PacketId, QoS, RetainHandling, SubscriptionId, SubscriptionOptions, TopicFilter,
    TopicName,
};

use super::wire::Reader;
use super::{FEW_IDS, ID_MAP, QOS, RestoreError, delivery_flags, message_flags, option_flags};
use crate::Time;
use crate::core::Core;
use crate::inflight::{Inflight, State};
use crate::message::{MessageId, NewMessage, SHARE_FROM};
use crate::packet_ids::PacketIds;
use crate::session::{Delivery, Extra, Notes, StoredWill};
use crate::topics::{Change, GroupKey};

type Result<T> = std::result::Result<T, RestoreError>;

/// What sizes may add up to, so that what comes later can be added without a thought.
const MOST_BYTES: usize = usize::MAX / 4;
/// So many deliveries: notes and references are counted in as many bits.
const MOST_DELIVERIES: u32 = 1 << 30;

/// A broker in the making. If it fails, all of it goes.
pub(super) struct Restorer<'a> {
    core: Core,
    input: Reader<'a>,
    away: Duration,
    /// The number in the store of each message of the snapshot, held by a reference of this.
    messages: Vec<MessageId>,
    /// The sessions of the snapshot.
    sessions: Vec<u32>,
    /// The shared subscriptions of the snapshot.
    groups: Vec<GroupKey>,
    known_groups: BTreeSet<GroupKey>,
    deliveries: u32,
    deadlines: Vec<Deadline>,
}

/// What has a timer, and when it is due in microseconds from the snapshot.
struct Deadline {
    at: i64,
    of: Owner,
}

enum Owner {
    Message(MessageId),
    Session(u32),
}

/// What an application has to say, in a message or a will.
struct Content<'a> {
    topic: TopicName<'a>,
    forwarded: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Restorer<'a> {
    /// Fills `core`, which is new, from `body`, which begins at `start` in the snapshot.
    pub(super) fn new(core: Core, body: &'a [u8], start: usize, away: Duration) -> Self {
        Self {
            core,
            input: Reader::new(body, start),
            away,
            messages: Vec::new(),
            sessions: Vec::new(),
            groups: Vec::new(),
            known_groups: BTreeSet::new(),
            deliveries: 0,
            deadlines: Vec::new(),
        }
    }

    pub(super) fn restore(mut self) -> Result<Core> {
        for _ in 0..self.input.u32()? {
            self.message()?;
        }
        for _ in 0..self.input.u32()? {
            self.session()?;
        }
        for at in 0..self.sessions.len() {
            let session = self.sessions[at];
            self.waiting(session)?;
            self.sent(session)?;
            self.incoming(session)?;
        }
        self.input.finish()?;
        self.set_deadlines();
        let mut core = self.core;
        for message in self.messages {
            core.messages.release(message, &mut core.timers);
        }
        core.advance_to(core.now);
        Ok(core)
    }

    fn message(&mut self) -> Result<()> {
        use message_flags::{EXPIRES, RETAIN, RETAINED};
        let (flags, qos) = self.flags(RETAIN | EXPIRES | RETAINED)?;
        let expires = if flags & EXPIRES > 0 { Some(self.input.signed()?) } else { None };
        let content = self.content()?;
        let shared = (content.payload.len() >= SHARE_FROM).then(|| Bytes::copy_from_slice(content.payload));
        let message = NewMessage {
            topic: content.topic,
            forwarded: content.forwarded,
            payload: content.payload,
            shared: shared.as_ref(),
            qos,
            retain: flags & RETAIN > 0,
            // Its timer is set when all are known.
            expires: None,
        };
        self.check_size(message.size())?;
        let id = self.core.messages.store(&message, &mut self.core.timers);
        if flags & RETAINED > 0 {
            if !message.retain || message.payload.is_empty() {
                return Err(self.input.damaged("a message that cannot be retained"));
            }
            if self.core.retained.get(message.topic).is_some() {
                return Err(self.input.damaged("a second retained message of one topic"));
            }
            self.core.retain(id);
        }
        self.messages.push(id);
        self.deadlines.extend(expires.map(|at| Deadline { at, of: Owner::Message(id) }));
        Ok(())
    }

    fn session(&mut self) -> Result<()> {
        let client_id = self.input.text()?;
        if client_id.is_empty() || client_id.contains('\0') || client_id.len() > usize::from(u16::MAX) {
            return Err(self.input.damaged("a text that is no client id"));
        }
        if self.core.session_of(client_id).is_some() {
            // [MQTT-3.1.3-2]
            return Err(self.input.damaged("a second session of one client id"));
        }
        let index = self.core.add_session(client_id);
        self.sessions.push(index);
        let expiry = self.input.u32()?;
        let ends = if expiry < u32::MAX { Some(self.input.signed()?) } else { None };
        let will_due = if self.bool()? { Some(self.input.signed()?) } else { None };
        let will = will_due.map(|_| self.will()).transpose()?;
        let (ends_at, will_at) = (ends.map(|at| self.time(at)), will_due.map(|at| self.time(at)));
        let session = &mut self.core.sessions[index];
        session.expiry = expiry;
        session.will = will.map(Box::new);
        (session.ends, session.will_due) = (ends_at, will_at);
        let first = ends.into_iter().chain(will_due).min();
        self.deadlines.extend(first.map(|at| Deadline { at, of: Owner::Session(index) }));
        for _ in 0..self.input.u32()? {
            self.subscription(index)?;
        }
        Ok(())
    }

    fn will(&mut self) -> Result<StoredWill> {
        use message_flags::{EXPIRES, RETAIN};
        let (flags, qos) = self.flags(RETAIN | EXPIRES)?;
        let expiry = if flags & EXPIRES > 0 { Some(self.input.u32()?) } else { None };
        let content = self.content()?;
        let will = StoredWill {
            topic: content.topic.as_str().into(),
            payload: content.payload.into(),
            forwarded: content.forwarded.into(),
            qos,
            retain: flags & RETAIN > 0,
            // It has begun already.
            delay: 0,
            expiry,
        };
        self.check_size(will.size())?;
        self.core.will_bytes += will.size();
        Ok(will)
    }

    fn subscription(&mut self, session: u32) -> Result<()> {
        use option_flags::{NO_LOCAL, RETAIN_AS_PUBLISHED, RETAIN_HANDLING, RETAIN_HANDLING_AT};
        let (bits, qos) = self.flags(NO_LOCAL | RETAIN_AS_PUBLISHED | RETAIN_HANDLING)?;
        let retain_handling = RetainHandling::from_u8((bits & RETAIN_HANDLING) >> RETAIN_HANDLING_AT);
        let options = SubscriptionOptions {
            qos,
            no_local: bits & NO_LOCAL > 0,
            retain_as_published: bits & RETAIN_AS_PUBLISHED > 0,
            retain_handling: retain_handling.ok_or(self.input.damaged("no Retain Handling"))?,
        };
        let id = match self.input.u32()? {
            0 => None,
            id => Some(self.subscription_id(id)?),
        };
        let filter = TopicFilter::parse(self.input.text()?);
        let filter = filter.map_err(|_| self.input.damaged("a text that is no topic filter"))?;
        if options.no_local && filter.share_name().is_some() {
            // [MQTT-3.8.3-4]
            return Err(self.input.damaged("No Local on a shared subscription"));
        }
        let subscriptions = &mut self.core.subscriptions;
        if subscriptions.subscribe(session, filter, id, options) == Change::Replaced {
            return Err(self.input.damaged("a second subscription to one filter"));
        }
        if filter.share_name().is_some()
            && let Some(group) = subscriptions.groups_of(session).last()
            && self.known_groups.insert(group)
        {
            self.groups.push(group);
        }
        Ok(())
    }

    fn waiting(&mut self, session: u32) -> Result<()> {
        use delivery_flags::{GROUP, IDS, REPLAY, RETAIN};
        for _ in 0..self.input.u32()? {
            let (flags, qos) = self.flags(RETAIN | REPLAY | IDS | GROUP)?;
            let delivery = self.delivery(session, flags, qos)?;
            self.core.sessions[session].queue.waiting.push_back(delivery);
        }
        Ok(())
    }

    fn sent(&mut self, session: u32) -> Result<()> {
        use delivery_flags::{GROUP, IDS, RELEASED, REPLAY, RETAIN};
        let last_id = self.input.u16()?;
        let mut sent = Vec::new();
        let mut known = PacketIds::default();
        for _ in 0..self.input.u32()? {
            let id = self.packet_id()?;
            if !known.insert(id.get()) {
                // [MQTT-2.2.1-4]
                return Err(self.input.damaged("a packet identifier that is in use"));
            }
            let (flags, qos) = self.flags(RETAIN | REPLAY | IDS | GROUP | RELEASED)?;
            sent.push(if flags == RELEASED {
                // What it was is not looked at any more.
                (id, State::Released, Delivery::new(0, QoS::ExactlyOnce, false, Notes::None))
            } else if flags & RELEASED > 0 || qos == QoS::AtMostOnce {
                return Err(self.input.damaged("a delivery that cannot be in flight"));
            } else {
                let delivery = self.delivery(session, flags, qos)?;
                self.core.messages.pin(delivery.message);
                (id, State::Published, delivery)
            });
        }
        self.core.sessions[session].inflight = Inflight::restored(last_id, &sent).into();
        Ok(())
    }

    fn incoming(&mut self, session: u32) -> Result<()> {
        let count = self.input.u32()? as usize;
        let mut incoming = PacketIds::default();
        if count <= FEW_IDS {
            for _ in 0..count {
                incoming.insert(self.packet_id()?.get());
            }
        } else {
            let map = self.input.take(ID_MAP)?;
            let is_set = |id: &u16| map[usize::from(id / 8)] & 1 << (id % 8) > 0;
            if is_set(&0) {
                return Err(self.input.damaged("packet identifier 0"));
            }
            for id in (1..=u16::MAX).filter(is_set) {
                incoming.insert(id);
            }
        }
        if incoming.len() != count {
            return Err(self.input.damaged("not as many packet identifiers as it says"));
        }
        self.core.sessions[session].incoming = incoming.into();
        Ok(())
    }

    /// What follows the flags of a delivery. It is counted as one of the session's.
    fn delivery(&mut self, session: u32, flags: u8, qos: QoS) -> Result<Delivery> {
        let number = self.input.u32()? as usize;
        let message = *self.messages.get(number).ok_or(self.input.damaged("a message that is not there"))?;
        if qos > self.core.messages.get(message).qos {
            // [MQTT-3.8.4-8]
            return Err(self.input.damaged("a delivery above the QoS of its message"));
        }
        let mut extra = Extra::default();
        if flags & delivery_flags::IDS > 0 {
            for _ in 0..self.input.u32()? {
                let id = self.input.u32()?;
                extra.ids.push(self.subscription_id(id)?);
            }
        }
        if flags & delivery_flags::GROUP > 0 {
            let number = self.input.u32()? as usize;
            let group = self.groups.get(number).ok_or(self.input.damaged("a group that is not there"))?;
            extra.group = Some(*group);
        }
        self.deliveries += 1;
        if self.deliveries > MOST_DELIVERIES {
            return Err(self.input.damaged("more deliveries than a broker can have"));
        }
        let notes = match (extra.group, &extra.ids[..]) {
            (None, []) => Notes::None,
            (None, [id]) => Notes::Id(*id),
            _ => Notes::Extra(self.core.extras.insert(extra) as u32),
        };
        let mut delivery = Delivery::new(message, qos, flags & delivery_flags::RETAIN > 0, notes);
        delivery.replay = flags & delivery_flags::REPLAY > 0;
        self.core.messages.acquire(message);
        let size = self.core.size_of(&delivery);
        let queue = &mut self.core.sessions[session].queue;
        queue.bytes += size;
        if queue.bytes > MOST_BYTES {
            return Err(self.input.damaged("more bytes than a session can hold"));
        }
        Ok(delivery)
    }

    fn content(&mut self) -> Result<Content<'a>> {
        let topic = TopicName::parse(self.input.text()?);
        let topic = topic.map_err(|_| self.input.damaged("a text that is no topic name"))?;
        let forwarded = self.input.bytes()?;
        if MessageProperties::decode_forwarded(forwarded).is_err() {
            return Err(self.input.damaged("properties that no message has"));
        }
        Ok(Content { topic, forwarded, payload: self.input.bytes()? })
    }

    /// Whether there can be one more message or will of this size.
    fn check_size(&self, size: usize) -> Result<()> {
        // No packet comes near the first of these.
        let is_packet = u32::try_from(size).is_ok();
        let held = self.core.messages.bytes() + self.core.will_bytes;
        if is_packet && size <= MOST_BYTES - held {
            return Ok(());
        }
        Err(self.input.damaged("more bytes than a broker can hold"))
    }

    /// Flags of which none but `allowed` is set, and the QoS in their lowest bits.
    fn flags(&mut self, allowed: u8) -> Result<(u8, QoS)> {
        let bits = self.input.u8()?;
        match QoS::from_u8(bits & QOS) {
            Some(qos) if bits & !(QOS | allowed) == 0 => Ok((bits, qos)),
            _ => Err(self.input.damaged("flags that mean nothing")),
        }
    }

    fn bool(&mut self) -> Result<bool> {
        match self.input.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.input.damaged("neither yes nor no")),
        }
    }

    fn subscription_id(&self, id: u32) -> Result<SubscriptionId> {
        SubscriptionId::new(id).ok_or(self.input.damaged("a number that is no subscription identifier"))
    }

    /// [MQTT-2.2.1-3]
    fn packet_id(&mut self) -> Result<PacketId> {
        PacketId::new(self.input.u16()?).ok_or(self.input.damaged("packet identifier 0"))
    }

    /// A point in time, from microseconds since the snapshot. The clock may have begun after it: then what fell due
    /// before that did so at its beginning.
    fn time(&self, at: i64) -> Time {
        let now = i128::from(self.core.now.as_micros());
        let away = i128::try_from(self.away.as_micros()).unwrap_or(i128::MAX);
        let at = now.saturating_sub(away).saturating_add(i128::from(at));
        Time::from_micros(u64::try_from(at.max(0)).unwrap_or(u64::MAX))
    }

    /// Sets all timers in the order in which they are due, as those of the same instant fire in the order they were
    /// set, and to a clock that has begun after the snapshot much is due at its beginning.
    fn set_deadlines(&mut self) {
        self.deadlines.sort_by_key(|deadline| deadline.at);
        for deadline in std::mem::take(&mut self.deadlines) {
            match deadline.of {
                Owner::Message(id) => {
                    let at = self.time(deadline.at);
                    self.core.messages.set_expiry(id, at, &mut self.core.timers);
                }
                Owner::Session(index) => self.core.arm_session(index),
            }
        }
    }
}
