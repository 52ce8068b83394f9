//! What must be true when nothing more happens at this instant, and at the end. It never changes the model, but for what
//! is forgotten because it is over.

use std::collections::BTreeSet;

use columba_testkit::World;

use super::link::{Link, Phase};
use super::session::Session;
use super::{Oracle, Outcome};

impl Oracle {
    /// Everything that can happen at this instant has happened. `stalled` are the links whose client reads nothing.
    pub(crate) fn settled(&mut self, stalled: &BTreeSet<usize>) -> Outcome {
        let now = self.now;
        for session in self.sessions.iter_mut().flatten() {
            session.due.retain(|due| !due.message.is_long_expired(now));
        }
        self.shared.retain(|shared| !shared.message.is_long_expired(now) || !shared.sent.is_empty());
        for (client, session) in self.sessions.iter().enumerate() {
            let Some(session) = session else { continue };
            let Some(number) = session.link.filter(|link| !stalled.contains(link)) else { continue };
            self.settled_session(session, number).map_err(|problem| format!("c{client}: {problem}"))?;
        }
        for (number, link) in self.links.iter().enumerate().filter(|(number, _)| !stalled.contains(number)) {
            let lingers = matches!(link.phase, Phase::Over(Some(_))) && !link.closed;
            if lingers {
                return Err(format!(
                    "connection {number} is over, and the broker has not closed it: {link:?}"
                ));
            }
        }
        self.settled_groups(stalled)
    }

    fn settled_session(&self, session: &Session, number: usize) -> Outcome {
        let link = &self.links[number];
        if let Some(answer) = link.answers.first() {
            return Err(format!("the broker has not answered: {answer:?}"));
        }
        if !self.has_room(session, link) {
            return Ok(());
        }
        let not_again = session
            .inflight
            .iter()
            .find(|sent| sent.received.is_none() && !sent.loose && sent.link != number);
        if let Some(sent) = not_again {
            return Err(format!("#{} {} is not sent again [MQTT-4.4.0-1]", sent.id, sent.message.text()));
        }
        if let Some(due) = session.missing(self.now) {
            return Err(format!("{} is not delivered ({:?})", due.message.text(), due.form));
        }
        Ok(())
    }

    /// Whether the broker may send this session another message.
    fn has_room(&self, session: &Session, link: &Link) -> bool {
        let most = link.receive_maximum.min(usize::from(self.setup.inflight));
        session.inflight.len() < most
    }

    fn settled_groups(&self, stalled: &BTreeSet<usize>) -> Outcome {
        let overdue = self.shared.iter().find(|shared| {
            !shared.excused
                && !shared.finished
                && !shared.is_held()
                && !shared.message.is_expired(self.now)
                && self.holders(shared).all(|member| {
                    let link = member.link.filter(|link| !stalled.contains(link));
                    link.is_some_and(|link| self.has_room(member, &self.links[link]))
                })
        });
        match overdue {
            Some(shared) => Err(format!("{}: no member gets {}", shared.share, shared.message.text())),
            None => Ok(()),
        }
    }

    /// Nothing is under way between shards.
    pub(crate) fn shards_settled(&mut self) {
        self.retained.settle();
    }

    /// Compares what the broker holds with what it has to hold.
    pub(crate) fn compare(&self, world: &World) -> Outcome {
        let now = self.now;
        let found = world.retained("#").into_iter().chain(world.retained("$x/#")).collect();
        if !self.retained.agrees_with(&found, now) {
            return Err(format!(
                "retained messages: the broker has {found:?}, and it must be {:?}",
                self.retained
            ));
        }
        for (client, session) in self.sessions.iter().enumerate() {
            let found = world.session(&format!("c{client}"));
            let seen = found.map(|found| {
                (found.connection.is_some(), found.subscriptions, found.incoming, found.has_will)
            });
            let expected = session.as_ref().map(|session| {
                let Session { link, subscriptions, incoming, will, .. } = session;
                (link.is_some(), subscriptions.len(), incoming.len(), will.is_some())
            });
            if seen != expected {
                return Err(format!(
                    "c{client}: (online, subscriptions, incoming, will) of the broker are {seen:?}, and must be {expected:?}"
                ));
            }
        }
        Ok(())
    }

    /// Everybody is back, has read everything and has acknowledged everything: nothing may be owed.
    pub(crate) fn drained(&self) -> Outcome {
        for (client, session) in self.sessions.iter().enumerate() {
            let Some(session) = session else { continue };
            if session.link.is_none() {
                return Err(format!("c{client} has a session and could not come back"));
            }
            if let Some(sent) = session.inflight.iter().find(|sent| !sent.loose) {
                return Err(format!("c{client}: #{} {} does not end", sent.id, sent.message.text()));
            }
        }
        let left = self
            .shared
            .iter()
            .find(|shared| !shared.excused && !shared.finished && !shared.message.is_expired(self.now));
        match left {
            Some(shared) => Err(format!("{}: {} got lost", shared.share, shared.message.text())),
            None => Ok(()),
        }
    }
}
