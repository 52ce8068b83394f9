//! Messages sent to a client and not yet acknowledged, in the order they were sent: the order in which they are
//! sent again to a client that comes back [MQTT-4.6.0-1].

use std::collections::VecDeque;

use columba_codec::{PacketId, QoS};

use crate::lazy::Empty;
use crate::session::Delivery;

#[derive(Debug, Default)]
pub(crate) struct Inflight {
    /// In order of sending; an acknowledged entry stays, empty, until it is the first.
    entries: VecDeque<Entry>,
    /// Entries that are not empty.
    live: u32,
    /// The packet identifier given last.
    last_id: u16,
    /// The identifiers of the entries follow one another.
    gapless: bool,
    /// How many of the first entries have been looked at for sending again; all of them, unless the client has
    /// just come back.
    resent: usize,
    /// How many of the first entries have been looked at for a PUBREL, which may overtake a PUBLISH that has to
    /// wait for room; below `resent` it says nothing.
    ahead: usize,
    /// PUBLISH packets on this connection that wait for their end: what Receive Maximum bounds [MQTT-3.3.4-9].
    outstanding: u16,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u16,
    pub(crate) state: State,
    /// PUBLISH, or the PUBREL that came instead, was sent on this connection.
    counted: bool,
    pub(crate) delivery: Delivery,
}

/// How far the exchange is [MQTT-4.3.2-1 of 3.1.1] [MQTT-4.3.3-1 of 3.1.1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// PUBLISH sent; PUBACK [MQTT-4.3.2-3] or PUBREC [MQTT-4.3.3-3] is due.
    Published,
    /// PUBREL sent; PUBCOMP is due [MQTT-4.3.3-5]. The message itself is let go.
    Released,
    /// Over.
    Done,
}

impl Empty for Inflight {
    const EMPTY: &'static Self = &Self {
        entries: VecDeque::new(),
        live: 0,
        last_id: 0,
        gapless: false,
        resent: 0,
        ahead: 0,
        outstanding: 0,
    };
}

impl Inflight {
    /// What was in flight when the broker ended, in order of sending; no two with the same packet identifier.
    pub(crate) fn restored(last_id: u16, sent: &[(PacketId, State, Delivery)]) -> Self {
        let entry = |&(id, state, delivery): &(PacketId, State, Delivery)| Entry {
            id: id.get(),
            state,
            counted: false,
            delivery,
        };
        Self {
            entries: sent.iter().map(entry).collect(),
            live: sent.len() as u32,
            last_id,
            gapless: sent.windows(2).all(|pair| distance(pair[0].0.get(), pair[1].0.get()) == 1),
            ..Self::default()
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.live as usize
    }

    /// The packet identifier given last; 0 at first.
    pub(crate) const fn last_id(&self) -> u16 {
        self.last_id
    }

    pub(crate) const fn outstanding(&self) -> u16 {
        self.outstanding
    }

    /// Whether every entry has been sent on this connection.
    pub(crate) fn all_resent(&self) -> bool {
        self.resent >= self.entries.len()
    }

    /// Whether one more message can be given a packet identifier.
    pub(crate) const fn has_free_id(&self) -> bool {
        self.live < u16::MAX as u32
    }

    /// Gives the next free packet identifier to `delivery` and counts it as sent [MQTT-2.2.1-4]
    /// [MQTT-4.3.2-1] [MQTT-4.3.3-1]. It is in use until its exchange is over [MQTT-2.3.1-4 of 3.1.1].
    pub(crate) fn push(&mut self, delivery: Delivery) -> PacketId {
        let id = self.next_id();
        let caught_up = self.all_resent();
        let follows = |last: &Entry| self.gapless && distance(last.id, id.get()) == 1;
        self.gapless = self.entries.back().is_none_or(follows);
        self.entries.push_back(Entry { id: id.get(), state: State::Published, counted: true, delivery });
        if caught_up {
            self.resent = self.entries.len();
        }
        self.live += 1;
        self.outstanding += 1;
        id
    }

    /// The entry with this packet identifier.
    pub(crate) fn get_mut(&mut self, id: PacketId) -> Option<&mut Entry> {
        let at = self.position(id.get())?;
        self.entries.get_mut(at)
    }

    /// PUBREC came: PUBREL answers it. Returns what was delivered, the first time.
    pub(crate) fn release(&mut self, id: PacketId) -> Option<Delivery> {
        let at = self.position(id.get())?;
        let entry = &mut self.entries[at];
        if !entry.counted {
            // An answer to what an earlier connection brought; that also does for sending it again on this one.
            entry.counted = true;
            self.outstanding += 1;
        }
        let before = std::mem::replace(&mut entry.state, State::Released);
        (before == State::Published).then_some(entry.delivery)
    }

    /// Ends the exchange with this packet identifier and returns what was delivered.
    pub(crate) fn complete(&mut self, id: PacketId) -> Option<Entry> {
        let at = self.position(id.get())?;
        let entry = self.entries[at];
        self.entries[at].state = State::Done;
        self.live -= 1;
        self.outstanding -= u16::from(entry.counted);
        if at == 0 {
            while self.entries.front().is_some_and(|entry| entry.state == State::Done) {
                self.entries.pop_front();
                self.resent = self.resent.saturating_sub(1);
                self.ahead = self.ahead.saturating_sub(1);
            }
        } else if self.entries.len() > 64 && self.entries.len() > 2 * self.live as usize {
            self.compact();
        }
        if self.entries.is_empty() && self.entries.capacity() > 16 {
            self.entries = VecDeque::new();
        }
        Some(entry)
    }

    /// A new connection: everything has to be sent again [MQTT-4.4.0-1], and nothing counts yet.
    pub(crate) fn restart(&mut self) {
        self.resent = 0;
        self.ahead = 0;
        self.outstanding = 0;
        for entry in &mut self.entries {
            entry.counted = false;
        }
    }

    /// The next entry to send again: in order, but that a PUBLISH waits while `quota` of them are outstanding, and
    /// what is behind it with it, other than PUBREL.
    pub(crate) fn next_resend(&mut self, quota: u16) -> Option<Entry> {
        while let Some(entry) = self.entries.get_mut(self.resent) {
            match entry.state {
                State::Published if self.outstanding >= quota => return self.next_ahead(),
                State::Published => {
                    entry.counted = true;
                    self.outstanding += 1;
                    self.resent += 1;
                    return Some(*entry);
                }
                State::Released if !entry.counted && self.resent >= self.ahead => {
                    self.resent += 1;
                    return Some(*entry);
                }
                State::Released | State::Done => self.resent += 1,
            }
        }
        None
    }

    /// The next PUBREL behind a PUBLISH that has to wait: it takes none of the client's room [MQTT-3.3.4-10]
    /// [MQTT-4.9.0-3]. Each entry is looked at once, however often this is asked.
    fn next_ahead(&mut self) -> Option<Entry> {
        let from = self.ahead.max(self.resent);
        let is_due = |entry: &Entry| entry.state == State::Released && !entry.counted;
        let found = self.entries.range(from..).position(is_due);
        self.ahead = found.map_or(self.entries.len(), |at| from + at + 1);
        found.map(|at| self.entries[from + at])
    }

    /// All entries that are not over.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.state != State::Done)
    }

