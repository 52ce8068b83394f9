//! One broker on several cores (of the machine): each shard is a [`Core`] with its own clients, chosen by their ids, and
//! shards tell each other what all have to know. They share nothing; what one has for another comes as a [`Batch`], in
//! order, whenever its shell carries it over. This module owns what a shard knows of the others; sessions never leave
//! their shard.
//!
//! * **Interest.** A shard tells the others the filters its clients subscribe to. There it is a subscriber like any other:
//!   what matches is sent over once, and finds the subscribers on the other side. SUBACK waits until all have heard of it
//!   ([`interest`]).
//! * **Retained messages** are in every shard, so that a subscription is answered at once and in order with what comes
//!   later. The latest change of a topic wins, by a stamp ([`retained`]).
//! * **Shared subscriptions** have members anywhere. Shards tell each other how many; whose turn it is is decided where a
//!   message is published ([`groups`]).

mod groups;
mod interest;
mod retained;
mod wire;

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use columba_codec::{Connect, FixedHeader, PacketType};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use self::groups::Group;
pub(crate) use self::groups::{Weight, Who};
use self::interest::{Parked, Wanted};
use self::retained::Forgotten;
pub use self::wire::Batch;
use self::wire::{Frame, Header};
use crate::Time;
use crate::auth::Peer;
use crate::config::Limits;
use crate::connection::Phase;
use crate::core::Core;
use crate::keys::ConnectionKey;
use crate::message::NewMessage;
use crate::session::Session;
use crate::topics::GroupKey;

/// Shards there may be.
pub const MAX_SHARDS: usize = 64;

/// Bytes that wait for all other shards before publishers have to, in equal parts. As much as is read at a time from many
/// connections: who has to stop in the middle of what was read costs a copy of the rest. As much again may be put aside
/// until the others have answered.
const BACKLOG: usize = 4 << 20;

/// Which shard a client belongs to, the same for all shards of one broker.
#[derive(Clone, Debug)]
pub struct Placement {
    hasher: FixedState,
    count: usize,
}

/// The other shards, if this is one of several. Without the feature it never is, and the compiler leaves out all that is only
/// for them.
#[derive(Debug, Default)]
pub(crate) struct Joined(Option<Box<Shards>>);

impl Joined {
    #[inline]
    pub(crate) fn get(&self) -> Option<&Shards> {
        if cfg!(feature = "shards") { self.0.as_deref() } else { None }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> Option<&mut Shards> {
        if cfg!(feature = "shards") { self.0.as_deref_mut() } else { None }
    }
}

/// What a shard knows of the others.
#[derive(Debug)]
pub(crate) struct Shards {
    own: usize,
    /// All shards by number; the own one is there and unused.
    siblings: Vec<Sibling>,
    /// Rises with every change of a retained message, here or elsewhere, as far as is known here.
    clock: u64,
    syncs: u64,
    /// Subscriptions that wait until the others have heard of them, in order.
    parked: VecDeque<Parked>,
    parked_bytes: usize,
    /// What the others were told to send here.
    wanted: HashMap<Box<str>, Wanted, FixedState>,
    groups: HashMap<GroupKey, Group, FixedState>,
    /// Groups whose members here may have changed, in order.
    changed_groups: Vec<GroupKey>,
    forgotten: Forgotten,
    /// Connections whose publishes have filled what waits for another shard.
    stalled: Vec<ConnectionKey>,
    /// The sum of what the others have.
    elsewhere: Gauges,
}

#[derive(Debug)]
struct Sibling {
    /// The session that stands for it in the index of subscriptions.
    session: u32,
    out: Batch,
    /// The last of our `Sync` it has answered.
    synced: u64,
    clock: u64,
    gauges: Gauges,
    /// What it was told last of our own.
    told: Gauges,
}

/// What counts towards limits that hold for all shards together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    pub(crate) connections: u32,
    pub(crate) sessions: u32,
    pub(crate) stored: u64,
}

/// Where a message goes beyond this shard.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// A bit for each shard that somebody is subscribed in.
    pub(crate) siblings: u64,
    /// Members of shared subscriptions whose turn it is.
    pub(crate) groups: Vec<(usize, GroupKey)>,
}

