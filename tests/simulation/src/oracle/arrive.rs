//! What a client sends, as the broker must understand it. It never looks at what the broker sends.

use columba_testkit::codec::{
    Disconnect, FixedHeader, Packet, PacketId, Publish, RetainHandling, Subscribe, SubscriptionId,
    Unsubscribe,
};
use columba_testkit::{QoS, ReasonCode, Version};

use super::filter::{matches, shared};
use super::link::{Answer, Phase};
use super::session::{Form, Former, Subscription};
use super::{Oracle, Outcome};

impl Subscription {
    /// What is to be remembered of it, if that is anything.
    fn ended(self, until: u64) -> Option<Former> {
        shared(&self.filter).is_some().then_some(Former { filter: self.filter, id: self.id, until })
    }
}

impl Oracle {
    pub(super) fn arrived(&mut self, number: usize, bytes: &[u8]) -> Outcome {
        let mut buffer = std::mem::take(&mut self.links[number].buffer);
        buffer.extend_from_slice(bytes);
        let mut taken = 0;
        while let Ok(Some(header)) = FixedHeader::read(&buffer[taken..], usize::MAX) {
            let Some(packet) = buffer.get(taken..taken + header.total()) else { break };
            taken += header.total();
            let decoded = Packet::decode(header, &packet[header.len..], self.links[number].version);
            self.packet(number, &decoded.map_err(|error| format!("a client sends nonsense: {error}"))?);
        }
        buffer.drain(..taken);
        self.links[number].buffer = buffer;
        Ok(())
    }

    fn packet(&mut self, number: usize, packet: &Packet<'_>) {
        let now = self.now;
        let link = &mut self.links[number];
        if let (Phase::New, Packet::Connect(connect)) = (link.phase, packet) {
            link.last_packet = now;
            return self.connected(number, connect);
        }
        let Some(client) = link.client.filter(|_| link.phase == Phase::Live) else { return };
        link.last_packet = now;
        match packet {
            Packet::Publish(publish) => self.published(number, client, publish),
            Packet::Subscribe(subscribe) => self.subscribed(number, client, subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribed(number, client, unsubscribe),
            Packet::PubAck(ack) => self.acknowledged(client, ack.packet_id.get()),
            Packet::PubRec(ack) => self.received(number, client, ack.packet_id.get(), ack.reason),
            Packet::PubComp(ack) => self.completed(client, ack.packet_id.get()),
            Packet::PubRel(ack) => {
                let id = ack.packet_id.get();
                link.answers.push(Answer::PubComp { id });
                if let Some(session) = &mut self.sessions[client] {
                    session.incoming.remove(&id);
                }
            }
            Packet::PingReq => link.answers.push(Answer::PingResp),
            Packet::Disconnect(disconnect) => self.goodbye(number, client, disconnect),
            _ => self.mistake = Some(format!("a client sends {}", columba_testkit::describe(packet))),
        }
    }

    fn published(&mut self, number: usize, client: usize, publish: &Publish<'_>) {
        let link = &mut self.links[number];
        let topic = match (publish.topic, publish.topic_alias) {
            (Some(topic), alias) => {
                if let Some(alias) = alias {
                    link.aliases_in.insert(alias.get(), topic.to_string());
                }
                topic.to_string()
            }
            (None, alias) => {
                let known = alias.and_then(|alias| link.aliases_in.get(&alias.get()));
                let Some(topic) = known else {
                    self.mistake = Some("a client uses an alias it has not set".into());
                    return;
                };
                topic.clone()
            }
        };
        let id = publish.packet_id.map_or(0, PacketId::get);
        if publish.qos == QoS::ExactlyOnce {
            let session = self.sessions[client].as_mut();
            let is_new = session.is_some_and(|session| session.incoming.insert(id));
            if !is_new {
                // It has been published already [MQTT-4.3.3-10].
                return self.links[number].answers.push(Answer::PubRec { id, matched: false });
            }
        }
        let expiry = publish.properties.message_expiry;
        let qos = publish.qos as u8;
        let matched = self.publish(client, &topic, publish.payload, qos, publish.retain, expiry);
        let answers = &mut self.links[number].answers;
        match qos {
            0 => {}
            1 => answers.push(Answer::PubAck { id, matched }),
            _ => answers.push(Answer::PubRec { id, matched }),
        }
    }

    fn subscribed(&mut self, number: usize, client: usize, subscribe: &Subscribe<'_>) {
        let since = self.next_order();
        let mut codes = Vec::new();
        for item in &subscribe.filters {
            let options = item.options;
            codes.push(options.qos as u8);
            let subscription = Subscription {
                filter: item.filter.to_string(),
                qos: options.qos as u8,
                no_local: options.no_local,
                retain_as_published: options.retain_as_published,
                id: subscribe.subscription_id.map(SubscriptionId::get),
            };
            let Some(session) = &mut self.sessions[client] else { return };
            let old = session.subscriptions.iter_mut().find(|old| old.filter == subscription.filter);
            let is_new = old.is_none();
            // [MQTT-3.8.4-3]
            match old {
                Some(old) => {
                    let old = std::mem::replace(old, subscription.clone());
                    session.former_shares.extend(old.ended(since));
                }
                None => session.subscriptions.push(subscription.clone()),
            }
            let wanted = match options.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => is_new,
                RetainHandling::DoNotSend => false,
            };
            // Shared subscriptions are sent no retained messages (§ 4.8.2).
            if wanted && shared(&subscription.filter).is_none() {
                self.send_retained(client, &subscription);
            }
        }
        self.excuse_all_shared();
        self.links[number].answers.push(Answer::SubAck { id: subscribe.packet_id.get(), codes });
    }

