//! How connections and sessions begin and end, and what falls due with time. It never handles messages of clients that
//! are online.

use columba_testkit::ReasonCode;
use columba_testkit::codec::Connect;

use super::link::{Answer, Phase};
use super::session::{Micros, Session, Will};
use super::{Oracle, PUBREL_ORDER_IS_LOST};

pub(super) const SECOND: Micros = 1_000_000;

/// What happens when its time has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// The keep alive of this link.
    KeepAlive(usize),
    /// The will of this client.
    Will(usize),
    /// The end of this client's session.
    Session(usize),
}

impl Oracle {
    pub(super) fn connected(&mut self, number: usize, connect: &Connect<'_>) {
        let Some(client) = connect.client_id.strip_prefix('c').and_then(|id| id.parse::<usize>().ok()) else {
            self.mistake = Some("a client the model does not know".into());
            return;
        };
        // [MQTT-3.1.4-3]
        if let Some(old) = self.sessions[client].as_ref().and_then(|session| session.link) {
            self.end_connection(old, Some(ReasonCode::SessionTakenOver));
        }
        // [MQTT-3.1.2-4]
        if connect.clean_start {
            self.end_session(client);
        }
        let properties = &connect.properties;
        let link = &mut self.links[number];
        link.client = Some(client);
        link.version = connect.version;
        link.phase = Phase::Live;
        link.keep_alive = Micros::from(connect.keep_alive) * SECOND;
        link.receive_maximum = properties.receive_maximum.map_or(65_535, |most| most.get().into());
        link.maximum_packet_size =
            properties.maximum_packet_size.map_or(usize::MAX, |most| most.get() as usize);
        let present = self.sessions[client].is_some();
        link.answers.push(Answer::ConnAck { present });
        let session = self.sessions[client].get_or_insert_with(|| Session::new(connect.version));
        session.version = connect.version;
        session.link = Some(number);
        session.ends = None;
        // A will that was waiting is not published: the client is back [MQTT-3.1.3-9].
        session.will = connect.will.as_ref().map(|will| Will {
            topic: will.topic.to_string(),
            payload: will.payload.to_vec(),
            qos: will.qos as u8,
            retain: will.retain,
            delay: will.delay.unwrap_or(0),
            expiry: will.properties.message_expiry,
            at: None,
        });
        session.expiry = match (connect.version, connect.clean_start) {
            (columba_testkit::Version::V5, _) => properties.session_expiry.unwrap_or(0),
            (_, true) => 0,
            (_, false) => u32::MAX,
        };
        self.resume(client, number);
    }

    /// What is sent again: PUBREL in the order of the PUBRECs [MQTT-4.4.0-1]. PUBLISH is looked for in the end.
    fn resume(&mut self, client: usize, number: usize) {
        let Some(session) = &mut self.sessions[client] else { return };
        let link = &mut self.links[number];
        let mut released: Vec<_> =
            session.inflight.iter().filter_map(|sent| sent.received.map(|order| (order, sent.id))).collect();
        if !PUBREL_ORDER_IS_LOST {
            released.sort_unstable();
        }
        link.answers.extend(released.into_iter().map(|(_, id)| Answer::PubRel { id }));
        self.excuse_too_large(client);
        self.excuse_all_shared();
    }

    /// The connection is over, whoever ended it.
    pub(super) fn end_connection(&mut self, number: usize, reason: Option<ReasonCode>) {
        let link = &mut self.links[number];
        let was_live = link.phase == Phase::Live;
        if !matches!(link.phase, Phase::Over(_)) {
            link.phase = Phase::Over(reason);
        }
        let Some(client) = link.client.filter(|_| was_live) else { return };
        let keeps_qos0 = self.setup.queue_qos0_offline;
        let now = self.now;
        let Some(session) = &mut self.sessions[client] else { return };
        session.link = None;
        // They are not kept for a client that is away (README).
        session.due.retain(|due| due.form.qos > 0 || keeps_qos0);
        let ends = (session.expiry < u32::MAX).then(|| now + Micros::from(session.expiry) * SECOND);
        session.ends = ends;
        if let Some(will) = &mut session.will {
            // At the end of the delay or of the session, whichever comes first [MQTT-3.1.3-9].
            let at = now + Micros::from(will.delay) * SECOND;
            will.at = Some(ends.map_or(at, |ends| ends.min(at)));
        }
        self.leaves_groups(client);
        self.pass_time(now);
    }

    /// The session is over: what it was to get is not owed any more, and its will is published if that is still to be.
    pub(super) fn end_session(&mut self, client: usize) {
        self.publish_will(client);
        if self.sessions[client].take().is_some() {
            self.left_groups(client);
        }
    }

    fn publish_will(&mut self, client: usize) {
        let will = self.sessions[client].as_mut().and_then(|session| session.will.take());
        if let Some(will) = will {
            let Will { topic, payload, qos, retain, expiry, .. } = will;
            self.publish(client, &topic, &payload, qos, retain, expiry);
        }
    }

    pub(super) fn next_due(&self) -> Option<(Micros, Timer)> {
        let links = self.links.iter().enumerate();
        let deadlines = links.filter_map(|(number, link)| Some((link.deadline()?, Timer::KeepAlive(number))));
        let sessions = || self.sessions.iter().enumerate();
        let wills = sessions().filter_map(|(client, session)| {
            Some((session.as_ref()?.will.as_ref()?.at?, Timer::Will(client)))
        });
        let ends = sessions()
            .filter_map(|(client, session)| Some((session.as_ref()?.ends?, Timer::Session(client))));
        deadlines.chain(wills).chain(ends).min_by_key(|&(at, _)| at)
    }

    pub(super) fn fall_due(&mut self, timer: Timer) {
        match timer {
            Timer::KeepAlive(link) => self.end_connection(link, Some(ReasonCode::KeepAliveTimeout)),
            Timer::Will(client) => self.publish_will(client),
            Timer::Session(client) => self.end_session(client),
        }
    }
}
