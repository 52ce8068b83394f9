//! CONNECT, CONNACK and AUTH: from the first packet of a connection to a client that is online, and
//! re-authentication later.

use bytes::Bytes;
use columba_codec::{
    Auth, ConnAck, ConnAckProperties, Connect, DecodeError, FixedHeader, List, Packet, PacketType, QoS,
    ReasonCode, TopicName, Version, Will,
};

use crate::Time;
use crate::aliases::{Incoming, Outgoing};
use crate::auth::{Action, AuthRequest, AuthStage, Client, Grant, Verdict};
use crate::connection::{Aliases, Authentication, Phase};
use crate::core::Core;
use crate::event::{Cause, Event, EventMask, Fault};
use crate::keys::Ticket;
use crate::session::StoredWill;

impl Core {
    /// Answers an [`Event::Authenticate`]. A ticket that is no longer open (the client has left, say) is ignored.
    pub fn answer(&mut self, now: Time, ticket: Ticket, verdict: Verdict) {
        self.advance_to(now);
        let Some(index) = self.connections.resolve_connection(ticket.connection) else {
            return;
        };
        let connection = &mut self.connections[index];
        let Some(authentication) = &mut connection.authentication else {
            return;
        };
        if authentication.ticket != Some(ticket.number) || connection.phase == Phase::Closing {
            return;
        }
        authentication.ticket = None;
        let online = connection.phase == Phase::Online;
        match verdict {
            Verdict::Accept(grant) if online => self.reauthenticated(index, grant),
            Verdict::Accept(grant) => self.admit(index, grant),
            Verdict::Continue { data } => self.continue_authentication(index, &data),
            // The connection ends: before CONNACK [MQTT-4.12.0-4] and on re-authentication [MQTT-4.12.1-2].
            Verdict::Reject { reason, text } => {
                let packet = if online { PacketType::Disconnect } else { PacketType::ConnAck };
                let allowed = reason.is_error() && reason.is_valid_in(packet);
                let reason = if allowed { reason } else { ReasonCode::NotAuthorized };
                self.fail(index, Fault { reason, text: text.into_string().into() });
            }
        }
        // Input that waited for the verdict is taken now.
        self.mark_ready(index);
        // A takeover may have published a will.
        self.disconnect_overflowed();
    }

    /// The first packet of a connection: it must be CONNECT, or the connection is closed unanswered [MQTT-3.1.0-1].
    pub(crate) fn first_frame(&mut self, index: u32, header: FixedHeader, body: &[u8]) {
        if header.packet_type != PacketType::Connect {
            let fault = Fault::new(ReasonCode::ProtocolError, "the first packet was not CONNECT");
            return self.finish_silently(index, Cause::Fault(fault));
        }
        match Connect::decode(header.flags, body) {
            Ok(connect) => self.connect(index, &connect, body),
            Err(error) => {
                if announces_v5(body) {
                    self.connections[index].version = Version::V5;
                }
                self.refuse_undecoded(index, &error);
            }
        }
    }

    /// A CONNECT is refused by its fixed header: if it says that it is one of MQTT 5, it is answered as such.
    pub(crate) fn note_version(&mut self, index: u32, input: &[u8]) {
        let connection = &mut self.connections[index];
        let is_connect = input.first().is_some_and(|first| first >> 4 == PacketType::Connect as u8);
        if connection.phase != Phase::AwaitingConnect || !is_connect {
            return;
        }
        let more = input[1..].iter().take(3).take_while(|&&byte| byte & 0x80 != 0).count();
        if input.get(2 + more..).is_some_and(announces_v5) {
            connection.version = Version::V5;
        }
    }

    /// What could not be read before CONNECT was accepted. MQTT 5 clients are told why [MQTT-3.1.4-1]; for
    /// others there is a code for the wrong version only [MQTT-3.1.2-2 of 3.1.1], and without a code there is
    /// no CONNACK [MQTT-3.1.4-1 of 3.1.1] [MQTT-3.2.2-6 of 3.1.1].
    pub(crate) fn refuse_undecoded(&mut self, index: u32, error: &DecodeError) {
        let reason = error.reason_code();
        if reason == ReasonCode::UnsupportedProtocolVersion || self.connections[index].is_v5() {
            self.fail(index, Fault::from(error));
        } else {
            self.finish_silently(index, Cause::Fault(Fault::from(error)));
        }
    }

