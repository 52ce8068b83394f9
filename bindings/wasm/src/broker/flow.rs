//! How bytes flow between clients, lines and the core, and how connections end.

use std::time::Duration;

use columba_core::codec::Version;
use columba_core::{Chunks, CloseCause, ConnectionKey, Event, Flow, Intake, Time};
use columba_testkit::{Cargo, Direction, Line, What};

use super::{Link, MAX_OUTPUTS, Output, RawBroker};
use crate::value;

impl RawBroker {
    pub(super) fn set_now(&mut self, now: f64) {
        self.now = self.now.max(value::time(now));
    }

    /// Now, as lines see it.
    pub(super) fn elapsed(&self) -> Duration {
        self.now.since(Time::ZERO)
    }

    pub(super) fn mark_fresh(&mut self, link: u32) {
        if let Some(found) = self.links.get_mut(&link)
            && !std::mem::replace(&mut found.is_fresh, true)
        {
            self.fresh.push_back(link);
        }
    }

    pub(super) fn mark_ready(&mut self, link: u32) {
        if let Some(found) = self.links.get_mut(&link)
            && !std::mem::replace(&mut found.is_ready, true)
        {
            self.ready.push_back(link);
        }
    }

    /// Somebody wants to see packets, or something may happen to them.
    pub(super) fn is_watched(&self) -> bool {
        self.is_recording || !self.net.is_calm()
    }

    pub(super) fn add_lines(&mut self) {
        let without: Vec<u32> =
            self.links.iter().filter(|(_, link)| link.line.is_none()).map(|(&number, _)| number).collect();
        for number in without {
            self.add_line(number);
        }
    }

    /// From now on the connection's packets pass a line, beginning with the next whole one.
    pub(super) fn add_line(&mut self, number: u32) {
        // What has come so far belongs to the time before.
        self.take_in(number);
        let client = self.client_of(number);
        let Some(link) = self.links.get_mut(&number) else { return };
        let (version, id) = match &client {
            Some((id, version)) => (*version, &**id),
            None => (Version::V5, ""),
        };
        let line = if id.is_empty() {
            Line::new(&self.net, &link.name, version)
        } else {
            Line::join(&self.net, id, version, &link.input, &[])
        };
        self.by_line.insert(line.number(), number);
        link.line = Some(line);
    }

    /// Client id and version of a connection that has them.
    pub(super) fn client_of(&self, number: u32) -> Option<(Box<str>, Version)> {
        let key = self.links.get(&number)?.key;
        self.core.0.client_of(key).map(|(id, version)| (id.into(), version))
    }

    /// Takes what has come through the line, if there is one, to the core.
    pub(super) fn take_in(&mut self, number: u32) {
        let now = self.elapsed();
        let Some(link) = self.links.get_mut(&number) else { return };
        match &mut link.line {
            None if link.input.is_empty() => std::mem::swap(&mut link.input, &mut link.incoming),
            None => link.input.extend_from_slice(&link.incoming),
            Some(line) => {
                if !line.is_full(Direction::ToBroker) {
                    line.carry(now, Direction::ToBroker, &link.incoming, Duration::ZERO);
                    link.incoming.clear();
                }
                return self.poll_up(number);
            }
        }
        link.incoming.clear();
        self.feed(number);
    }

    /// What has arrived at the broker's end.
    pub(super) fn poll_up(&mut self, number: u32) {
        let now = self.elapsed();
        loop {
            let Some(Link { line: Some(line), input, .. }) = self.links.get_mut(&number) else { return };
            match line.poll(now, Direction::ToBroker) {
                Some(Cargo::Bytes(bytes)) => input.extend_from_slice(&bytes),
                Some(Cargo::End | Cargo::Cut) => {
                    self.feed(number);
                    return self.close_core(number, CloseCause::Transport);
                }
                None => break,
            }
        }
        // A packet that is larger than a lane goes through in portions.
        if self.links.get(&number).is_some_and(Link::has_room_for_more) {
            self.mark_fresh(number);
        }
        self.feed(number);
    }

