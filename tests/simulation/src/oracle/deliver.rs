//! Whether a PUBLISH that the broker sends is one that it owes. It never looks at other packets.

use std::rc::Rc;

use columba_testkit::Version;
use columba_testkit::codec::{Publish, SubscriptionId};

use super::group::{Sent, Shared};
use super::link::{Link, Phase};
use super::session::{Due, Form, Former, Inflight, Message, Micros, Subscription};
use super::{Oracle, Outcome};
use crate::oracle::lifecycle::SECOND;

impl Oracle {
    pub(super) fn delivered(&mut self, number: usize, publish: &Publish<'_>) -> Outcome {
        let link = &mut self.links[number];
        let topic = topic(link, publish)?;
        if link.phase != Phase::Live {
            return Err(format!("on a connection that is over ({:?})", link.phase));
        }
        let Some(client) = link.client else { return Err("to nobody".into()) };
        if let Some(id) = publish.packet_id
            && self.delivered_again(number, client, id.get(), &topic, publish)?
        {
            return Ok(());
        }
        if publish.dup {
            return Err("DUP, though it is not sent again [MQTT-3.3.1-1]".into());
        }
        let (message, form, share) = match self.take_due(client, &topic, publish) {
            Ok((message, form)) => (message, form, None),
            Err(problem) => self.take_shared(client, &topic, publish).ok_or(problem)?,
        };
        self.note_sent(number, client, publish, message, form, share)
    }

    /// A message that is under way already; false if it is none.
    fn delivered_again(
        &mut self,
        number: usize,
        client: usize,
        id: u16,
        topic: &str,
        publish: &Publish<'_>,
    ) -> Result<bool, String> {
        let Some(session) = &mut self.sessions[client] else { return Err("there is no session".into()) };
        let Some(at) = session.inflight.iter().position(|sent| sent.id == id) else { return Ok(false) };
        let sent = &mut session.inflight[at];
        let is_same = sent.message.topic == topic && sent.message.payload == publish.payload;
        if sent.loose && !(is_same && publish.dup) {
            session.inflight.remove(at);
            return Ok(false);
        }
        if !is_same {
            return Err(format!("the packet identifier is that of {} [MQTT-2.2.1-4]", sent.message.text()));
        }
        if sent.received.is_some() {
            return Err("PUBREC has come for it [MQTT-4.3.3-4]".into());
        }
        if sent.link == number {
            return Err("it is sent twice on one connection [MQTT-4.4.0-1]".into());
        }
        if !publish.dup {
            return Err("it is sent again without DUP [MQTT-3.3.1-1]".into());
        }
        fits(&sent.form, session.version, publish)?;
        sent.link = number;
        let (loose, share) = (sent.loose, sent.share.clone());
        sent.loose = false;
        let message = sent.message.clone();
        let form = sent.form.clone();
        let is_retained = form.retained;
        if let Some(share) = share {
            if loose {
                self.taken_back(client, &share, &message)?;
            }
        } else if !is_retained && !self.links[number].latest.follows(&message, form.qos) {
            return Err("again, but after one that was published later [MQTT-4.6.0-6]".into());
        }
        Ok(true)
    }

    /// A message of a shared subscription is sent again to the same member.
    fn taken_back(&mut self, client: usize, share: &str, message: &Rc<Message>) -> Outcome {
        let order = message.order;
        let found = self.shared.iter_mut().find(|it| it.message.order == order && it.share == share);
        let Some(shared) = found else { return Ok(()) };
        if shared.sent.iter().any(|sent| !sent.given_up && sent.client != client) {
            return Err(format!("another member of {share} has it"));
        }
        if let Some(sent) = shared.sent.iter_mut().rfind(|sent| sent.client == client) {
            sent.given_up = false;
        }
        Ok(())
    }

