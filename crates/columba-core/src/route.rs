//! From one message to those who get it: matching, merging, queueing, retaining.

use std::time::Duration;

use columba_codec::{QoS, ReasonCode, SubscriptionId, TopicName};
use smallvec::SmallVec;

use crate::config::FullQueue;
use crate::core::Core;
use crate::event::{Cause, DropCause, Event, EventMask};
use crate::message::{Head, MessageId, Messages, NewMessage};
use crate::session::{Delivery, Extra, Notes};
use crate::shards::{Elsewhere, Who};
use crate::timers::Timers;
use crate::topics::{GroupKey, Hit, Member};

/// Buffers that one publish leaves for the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) topic: String,
    pub(crate) forwarded: Vec<u8>,
    pub(crate) retained: Vec<MessageId>,
    matches: Vec<Match>,
    groups: Vec<GroupKey>,
    pub(crate) elsewhere: Elsewhere,
    /// The number of this publish; a session that bears it has matched already.
    stamp: u64,
    /// Which change of its topic it is that the message is retained, where shards have to agree.
    change: Option<u64>,
}

/// One session that a message goes to.
#[derive(Debug)]
struct Match {
    session: u32,
    /// The highest of the matching subscriptions [MQTT-3.3.4-2].
    qos: QoS,
    retain_as_published: bool,
    id: Option<SubscriptionId>,
    /// Identifiers beyond the first, rare.
    more: SmallVec<[SubscriptionId; 2]>,
    group: Option<GroupKey>,
}

/// What becomes of a message that the broker takes, beside going to those in [`Scratch`]. Small, as every message passes
/// it on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    /// Whether anybody was subscribed.
    pub(crate) matched: bool,
    /// It is retained, with [`Scratch::change`].
    keep: bool,
}

/// How long a full queue is not looked through again for each message that waits there: thousands of times as long as
/// looking takes.
const PURGE_PAUSE: Duration = Duration::from_micros(10);
/// The longest of these pauses.
const LONGEST_PURGE_PAUSE: Duration = Duration::from_secs(1);
/// What a retained message that waits for a new subscriber is counted with: the place in the queue.
const REPLAY_SIZE: usize = 32;

impl Core {
    /// Gives a message to everybody who is subscribed and retains it if asked. Returns whether anybody was, or
    /// with which reason the message is refused as a whole.
    pub(crate) fn publish(&mut self, publisher: u32, message: &NewMessage<'_>) -> Result<bool, ReasonCode> {
        let admitted = self.admit_message(publisher, message)?;
        self.distribute(admitted, &Head::of(message), |messages, timers| messages.store(message, timers));
        Ok(admitted.matched)
    }

    /// The first half of [`publish`](Self::publish): finds who gets the message, here and in other shards, and passes it
    /// on to those. [`distribute`](Self::distribute) is to follow.
    #[inline]
    pub(crate) fn admit_message(
        &mut self,
        publisher: u32,
        message: &NewMessage<'_>,
    ) -> Result<Admitted, ReasonCode> {
        if message.retain && message.payload.is_empty() {
            // [MQTT-3.3.1-6] [MQTT-3.3.1-7]; first of all, as it is what makes room where there is none.
            self.forget_retained(message.topic);
        }
        let size = message.size();
        self.check_store(publisher, message, size)?;
        let keep = self.keeps(publisher, message, size)?;
        self.find_matches(Some(publisher), message.topic, size);
        let matched = !self.scratch.matches.is_empty() || self.scratch.elsewhere.is_wanted();
        if self.config.full_queue == FullQueue::RefusePublisher
            && message.qos > QoS::AtMostOnce
            && (0..self.scratch.matches.len()).any(|at| self.has_no_room(at, message.qos, size))
        {
            return Err(ReasonCode::QuotaExceeded);
        }
        if keep {
            self.scratch.change = self.stamp();
        }
        if self.shards.get().is_some() {
            let change = self.scratch.change.filter(|_| keep);
            self.forward(message, change);
        }
        Ok(Admitted { matched, keep })
    }