    /// What has arrived at the client's end.
    pub(super) fn poll_down(&mut self, number: u32) {
        let now = self.elapsed();
        loop {
            let Some(Link { line: Some(line), is_client_gone, .. }) = self.links.get_mut(&number) else {
                return;
            };
            match line.poll(now, Direction::ToClient) {
                Some(Cargo::Bytes(bytes)) if !*is_client_gone => {
                    self.turn_bytes += bytes.len();
                    self.outputs.push_back(Output::Data { link: number, bytes });
                }
                Some(Cargo::Bytes(_)) => {}
                Some(cargo) => self.close_client(number, cargo == Cargo::Cut),
                None => break,
            }
        }
        let Some(link) = self.links.get_mut(&number) else { return };
        if link.is_held_up && link.line.as_ref().is_some_and(|line| !line.is_full(Direction::ToClient)) {
            link.is_held_up = false;
            self.mark_ready(number);
        }
    }

    pub(super) fn poll_lines(&mut self) {
        let with: Vec<u32> = self.by_line.values().copied().collect();
        for number in with {
            self.poll_up(number);
            self.poll_down(number);
        }
    }

    /// Gives the core what it takes.
    pub(super) fn feed(&mut self, number: u32) {
        let Some(link) = self.links.get_mut(&number) else { return };
        if link.is_core_done {
            link.input.clear();
        } else if !link.is_paused && !link.input.is_empty() {
            match self.core.0.receive(self.now, link.key, &mut link.input) {
                // There is one shard, so nothing moves.
                Intake::Open | Intake::Closed | Intake::Moved(_) => {}
                Intake::Paused => link.is_paused = true,
            }
        }
        // What is left then is a part of a packet, and waits for the rest of it.
        if link.wants_drain && !link.is_paused && link.incoming.is_empty() {
            link.wants_drain = false;
            self.outputs.push_back(Output::Drained { link: number });
        }
    }

    /// Takes everything the core has to say, but for what is to be sent.
    pub(super) fn drain(&mut self) {
        while let Some(event) = self.core.0.poll_event() {
            self.report(event);
        }
        while let Some(key) = self.core.0.poll_ready() {
            if let Some(number) = self.number_of(key) {
                self.mark_ready(number);
            }
        }
        while let Some(key) = self.core.0.poll_abort() {
            if let Some(number) = self.number_of(key) {
                self.close_core(number, CloseCause::Asked);
                self.end_down(number);
            }
        }
    }

    pub(super) fn report(&mut self, event: Event) {
        if let Event::Authenticate { ticket, request } = event {
            self.last_ticket = self.last_ticket.wrapping_add(1);
            let number = self.last_ticket;
            self.tickets.insert(number, ticket);
            self.outputs.push_back(Output::Authenticate { ticket: number, request });
        } else if self.outputs.len() < MAX_OUTPUTS {
            let key = match &event {
                Event::Connected { connection, .. }
                | Event::Refused { connection, .. }
                | Event::Disconnected { connection, .. } => Some(*connection),
                _ => None,
            };
            let link = key.and_then(|key| self.number_of(key)).unwrap_or(0);
            self.outputs.push_back(Output::Event { event, link });
        } else {
            self.core.0.count_lost_event();
        }
    }

    /// Sends what a connection has to send, and takes the input that had to wait.
    pub(super) fn serve(&mut self, number: u32) {
        let Some(link) = self.links.get_mut(&number) else { return };
        link.is_ready = false;
        if std::mem::take(&mut link.is_paused) {
            self.feed(number);
        }
        let now = self.elapsed();
        let Some(link) = self.links.get_mut(&number) else { return };
        link.is_held_up = link.line.as_ref().is_some_and(|line| line.is_full(Direction::ToClient));
        if link.is_blocked || link.is_core_done || link.is_held_up {
            return;
        }
        let mut chunks = Chunks::new();
        let flow = self.core.0.poll_transmit(self.now, link.key, &mut chunks);
        // What was in the way of the input may be gone with this; the core does not name the connection for it.
        let may_resume = link.is_paused && !chunks.is_empty();
        while let Some(bytes) = chunks.take_chunk() {
            if let Some(line) = &mut link.line {
                line.carry(now, Direction::ToClient, &bytes, Duration::ZERO);
            } else {
                self.turn_bytes += bytes.len();
                self.outputs.push_back(Output::Data { link: number, bytes });
            }
        }
        if link.line.is_some() {
            self.poll_down(number);
        }
        match flow {
            Flow::Idle if !may_resume => {}
            Flow::Idle | Flow::More => self.mark_ready(number),
            Flow::Close => {
                self.close_core(number, CloseCause::Asked);
                self.end_down(number);
            }
        }
    }