    fn take_due(
        &mut self,
        client: usize,
        topic: &str,
        publish: &Publish<'_>,
    ) -> Result<(Rc<Message>, Form), String> {
        let now = self.now;
        let Some(session) = &mut self.sessions[client] else { return Err("there is no session".into()) };
        let mut problem = "nobody is owed it: it is not subscribed to, or was sent already".to_owned();
        let mut fitting = Vec::new();
        for (at, due) in session.due.iter().enumerate() {
            if due.message.topic != topic || due.message.payload != publish.payload {
                continue;
            }
            match fits(&due.form, session.version, publish)
                .and_then(|()| expiry_fits(&due.message, session.version, now, publish))
            {
                Ok(()) => fitting.push(at),
                Err(text) => problem = format!("{text} ({:?})", due.form),
            }
        }
        // Of messages that look the same it is the first that may come after what came before.
        let comes_next = |&&at: &&usize| {
            let Due { message, form, .. } = &session.due[at];
            form.retained || session.latest.is_before(message, form.qos)
        };
        let Some(&at) = fitting.iter().find(comes_next).or(fitting.first()) else { return Err(problem) };
        let due = session.due.remove(at);
        if !due.must {
            // And it may be one that must come.
            let same = |other: &&mut Due| {
                let Message { topic, payload, .. } = &*other.message;
                other.must && (topic, payload) == (&due.message.topic, &due.message.payload)
            };
            if let Some(other) = session.due.iter_mut().find(same) {
                other.must = false;
            }
        }
        Ok((due.message, due.form))
    }

    fn take_shared(
        &mut self,
        client: usize,
        topic: &str,
        publish: &Publish<'_>,
    ) -> Option<(Rc<Message>, Form, Option<String>)> {
        let session = self.sessions[client].as_ref()?;
        let candidates = || {
            self.shared.iter().enumerate().filter(|(_, shared)| {
                let Message { topic: of, payload, .. } = &*shared.message;
                let is_free = !shared.finished && !shared.is_held();
                is_free && of == topic && *payload == publish.payload
            })
        };
        let now = self.now;
        // One that was published twice, as at least once allows, looks the same to who is told of no expiry: nobody knows which
        // of them another member has.
        let has_twin =
            |message: &Message| self.firsts.get(&message.payload).is_some_and(|(_, times)| *times > 1);
        let fresh = |message: &Message| {
            has_twin(message) || expiry_fits(message, session.version, now, publish).is_ok()
        };
        let members = candidates().filter(|(_, shared)| {
            let subscription = session.subscription(&shared.share);
            subscription.is_some_and(|it| fits_shared(it, &shared.message, session.version, publish))
                && fresh(&shared.message)
        });
        // Of messages that look the same rather the one with that time left, one that must come, and one that was not
        // sent yet.
        let said = publish.properties.message_expiry.map(Micros::from);
        let rank = |(_, shared): &(usize, &Shared)| {
            let left = shared.message.expires.map(|expires| expires.saturating_sub(now).div_ceil(SECOND));
            (left != said, shared.excused, !shared.sent.is_empty())
        };
        let member = members.min_by_key(rank);
        // What was handed to it before the subscription changed or ended may come still, and look otherwise.
        let former = || {
            let handed = candidates().filter(|(_, shared)| {
                let was = |former: &Former| {
                    let has_id = session.version < Version::V5 || former.id.into_iter().eq(ids(publish));
                    former.filter == shared.share && former.until > shared.message.first && has_id
                };
                session.former_shares.iter().any(was)
                    && publish.qos as u8 <= shared.message.qos
                    && fresh(&shared.message)
            });
            handed.min_by_key(rank)
        };
        let (at, _) = member.or_else(former)?;
        let shared = &mut self.shared[at];
        shared.sent.push(Sent { client, given_up: false });
        // [MQTT-4.8.2-5]
        shared.finished = publish.qos as u8 != 1;
        let form =
            Form { qos: publish.qos as u8, retain: Some(publish.retain), ids: ids(publish), retained: false };
        Some((shared.message.clone(), form, Some(shared.share.clone())))
    }