impl Core {
    /// Makes this core the shard number `own` of `count` that are one broker together. All have the same configuration,
    /// [`Seed`](crate::Seed) and authoriser and the same start of [`Time`]. To be called before anything else, but after
    /// [`restore`](Self::restore).
    ///
    /// From here on the shell also carries what [`poll_shard`](Self::poll_shard) hands out to
    /// [`receive_shard`](Self::receive_shard) of the others, in order, and moves connections at [`Intake::Moved`].
    /// Limits of connections, sessions and stored bytes hold for all shards together, within what they tell each other
    /// late: up to a 64th for each shard. A [`snapshot`](Self::snapshot) is one of a shard, with its own sessions and all
    /// retained messages.
    ///
    /// [`Intake::Moved`]: crate::Intake::Moved
    ///
    /// # Panics
    /// If there are more than [`MAX_SHARDS`], or none with that number.
    #[cfg(feature = "shards")]
    pub fn join_shards(&mut self, own: usize, count: usize) {
        assert!(own < count && count <= MAX_SHARDS, "shard {own} of {count}");
        if count == 1 {
            return;
        }
        let siblings = (0..count).map(|number| {
            let session = Session { sibling: Some(number as u8), ..Session::new(Arc::from("")) };
            Sibling {
                session: self.sessions.insert(session),
                out: Batch::default(),
                synced: 0,
                clock: 0,
                gauges: Gauges::default(),
                told: Gauges::default(),
            }
        });
        self.shards = Joined(Some(Box::new(Shards {
            own,
            siblings: siblings.collect(),
            clock: 0,
            syncs: 0,
            parked: VecDeque::new(),
            parked_bytes: 0,
            wanted: HashMap::with_hasher(self.hasher.clone()),
            groups: HashMap::with_hasher(self.hasher.clone()),
            changed_groups: Vec::new(),
            forgotten: Forgotten::new(self.hasher.clone()),
            stalled: Vec::new(),
            elsewhere: Gauges::default(),
        })));
        self.announce_restored();
    }

    /// What this shard has for shard `to`, if anything. The shell need not ask while more waits on the way than it cares
    /// to hold: what collects here meanwhile is bounded, and then stops the publishers that it comes from.
    #[must_use]
    pub fn poll_shard(&mut self, to: usize) -> Option<Batch> {
        self.tell_weights();
        let gauges = self.gauges();
        let limits = &self.config.limits;
        let shards = self.shards.get_mut().filter(|shards| shards.own != to)?;
        let clock = shards.clock;
        let sibling = shards.siblings.get_mut(to)?;
        if sibling.out.is_empty() && !gauges.have_drifted(&sibling.told, limits) {
            return None;
        }
        sibling.told = gauges;
        sibling.out.seal(&Header { clock, gauges });
        let batch = std::mem::take(&mut sibling.out);
        self.unstall();
        Some(batch)
    }

    /// Takes back a batch that shard `to` has received: there is room in it for the next one.
    pub fn reuse_batch(&mut self, to: usize, batch: Batch) {
        let sibling = self.shards.get_mut().and_then(|shards| shards.siblings.get_mut(to));
        if let Some(sibling) = sibling.filter(|sibling| sibling.out.is_empty()) {
            sibling.out = batch.cleared();
        }
    }

    /// Takes what shard `from` had for this one.
    pub fn receive_shard(&mut self, now: Time, from: usize, batch: &Batch) {
        self.advance_to(now);
        let Some(shards) = self.shards.get_mut().filter(|shards| shards.own != from) else {
            return;
        };
        let (Some(sibling), Some((header, frames))) = (shards.siblings.get_mut(from), batch.open()) else {
            return;
        };
        sibling.clock = header.clock;
        sibling.gauges = header.gauges;
        shards.clock = shards.clock.max(header.clock);
        shards.elsewhere = shards.siblings.iter().map(|sibling| sibling.gauges).sum();
        for frame in frames {
            self.sibling_frame(from, &frame);
        }
        self.prune_forgotten();
        self.release_parked();
        self.disconnect_overflowed();
    }

