//! Who wants what: a SUBSCRIBE is put aside until every shard sends on what it asks for, and only then carried out. So
//! nothing published after its SUBACK is missed, and what was retained before is here before it is looked for.

use columba_codec::{FixedHeader, Packet, PacketId, ReasonCode, Subscribe, SubscriptionOptions, TopicFilter};

use super::wire::Frame;
use crate::connection::Phase;
use crate::core::Core;
use crate::keys::ConnectionKey;

/// A filter that the other shards were told of.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Subscriptions to it that wait to be made.
    pending: u32,
}

/// A SUBSCRIBE that waits for the other shards.
#[derive(Debug)]
pub(super) struct Parked {
    connection: ConnectionKey,
    /// The answer it waits for.
    sync: u64,
    what: Waiting,
    /// Roughly its bytes.
    size: usize,
}

#[derive(Debug)]
enum Waiting {
    /// To be carried out; and the filters that were announced for it.
    Packet { header: FixedHeader, body: Box<[u8]>, announced: Vec<Box<str>> },
    /// Done, and to be answered.
    Answer { packet_id: PacketId, reasons: Vec<ReasonCode> },
}

impl Waiting {
    fn size(&self) -> usize {
        size_of::<Parked>()
            + match self {
                Self::Packet { body, announced, .. } => {
                    body.len()
                        + announced.iter().map(|filter| filter.len() + size_of::<Box<str>>()).sum::<usize>()
                }
                Self::Answer { reasons, .. } => reasons.len(),
            }
    }
}

impl Core {
    /// Announces what a SUBSCRIBE asks for and puts it aside. Nothing more is read from the connection until it is
    /// carried out.
    pub(crate) fn park_subscribe(
        &mut self,
        index: u32,
        header: FixedHeader,
        body: &[u8],
        packet: &Subscribe<'_>,
    ) {
        let Some(session) = self.connections[index].session else {
            return;
        };
        let mut announced = Vec::new();
        for item in &packet.filters {
            // What will be refused is of no interest to anybody. A shared subscription is announced when it is made.
            if item.filter.share_name().is_none()
                && self.check_subscription(index, session, packet, item).is_ok()
            {
                self.announce(item.filter.as_str()).pending += 1;
                announced.push(Box::from(item.filter.as_str()));
            }
        }
        self.park(index, Waiting::Packet { header, body: body.into(), announced });
    }

    /// A SUBSCRIBE is carried out: answers it, or has it answered when all have heard of its shared subscriptions.
    pub(crate) fn answer_when_known(&mut self, index: u32, packet_id: PacketId, reasons: Vec<ReasonCode>) {
        self.tell_weights();
        self.park(index, Waiting::Answer { packet_id, reasons });
    }

    fn park(&mut self, index: u32, what: Waiting) {
        let Some(shards) = self.shards.get_mut() else {
            return;
        };
        let connection = self.connections.connection_key(index);
        let sync = shards.sync();
        let size = what.size();
        shards.parked_bytes += size;
        shards.parked.push_back(Parked { connection, sync, what, size });
        self.connections[index].held = true;
    }

    /// Carries out what the others have heard of by now.
    pub(super) fn release_parked(&mut self) {
        while let Some(shards) = self.shards.get_mut()
            && shards.parked.front().is_some_and(|first| first.sync <= shards.synced())
            && let Some(Parked { connection, what, size, .. }) = shards.parked.pop_front()
        {
            shards.parked_bytes -= size;
            let online = |index: &u32| self.connections[*index].phase == Phase::Online;
            let index = self.connections.resolve_connection(connection).filter(online);
            if let Some(index) = index {
                self.connections[index].held = false;
                self.mark_ready(index);
            }
            match (what, index) {
                (Waiting::Packet { header, body, announced }, index) => {
                    if let Some(index) = index {
                        self.carry_out(index, header, &body);
                    }
                    for filter in announced {
                        self.no_longer_pending(&filter);
                    }
                }
                (Waiting::Answer { packet_id, reasons }, Some(index)) => {
                    self.send_suback(index, packet_id, &reasons);
                }
                (Waiting::Answer { .. }, None) => {}
            }
        }
        self.unstall();
    }

    fn carry_out(&mut self, index: u32, header: FixedHeader, body: &[u8]) {
        // It was decoded before, so it decodes again.
        if let Ok(Packet::Subscribe(packet)) = Packet::decode(header, body, self.connections[index].version)
            && let Err(fault) = self.handle_subscribe(index, &packet)
        {
            self.fail(index, fault);
        }
    }

    /// Tells the others of a filter, unless they know.
    fn announce(&mut self, filter: &str) -> &mut Wanted {
        let shards = self.shards.get_mut().expect("only shards announce anything");
        if !shards.wanted.contains_key(filter) {
            shards.tell_all(&Frame::Wanted(filter));
        }
        shards.wanted.entry(filter.into()).or_default()
    }

    fn no_longer_pending(&mut self, filter: &str) {
        if let Some(wanted) = self.shards.get_mut().and_then(|shards| shards.wanted.get_mut(filter)) {
            wanted.pending -= 1;
        }
        self.lose_interest(filter);
    }

    /// A subscription to this filter has ended: if it was the last, the others are told.
    pub(crate) fn lose_interest(&mut self, filter: &str) {
        let Some(shards) = self.shards.get_mut() else {
            return;
        };
        let Ok(parsed) = TopicFilter::parse(filter) else {
            return;
        };
        let is_pending = |filter| shards.wanted.get(filter).is_none_or(|wanted| wanted.pending > 0);
        let sessions = &self.sessions;
        let is_client = |session| sessions[session].sibling.is_none();
        if is_pending(filter) || self.subscriptions.any_member(parsed, is_client) {
            return;
        }
        shards.wanted.remove(filter);
        shards.tell_all(&Frame::Unwanted(filter));
    }

    /// Ends all subscriptions of a session, and tells the others what is of no interest any more.
    pub(crate) fn unsubscribe_all(&mut self, session: u32) {
        if self.shards.get().is_none() {
            return self.subscriptions.remove_session(session);
        }
        self.members_changed(session);
        let filters: Vec<String> = self.subscriptions.list(session).map(|entry| entry.filter).collect();
        self.subscriptions.remove_session(session);
        for filter in filters {
            self.lose_interest(&filter);
        }
    }

    /// Another shard wants what matches this filter, or no longer.
    pub(super) fn sibling_wants(&mut self, from: usize, filter: &str, wants: bool) {
        let Some(session) = self.shards.get().map(|shards| shards.siblings[from].session) else {
            return;
        };
        let Ok(filter) = TopicFilter::parse(filter) else {
            return;
        };
        if wants {
            self.subscriptions.subscribe(session, filter, None, SubscriptionOptions::default());
        } else {
            self.subscriptions.unsubscribe(session, filter);
        }
    }

    /// Tells the others of what a snapshot brought.
    pub(super) fn announce_restored(&mut self) {
        let sessions: Vec<u32> = self.sessions.iter().map(|(index, _)| index).collect();
        for session in sessions {
            let filters: Vec<String> = self.subscriptions.list(session).map(|entry| entry.filter).collect();
            for filter in filters.iter().filter(|filter| !filter.starts_with("$share/")) {
                self.announce(filter);
            }
            self.members_changed(session);
        }
    }
}
