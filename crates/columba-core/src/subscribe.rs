//! SUBSCRIBE and UNSUBSCRIBE, and the retained messages that answer the first.

use columba_codec::{
    List, Packet, PacketId, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeItem, TopicFilter,
    UnsubAck, Unsubscribe, Version,
};

use crate::auth::{Action, Client};
use crate::core::Core;
use crate::event::{Event, EventMask, Fault};
use crate::topics::Change;

impl Core {
    pub(crate) fn handle_subscribe(&mut self, index: u32, packet: &Subscribe<'_>) -> Result<(), Fault> {
        let Some(session) = self.connections[index].session else {
            return Ok(());
        };
        let no_local_shared =
            |item: SubscribeItem<'_>| item.options.no_local && item.filter.share_name().is_some();
        if packet.filters.iter().any(no_local_shared) {
            // [MQTT-3.8.3-4]
            return Err(Fault::new(ReasonCode::ProtocolError, "No Local on a shared subscription"));
        }
        // One after the other [MQTT-3.8.4-5], and one reason for each filter, in order [MQTT-3.9.3-1]
        // [MQTT-3.8.4-6].
        let mut reasons = vec![ReasonCode::Success; packet.filters.len()];
        if !self.fits(index, &suback(packet.packet_id, &reasons)) {
            // Before anything is done that the client would not hear of.
            return Err(Fault::answer_too_large());
        }
        for (reason, item) in reasons.iter_mut().zip(&packet.filters) {
            *reason = self.subscribe(index, session, packet, item);
        }
        if self.connections[index].version == Version::V3_1 {
            // 3.1 has no code for failure; the client is told what it asked for.
            for (reason, item) in reasons.iter_mut().zip(&packet.filters) {
                if reason.is_error() {
                    *reason = granted(item.options.qos);
                }
            }
        }
        let shared = || packet.filters.iter().any(|item| item.filter.share_name().is_some());
        if self.shards.get().is_some() && shared() {
            self.answer_when_known(index, packet.packet_id, reasons);
        } else {
            self.send_suback(index, packet.packet_id, &reasons);
        }
        Ok(())
    }

    /// [MQTT-3.8.4-1]
    pub(crate) fn send_suback(&mut self, index: u32, packet_id: PacketId, reasons: &[ReasonCode]) {
        self.send(index, &suback(packet_id, reasons));
    }

    pub(crate) fn handle_unsubscribe(&mut self, index: u32, packet: &Unsubscribe<'_>) -> Result<(), Fault> {
        let Some(session) = self.connections[index].session else {
            return Ok(());
        };
        // One after the other, and one reason for each [MQTT-3.10.4-6] [MQTT-3.11.3-1].
        let mut reasons = vec![ReasonCode::NoSubscriptionExisted; packet.filters.len()];
        if !self.fits(index, &unsuback(packet.packet_id, &reasons)) {
            return Err(Fault::answer_too_large());
        }
        for (reason, filter) in reasons.iter_mut().zip(&packet.filters) {
            // [MQTT-3.10.4-1]; nothing more matches [MQTT-3.10.4-2], but what is queued already is still
            // delivered [MQTT-3.10.4-3].
            self.group_changed(filter);
            if self.subscriptions.unsubscribe(session, filter) {
                *reason = ReasonCode::Success;
                self.lose_interest(filter.as_str());
                self.emit(EventMask::SUBSCRIPTIONS, |core| Event::Unsubscribed {
                    client_id: core.sessions[session].client_id.clone(),
                    filter: filter.as_str().into(),
                });
            }
        }
        // [MQTT-3.10.4-4]; also where nothing was subscribed [MQTT-3.10.4-5].
        self.send(index, &unsuback(packet.packet_id, &reasons));
        Ok(())
    }