    /// Takes back a connection that belongs to another shard ([`Intake::Moved`](crate::Intake::Moved)): what is to be
    /// told [`open`](Self::open) there. Nothing remains of it here. None for an unknown one.
    pub fn release(&mut self, now: Time, connection: ConnectionKey) -> Option<Peer> {
        self.advance_to(now);
        let index = self.connections.resolve_connection(connection)?;
        if self.connections[index].phase != Phase::AwaitingConnect {
            return None;
        }
        self.disarm(index);
        self.handshakes -= 1;
        self.metrics.connections_opened -= 1;
        Some(*self.connections.remove(index).peer)
    }

    /// Where clients belong.
    pub fn placement(&self) -> Placement {
        let count = self.shards.get().map_or(1, |shards| shards.siblings.len());
        Placement { hasher: self.hasher.clone(), count }
    }

    fn shard_of(&self, client_id: &str) -> usize {
        self.placement().shard_of(client_id)
    }

    /// Whether sessions of this client id are in this shard.
    pub(crate) fn is_home_of(&self, client_id: &str) -> bool {
        self.shards.get().is_none_or(|shards| shards.own == self.shard_of(client_id))
    }

    /// The shard to which a connection belongs whose first packet this is, where that is another one.
    #[inline]
    pub(crate) fn moves_to(&self, index: u32, header: &FixedHeader, body: &[u8]) -> Option<usize> {
        let shards = self.shards.get()?;
        if self.connections[index].phase != Phase::AwaitingConnect
            || header.packet_type != PacketType::Connect
        {
            return None;
        }
        let connect = Connect::decode(header.flags, body).ok()?;
        let home = self.shard_of(connect.client_id);
        // Who has no id gets one that belongs here.
        (!connect.client_id.is_empty() && home != shards.own).then_some(home)
    }

    /// What the other shards have of what is limited.
    #[inline]
    pub(crate) fn elsewhere(&self) -> Gauges {
        self.shards.get().map_or_else(Gauges::default, |shards| shards.elsewhere)
    }

    /// Sessions of clients, which is to say without those that stand for shards.
    pub(crate) fn client_sessions(&self) -> usize {
        self.sessions.len() - self.shards.get().map_or(0, |shards| shards.siblings.len())
    }

    /// The subscriptions of clients.
    pub(crate) fn client_subscriptions(&self) -> usize {
        let siblings = self.shards.get().into_iter().flat_map(|shards| &shards.siblings);
        let theirs = siblings.map(|sibling| self.subscriptions.count_of(sibling.session));
        self.subscriptions.len() - theirs.sum::<usize>()
    }

    fn gauges(&self) -> Gauges {
        let clamp = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Gauges {
            // Those under way may yet move.
            connections: clamp(self.connections.len() - self.handshakes),
            sessions: clamp(self.client_sessions()),
            stored: (self.messages.bytes() + self.will_bytes) as u64,
        }
    }

    /// Sends a message to the other shards where somebody waits for it; with a stamp, to all, to be retained.
    pub(crate) fn forward(&mut self, message: &NewMessage<'_>, stamp: Option<u64>) {
        let Some(shards) = self.shards.get_mut() else {
            return;
        };
        let Elsewhere { siblings, groups } = &mut self.scratch.elsewhere;
        let wanted = if stamp.is_some() { u64::MAX } else { std::mem::take(siblings) };
        for (number, sibling) in shards.siblings.iter_mut().enumerate() {
            if number != shards.own && wanted & (1 << number) != 0 {
                sibling.out.put(&Frame::Message(*message, stamp));
            }
        }
        for (number, group) in groups.drain(..) {
            shards.send_to_group(number, group, 0, message);
        }
    }

    /// After a publish: who fills what waits for another shard has to wait with the next one.
    #[inline]
    pub(crate) fn stall(&mut self, index: u32) {
        let Some(shards) = self.shards.get_mut() else {
            return;
        };
        if shards.is_full() && !self.connections[index].stalled {
            self.connections[index].stalled = true;
            shards.stalled.push(self.connections.connection_key(index));
            if shards.stalled.len() > 2 * self.connections.len() {
                // Half of them have gone meanwhile.
                shards.stalled.retain(|&key| self.connections.resolve_connection(key).is_some());
            }
        }
    }