    fn note_sent(
        &mut self,
        number: usize,
        client: usize,
        publish: &Publish<'_>,
        message: Rc<Message>,
        form: Form,
        share: Option<String>,
    ) -> Outcome {
        let Some(session) = &mut self.sessions[client] else { return Err("there is no session".into()) };
        if share.is_none() && !form.retained {
            let in_order = session.latest.follows(&message, form.qos);
            if !in_order || !self.links[number].latest.follows(&message, form.qos) {
                return Err("after one that was published later [MQTT-4.6.0-6]".into());
            }
        }
        let Some(id) = publish.packet_id else { return Ok(()) };
        let inflight = &mut session.inflight;
        let entry =
            Inflight { id: id.get(), message, form, link: number, received: None, share, loose: false };
        inflight.push(entry);
        let under_way = inflight.iter().filter(|sent| sent.link == number && !sent.loose).count();
        let most = self.links[number].receive_maximum;
        if under_way > most {
            return Err(format!("more than the Receive Maximum of {most} [MQTT-3.3.4-9]"));
        }
        if under_way > usize::from(self.setup.inflight) {
            return Err(format!("more than the limit of {} messages in flight", self.setup.inflight));
        }
        Ok(())
    }
}

fn topic(link: &mut Link, publish: &Publish<'_>) -> Result<String, String> {
    match (publish.topic, publish.topic_alias) {
        (Some(topic), alias) => {
            if let Some(alias) = alias {
                link.aliases_out.insert(alias.get(), topic.to_string());
            }
            Ok(topic.to_string())
        }
        (None, alias) => {
            let known = alias.and_then(|alias| link.aliases_out.get(&alias.get()));
            known.cloned().ok_or_else(|| "an alias that was not set [MQTT-3.3.2-7]".into())
        }
    }
}

/// Whether the packet looks as it should for this shared subscription.
fn fits_shared(
    subscription: &Subscription,
    message: &Message,
    version: Version,
    publish: &Publish<'_>,
) -> bool {
    let form = Form {
        qos: message.qos.min(subscription.qos),
        retain: Some(subscription.retain_as_published && message.retain),
        ids: subscription.id.into_iter().collect(),
        retained: false,
    };
    fits(&form, version, publish).is_ok()
}

/// Whether the packet looks as it should.
fn fits(form: &Form, version: Version, publish: &Publish<'_>) -> Outcome {
    if publish.qos as u8 != form.qos {
        return Err(format!("it must be QoS {} [MQTT-3.8.4-8]", form.qos));
    }
    if form.retain.is_some_and(|retain| retain != publish.retain) {
        return Err("the RETAIN flag is wrong [MQTT-3.3.1-12]".into());
    }
    let expected: &[u32] = if version == Version::V5 { &form.ids } else { &[] };
    if ids(publish) != expected {
        return Err("the subscription identifiers are wrong [MQTT-3.3.4-3]".into());
    }
    Ok(())
}

fn ids(publish: &Publish<'_>) -> Vec<u32> {
    let mut ids: Vec<u32> = publish.subscription_ids.iter().map(SubscriptionId::get).collect();
    ids.sort_unstable();
    ids
}

/// Whether the packet may be sent still, and says for how long it is good [MQTT-3.3.2-5], [MQTT-3.3.2-6].
fn expiry_fits(message: &Message, version: Version, now: Micros, publish: &Publish<'_>) -> Outcome {
    if message.is_long_expired(now) {
        return Err("it has expired [MQTT-3.3.2-5]".into());
    }
    let left = message.expires.filter(|_| version == Version::V5).map(|expires| expires - now);
    let said = publish.properties.message_expiry.map(Micros::from);
    let right = match (left, said) {
        (None, None) => true,
        (Some(left), Some(said)) => said == left / SECOND || said == left.div_ceil(SECOND),
        _ => false,
    };
    if right { Ok(()) } else { Err(format!("{left:?} µs are left of its time [MQTT-3.3.2-6]")) }
}