    /// The core is through with a connection, or learns that it is gone.
    pub(super) fn close_core(&mut self, number: u32, cause: CloseCause) {
        let Some(link) = self.links.get_mut(&number) else { return };
        if std::mem::replace(&mut link.is_core_done, true) {
            return;
        }
        link.input.clear();
        self.core.0.close(self.now, link.key, cause);
        // The core may use the index again at once, so events about this connection come first.
        while let Some(event) = self.core.0.poll_event() {
            self.report(event);
        }
        let Some(link) = self.links.get(&number) else { return };
        if let Some(entry) = self.by_index.get_mut(link.key.index()).filter(|entry| **entry == number) {
            *entry = 0;
        }
        if link.is_client_gone {
            self.forget(number);
        }
    }

    /// The broker's end is closed: the client learns it when it has got what is under way.
    pub(super) fn end_down(&mut self, number: u32) {
        let now = self.elapsed();
        let Some(link) = self.links.get_mut(&number) else { return };
        match &mut link.line {
            Some(line) => {
                line.end(now, Direction::ToClient, Duration::ZERO);
                self.poll_down(number);
            }
            None => self.close_client(number, false),
        }
    }

    pub(super) fn close_client(&mut self, number: u32, is_cut: bool) {
        let Some(link) = self.links.get_mut(&number) else { return };
        if std::mem::replace(&mut link.is_client_gone, true) {
            return;
        }
        let is_core_done = link.is_core_done;
        self.outputs.push_back(Output::Close { link: number, is_cut });
        let is_known = self.links.get(&number).is_some_and(|link| link.is_half_open);
        match is_cut {
            // Said already, and in better words.
            true if is_known => {}
            true => self.note(number, "cut"),
            false => self.note(number, "closed by the broker"),
        }
        if is_core_done {
            self.forget(number);
        }
    }

    pub(super) fn forget(&mut self, number: u32) {
        self.record();
        if let Some(Link { line: Some(line), .. }) = self.links.remove(&number) {
            self.by_line.remove(&line.number());
        }
    }

    pub(super) fn number_of(&self, key: ConnectionKey) -> Option<u32> {
        let number = self.by_index.get(key.index()).copied().filter(|&number| number != 0)?;
        self.links.get(&number).filter(|link| link.key == key).map(|_| number)
    }

    /// Hands on what lines have recorded.
    pub(super) fn record(&mut self) {
        if !self.is_recording {
            return;
        }
        for entry in self.net.transcript().take() {
            let link = self.by_line.get(&entry.connection).copied().unwrap_or(0);
            let client: Box<str> = (&*entry.client()).into();
            let time = value::milliseconds(entry.at);
            let fate = entry.fate.as_deref().map(Into::into);
            self.outputs.push_back(match entry.what {
                What::Packet { version, bytes } => {
                    let is_up = entry.direction == Direction::ToBroker;
                    Output::Packet { time, link, client, is_up, version, bytes, fate }
                }
                What::Link(what) => Output::Noted { time, link, client, what: what.into() },
                _ => continue,
            });
        }
    }

    /// Reports something about a connection, in its place among the packets.
    pub(super) fn note(&mut self, number: u32, what: &'static str) {
        if self.is_recording {
            let now = self.elapsed();
            if let Some(Link { line: Some(line), .. }) = self.links.get(&number) {
                line.note(now, Direction::ToBroker, what);
            }
        }
    }
}
