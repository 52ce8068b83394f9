//! One broker as the JavaScript around it drives it: connections by number, bytes in, outputs out. It decides when the
//! core is called and in which portions, never what the core does. Nothing here calls back while a call is under way,
//! but for the hook that authorises: what there is to tell is taken by [`RawBroker::next_output`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use columba_core::codec::{ReasonCode, TopicFilter, Version};
use columba_core::{AuthRequest, CloseCause, ConnectionKey, Core, Event, Peer, Seed, Ticket, Time};
use columba_testkit::{Direction, Line, Net};
use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, JsValue};

mod flow;

use crate::fault::RawFault;
use crate::{events, fault, inspect, options, value};

/// How much output one turn hands out, in bytes, before it is looked at whether the page should have its turn: what clients do
/// with it takes longer than to hand it out.
const TURN_BUDGET: usize = 64 << 10;
/// Events that wait to be taken; beyond, the core counts them as lost.
const MAX_OUTPUTS: usize = 65_536;

/// A broker. Times are in milliseconds since it began.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawBroker {
    core: CoreBox,
    net: Net,
    links: BTreeMap<u32, Link>,
    /// Link numbers by the core's connection index; 0 is none.
    by_index: Vec<u32>,
    /// Link numbers by the number that a line has in the transcript.
    by_line: BTreeMap<usize, u32>,
    last_link: u32,
    now: Time,
    /// Links with input that has not been looked at.
    fresh: VecDeque<u32>,
    /// Links that the core has named and that have not been served.
    ready: VecDeque<u32>,
    outputs: VecDeque<Output>,
    tickets: BTreeMap<u32, Ticket>,
    last_ticket: u32,
    is_recording: bool,
    turn_bytes: usize,
}

/// The core, which has no `Debug`.
struct CoreBox(Core);

/// One connection.
#[derive(Debug)]
struct Link {
    key: ConnectionKey,
    /// What has come and has not passed the line.
    incoming: BytesMut,
    /// What the core has not taken.
    input: BytesMut,
    line: Option<Line>,
    name: Box<str>,
    is_fresh: bool,
    is_ready: bool,
    /// The core takes no input until it names the connection again.
    is_paused: bool,
    /// The transport takes no output at the moment.
    is_blocked: bool,
    /// The client's end is closed.
    is_client_gone: bool,
    /// The core knows the connection no more.
    is_core_done: bool,
    /// The client's end was taken away by hand.
    is_half_open: bool,
    /// Output waits for room on the line.
    is_held_up: bool,
    /// Somebody waits until the input is taken.
    wants_drain: bool,
}

/// What the JavaScript side has to do.
#[derive(Debug)]
pub(crate) enum Output {
    Data {
        link: u32,
        bytes: Bytes,
    },
    Close {
        link: u32,
        is_cut: bool,
    },
    Drained {
        link: u32,
    },
    Authenticate {
        ticket: u32,
        request: Box<AuthRequest>,
    },
    Event {
        event: Event,
        link: u32,
    },
    Packet {
        time: f64,
        link: u32,
        client: Box<str>,
        is_up: bool,
        version: Version,
        bytes: Bytes,
        fate: Option<Box<str>>,
    },
    Noted {
        time: f64,
        link: u32,
        client: Box<str>,
        what: Box<str>,
    },
}

#[wasm_bindgen]
impl RawBroker {
    /// A broker with these options; see `BrokerOptions` in the type declarations.
    #[wasm_bindgen(constructor)]
    pub fn new(given: &JsValue, seed_high: u64, seed_low: u64) -> Result<Self, JsError> {
        let seed = seed(seed_high, seed_low);
        let core = Core::new(options::config(given)?, seed);
        Ok(Self::with_core(core, given, seed))
    }

    /// A broker that goes on where a snapshot was taken, `away` milliseconds ago.
    pub fn restore(
        given: &JsValue,
        seed_high: u64,
        seed_low: u64,
        snapshot: &[u8],
        away: f64,
    ) -> Result<Self, JsError> {
        let seed = seed(seed_high, seed_low);
        let away = value::duration(away);
        let core = Core::restore(options::config(given)?, seed, Time::ZERO, snapshot, away);
        Ok(Self::with_core(core.map_err(|error| JsError::new(&error.to_string()))?, given, seed))
    }

    /// A transport is open.
    pub fn open(
        &mut self,
        now: f64,
        name: &str,
        transport: &str,
        address: Option<String>,
        trusted: bool,
    ) -> u32 {
        self.set_now(now);
        let peer = Peer {
            transport: known_transport(transport),
            address: address.map(Into::into),
            trusted,
            ..Peer::default()
        };
        let key = self.core.0.open(self.now, peer);
        self.last_link += 1;
        let number = self.last_link;
        if self.by_index.len() <= key.index() {
            self.by_index.resize(key.index() + 1, 0);
        }
        self.by_index[key.index()] = number;
        self.links.insert(number, Link::new(key, name));
        if self.is_watched() {
            self.add_line(number);
        }
        self.note(number, "opened");
        number
    }

