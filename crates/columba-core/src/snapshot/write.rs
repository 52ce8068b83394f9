//! From a broker to bytes: first what is to be kept, then the bytes of it.

use std::collections::BTreeMap;

use columba_codec::{QoS, SubscriptionId, SubscriptionOptions};

use super::wire::{put_bytes, put_count, put_number, put_signed};
use super::{FEW_IDS, ID_MAP, delivery_flags, message_flags, option_flags};
use crate::Time;
use crate::core::Core;
use crate::inflight::{Entry, State};
use crate::message::{Message, MessageId};
use crate::session::{Delivery, Notes, Session, StoredWill};
use crate::topics::GroupKey;

pub(super) fn write(core: &Core, now: Time, out: &mut Vec<u8>) {
    let kept = Kept::new(core);
    let mut writer = Writer { kept: &kept, now, out };
    let numbered = kept.numbers.iter().filter(|number| number.is_some()).count();
    put_count(writer.out, numbered);
    for (id, message) in core.messages.iter() {
        if kept.number(id).is_some() {
            writer.message(message);
        }
    }
    put_count(writer.out, kept.sessions.len());
    for &index in &kept.sessions {
        writer.session(index);
    }
    for &index in &kept.sessions {
        writer.traffic(index);
    }
}

/// Which parts of the broker go into the snapshot, and under which number.
struct Kept<'a> {
    core: &'a Core,
    sessions: Vec<u32>,
    /// Shared subscriptions of sessions that last.
    groups: BTreeMap<GroupKey, u32>,
    /// By the message's number in the store.
    numbers: Vec<Option<u32>>,
}

impl<'a> Kept<'a> {
    fn new(core: &'a Core) -> Self {
        let mut kept = Self { core, sessions: Vec::new(), groups: BTreeMap::new(), numbers: Vec::new() };
        for (index, _) in core.sessions.iter().filter(|(_, session)| lasts(session)) {
            for group in core.subscriptions.groups_of(index) {
                let next = kept.groups.len() as u32;
                kept.groups.entry(group).or_insert(next);
            }
        }
        let is_kept = |session: &Session| {
            let leaves = session.will.is_some()
                || kept.waiting(session).next().is_some()
                || kept.sent(session).next().is_some();
            lasts(session) || leaves
        };
        let sessions = core.sessions.iter().filter(|(_, session)| is_kept(session));
        kept.sessions = sessions.map(|(index, _)| index).collect();
        kept.number_messages();
        kept
    }

    fn number_messages(&mut self) {
        let places = self.core.messages.iter().last().map_or(0, |(id, _)| id as usize + 1);
        let mut used = vec![false; places];
        for &index in &self.sessions {
            let session = &self.core.sessions[index];
            let published = self.sent(session).filter(|entry| entry.state == State::Published);
            for delivery in self.waiting(session).chain(published.map(|entry| &entry.delivery)) {
                used[delivery.message as usize] = true;
            }
        }
        let mut next = 0;
        self.numbers = vec![None; places];
        for (id, message) in self.core.messages.iter() {
            if used[id as usize] || message.retained {
                self.numbers[id as usize] = Some(next);
                next += 1;
            }
        }
    }

    fn number(&self, message: MessageId) -> Option<u32> {
        self.numbers[message as usize]
    }

    /// What waits for a session whose connection, if it has one, is lost.
    fn waiting<'b>(&'b self, session: &'b Session) -> impl Iterator<Item = &'b Delivery> {
        let lasts = lasts(session);
        session.queue.waiting.iter().filter(move |delivery| {
            (delivery.qos() > QoS::AtMostOnce || self.core.config.queue_qos0_offline)
                && !self.core.messages.get(delivery.message).is_expired()
                && (lasts || self.group(delivery).is_some())
        })
    }

    /// What is in flight to it; of a session that ends, what other members of a group will get.
    fn sent<'b>(&'b self, session: &'b Session) -> impl Iterator<Item = &'b Entry> {
        let lasts = lasts(session);
        session.inflight.iter().filter(move |entry| {
            lasts
                || entry.state == State::Published
                    && entry.qos() == QoS::AtLeastOnce
                    && !self.core.messages.get(entry.delivery.message).is_expired()
                    && self.group(&entry.delivery).is_some()
        })
    }

    /// The shared subscription that a delivery came by, if it still has members.
    fn group(&self, delivery: &Delivery) -> Option<u32> {
        match delivery.notes() {
            Notes::Extra(extra) => {
                let group = self.core.extras[extra as usize].group?;
                self.groups.get(&group).copied()
            }
            Notes::None | Notes::Id(_) => None,
        }
    }
}

/// Whether a session outlives the connection that it may have.
fn lasts(session: &Session) -> bool {
    session.expiry > 0
}