    fn connect(&mut self, index: u32, connect: &Connect<'_>, body: &[u8]) {
        let connection = &mut self.connections[index];
        connection.version = connect.version;
        connection.last_received = self.now;
        connection.username = connect.username.map(Into::into);
        if connect.version == Version::V5 {
            // Request Problem Information is not asked for: CONNACK and DISCONNECT may say what is wrong whatever
            // it is, and nothing else ever does [MQTT-3.1.2-29].
            let maximum = connect.properties.maximum_packet_size;
            connection.maximum_packet_size = maximum.map_or(u32::MAX, Into::into);
        }
        if let Err(fault) = self.check_connect(connect) {
            return self.fail(index, fault);
        }
        if self.config.authenticate && !self.connections[index].peer.trusted {
            let method = connect.properties.authentication_method.map(Into::into);
            let connection = &mut self.connections[index];
            connection.authentication =
                Some(Box::new(Authentication { method, connect: body.into(), ..Authentication::default() }));
            self.ask(index, AuthStage::Connect, connect, connect.properties.authentication_data);
        } else if connect.properties.authentication_method.is_some() {
            // [MQTT-4.12.0-1]
            let text = "this broker has no enhanced authentication";
            self.fail(index, Fault::new(ReasonCode::BadAuthenticationMethod, text));
        } else {
            self.come_online(index, connect, Grant::default());
        }
    }

    /// What can be refused without knowing who it is [MQTT-3.1.4-2]. Nothing is asked for that is in no
    /// standard [MQTT-7.0.0-2 of 3.1.1].
    fn check_connect(&self, connect: &Connect<'_>) -> Result<(), Fault> {
        let limits = &self.config.limits;
        let id = connect.client_id;
        // [MQTT-3.1.3-8] [MQTT-3.1.3-9 of 3.1.1]
        let bad_id = |text| Err(Fault::new(ReasonCode::ClientIdentifierNotValid, text));
        if id.is_empty() {
            // 3.1 has no empty ids; 3.1.1 ties them to a clean session [MQTT-3.1.3-7 of 3.1.1]
            // [MQTT-3.1.3-8 of 3.1.1].
            let resumes = connect.version == Version::V3_1_1 && !connect.clean_start;
            if connect.version == Version::V3_1 || resumes || !self.config.assign_client_ids {
                return bad_id("an empty client id is not accepted here");
            }
        }
        // Never below what every broker has to take [MQTT-3.1.3-5].
        if id.len() > limits.client_id_len {
            return bad_id("the client id is too long");
        }
        if self.connections.len() + self.elsewhere().connections as usize > limits.connections {
            return Err(Fault::new(ReasonCode::QuotaExceeded, "too many connections"));
        }
        self.check_room(id)?;
        connect.will.as_ref().map_or(Ok(()), |will| self.check_will(will))
    }

    /// Whether there is room for the session of this client id.
    fn check_room(&self, id: &str) -> Result<(), Fault> {
        let sessions = self.client_sessions() + self.elsewhere().sessions as usize;
        if sessions >= self.config.limits.sessions && self.session_of(id).is_none() {
            return Err(Fault::new(ReasonCode::QuotaExceeded, "too many sessions"));
        }
        Ok(())
    }

    fn check_will(&self, will: &Will<'_>) -> Result<(), Fault> {
        if will.qos > self.config.maximum_qos {
            // [MQTT-3.2.2-12]
            return Err(Fault::new(ReasonCode::QoSNotSupported, "the will's QoS is not supported"));
        }
        if will.retain && !self.config.retain_available {
            // [MQTT-3.2.2-13]
            return Err(Fault::new(ReasonCode::RetainNotSupported, "retained messages are not supported"));
        }
        if will.topic.is_deeper_than(self.config.limits.topic_levels) {
            return Err(Fault::new(ReasonCode::TopicNameInvalid, "the will's topic has too many levels"));
        }
        Ok(())
    }

    /// Puts the question to the hook; until it is answered nothing is read, unless the client is online already.
    fn ask(&mut self, index: u32, stage: AuthStage, connect: &Connect<'_>, data: Option<&[u8]>) {
        self.tickets = self.tickets.wrapping_add(1);
        let number = self.tickets;
        let key = self.connections.connection_key(index);
        let connection = &mut self.connections[index];
        if stage != AuthStage::ReAuthenticate && connection.phase != Phase::Online {
            connection.phase = Phase::Deciding;
        }
        let Some(authentication) = &mut connection.authentication else {
            return;
        };
        authentication.ticket = Some(number);
        let request = AuthRequest {
            stage,
            client_id: connect.client_id.into(),
            version: connection.version,
            username: connect.username.map(Into::into),
            password: connect.password.map(Bytes::copy_from_slice),
            method: authentication.method.clone(),
            data: data.map(Bytes::copy_from_slice),
            peer: (*connection.peer).clone(),
        };
        let ticket = Ticket { connection: key, number };
        self.events.push_back(Event::Authenticate { ticket, request: Box::new(request) });
    }