    /// A message from another shard, where it was published and accepted: for subscribers here, and with a stamp to be
    /// retained, unless what is retained is later.
    pub(crate) fn publish_from_sibling(&mut self, message: &NewMessage<'_>, stamp: Option<u64>) {
        let size = message.size();
        let keep = stamp.is_some_and(|stamp| self.is_latest(message.topic, stamp));
        self.find_matches(None, message.topic, size);
        if !keep && self.stored_bytes() + size > self.config.limits.stored_bytes {
            self.metrics.dropped_queue_full += self.scratch.matches.len() as u64;
            return;
        }
        self.scratch.change = stamp;
        let admitted = Admitted { matched: false, keep };
        self.distribute(admitted, &Head::of(message), |messages, timers| messages.store(message, timers));
    }

    /// Has a message stored for those who matched, and retains it if asked.
    #[inline]
    pub(crate) fn distribute(
        &mut self,
        admitted: Admitted,
        head: &Head,
        store: impl FnOnce(&mut Messages, &mut Timers) -> MessageId,
    ) {
        if self.scratch.matches.is_empty() && !admitted.keep {
            return;
        }
        let id = store(&mut self.messages, &mut self.timers);
        self.deliver_to_matches(id, head);
        if admitted.keep {
            self.retain(id);
            if let Some(stamp) = self.scratch.change {
                self.messages.set_stamp(id, stamp);
            }
        }
        self.messages.release(id, &mut self.timers);
    }

    fn deliver_to_matches(&mut self, id: MessageId, head: &Head) {
        let matches = std::mem::take(&mut self.scratch.matches);
        for found in &matches {
            self.deliver(found, id, head);
        }
        self.scratch.matches = matches;
    }

    /// Collects who gets the message: each session once, with the best of its subscriptions and all their
    /// identifiers [MQTT-3.3.4-4]; and one member of each group. Without a publisher here, which is to say for a message
    /// of another shard, only who is subscribed here and not shared: the rest is that shard's business.
    fn find_matches(&mut self, publisher: Option<u32>, topic: TopicName<'_>, size: usize) {
        let Self { subscriptions, sessions, scratch, config, work, shards, .. } = self;
        let Scratch { matches, groups, stamp, elsewhere, .. } = scratch;
        matches.clear();
        groups.clear();
        elsewhere.clear();
        *stamp += 1;
        // [MQTT-3.3.2-3]
        let visited = subscriptions.matches(topic, |hit| {
            let member = match hit {
                Hit::Member(member) => member,
                Hit::Group(group) => return groups.push(group),
            };
            if member.options.no_local && Some(member.session) == publisher {
                // [MQTT-3.8.3-3]
                return;
            }
            let session = &mut sessions[member.session];
            if let Some(number) = session.sibling {
                elsewhere.siblings |= 1 << number;
            } else if session.stamp == *stamp {
                matches[session.stamp_at as usize].merge(&member);
            } else {
                session.stamp = *stamp;
                session.stamp_at = matches.len() as u32;
                matches.push(Match::new(&member, None));
            }
        });
        // A copy of its own, with the identifier of this subscription alone [MQTT-3.3.4-5].
        for group in groups.drain(..) {
            if publisher.is_none() {
                continue;
            }
            if let Some(number) = shards.get_mut().and_then(|shards| shards.choose(group)) {
                elsewhere.groups.push((number, group));
                continue;
            }
            let ready = |member: &Member| sessions[member.session].is_ready(&config.limits, size);
            let possible = |member: &Member| sessions[member.session].sibling.is_none();
            if let Some(member) = subscriptions.pick(group, ready, possible) {
                matches.push(Match::new(&member, Some(group)));
            }
        }
        if publisher.is_none() {
            elsewhere.clear();
        }
        *work += visited + matches.len();
    }

    /// Adds a message to a session that matched, with or without a connection [MQTT-4.5.0-1].
    #[inline]
    fn deliver(&mut self, found: &Match, id: MessageId, head: &Head) {
        let size = head.size();
        // [MQTT-3.8.4-8] [MQTT-4.8.2-3]
        let qos = head.qos.min(found.qos);
        if !self.wants(found.session, qos) {
            return;
        }
        if self.is_full(found.session, size) && !self.make_room(found.session, qos, id, size) {
            return;
        }
        // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
        let retain = head.retain && found.retain_as_published;
        let notes = self.notes(found);
        self.messages.acquire(id);
        self.push(found.session, Delivery::new(id, qos, retain, notes), size);
    }