    fn next_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let in_use = self.live > 0 && self.position(self.last_id).is_some();
            if let Some(id) = PacketId::new(self.last_id).filter(|_| !in_use) {
                return id;
            }
        }
    }

    fn position(&self, id: u16) -> Option<usize> {
        // Identifiers are given in sequence: the distance from the first one is the place, unless entries in
        // between are gone or identifiers were passed over.
        let first = self.entries.front()?.id;
        let guess = distance(first, id);
        let is_it = |entry: &Entry| entry.id == id && entry.state != State::Done;
        if self.entries.get(guess).is_some_and(is_it) {
            return Some(guess);
        }
        if self.gapless {
            return None;
        }
        self.entries.iter().position(is_it)
    }

    /// Drops the empty entries.
    fn compact(&mut self) {
        let left_of =
            |first: usize| self.entries.iter().take(first).filter(|entry| entry.state != State::Done).count();
        (self.resent, self.ahead) = (left_of(self.resent), left_of(self.ahead));
        self.entries.retain(|entry| entry.state != State::Done);
        self.gapless = false;
    }
}

/// How many identifiers `to` comes after `from`; 1 comes after 65,535.
fn distance(from: u16, to: u16) -> usize {
    let around = if to < from { usize::from(u16::MAX) } else { 0 };
    usize::from(to) + around - usize::from(from)
}

impl Entry {
    pub(crate) const fn qos(&self) -> QoS {
        self.delivery.qos()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::Notes;

    /// Something that happens to a session. Numbers name one of those in flight, modulo their count.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push(QoS),
        /// This many pushes and completions, so that identifiers go on.
        Pass(u8),
        Release(u8),
        Complete(u8),
        /// A new connection, to which nothing is sent yet.
        Restart,
        /// The connection takes so many messages, and one portion of output so many packets.
        Resend(u16, usize),
    }

    /// The same by the book: what is in flight in the order it was sent.
    #[derive(Debug, Default)]
    struct Model {
        entries: Vec<Copied>,
        next: u32,
    }