    /// The hook has said yes to a CONNECT that was put aside.
    fn admit(&mut self, index: u32, grant: Grant) {
        let connection = &mut self.connections[index];
        let body = connection.authentication.as_mut().map(|auth| std::mem::take(&mut auth.connect));
        // It was decoded before, so it decodes again.
        if let Some(Ok(connect)) = body.as_deref().map(|body| Connect::decode(0, body)) {
            // Meanwhile others have come.
            match self.check_room(connect.client_id) {
                Ok(()) => self.come_online(index, &connect, grant),
                Err(fault) => self.fail(index, fault),
            }
        }
    }

    fn come_online(&mut self, index: u32, connect: &Connect<'_>, grant: Grant) {
        let connection = &mut self.connections[index];
        if let Some(username) = grant.username {
            connection.username = Some(username);
        }
        if connection.authentication.as_ref().is_some_and(|auth| auth.method.is_none()) {
            connection.authentication = None;
        }
        // [MQTT-3.1.3-6]; from here on it is as if the client had named it itself [MQTT-3.1.3-7].
        let assigned = connect.client_id.is_empty().then(|| self.new_client_id());
        let client_id = assigned.as_deref().unwrap_or(connect.client_id);
        let will = match connect
            .will
            .as_ref()
            .map(|will| self.authorized_will(index, client_id, will))
            .transpose()
        {
            Ok(will) => will,
            Err(fault) => return self.fail(index, fault),
        };
        let asked = match connect.version {
            Version::V5 => connect.properties.session_expiry.unwrap_or(0),
            // A clean session ends with its connection [MQTT-3.1.2-6 of 3.1.1], any other stays
            // [MQTT-3.1.2-4 of 3.1.1].
            _ if connect.clean_start => 0,
            _ => u32::MAX,
        };
        let expiry = asked.min(self.config.maximum_session_expiry.unwrap_or(u32::MAX));
        let response_information = self.config.response_information.clone();
        let mut properties = self.connack_properties(connect, expiry);
        // [MQTT-3.2.2-16] [MQTT-3.1.3-7]
        properties.assigned_client_id = assigned.as_deref();
        // [MQTT-3.1.2-28]
        let wanted = connect.properties.request_response_information == Some(true);
        properties.response_information = response_information.as_deref().filter(|_| wanted);
        // [MQTT-4.12.0-5] [MQTT-4.12.0-6]
        properties.authentication_data =
            grant.data.as_deref().filter(|_| properties.authentication_method.is_some());
        // [MQTT-3.1.4-5]; without reason string and user properties, which might be too much for the client
        // [MQTT-3.2.2-19] [MQTT-3.2.2-20].
        let mut connack = ConnAck { session_present: false, reason: ReasonCode::Success, properties };
        if connack.encoded_len(connect.version) > self.connections[index].maximum_packet_size as usize {
            // [MQTT-3.1.2-24]; and without CONNACK there is nothing else to be sent either [MQTT-3.2.0-1].
            let text = "the Maximum Packet Size of this client leaves no room for CONNACK";
            return self.fail(index, Fault::new(ReasonCode::PacketTooLarge, text));
        }
        let (session, present) = self.take_session(client_id, connect.clean_start);
        self.will_bytes += will.as_ref().map_or(0, StoredWill::size);
        let entry = &mut self.sessions[session];
        entry.connection = Some(index);
        entry.expiry = expiry;
        // [MQTT-3.1.2-7]; a will of an earlier connection does not outlast this [MQTT-3.1.2-12 of 3.1.1].
        entry.will = will.map(Box::new);
        if let Some(inflight) = entry.inflight.changed() {
            inflight.restart();
        }

        let keep_alive = self.effective_keep_alive(connect);
        let connection = &mut self.connections[index];
        connection.phase = Phase::Online;
        connection.session = Some(session);
        // The hook may have taken its time; keep alive counts from here.
        connection.last_received = self.now;
        connection.keep_alive = keep_alive;
        connection.expiry_was_zero = asked == 0;
        // [MQTT-4.9.0-1]
        let receive_maximum = connect.properties.receive_maximum.map_or(u16::MAX, Into::into);
        connection.send_maximum = receive_maximum.min(self.config.limits.inflight);
        // [MQTT-3.1.2-26] [MQTT-3.3.2-11]; none where the client says nothing of them [MQTT-3.1.2-27].
        let alias_maximum =
            connect.properties.topic_alias_maximum.unwrap_or(0).min(self.config.limits.topic_aliases_out);
        if alias_maximum > 0 {
            connection.aliases = Some(Box::new(Aliases {
                incoming: Incoming::default(),
                outgoing: Outgoing::new(alias_maximum),
            }));
        }
        self.handshakes -= 1;
        self.members_changed(session);
        self.metrics.connects_accepted += 1;
        self.disarm(index);
        if let Some(deadline) = self.connections[index].keep_alive_deadline() {
            self.arm(index, deadline);
        }
        // [MQTT-3.2.2-2] [MQTT-3.2.2-3]; 3.1 has no Session Present.
        connack.session_present = present && connect.version > Version::V3_1;
        self.send(index, &Packet::ConnAck(Box::new(connack)));
        self.emit(EventMask::CLIENTS, |core| Event::Connected {
            connection: core.connections.connection_key(index),
            session: core.session_key(session),
            client_id: core.sessions[session].client_id.clone(),
            version: connect.version,
            session_present: present,
            peer: (*core.connections[index].peer).clone(),
        });
        self.mark_ready(index);
    }

