//! A broker of a world: its shards, mostly one, and what is under way between them. It never looks into that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use columba_codec::TopicFilter;
use columba_core::{
    Action, Authorize, Batch, Client, ClientInfo, Config, ConnectionKey, Core, Metrics, Peer, Placement,
    Seed, Time,
};

/// The shards of one broker.
#[derive(Debug)]
pub(super) struct Shards {
    all: Vec<Shard>,
    placement: Placement,
}

#[derive(Debug)]
struct Shard {
    core: Core,
    /// Links by the number of their connection.
    links: Vec<usize>,
    /// What is under way to it, by the number of the sender: a batch, and when it arrives.
    mail: Vec<Option<(Time, Batch)>>,
}

/// One hook for all shards.
struct Shared(Arc<Mutex<dyn Authorize>>);

impl Shards {
    pub(super) fn new(count: usize, config: &Config, seed: Seed) -> Self {
        assert!(
            cfg!(feature = "shards") || count == 1,
            "a broker of {count} shards needs the feature `shards`"
        );
        let shard = |core| Shard { core, links: Vec::new(), mail: vec![None; count] };
        let all: Vec<_> = (0..count).map(|own| shard(core(own, count, config, seed))).collect();
        let placement = all[0].core.placement();
        Self { all, placement }
    }

    pub(super) const fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn core(&mut self, shard: usize) -> &mut Core {
        &mut self.all[shard].core
    }

    /// The number of the shard that the session of this client is in.
    pub(super) fn number_of(&self, client_id: &str) -> usize {
        self.placement.shard_of(client_id)
    }

    pub(super) fn home_of(&self, client_id: &str) -> &Core {
        &self.all[self.number_of(client_id)].core
    }

    /// Opens the connection of this link in a shard.
    pub(super) fn open(&mut self, shard: usize, now: Time, peer: Peer, link: usize) -> ConnectionKey {
        let Shard { core, links, .. } = &mut self.all[shard];
        let key = core.open(now, peer);
        if links.len() <= key.index() {
            links.resize(key.index() + 1, usize::MAX);
        }
        links[key.index()] = link;
        key
    }

    pub(super) fn link_of(&self, shard: usize, key: ConnectionKey) -> Option<usize> {
        self.all[shard].links.get(key.index()).copied()
    }

    /// Carries on what shards have for each other. False if there is nothing to do at this instant.
    pub(super) fn carry(&mut self, now: Time, mut latency: impl FnMut() -> Duration) -> bool {
        let mut busy = false;
        for (from, to) in pairs(self.count()) {
            if self.all[to].mail[from].is_none()
                && let Some(batch) = self.all[from].core.poll_shard(to)
            {
                self.all[to].mail[from] = Some((now + latency(), batch));
                busy = true;
            }
            let Shard { core, mail, .. } = &mut self.all[to];
            if let Some((_, batch)) = mail[from].take_if(|(due, _)| *due <= now) {
                core.receive_shard(now, from, &batch);
                busy = true;
            }
        }
        busy
    }

    /// What is under way has arrived.
    pub(super) fn hurry(&mut self, now: Time) {
        for (due, _) in self.all.iter_mut().flat_map(|shard| &mut shard.mail).flatten() {
            *due = now;
        }
    }

    /// When something is due: a deadline, or what is under way.
    pub(super) fn next_due(&self) -> Option<Time> {
        let deadlines = self.all.iter().filter_map(|shard| shard.core.poll_timeout());
        deadlines.chain(self.next_mail()).min()
    }

    /// When something arrives that is under way from one shard to another.
    pub(super) fn next_mail(&self) -> Option<Time> {
        self.all.iter().flat_map(|shard| &shard.mail).flatten().map(|(due, _)| *due).min()
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = ClientInfo> {
        self.all.iter().flat_map(|shard| shard.core.clients())
    }

    pub(super) fn metrics(&self) -> Metrics {
        let all = self.all.iter().map(|shard| shard.core.metrics());
        all.reduce(|sum, shard| sum.with_shard(&shard)).unwrap_or_default()
    }

    /// Topic and payload of what is retained in each of them, in order of topics.
    pub(super) fn retained(
        &self,
        filter: Option<TopicFilter<'_>>,
    ) -> impl Iterator<Item = Vec<(String, Vec<u8>)>> {
        self.all.iter().map(move |shard| {
            let mut found = Vec::new();
            shard.core.retained(filter, |topic, payload| found.push((topic.to_owned(), payload.to_vec())));
            found.sort();
            found
        })
    }

    pub(super) fn set_authorize(&mut self, authorize: impl Authorize + 'static) {
        let authorize: Arc<Mutex<dyn Authorize>> = Arc::new(Mutex::new(authorize));
        for shard in &mut self.all {
            shard.core.set_authorize(Box::new(Shared(authorize.clone())));
        }
    }
}

impl Authorize for Shared {
    fn authorize(&self, client: Client<'_>, action: Action<'_>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).authorize(client, action)
    }
}

/// Of each shard to each other.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |from| (0..count).map(move |to| (from, to))).filter(|(from, to)| from != to)
}

#[cfg_attr(not(feature = "shards"), allow(unused_mut, unused_variables))]
fn core(own: usize, count: usize, config: &Config, seed: Seed) -> Core {
    let mut core = Core::new(config.clone(), seed);
    #[cfg(feature = "shards")]
    core.join_shards(own, count);
    core
}