    /// Bytes from a client; [`turn`](Self::turn) takes them. Those for a connection that is gone are ignored.
    pub fn receive(&mut self, link: u32, bytes: &[u8]) {
        if let Some(found) = self.links.get_mut(&link) {
            found.incoming.extend_from_slice(bytes);
            self.mark_fresh(link);
        }
    }

    /// Bytes of a client that have not been taken. A part of a packet is taken, as the rest has to come.
    pub fn buffered(&self, link: u32) -> usize {
        let Some(link) = self.links.get(&link) else { return 0 };
        link.incoming.len() + if link.is_paused { link.input.len() } else { 0 }
    }

    /// Asks for a word when all that has come is taken.
    #[wasm_bindgen(js_name = wantDrain)]
    pub fn want_drain(&mut self, link: u32) {
        if let Some(found) = self.links.get_mut(&link) {
            found.wants_drain = true;
            self.mark_fresh(link);
        }
    }

    /// The client's end was closed.
    pub fn ended(&mut self, now: f64, link: u32) {
        self.set_now(now);
        let Some(found) = self.links.get_mut(&link) else { return };
        if found.is_client_gone {
            return;
        }
        // What came before the end counts.
        self.take_in(link);
        self.note(link, "closed by the client");
        let now = self.elapsed();
        let Some(found) = self.links.get_mut(&link) else { return };
        found.is_client_gone = true;
        if found.is_core_done {
            self.forget(link);
        } else if let Some(line) = &mut found.line {
            line.end(now, Direction::ToBroker, Duration::ZERO);
            self.mark_fresh(link);
        } else {
            self.close_core(link, CloseCause::Transport);
        }
    }

    /// The transport takes no output for now, or takes it again.
    pub fn block(&mut self, link: u32, blocked: bool) {
        if let Some(found) = self.links.get_mut(&link) {
            found.is_blocked = blocked;
            if !blocked {
                self.mark_ready(link);
            }
        }
    }

    /// Does what there is to do. True if there is more, which should wait until the page has had its turn.
    pub fn turn(&mut self, now: f64) -> bool {
        self.set_now(now);
        self.core.0.handle_timeout(self.now);
        self.turn_bytes = 0;
        self.poll_lines();
        for _ in 0..self.fresh.len() {
            let Some(link) = self.fresh.pop_front() else { break };
            if let Some(found) = self.links.get_mut(&link) {
                found.is_fresh = false;
                self.take_in(link);
            }
        }
        self.drain();
        while self.turn_bytes < TURN_BUDGET && self.outputs.len() < MAX_OUTPUTS {
            let Some(link) = self.ready.pop_front() else { break };
            self.serve(link);
            self.drain();
        }
        self.record();
        !self.ready.is_empty() || !self.fresh.is_empty()
    }

    /// When [`turn`](Self::turn) has to be called at the latest, if ever.
    pub fn deadline(&self) -> Option<f64> {
        let core = self.core.0.poll_timeout().map(Time::as_micros);
        let lines = self.by_line.values().filter_map(|number| self.links.get(number)?.line.as_ref());
        let arrivals = lines.flat_map(|line| {
            [line.next_arrival(Direction::ToBroker), line.next_arrival(Direction::ToClient)]
        });
        let line = arrivals.flatten().min().map(|at| u64::try_from(at.as_micros()).unwrap_or(u64::MAX));
        // Rounded up: called a moment early, there would be nothing to do.
        [core, line].into_iter().flatten().min().map(|micros| value::deadline(Time::from_micros(micros)))
    }

    /// The next thing to be done, as an array that begins with its kind.
    #[wasm_bindgen(js_name = next)]
    pub fn next_output(&mut self) -> Option<Array> {
        let output = self.outputs.pop_front()?;
        Some(events::to_array(output))
    }

    /// Which kinds of events are reported; see `EventMask` in the core. They are never switched off there: what nobody
    /// listens to is dropped by the caller.
    pub fn enable(&mut self, kinds: u8) {
        self.core.0.enable_events(events::mask(kinds));
    }

    /// Whether each packet is reported.
    #[wasm_bindgen(js_name = recordPackets)]
    pub fn record_packets(&mut self, on: bool) {
        self.is_recording = on;
        if on {
            self.net.transcript().switch_on();
            self.add_lines();
        } else {
            self.net.transcript().switch_off();
        }
    }

    /// Answers a question who may come in.
    pub fn answer(&mut self, now: f64, ticket: u32, verdict: &JsValue) -> Result<(), JsError> {
        self.set_now(now);
        let verdict = options::verdict(verdict)?;
        if let Some(ticket) = self.tickets.remove(&ticket) {
            self.core.0.answer(self.now, ticket, verdict);
        }
        Ok(())
    }

    /// Sends a client away.
    pub fn disconnect(&mut self, now: f64, client_id: &str, reason: u8) -> bool {
        self.set_now(now);
        let reason = ReasonCode::from_u8(reason).unwrap_or(ReasonCode::AdministrativeAction);
        self.core.0.disconnect(self.now, client_id, reason)
    }