    /// Everything in which the broker differs from what its absence in CONNACK would say.
    fn connack_properties<'a>(&self, connect: &Connect<'a>, expiry: u32) -> ConnAckProperties<'a> {
        let mut properties = ConnAckProperties::default();
        if connect.version < Version::V5 {
            return properties;
        }
        let config = &self.config;
        let limits = &config.limits;
        let off = |available: bool| (!available).then_some(false);
        properties.session_expiry =
            (expiry != connect.properties.session_expiry.unwrap_or(0)).then_some(expiry);
        properties.receive_maximum =
            std::num::NonZeroU16::new(limits.receive_maximum).filter(|n| n.get() < u16::MAX);
        // [MQTT-3.2.2-9]
        properties.maximum_qos = (config.maximum_qos < QoS::ExactlyOnce).then_some(config.maximum_qos);
        properties.retain_available = off(config.retain_available);
        properties.maximum_packet_size = std::num::NonZeroU32::new(limits.packet_size);
        properties.topic_alias_maximum = Some(limits.topic_aliases_in).filter(|&n| n > 0);
        properties.wildcard_subscription_available = off(config.wildcard_subscriptions);
        properties.subscription_ids_available = off(config.subscription_ids);
        properties.shared_subscription_available = off(config.shared_subscriptions);
        properties.server_keep_alive = config.server_keep_alive;
        properties.authentication_method = connect.properties.authentication_method;
        properties
    }

    /// Server Keep Alive replaces what an MQTT 5 client asked for [MQTT-3.1.2-21] [MQTT-3.2.2-21]; to others
    /// the broker cannot say so, and is no stricter than they expect.
    fn effective_keep_alive(&self, connect: &Connect<'_>) -> u16 {
        match self.config.server_keep_alive {
            Some(seconds) if connect.version == Version::V5 => seconds,
            // [MQTT-3.2.2-22]
            _ => connect.keep_alive,
        }
    }

    fn new_client_id(&mut self) -> String {
        loop {
            let id = self.ids.client_id();
            // All shards draw the same ids, and each takes those that are its own.
            if self.is_home_of(&id) && self.session_of(&id).is_none() {
                return id;
            }
        }
    }

    fn authorized_will(&self, index: u32, client_id: &str, will: &Will<'_>) -> Result<StoredWill, Fault> {
        let connection = &self.connections[index];
        let client =
            Client { id: client_id, username: connection.username.as_deref(), peer: &connection.peer };
        if !self.may_publish(client, will.topic, will.qos, will.retain) {
            return Err(Fault::new(ReasonCode::NotAuthorized, "not authorized to publish the will"));
        }
        let mut forwarded = Vec::new();
        will.properties.encode_forwarded(&mut forwarded);
        let will = StoredWill {
            topic: will.topic.as_str().into(),
            payload: will.payload.into(),
            forwarded: forwarded.into(),
            qos: will.qos,
            retain: will.retain,
            delay: will.delay.unwrap_or(0),
            expiry: will.properties.message_expiry,
        };
        if self.stored_bytes() + will.size() > self.config.limits.stored_bytes {
            return Err(Fault::new(ReasonCode::QuotaExceeded, "no room for the will"));
        }
        Ok(will)
    }

    /// Whether a client may publish this. `$SYS` belongs to the broker and to the program around it.
    pub(crate) fn may_publish(
        &self,
        client: Client<'_>,
        topic: TopicName<'_>,
        qos: QoS,
        retain: bool,
    ) -> bool {
        if !client.peer.trusted && topic.as_str().starts_with("$SYS/") {
            return false;
        }
        let action = Action::Publish { topic, qos, retain };
        self.authorize.as_ref().is_none_or(|authorize| authorize.authorize(client, action))
    }

    /// AUTH from a client.
    pub(crate) fn handle_auth(&mut self, index: u32, auth: &Auth<'_>) -> Result<(), Fault> {
        let wrong = |text| Err(Fault::new(ReasonCode::ProtocolError, text));
        let connection = &mut self.connections[index];
        let online = connection.phase == Phase::Online;
        let Some(authentication) = &mut connection.authentication else {
            // [MQTT-4.12.0-7]
            return wrong("AUTH from a client whose CONNECT named no authentication method");
        };
        if authentication.method.as_deref() != auth.method {
            // [MQTT-4.12.0-5]
            return wrong("AUTH with another authentication method than CONNECT");
        }
        if authentication.ticket.is_some() {
            return wrong("AUTH while the one before is being judged");
        }
        let stage = match (auth.reason, online) {
            (ReasonCode::ReAuthenticate, true) if !authentication.repeated => {
                // [MQTT-4.12.1-1]
                authentication.repeated = true;
                AuthStage::ReAuthenticate
            }
            (ReasonCode::ContinueAuthentication, true) if authentication.repeated => AuthStage::Continue,
            // [MQTT-4.12.0-3]
            (ReasonCode::ContinueAuthentication, false) => AuthStage::Continue,
            _ => {
                return wrong("AUTH with a reason that does not fit the state of the authentication");
            }
        };
        if online {
            let session = connection.session;
            let client_id = session.map(|session| self.sessions[session].client_id.clone());
            let username = self.connections[index].username.clone();
            let connect = Connect {
                version: Version::V5,
                bridge: false,
                clean_start: false,
                keep_alive: 0,
                client_id: client_id.as_deref().unwrap_or_default(),
                will: None,
                username: username.as_deref(),
                password: None,
                properties: columba_codec::ConnectProperties::default(),
            };
            self.ask(index, stage, &connect, auth.data);
        } else {
            let body = authentication.connect.clone();
            if let Ok(connect) = Connect::decode(0, &body) {
                self.ask(index, stage, &connect, auth.data);
            }
        }
        Ok(())
    }

    /// The hook wants another round [MQTT-4.12.0-2].
    fn continue_authentication(&mut self, index: u32, data: &[u8]) {
        let connection = &mut self.connections[index];
        let method = connection.authentication.as_ref().and_then(|auth| auth.method.clone());
        let Some(method) = method else {
            // [MQTT-4.12.0-6]: without a method there is no AUTH.
            let text = "the authenticator asked for more from a client without an authentication method";
            return self.fail(index, Fault::new(ReasonCode::ImplementationSpecificError, text));
        };
        if connection.phase == Phase::Deciding {
            connection.phase = Phase::AwaitingAuth;
        }
        self.send_auth(index, ReasonCode::ContinueAuthentication, &method, Some(data));
    }

    fn reauthenticated(&mut self, index: u32, grant: Grant) {
        let connection = &mut self.connections[index];
        if let Some(username) = grant.username {
            connection.username = Some(username);
        }
        let Some(authentication) = &mut connection.authentication else {
            return;
        };
        authentication.repeated = false;
        if let Some(method) = authentication.method.clone() {
            self.send_auth(index, ReasonCode::Success, &method, grant.data.as_deref());
        }
    }

    /// Without reason string and user properties: they might be too much for the client [MQTT-3.15.2-2]
    /// [MQTT-3.15.2-3].
    fn send_auth(&mut self, index: u32, reason: ReasonCode, method: &str, data: Option<&[u8]>) {
        let auth = Auth {
            reason,
            method: Some(method),
            data,
            reason_string: None,
            user_properties: List::default(),
        };
        self.send(index, &Packet::Auth(auth));
    }
}

/// Whether a CONNECT that cannot be decoded says that it is one of MQTT 5, so that it can be answered as such.
fn announces_v5(body: &[u8]) -> bool {
    body.strip_prefix(b"\x00\x04MQTT").and_then(|rest| rest.first()) == Some(&5)
}
