//! Shared subscriptions: each message goes to one member of each group. It never assumes which.

use std::rc::Rc;

use super::Oracle;
use super::session::{Former, Message, Session};

/// A message for one shared subscription.
#[derive(Debug)]
pub(super) struct Shared {
    /// The whole filter: `$share/group/filter`.
    pub(super) share: String,
    pub(super) message: Rc<Message>,
    pub(super) sent: Vec<Sent>,
    /// It may come or not.
    pub(super) excused: bool,
    /// No other member may get it any more.
    pub(super) finished: bool,
}

/// That a member was sent it.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) client: usize,
    /// The member has left since, or its connection has ended, and had not acknowledged it.
    pub(super) given_up: bool,
}

impl Shared {
    pub(super) fn new(share: &str, message: Rc<Message>) -> Self {
        Self { share: share.to_owned(), message, sent: Vec::new(), excused: false, finished: false }
    }

    /// A member has it and may still acknowledge it.
    pub(super) fn is_held(&self) -> bool {
        self.sent.iter().any(|sent| !sent.given_up)
    }
}

impl Oracle {
    /// The sessions with this shared subscription.
    pub(super) fn members<'a>(&'a self, share: &'a str) -> impl Iterator<Item = &'a Session> {
        self.sessions.iter().flatten().filter(move |session| session.subscription(share).is_some())
    }

    /// The sessions that may have the message in their queue: members, and who was one when it was published.
    pub(super) fn holders<'a>(&'a self, shared: &'a Shared) -> impl Iterator<Item = &'a Session> {
        let order = shared.message.first;
        self.sessions.iter().flatten().filter(move |session| {
            let left = |former: &Former| former.filter == shared.share && former.until > order;
            session.subscription(&shared.share).is_some() || session.former_shares.iter().any(left)
        })
    }

    /// Whether the message may get lost, by whoever is a member at this time.
    pub(super) fn excuse_shared(&self, shared: &mut Shared) {
        let limited = self.setup.queued_messages < 100_000;
        shared.excused |= limited || shared.message.qos == 0 && !self.setup.queue_qos0_offline;
        for member in self.members(&shared.share) {
            let qos = member.subscription(&shared.share).map_or(0, |subscription| subscription.qos);
            let most = member.link.map_or(usize::MAX, |link| self.links[link].maximum_packet_size);
            shared.excused |= qos == 0 || most < usize::MAX;
        }
    }

    /// Looks again at who are the members now.
    pub(super) fn excuse_all_shared(&mut self) {
        let mut all = std::mem::take(&mut self.shared);
        for shared in &mut all {
            self.excuse_shared(shared);
        }
        self.shared = all;
    }

    /// A member's connection has ended: what it has not acknowledged at QoS 1 may go to another.
    pub(super) fn leaves_groups(&mut self, client: usize) {
        let Some(session) = &mut self.sessions[client] else { return };
        for sent in session.inflight.iter_mut().filter(|sent| sent.form.qos == 1) {
            let Some(share) = &sent.share else { continue };
            sent.loose = true;
            let order = sent.message.order;
            let shared = self.shared.iter_mut().find(|it| it.message.order == order && it.share == *share);
            for sent in shared.into_iter().flat_map(|shared| &mut shared.sent) {
                sent.given_up |= sent.client == client;
            }
        }
    }

    /// The member has unsubscribed: what was sent is to be finished, and what was not goes to another, if there is one.
    pub(super) fn leaves_group(&mut self, client: usize, share: &str) {
        for shared in self.shared.iter_mut().filter(|shared| shared.share == share) {
            for sent in shared.sent.iter_mut().filter(|sent| sent.client == client) {
                // Whether it comes to another member if it is never acknowledged, is open.
                sent.given_up = true;
                shared.excused = true;
            }
        }
        let qos1 = self.sessions[client].iter_mut().flat_map(|session| &mut session.inflight);
        for sent in qos1.filter(|sent| sent.form.qos == 1 && sent.share.as_deref() == Some(share)) {
            sent.loose = true;
        }
        self.forget_empty_groups();
    }

    /// The member's session has ended.
    pub(super) fn left_groups(&mut self, client: usize) {
        for sent in self.shared.iter_mut().flat_map(|shared| &mut shared.sent) {
            sent.given_up |= sent.client == client;
        }
        self.forget_empty_groups();
    }

    /// It is acknowledged.
    pub(super) fn finish_shared(&mut self, share: &str, order: u64) {
        self.shared.retain(|shared| shared.message.order != order || shared.share != share);
    }

    /// Where there is no member, nobody is owed anything.
    fn forget_empty_groups(&mut self) {
        let sessions = &self.sessions;
        let has_members =
            |share: &str| sessions.iter().flatten().any(|session| session.subscription(share).is_some());
        for shared in &mut self.shared {
            // What was handed to a member before may still come.
            shared.excused |= !has_members(&shared.share);
        }
    }
}