    fn send_retained(&mut self, client: usize, subscription: &Subscription) {
        let found = self.retained.messages().filter(|(message, _)| {
            matches(&subscription.filter, &message.topic) && !message.is_long_expired(self.now)
        });
        for (message, is_certain) in found.map(|(message, must)| (message.clone(), must)).collect::<Vec<_>>()
        {
            let form = Form {
                qos: message.qos.min(subscription.qos),
                retain: Some(true),
                ids: subscription.id.into_iter().collect(),
                retained: true,
            };
            // Whether no local is about retained messages too, the standard does not say.
            let must = is_certain && !(subscription.no_local && message.publisher == client);
            self.owe(client, &message, form, must);
        }
    }

    fn unsubscribed(&mut self, number: usize, client: usize, unsubscribe: &Unsubscribe<'_>) {
        let is_v5 = self.links[number].version == Version::V5;
        let order = self.next_order();
        let mut codes = Vec::new();
        for filter in &unsubscribe.filters {
            let filter = filter.as_str();
            let Some(session) = &mut self.sessions[client] else { return };
            let at = session.subscriptions.iter().position(|subscription| subscription.filter == filter);
            let existed = at.is_some();
            let old = at.map(|at| session.subscriptions.remove(at));
            session.former_shares.extend(old.and_then(|old| old.ended(order)));
            // What is not sent yet may come or not [MQTT-3.10.4-3].
            for due in session.due.iter_mut().filter(|due| matches(filter, &due.message.topic)) {
                due.must = false;
            }
            if existed && shared(filter).is_some() {
                self.leaves_group(client, filter);
            }
            if is_v5 {
                let code = if existed { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted };
                codes.push(code.code());
            }
        }
        self.links[number].answers.push(Answer::UnsubAck { id: unsubscribe.packet_id.get(), codes });
    }

    /// PUBACK.
    fn acknowledged(&mut self, client: usize, id: u16) {
        let Some(session) = &mut self.sessions[client] else { return };
        let found = session.inflight.iter().position(|sent| sent.id == id && sent.form.qos == 1);
        if let Some(at) = found {
            let sent = session.inflight.remove(at);
            if let Some(share) = sent.share {
                self.finish_shared(&share, sent.message.order);
            }
        }
    }

    /// PUBREC.
    fn received(&mut self, number: usize, client: usize, id: u16, reason: ReasonCode) {
        let order = self.next_order();
        let Some(session) = &mut self.sessions[client] else { return };
        let found = session.inflight.iter().position(|sent| sent.id == id && sent.form.qos == 2);
        match found {
            Some(at) if reason.is_error() => drop(session.inflight.remove(at)),
            Some(at) => {
                session.inflight[at].received = Some(order);
                self.links[number].answers.push(Answer::PubRel { id });
            }
            None if reason.is_error() => {}
            None => self.links[number].answers.push(Answer::PubRel { id }),
        }
    }

    /// PUBCOMP.
    fn completed(&mut self, client: usize, id: u16) {
        if let Some(session) = &mut self.sessions[client] {
            session.inflight.retain(|sent| sent.id != id || sent.received.is_none());
        }
    }

    fn goodbye(&mut self, number: usize, client: usize, disconnect: &Disconnect<'_>) {
        if let Some(session) = &mut self.sessions[client] {
            // [MQTT-3.14.4-3]
            if disconnect.reason == ReasonCode::Success {
                session.will = None;
            }
            if let Some(expiry) = disconnect.session_expiry {
                session.expiry = expiry;
            }
        }
        self.end_connection(number, None);
    }
}