    /// Whether this packet of a client would add to what already fills what waits for another shard. A publish is let
    /// through, as most go nowhere else, and its publisher waits afterwards.
    #[inline]
    pub(crate) fn has_to_wait(&mut self, index: u32, packet: PacketType) -> bool {
        if matches!(packet, PacketType::Subscribe | PacketType::Unsubscribe) {
            self.stall(index);
        }
        self.connections[index].stalled
    }

    /// Lets all go on that wait for room, if there is some.
    fn unstall(&mut self) {
        let Some(shards) =
            self.shards.get_mut().filter(|shards| !shards.stalled.is_empty() && !shards.is_full())
        else {
            return;
        };
        for connection in std::mem::take(&mut shards.stalled) {
            if let Some(index) = self.connections.resolve_connection(connection) {
                self.connections[index].stalled = false;
                self.mark_ready(index);
            }
        }
    }

    fn sibling_frame(&mut self, from: usize, frame: &Frame<'_>) {
        match *frame {
            Frame::Message(ref message, stamp) => self.publish_from_sibling(message, stamp),
            Frame::ForGroup(filter, hops, ref message) => self.publish_to_group(filter, hops, message),
            Frame::Wanted(filter) => self.sibling_wants(from, filter, true),
            Frame::Unwanted(filter) => self.sibling_wants(from, filter, false),
            Frame::Group(filter, weight) => self.sibling_has_members(from, filter, weight),
            Frame::Forget(topic, stamp) => self.forget_as_sibling(topic, stamp),
            Frame::Sync(number) => {
                if let Some(shards) = self.shards.get_mut() {
                    shards.siblings[from].out.put(&Frame::Synced(number));
                }
            }
            Frame::Synced(number) => {
                if let Some(shards) = self.shards.get_mut() {
                    shards.siblings[from].synced = number;
                }
            }
        }
    }
}

impl Placement {
    /// The number of the shard that the session of this client id is in.
    pub fn shard_of(&self, client_id: &str) -> usize {
        // Not the bits by which a shard finds its own among its clients.
        (self.hasher.hash_one(client_id) >> 24) as usize % self.count
    }
}

impl Elsewhere {
    pub(crate) fn is_wanted(&self) -> bool {
        self.siblings != 0 || !self.groups.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.siblings = 0;
        self.groups.clear();
    }
}

impl Shards {
    fn is_full(&self) -> bool {
        let backlog = BACKLOG / self.siblings.len();
        self.parked_bytes > BACKLOG || self.siblings.iter().any(|sibling| sibling.out.size() > backlog)
    }

    fn tell_all(&mut self, frame: &Frame<'_>) {
        for (number, sibling) in self.siblings.iter_mut().enumerate() {
            if number != self.own {
                sibling.out.put(frame);
            }
        }
    }

    /// Asks all others for an answer, which comes when they have taken everything before; returns its number.
    fn sync(&mut self) -> u64 {
        self.syncs += 1;
        self.tell_all(&Frame::Sync(self.syncs));
        self.syncs
    }

    /// The last number that all others have answered.
    fn synced(&self) -> u64 {
        self.others().map(|sibling| sibling.synced).min().unwrap_or(self.syncs)
    }

    fn others(&self) -> impl Iterator<Item = &Sibling> {
        let others = self.siblings.iter().enumerate().filter(|(number, _)| *number != self.own);
        others.map(|(_, sibling)| sibling)
    }
}

impl Gauges {
    /// Whether it is time to tell a shard that has last heard `told`, though there is nothing else for it.
    fn have_drifted(&self, told: &Self, limits: &Limits) -> bool {
        let far = |now: u64, then: u64, limit: usize| now.abs_diff(then) > (limit / MAX_SHARDS) as u64;
        far(self.connections.into(), told.connections.into(), limits.connections)
            || far(self.sessions.into(), told.sessions.into(), limits.sessions)
            || far(self.stored, told.stored, limits.stored_bytes)
    }
}

impl std::iter::Sum for Gauges {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            connections: sum.connections.saturating_add(one.connections),
            sessions: sum.sessions.saturating_add(one.sessions),
            stored: sum.stored.saturating_add(one.stored),
        })
    }
}