    /// One that is in flight.
    #[derive(Clone, Copy, Debug)]
    struct Copied {
        id: u16,
        qos: QoS,
        state: State,
        /// What its state calls for was sent on this connection.
        sent: bool,
        /// It takes some of the client's room.
        counted: bool,
    }

    impl Model {
        /// What such a connection is sent.
        fn resend(&mut self, quota: u16, portion: usize) -> Vec<(u16, State)> {
            let mut room = usize::from(quota).saturating_sub(self.outstanding());
            let mut again = Vec::new();
            for entry in self.entries.iter_mut().filter(|entry| !entry.sent) {
                if again.len() == portion {
                    break;
                }
                if entry.state == State::Published {
                    if room == 0 {
                        continue;
                    }
                    room -= 1;
                    entry.counted = true;
                }
                entry.sent = true;
                again.push((entry.id, entry.state));
            }
            again
        }

        fn outstanding(&self) -> usize {
            self.entries.iter().filter(|entry| entry.counted).count()
        }

        fn all_sent(&self) -> bool {
            self.entries.iter().all(|entry| entry.sent)
        }
    }

    fn delivery(message: u32, qos: QoS) -> Delivery {
        Delivery::new(message, qos, false, Notes::None)
    }

    fn starting_after(last_id: u16) -> Inflight {
        Inflight { last_id, ..Inflight::default() }
    }

    /// Nothing new is sent before everything was sent again.
    fn push(inflight: &mut Inflight, model: &mut Model, qos: QoS) {
        resend(inflight, model, u16::MAX, usize::MAX);
        model.next += 1;
        let id = inflight.push(delivery(model.next, qos)).get();
        assert!(model.entries.iter().all(|other| other.id != id), "{id} is in use");
        model.entries.push(Copied { id, qos, state: State::Published, sent: true, counted: true });
    }

    fn complete(inflight: &mut Inflight, model: &mut Model, at: usize) {
        let Copied { id, qos, state, .. } = model.entries.remove(at);
        let id = PacketId::new(id).unwrap();
        let entry = inflight.complete(id).expect("it is in flight");
        assert_eq!((entry.id, entry.qos(), entry.state), (id.get(), qos, state));
        assert!(inflight.complete(id).is_none(), "it is over");
    }

    fn release(inflight: &mut Inflight, entry: &mut Copied) {
        let first = entry.state == State::Published;
        // PUBREL goes out with it, so that nothing is left to be sent again.
        (entry.state, entry.sent, entry.counted) = (State::Released, true, true);
        assert_eq!(inflight.release(PacketId::new(entry.id).unwrap()).is_some(), first);
    }

    fn resend(inflight: &mut Inflight, model: &mut Model, quota: u16, portion: usize) {
        let expected = model.resend(quota, portion);
        let again = std::iter::from_fn(|| inflight.next_resend(quota)).take(portion);
        assert_eq!(again.map(|entry| (entry.id, entry.state)).collect::<Vec<_>>(), expected);
        if expected.len() < portion {
            assert_eq!(inflight.all_resent(), model.all_sent());
        }
    }

