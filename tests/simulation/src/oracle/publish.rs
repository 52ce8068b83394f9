//! Who is owed a message when it is accepted: retaining it, matching filter by filter. It never looks at what is sent.

use std::rc::Rc;

use columba_testkit::Version;
use columba_testkit::codec::{List, MessageProperties, PacketId, Publish, QoS, SubscriptionId, TopicName};

use super::Oracle;
use super::filter::{matches, shared};
use super::group::Shared;
use super::lifecycle::SECOND;
use super::session::{Due, Form, Message, Micros, Session};

/// More messages than that in a queue no workload has.
const PLENTY: usize = 100_000;

impl Oracle {
    /// A message is accepted. Whether somebody is owed it.
    pub(super) fn publish(
        &mut self,
        publisher: usize,
        topic: &str,
        payload: &[u8],
        qos: u8,
        retain: bool,
        expiry: Option<u32>,
    ) -> bool {
        let order = self.next_order();
        let (first, times) = self.firsts.entry(payload.to_vec()).or_insert((order, 0));
        *times += 1;
        let message = Rc::new(Message {
            order,
            first: *first,
            topic: topic.to_owned(),
            payload: payload.to_vec(),
            publisher,
            qos,
            retain,
            expires: expiry.map(|seconds| self.now + Micros::from(seconds) * SECOND),
        });
        if retain {
            self.retained.change(&message, self.setup.shards);
        }
        let mut matched = false;
        for client in 0..self.sessions.len() {
            let Some(session) = &self.sessions[client] else { continue };
            let Some((form, must)) = form(session, client, &message) else { continue };
            let is_kept = session.link.is_some() || form.qos > 0 || self.setup.queue_qos0_offline;
            if is_kept {
                matched |= must;
                self.owe(client, &message, form, must);
            }
        }
        matched | self.publish_shared(&message)
    }

    fn publish_shared(&mut self, message: &Rc<Message>) -> bool {
        let sessions = self.sessions.iter().flatten();
        let filters = sessions.flat_map(|session| &session.subscriptions);
        let mut shares: Vec<&str> = filters
            .map(|subscription| subscription.filter.as_str())
            .filter(|filter| shared(filter).is_some_and(|inner| matches(inner, &message.topic)))
            .collect();
        shares.sort_unstable();
        shares.dedup();
        let found: Vec<Shared> =
            shares.into_iter().map(|share| Shared::new(share, message.clone())).collect();
        if !found.is_empty() && self.setup.queued_messages < PLENTY && self.setup.drop_oldest {
            // It may be for any of them, and take the place of anything.
            let sessions = self.sessions.iter_mut().flatten();
            sessions.flat_map(|session| &mut session.due).for_each(|due| due.must = false);
        }
        let mut matched = false;
        for mut shared in found {
            self.excuse_shared(&mut shared);
            matched |= !shared.excused;
            self.shared.push(shared);
        }
        matched
    }

    /// The session of this client is to get this.
    pub(super) fn owe(&mut self, client: usize, message: &Rc<Message>, form: Form, must: bool) {
        let limit = self.setup.queued_messages;
        let Some(session) = &mut self.sessions[client] else { return };
        let mut due = Due { message: message.clone(), form, must };
        if limit < PLENTY {
            // What waits for shared subscriptions is not known, so nothing is where there are some.
            let unknown = !session.former_shares.is_empty()
                || session.subscriptions.iter().any(|other| shared(&other.filter).is_some());
            let is_full = session.due.len() >= limit;
            // In which order retained messages come, and so which of them go, nobody says.
            let any_goes = self.setup.drop_oldest || due.form.retained;
            if is_full && any_goes {
                session.due.iter_mut().for_each(|due| due.must = false);
            }
            let is_last = self.setup.drop_oldest && limit > 0 && !due.form.retained;
            due.must &= !unknown && (!is_full || is_last);
        }
        session.due.push(due);
        if session.link.is_some() {
            self.excuse_too_large(client);
        }
    }

    /// What the client does not take for its size it is not owed [MQTT-3.1.2-25].
    pub(super) fn excuse_too_large(&mut self, client: usize) {
        let Some(session) = &mut self.sessions[client] else { return };
        let Some(link) = session.link else { return };
        let most = self.links[link].maximum_packet_size;
        if most == usize::MAX {
            return;
        }
        let version = session.version;
        for due in session.due.iter_mut().filter(|due| size(version, &due.message, &due.form) > most) {
            due.must = false;
        }
        for sent in &mut session.inflight {
            sent.loose |= sent.received.is_none() && size(version, &sent.message, &sent.form) > most;
        }
        for shared in &mut self.shared {
            shared.excused |= session.subscription(&shared.share).is_some();
        }
    }
}

/// In which form this session is to get the message for its own subscriptions, and whether it must.
fn form(session: &Session, client: usize, message: &Message) -> Option<(Form, bool)> {
    let own: Vec<_> = session
        .subscriptions
        .iter()
        .filter(|subscription| matches(&subscription.filter, &message.topic))
        // [MQTT-3.8.3-3]
        .filter(|subscription| !(subscription.no_local && message.publisher == client))
        .collect();
    // [MQTT-3.3.4-2]
    let qos = own.iter().map(|subscription| subscription.qos).max()?.min(message.qos);
    let as_published = own.iter().filter(|subscription| subscription.retain_as_published).count();
    // [MQTT-3.3.1-12], [MQTT-3.3.1-13]
    let retain = match as_published {
        0 => Some(false),
        count if count == own.len() => Some(message.retain),
        _ => (!message.retain).then_some(false),
    };
    // [MQTT-3.3.4-3], [MQTT-3.3.4-4]
    let mut ids: Vec<u32> = own.iter().filter_map(|subscription| subscription.id).collect();
    ids.sort_unstable();
    Some((Form { qos, retain, ids, retained: false }, true))
}

/// The size of the largest PUBLISH packet that this may take.
fn size(version: Version, message: &Message, form: &Form) -> usize {
    let ids: Vec<_> = form.ids.iter().filter_map(|&id| SubscriptionId::new(id)).collect();
    let Ok(topic) = TopicName::parse(&message.topic) else { return 0 };
    let publish = Publish {
        qos: QoS::from_u8(form.qos).unwrap_or_default(),
        packet_id: PacketId::new(form.qos.into()),
        subscription_ids: List::from_slice(&ids),
        properties: MessageProperties {
            message_expiry: message.expires.map(|_| 1),
            ..MessageProperties::default()
        },
        topic_alias: (version == Version::V5).then_some(std::num::NonZeroU16::MIN),
        ..Publish::new(topic, &message.payload)
    };
    let mut bytes = Vec::new();
    match publish.encode(version, &mut bytes) {
        Ok(()) => bytes.len(),
        Err(_) => usize::MAX,
    }
}