struct Writer<'a> {
    kept: &'a Kept<'a>,
    now: Time,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn message(&mut self, message: &Message) {
        let mut flags = message.qos as u8;
        flags |= flag(message.retain, message_flags::RETAIN);
        flags |= flag(message.expires().is_some(), message_flags::EXPIRES);
        flags |= flag(message.retained, message_flags::RETAINED);
        self.out.push(flags);
        if let Some(at) = message.expires() {
            // How long ago makes no difference to one that only waits for its acknowledgement.
            put_signed(self.out, if message.is_expired() { 0 } else { self.until(at) });
        }
        self.content(message.topic(), message.forwarded(), message.payload());
    }

    fn content(&mut self, topic: &str, properties: &[u8], payload: &[u8]) {
        put_bytes(self.out, topic.as_bytes());
        put_bytes(self.out, properties);
        put_bytes(self.out, payload);
    }

    fn session(&mut self, index: u32) {
        let session = &self.kept.core.sessions[index];
        put_bytes(self.out, session.client_id.as_bytes());
        put_number(self.out, session.expiry.into());
        if session.expiry < u32::MAX {
            // [MQTT-3.1.2-23]
            let ends = session.ends.map_or(micros(session.expiry), |at| self.until(at));
            put_signed(self.out, ends);
        }
        self.out.push(u8::from(session.will.is_some()));
        if let Some(will) = &session.will {
            // [MQTT-3.1.2-8]: after its delay or with the session, whichever comes first.
            let delay = micros(will.delay.min(session.expiry));
            put_signed(self.out, session.will_due.map_or(delay, |at| self.until(at)));
            self.will(will);
        }
        if !lasts(session) {
            // It is here for what it leaves to others, and nothing new comes to it.
            return put_count(self.out, 0);
        }
        let subscriptions = &self.kept.core.subscriptions;
        put_count(self.out, subscriptions.count_of(index));
        for entry in subscriptions.list(index) {
            self.out.push(option_bits(entry.options));
            put_number(self.out, entry.id.map_or(0, SubscriptionId::get).into());
            put_bytes(self.out, entry.filter.as_bytes());
        }
    }

    fn will(&mut self, will: &StoredWill) {
        let mut flags = will.qos as u8;
        flags |= flag(will.retain, message_flags::RETAIN);
        flags |= flag(will.expiry.is_some(), message_flags::EXPIRES);
        self.out.push(flags);
        if let Some(seconds) = will.expiry {
            put_number(self.out, seconds.into());
        }
        self.content(&will.topic, &will.forwarded, &will.payload);
    }

    fn traffic(&mut self, index: u32) {
        let session = &self.kept.core.sessions[index];
        put_count(self.out, self.kept.waiting(session).count());
        for delivery in self.kept.waiting(session) {
            self.delivery(delivery);
        }
        put_number(self.out, session.inflight.last_id().into());
        put_count(self.out, self.kept.sent(session).count());
        for entry in self.kept.sent(session) {
            put_number(self.out, entry.id.into());
            match entry.state {
                State::Published => self.delivery(&entry.delivery),
                State::Released | State::Done => self.out.push(delivery_flags::RELEASED),
            }
        }
        if lasts(session) {
            self.incoming(session);
        } else {
            put_count(self.out, 0);
        }
    }

    fn delivery(&mut self, delivery: &Delivery) {
        let single;
        let ids: &[SubscriptionId] = match delivery.notes() {
            Notes::None => &[],
            Notes::Id(id) => {
                single = [id];
                &single
            }
            Notes::Extra(extra) => &self.kept.core.extras[extra as usize].ids,
        };
        let group = self.kept.group(delivery);
        let mut flags = delivery.qos() as u8;
        flags |= flag(delivery.retain, delivery_flags::RETAIN);
        flags |= flag(delivery.replay, delivery_flags::REPLAY);
        flags |= flag(!ids.is_empty(), delivery_flags::IDS);
        flags |= flag(group.is_some(), delivery_flags::GROUP);
        self.out.push(flags);
        // Every delivery that is kept had its message numbered.
        put_number(self.out, self.kept.number(delivery.message).unwrap_or(u32::MAX).into());
        if !ids.is_empty() {
            put_count(self.out, ids.len());
            for id in ids {
                put_number(self.out, id.get().into());
            }
        }
        if let Some(group) = group {
            put_number(self.out, group.into());
        }
    }

    fn incoming(&mut self, session: &Session) {
        let count = session.incoming.len();
        put_count(self.out, count);
        if count <= FEW_IDS {
            for id in session.incoming.iter() {
                put_number(self.out, id.into());
            }
            return;
        }
        let mut map = [0; ID_MAP];
        for id in session.incoming.iter() {
            map[usize::from(id / 8)] |= 1 << (id % 8);
        }
        self.out.extend_from_slice(&map);
    }

    /// Microseconds from the snapshot to `at`; negative where nobody has been told the time since.
    fn until(&self, at: Time) -> i64 {
        let distance = |later: Time, earlier: Time| {
            i64::try_from(later.as_micros().saturating_sub(earlier.as_micros())).unwrap_or(i64::MAX)
        };
        distance(at, self.now) - distance(self.now, at)
    }
}

const fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

const fn micros(seconds: u32) -> i64 {
    seconds as i64 * 1_000_000
}

fn option_bits(options: SubscriptionOptions) -> u8 {
    options.qos as u8
        | flag(options.no_local, option_flags::NO_LOCAL)
        | flag(options.retain_as_published, option_flags::RETAIN_AS_PUBLISHED)
        | (options.retain_handling as u8) << option_flags::RETAIN_HANDLING_AT
}