    fn subscribe(
        &mut self,
        index: u32,
        session: u32,
        packet: &Subscribe<'_>,
        item: SubscribeItem<'_>,
    ) -> ReasonCode {
        let filter = item.filter;
        self.work += 1;
        if let Err(reason) = self.check_subscription(index, session, packet, item) {
            return reason;
        }
        let change = self.subscriptions.subscribe(session, filter, packet.subscription_id, item.options);
        self.group_changed(filter);
        // [MQTT-3.2.2-10]: any QoS may be asked for, but nothing above the maximum will ever come.
        let qos = item.options.qos.min(self.config.maximum_qos);
        self.emit(EventMask::SUBSCRIPTIONS, |core| Event::Subscribed {
            client_id: core.sessions[session].client_id.clone(),
            filter: filter.as_str().into(),
            qos,
        });
        let send_retained = match item.options.retain_handling {
            // [MQTT-3.3.1-9] [MQTT-3.8.4-4]
            RetainHandling::Send => true,
            // [MQTT-3.3.1-10]
            RetainHandling::SendIfNew => change == Change::New,
            // [MQTT-3.3.1-11]
            RetainHandling::DoNotSend => false,
        };
        // A shared subscription gets none (§ 4.8.2).
        if send_retained && filter.share_name().is_none() {
            self.replay_retained(session, filter, packet, qos);
        }
        // [MQTT-3.8.4-7]
        granted(qos)
    }

    pub(crate) fn check_subscription(
        &self,
        index: u32,
        session: u32,
        packet: &Subscribe<'_>,
        item: SubscribeItem<'_>,
    ) -> Result<(), ReasonCode> {
        let config = &self.config;
        let filter = item.filter;
        if filter.share_name().is_some() && !config.shared_subscriptions {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        // [MQTT-3.8.3-2 of 3.1.1]
        if filter.has_wildcard() && !config.wildcard_subscriptions {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        if packet.subscription_id.is_some() && !config.subscription_ids {
            return Err(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
        if filter.is_deeper_than(config.limits.topic_levels) {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let connection = &self.connections[index];
        let id = &*self.sessions[session].client_id;
        let client = Client { id, username: connection.username.as_deref(), peer: &connection.peer };
        let action = Action::Subscribe { filter, qos: item.options.qos };
        if self.authorize.as_ref().is_some_and(|authorize| !authorize.authorize(client, action)) {
            return Err(ReasonCode::NotAuthorized);
        }
        let levels = if filter.has_wildcard() { filter.levels().count() } else { 0 };
        let levels_left =
            config.limits.wildcard_levels.saturating_sub(self.subscriptions.wild_levels_of(session));
        let full =
            self.subscriptions.count_of(session) >= config.limits.subscriptions || levels > levels_left;
        if full && !self.subscriptions.contains(session, filter) {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(())
    }

    fn replay_retained(&mut self, session: u32, filter: TopicFilter<'_>, packet: &Subscribe<'_>, qos: QoS) {
        let mut found = std::mem::take(&mut self.scratch.retained);
        let visited = self.retained.matches(filter, |message| found.push(message));
        self.work += visited;
        for message in found.drain(..) {
            if !self.messages.get(message).is_expired() {
                self.replay(session, message, qos, packet.subscription_id);
            }
        }
        self.scratch.retained = found;
    }
}

/// With the identifier of what it answers [MQTT-3.8.4-2] [MQTT-2.2.1-6], and without reason string and user properties,
/// which the client might not want [MQTT-3.1.2-29] or not have room for [MQTT-3.9.2-1] [MQTT-3.9.2-2].
const fn suback(packet_id: PacketId, reasons: &[ReasonCode]) -> Packet<'_> {
    Packet::SubAck(SubAck {
        packet_id,
        reason_string: None,
        user_properties: List::EMPTY,
        reasons: List::from_slice(reasons),
    })
}

/// The same for UNSUBSCRIBE [MQTT-2.2.1-6] [MQTT-3.11.2-1] [MQTT-3.11.2-2].
const fn unsuback(packet_id: PacketId, reasons: &[ReasonCode]) -> Packet<'_> {
    Packet::UnsubAck(UnsubAck {
        packet_id,
        reason_string: None,
        user_properties: List::EMPTY,
        reasons: List::from_slice(reasons),
    })
}

const fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