    /// Whether a message of this QoS goes into the session's queue at all: QoS 0 not while the client is away.
    fn wants(&self, session: u32, qos: QoS) -> bool {
        qos > QoS::AtMostOnce || self.config.queue_qos0_offline || self.sessions[session].connection.is_some()
    }

    fn is_full(&self, session: u32, size: usize) -> bool {
        self.sessions[session].queue.is_full(&self.config.limits, size)
    }

    /// Whether one of those matched should get the message and cannot, even without what has expired.
    fn has_no_room(&mut self, at: usize, qos: QoS, size: usize) -> bool {
        let Match { session, qos: granted, .. } = self.scratch.matches[at];
        if !self.wants(session, qos.min(granted)) || !self.is_full(session, size) {
            return false;
        }
        self.drop_expired(session);
        let full = self.is_full(session, size);
        if full {
            self.report_full(session);
        }
        full
    }

    /// The queue is full: does what the policy says, and returns whether the new message can be queued after all.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, session: u32, qos: QoS, id: MessageId, size: usize) -> bool {
        self.drop_expired(session);
        if !self.is_full(session, size) {
            return true;
        }
        self.report_full(session);
        // What could never fit pushes nothing out.
        if self.config.full_queue == FullQueue::DropOldest && size <= self.config.limits.queued_bytes {
            while self.is_full(session, size) {
                let Some(oldest) = self.sessions[session].queue.waiting.pop_front() else {
                    break;
                };
                let client_id = self.sessions[session].client_id.clone();
                self.report_drop(&client_id, &oldest, DropCause::QueueFull);
                self.uncount(session, &oldest);
                self.let_go(&oldest);
            }
            if !self.is_full(session, size) {
                return true;
            }
        }
        self.metrics.dropped_queue_full += 1;
        self.emit(EventMask::DROPPED, |core| Event::Dropped {
            client_id: core.sessions[session].client_id.clone(),
            topic: core.messages.get(id).topic().into(),
            qos,
            cause: DropCause::QueueFull,
        });
        if self.config.full_queue == FullQueue::DisconnectConsumer
            && let Some(connection) = self.sessions[session].connection
        {
            self.overflowed.push((connection, session));
        }
        false
    }

    /// Takes expired messages out of a queue. A full queue is met by every message, so it is looked through only where
    /// something has expired since, and a long one seldom.
    fn drop_expired(&mut self, session: u32) {
        let queue = &mut self.sessions[session].queue;
        if queue.purged == self.expiries || queue.purge_from > self.now {
            return;
        }
        queue.purged = self.expiries;
        queue.purge_from =
            self.now + PURGE_PAUSE.saturating_mul(queue.waiting.len() as u32).min(LONGEST_PURGE_PAUSE);
        let messages = &self.messages;
        let expired = |delivery: &Delivery| messages.get(delivery.message).is_expired();
        if !self.sessions[session].queue.waiting.iter().any(expired) {
            return;
        }
        let waiting = std::mem::take(&mut self.sessions[session].queue.waiting);
        let (gone, kept) = waiting.into_iter().partition::<Vec<_>, _>(expired);
        self.sessions[session].queue.waiting = kept.into();
        for delivery in gone {
            self.drop_one_expired(session, &delivery);
        }
    }

    /// A delivery that was taken off the queue has expired.
    pub(crate) fn drop_one_expired(&mut self, session: u32, delivery: &Delivery) {
        let client_id = self.sessions[session].client_id.clone();
        self.report_drop(&client_id, delivery, DropCause::Expired);
        self.uncount(session, delivery);
        self.let_go(delivery);
    }

    /// Every topic is an ordered one [MQTT-4.6.0-6]: messages wait in the order they came [MQTT-4.6.0-5].
    #[inline]
    fn push(&mut self, session: u32, delivery: Delivery, size: usize) {
        let session = &mut self.sessions[session];
        session.queue.bytes += size;
        session.queue.waiting.push_back(delivery);
        if let Some(connection) = session.connection {
            self.mark_ready(connection);
        }
    }

    /// Queues a retained message for a subscription just made, if there is room.
    pub(crate) fn replay(&mut self, session: u32, id: MessageId, qos: QoS, notes: Option<SubscriptionId>) {
        let message = self.messages.get(id);
        let qos = qos.min(message.qos);
        // With RETAIN, as it comes by a subscription [MQTT-3.3.1-8 of 3.1.1].
        let mut delivery = Delivery::new(id, qos, true, notes.map_or(Notes::None, Notes::Id));
        delivery.replay = true;
        if self.is_full(session, REPLAY_SIZE) {
            self.drop_expired(session);
        }
        if self.is_full(session, REPLAY_SIZE) {
            self.report_full(session);
            let client_id = self.sessions[session].client_id.clone();
            return self.report_drop(&client_id, &delivery, DropCause::QueueFull);
        }
        self.messages.acquire(id);
        self.push(session, delivery, REPLAY_SIZE);
    }

    /// Gives a delivery of a shared subscription to another member; false if there is none that could take it.
    pub(crate) fn give_to_group(&mut self, group: GroupKey, delivery: &Delivery, to_any: bool) -> bool {
        let size = self.size_of(delivery);
        let Self { subscriptions, sessions, config, .. } = self;
        let has_room = |member: &Member| sessions[member.session].has_room(&config.limits, size);
        let ready = |member: &Member| sessions[member.session].is_ready(&config.limits, size);
        let Some(member) = subscriptions.pick(group, ready, |member| to_any && has_room(member)) else {
            let who = if to_any { Who::Anybody } else { Who::Ready };
            return self.give_elsewhere(group, delivery.message, who);
        };
        let found = Match::new(&member, Some(group));
        let message = self.messages.get(delivery.message);
        // [MQTT-4.8.2-3]
        let qos = message.qos.min(found.qos);
        let retain = message.retain && found.retain_as_published;
        if message.is_expired() || !self.wants(member.session, qos) {
            return false;
        }
        let notes = self.notes(&found);
        self.messages.acquire(delivery.message);
        self.push(member.session, Delivery::new(delivery.message, qos, retain, notes), size);
        true
    }

    /// Gives a stored message to a member in another shard.
    fn give_elsewhere(&mut self, group: GroupKey, id: MessageId, who: Who) -> bool {
        if self.shards.get().is_none() || self.messages.get(id).is_expired() {
            return false;
        }
        let message = self.messages.get(id);
        // Both are kept by the store, which passing on changes nothing of.
        let (topic, forwarded) = (message.topic().to_owned(), message.forwarded().to_vec());
        let (payload, shared) = (message.payload().to_vec(), message.shared().cloned());
        let Ok(topic) = TopicName::parse(&topic) else {
            return false;
        };
        let message = NewMessage {
            topic,
            forwarded: &forwarded,
            payload: &payload,
            shared: shared.as_ref(),
            qos: message.qos,
            retain: message.retain,
            expires: message.expires(),
        };
        self.pass_on(group, 0, &message, who)
    }

    /// Gives a message that is not stored yet to a member of a shared subscription; false if there is none.
    pub(crate) fn give_new_to_group(&mut self, group: GroupKey, message: &NewMessage<'_>, who: Who) -> bool {
        let size = message.size();
        let Self { subscriptions, sessions, config, .. } = self;
        let ready = |member: &Member| sessions[member.session].is_ready(&config.limits, size);
        let possible = |member: &Member| who == Who::Anybody && sessions[member.session].sibling.is_none();
        let Some(member) = subscriptions.pick(group, ready, possible) else {
            return false;
        };
        self.scratch.matches.clear();
        self.scratch.matches.push(Match::new(&member, Some(group)));
        let admitted = Admitted { matched: true, keep: false };
        self.distribute(admitted, &Head::of(message), |messages, timers| messages.store(message, timers));
        true
    }

    #[inline]
    fn notes(&mut self, found: &Match) -> Notes {
        match found.id {
            _ if found.group.is_some() || !found.more.is_empty() => self.extra_notes(found),
            Some(id) => Notes::Id(id),
            None => Notes::None,
        }
    }

    #[inline(never)]
    fn extra_notes(&mut self, found: &Match) -> Notes {
        let ids = found.id.into_iter().chain(found.more.iter().copied()).collect();
        Notes::Extra(self.extras.insert(Extra { ids, group: found.group }) as u32)
    }

    /// Size of a delivery as its session counts it.
    pub(crate) fn size_of(&self, delivery: &Delivery) -> usize {
        if delivery.replay { REPLAY_SIZE } else { self.messages.get(delivery.message).size() }
    }

    /// Takes a delivery off the session's count.
    pub(crate) fn uncount(&mut self, session: u32, delivery: &Delivery) {
        let size = self.size_of(delivery);
        self.sessions[session].queue.bytes -= size;
    }

    /// Gives a delivery's message and notes back.
    pub(crate) fn let_go(&mut self, delivery: &Delivery) {
        self.let_go_notes(delivery);
        self.messages.release(delivery.message, &mut self.timers);
    }

    /// The same where the message has gone already.
    pub(crate) fn let_go_notes(&mut self, delivery: &Delivery) {
        if let Notes::Extra(extra) = delivery.notes() {
            self.extras.remove(extra as usize);
        }
    }

    /// Counts and reports a delivery that is not made.
    pub(crate) fn report_drop(
        &mut self,
        client_id: &std::sync::Arc<str>,
        delivery: &Delivery,
        cause: DropCause,
    ) {
        match cause {
            DropCause::QueueFull => self.metrics.dropped_queue_full += 1,
            DropCause::Expired => self.metrics.dropped_expired += 1,
            DropCause::TooLarge => self.metrics.dropped_too_large += 1,
            DropCause::Refused(_) | DropCause::SessionEnded | DropCause::NotRetained => {}
        }
        self.emit(EventMask::DROPPED, |core| Event::Dropped {
            client_id: client_id.clone(),
            topic: core.messages.get(delivery.message).topic().into(),
            qos: delivery.qos(),
            cause,
        });
    }

    fn report_full(&mut self, session: u32) {
        if std::mem::replace(&mut self.sessions[session].queue.reported_full, true) {
            return;
        }
        self.members_changed(session);
        self.emit(EventMask::PRESSURE, |core| {
            let session = &core.sessions[session];
            Event::QueueFull {
                client_id: session.client_id.clone(),
                messages: session.queue.len(),
                bytes: session.queue.bytes,
            }
        });
    }

    fn store_is_full(&mut self, publisher: u32) -> ReasonCode {
        if !std::mem::replace(&mut self.reported_store_full, true) {
            self.emit(EventMask::PRESSURE, |core| Event::StoreFull {
                client_id: core.sessions[publisher].client_id.clone(),
            });
        }
        ReasonCode::QuotaExceeded
    }

    /// Whether there is room to store this at all. What it replaces may make some, if it goes in any case.
    fn check_store(
        &mut self,
        publisher: u32,
        message: &NewMessage<'_>,
        size: usize,
    ) -> Result<(), ReasonCode> {
        let limit = self.config.limits.stored_bytes;
        let is_full = |core: &Self| core.stored_bytes() + size > limit;
        if is_full(self) {
            if message.retain && message.qos == QoS::AtMostOnce {
                // [MQTT-3.3.1-5] [MQTT-3.3.1-7 of 3.1.1], whatever becomes of the message.
                self.forget_retained(message.topic);
            }
            if is_full(self) {
                return Err(self.store_is_full(publisher));
            }
        }
        self.reported_store_full = false;
        Ok(())
    }

    /// Whether a message is to be retained [MQTT-3.3.1-8]. One that there is no room for is refused; at QoS 0, where
    /// nobody can be told, it is delivered all the same and only what it replaces is gone [MQTT-3.3.1-5]
    /// [MQTT-3.3.1-7 of 3.1.1].
    fn keeps(&mut self, publisher: u32, message: &NewMessage<'_>, size: usize) -> Result<bool, ReasonCode> {
        if !message.retain || message.payload.is_empty() {
            return Ok(false);
        }
        if self.can_retain(message.topic, message.payload.len(), size) {
            return Ok(true);
        }
        if message.qos > QoS::AtMostOnce {
            return Err(ReasonCode::QuotaExceeded);
        }
        self.forget_retained(message.topic);
        self.metrics.not_retained += 1;
        self.emit(EventMask::DROPPED, |core| Event::Dropped {
            client_id: core.sessions[publisher].client_id.clone(),
            topic: message.topic.as_str().into(),
            qos: message.qos,
            cause: DropCause::NotRetained,
        });
        Ok(false)
    }

    /// Whether there is room to retain this; what it would replace makes room.
    fn can_retain(&self, topic: TopicName<'_>, payload: usize, size: usize) -> bool {
        let limits = &self.config.limits;
        let old = self.retained.get(topic).map(|id| self.messages.get(id).size());
        let count = self.retained.len() + usize::from(old.is_none());
        let bytes = self.retained_bytes - old.unwrap_or(0) + size;
        count <= limits.retained_messages
            && bytes <= limits.retained_bytes
            && payload <= limits.retained_payload
            && (old.is_some() || self.retained.levels_with(topic) <= limits.retained_levels)
    }

    /// Retains a stored message [MQTT-3.3.1-5].
    pub(crate) fn retain(&mut self, id: MessageId) {
        self.messages.acquire(id);
        self.messages.unshare(id);
        self.messages.set_retained(id, true);
        self.retained_bytes += self.messages.get(id).size();
        let topic = TopicName::parse(self.messages.get(id).topic());
        // What is stored is a topic name.
        if let Some(old) = topic.ok().and_then(|topic| self.retained.set(topic, id)) {
            self.release_retained(old);
        }
    }

    /// Bytes that count towards the limit of what is stored, in all shards.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.messages.bytes() + self.will_bytes + self.elsewhere().stored as usize
    }

    /// A publisher's message leaves nothing retained under its topic, here and in all shards.
    fn forget_retained(&mut self, topic: TopicName<'_>) {
        self.drop_retained(topic);
        self.tell_forgotten(topic);
    }

    pub(crate) fn drop_retained(&mut self, topic: TopicName<'_>) {
        if let Some(old) = self.retained.remove(topic) {
            self.release_retained(old);
        }
    }

    fn release_retained(&mut self, id: MessageId) {
        self.retained_bytes -= self.messages.get(id).size();
        self.messages.set_retained(id, false);
        self.messages.release(id, &mut self.timers);
    }

    /// A message's expiry is due.
    pub(crate) fn message_due(&mut self, id: MessageId) {
        self.expiries = self.expiries.wrapping_add(1);
        if self.messages.get(id).retained {
            // One reference is held over the removal, so that the message is there to be marked.
            self.messages.acquire(id);
            let topic = self.messages.get(id).topic().to_owned();
            if let Ok(topic) = TopicName::parse(&topic) {
                self.drop_retained(topic);
            }
            self.messages.expire(id);
            self.messages.release(id, &mut self.timers);
        } else {
            self.messages.expire(id);
        }
    }

    /// Sends consumers away whose queue overflowed, once the publish that did it is over.
    pub(crate) fn disconnect_overflowed(&mut self) {
        while let Some((connection, session)) = self.overflowed.pop() {
            let still_there = self.connections.get(connection).is_some_and(|it| it.session == Some(session));
            if still_there {
                let text = "too many messages wait for this client";
                let fault = crate::Fault { reason: ReasonCode::QuotaExceeded, text: text.into() };
                self.finish(connection, fault.reason, text, Cause::Fault(fault.clone()));
            }
        }
    }
}

impl Match {
    fn new(member: &Member, group: Option<GroupKey>) -> Self {
        Self {
            session: member.session,
            qos: member.options.qos,
            retain_as_published: member.options.retain_as_published,
            id: member.id,
            more: SmallVec::new(),
            group,
        }
    }

    /// Another subscription of the same session matched too [MQTT-3.3.4-2] [MQTT-3.3.4-3].
    fn merge(&mut self, member: &Member) {
        self.qos = self.qos.max(member.options.qos);
        self.retain_as_published |= member.options.retain_as_published;
        match (self.id, member.id) {
            (None, id) => self.id = id,
            (Some(_), Some(id)) => self.more.push(id),
            (Some(_), None) => {}
        }
    }
}