    /// Sends all clients away.
    #[wasm_bindgen(js_name = shutDown)]
    pub fn shut_down(&mut self, now: f64) {
        self.set_now(now);
        self.core.0.shut_down(self.now);
    }

    /// What lasts, as bytes.
    pub fn snapshot(&self, now: f64) -> Vec<u8> {
        self.core.0.snapshot(value::time(now))
    }

    /// All sessions.
    pub fn clients(&self) -> Array {
        self.core.0.clients().map(|client| inspect::client(&client)).collect()
    }

    /// One session.
    pub fn client(&self, client_id: &str) -> Option<js_sys::Object> {
        self.core.0.client(client_id).map(|client| inspect::client(&client).into())
    }

    /// The subscriptions of a session.
    pub fn subscriptions(&self, client_id: &str) -> Array {
        self.core.0.subscriptions(client_id).iter().map(inspect::subscription).collect()
    }

    /// Retained messages that match.
    pub fn retained(&self, filter: &str, limit: usize) -> Result<Array, JsError> {
        let filter = TopicFilter::parse(filter).map_err(|error| JsError::new(&error.to_string()))?;
        let mut found: Vec<(Box<str>, Uint8Array)> = Vec::new();
        self.core.0.retained(Some(filter), |topic, payload| found.push((topic.into(), payload.into())));
        found.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(found.iter().take(limit).map(|(topic, payload)| inspect::retained(topic, payload)).collect())
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> JsValue {
        inspect::metrics(&self.core.0.metrics())
    }

    /// Adds a fault.
    pub fn fault(&mut self, rule: &JsValue) -> Result<RawFault, JsError> {
        let fault = fault::from_js(rule)?;
        let handle = self.net.add(fault);
        self.add_lines();
        Ok(RawFault::new(handle))
    }

    /// Ends all faults.
    #[wasm_bindgen(js_name = clearFaults)]
    pub fn clear_faults(&mut self) {
        self.net.clear();
    }

    /// Something happens to a client's connection: 0 cut, 1 half-open, 2 blackhole, 3 slow. False if it has none.
    pub fn trouble(&mut self, now: f64, client_id: &str, kind: u8, rate: u32) -> bool {
        self.set_now(now);
        let now = self.elapsed();
        self.add_lines();
        let is_meant = |link: &&mut Link| {
            !link.is_client_gone && link.line.as_ref().is_some_and(|line| *line.client() == *client_id)
        };
        // Of those that say the same client id, the last has taken the session over.
        let Some(link) = self.links.values_mut().filter(is_meant).last() else { return false };
        let Some(line) = &mut link.line else { return false };
        let what = match kind {
            0 => {
                line.cut(now);
                None
            }
            1 => {
                line.half_open(now);
                link.is_half_open = true;
                Some("half-open: the broker does not know that it is gone")
            }
            2 => {
                line.blackhole();
                Some("silent: nothing arrives any more")
            }
            _ => {
                line.slow(Direction::ToClient, rate);
                Some("slow from now on")
            }
        };
        if let Some(what) = what {
            line.note(now, Direction::ToBroker, what);
        }
        true
    }
}

impl RawBroker {
    fn with_core(mut core: Core, given: &JsValue, seed: Seed) -> Self {
        if let Some(authorize) = options::authorize(given) {
            core.set_authorize(Box::new(authorize));
        }
        let net = Net::new(seed.0 as u64);
        net.transcript().switch_off();
        net.limit_packets(core.config().limits.packet_size as usize);
        Self {
            core: CoreBox(core),
            net,
            links: BTreeMap::new(),
            by_index: Vec::new(),
            by_line: BTreeMap::new(),
            last_link: 0,
            now: Time::ZERO,
            fresh: VecDeque::new(),
            ready: VecDeque::new(),
            outputs: VecDeque::new(),
            tickets: BTreeMap::new(),
            last_ticket: 0,
            is_recording: false,
            turn_bytes: 0,
        }
    }
}

impl Link {
    fn new(key: ConnectionKey, name: &str) -> Self {
        Self {
            key,
            incoming: BytesMut::new(),
            input: BytesMut::new(),
            line: None,
            name: name.into(),
            is_fresh: false,
            is_ready: false,
            is_paused: false,
            is_blocked: false,
            is_client_gone: false,
            is_core_done: false,
            is_half_open: false,
            is_held_up: false,
            wants_drain: false,
        }
    }

    /// Input waits for room on the line, and there is some.
    fn has_room_for_more(&self) -> bool {
        !self.incoming.is_empty() && self.line.as_ref().is_some_and(|line| !line.is_full(Direction::ToBroker))
    }
}

impl std::fmt::Debug for CoreBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Core")
    }
}

fn seed(high: u64, low: u64) -> Seed {
    Seed(u128::from(high) << 64 | u128::from(low))
}

/// The core wants names that live for ever.
fn known_transport(name: &str) -> &'static str {
    const KNOWN: [&str; 8] =
        ["memory", "port", "channel", "tcp", "websocket", "stream", "in-process", "bridge"];
    KNOWN.into_iter().find(|known| *known == name).unwrap_or("memory")
}