    fn step(inflight: &mut Inflight, model: &mut Model, step: Step) {
        let pick = |model: &Model, number: u8| usize::from(number) % model.entries.len().max(1);
        match step {
            Step::Push(qos) => push(inflight, model, qos),
            Step::Pass(count) => {
                for _ in 0..count {
                    push(inflight, model, QoS::AtLeastOnce);
                    complete(inflight, model, model.entries.len() - 1);
                }
            }
            Step::Release(number) => {
                let at = pick(model, number);
                if let Some(entry) = model.entries.get_mut(at).filter(|entry| entry.qos == QoS::ExactlyOnce) {
                    release(inflight, entry);
                }
            }
            Step::Complete(number) if !model.entries.is_empty() => {
                complete(inflight, model, pick(model, number));
            }
            Step::Complete(_) => {}
            Step::Restart => {
                inflight.restart();
                for entry in &mut model.entries {
                    (entry.sent, entry.counted) = (false, false);
                }
            }
            Step::Resend(quota, portion) => resend(inflight, model, quota, portion),
        }
        let live: Vec<_> = inflight.iter().map(|entry| (entry.id, entry.qos(), entry.state)).collect();
        let expected: Vec<_> = model.entries.iter().map(|entry| (entry.id, entry.qos, entry.state)).collect();
        assert_eq!(live, expected);
        assert_eq!(inflight.len(), model.entries.len());
        assert_eq!(usize::from(inflight.outstanding()), model.outstanding());
        for id in 1..=20 {
            let known = model.entries.iter().any(|entry| entry.id == id);
            assert_eq!(inflight.get_mut(PacketId::new(id).unwrap()).is_some(), known, "{id}");
        }
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Push(QoS::AtLeastOnce)),
            3 => Just(Step::Push(QoS::ExactlyOnce)),
            1 => (0..60_u8).prop_map(Step::Pass),
            2 => any::<u8>().prop_map(Step::Release),
            5 => any::<u8>().prop_map(Step::Complete),
            1 => Just(Step::Restart),
            3 => (0..6_u16, 1..50_usize).prop_map(|(quota, portion)| Step::Resend(quota, portion)),
        ]
    }

    proptest! {
        /// [MQTT-2.2.1-4] [MQTT-4.6.0-1]
        #[test]
        fn does_as_the_model_does(
            last_id in prop_oneof![Just(0), 65_300..=65_535_u16],
            steps in prop::collection::vec(any_step(), 1..150),
        ) {
            let (mut inflight, mut model) = (starting_after(last_id), Model::default());
            for next in steps {
                step(&mut inflight, &mut model, next);
            }
            while !model.entries.is_empty() {
                complete(&mut inflight, &mut model, 0);
            }
            prop_assert_eq!((inflight.len(), inflight.outstanding()), (0, 0));
            prop_assert_eq!(inflight.entries.len(), 0);
        }
    }

    /// One that is never acknowledged, and the others come round to its identifier.
    #[test]
    fn a_straggler_does_not_hide_the_others() {
        let (mut inflight, mut model) = (starting_after(2), Model::default());
        push(&mut inflight, &mut model, QoS::AtLeastOnce);
        inflight.last_id = 65_535 - 50;
        for _ in 0..50 {
            step(&mut inflight, &mut model, Step::Push(QoS::AtLeastOnce));
        }
        (0..10).for_each(|_| step(&mut inflight, &mut model, Step::Push(QoS::AtLeastOnce)));
        (0..50).for_each(|_| complete(&mut inflight, &mut model, 1));
        // 3, then 1, 2, 4 and so on; 2 and 4 end, and with the second the empty places are given up.
        complete(&mut inflight, &mut model, 2);
        (0..6).for_each(|_| step(&mut inflight, &mut model, Step::Push(QoS::AtLeastOnce)));
        complete(&mut inflight, &mut model, 2);
        step(&mut inflight, &mut model, Step::Push(QoS::AtLeastOnce));
        while !model.entries.is_empty() {
            complete(&mut inflight, &mut model, 0);
        }
    }

    /// Many PUBRELs overtake a PUBLISH, in portions, while places in front of them, between them and behind them
    /// are given up.
    #[test]
    fn what_goes_ahead_goes_once() {
        let (mut inflight, mut model) = (starting_after(0), Model::default());
        let mut go = |what| step(&mut inflight, &mut model, what);
        (0..150).for_each(|_| go(Step::Push(QoS::ExactlyOnce)));
        (30..150).for_each(|at| go(Step::Release(at)));
        go(Step::Restart);
        // PUBREC for what an earlier connection brought, so that its PUBREL goes out by itself.
        go(Step::Release(29));
        go(Step::Resend(3, 42));
        // The first of all and the next to it, which is two places less, and the third has its turn.
        (0..2).for_each(|_| go(Step::Complete(0)));
        go(Step::Resend(1, 21));
        // Nearly all of those that wait, so that the empty places are given up, and some that have gone ahead.
        (0..70).for_each(|_| go(Step::Complete(3)));
        go(Step::Resend(0, 10));
        (0..5).for_each(|_| go(Step::Complete(1)));
        go(Step::Resend(0, usize::MAX));
        go(Step::Resend(u16::MAX, usize::MAX));
        go(Step::Resend(u16::MAX, usize::MAX));
        go(Step::Push(QoS::ExactlyOnce));
    }

    #[test]
    fn all_identifiers_can_be_in_flight() {
        let (mut inflight, mut model) = (starting_after(100), Model::default());
        while inflight.has_free_id() {
            let id = inflight.push(delivery(0, QoS::AtLeastOnce)).get();
            let (qos, state) = (QoS::AtLeastOnce, State::Published);
            model.entries.push(Copied { id, qos, state, sent: true, counted: true });
        }
        assert_eq!(inflight.len(), 65_535);
        assert_eq!(model.entries.last().map(|entry| entry.id), Some(100));
        complete(&mut inflight, &mut model, 40_000);
        assert!(inflight.has_free_id());
        let free = inflight.push(delivery(0, QoS::AtLeastOnce)).get();
        assert!(model.entries.iter().all(|entry| entry.id != free));
        for entry in model.entries {
            assert!(inflight.complete(PacketId::new(entry.id).unwrap()).is_some());
        }
        assert_eq!((inflight.len(), inflight.outstanding()), (1, 1));
    }
}
