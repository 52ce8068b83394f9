//! Owns one thread's share of a run: connects, subscribes, waits, meets the others. Never knows what a scenario measures.

use std::io;
use std::num::NonZeroU16;

use columba_codec::{
    Connect, List, QoS, Subscribe, SubscribeItem, SubscriptionOptions, TopicFilter, Version,
};

use crate::arguments::Options;
use crate::batch::Shape;
use crate::crew::{Crew, Totals};
use crate::flow::Flow;
use crate::ledger::Ledger;
use crate::net::{Handler, Net, Who};
use crate::progress::Progress;
use crate::usage::{self, Sample};

/// Nanoseconds without any progress after which a step is given up.
pub(crate) const PATIENCE: u64 = 15_000_000_000;
pub(crate) const MILLISECOND: u64 = 1_000_000;
/// Seconds; what clients promise with CONNECT, and twice as often as they say that they are there.
const KEEP_ALIVE: u16 = 60;
const PING_INTERVAL: u64 = 20_000_000_000;
/// SUBSCRIBE packets in flight.
const SUBSCRIBING: u64 = 256;

#[derive(Debug)]
pub(crate) struct Worker<'c> {
    pub(crate) crew: &'c Crew,
    pub(crate) number: usize,
    pub(crate) net: Net,
    pub(crate) progress: Progress,
    meetings: usize,
    pinged: u64,
}

/// An instant of a run, with what had been used and done by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub(crate) time: u64,
    pub(crate) broker: Option<Sample>,
    pub(crate) own: Option<Sample>,
    pub(crate) totals: Totals,
}

/// What is asked of the broker for a client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) who: Who,
    pub(crate) id: String,
    /// The session is to last, in MQTT 5 for an hour.
    pub(crate) is_persistent: bool,
}

impl<'c> Worker<'c> {
    pub(crate) fn new(crew: &'c Crew, number: usize) -> Result<Self, String> {
        let net = Net::new(crew.target.clone(), crew.epoch).map_err(say)?;
        let progress = Progress::new(number == 0 && !crew.options.json);
        Ok(Self { crew, number, net, progress, meetings: 0, pinged: 0 })
    }

    pub(crate) const fn options(&self) -> &'c Options {
        &self.crew.options
    }

    /// What this thread's clients do, with nothing sent yet.
    pub(crate) fn flow(&self, ledger: Ledger) -> Flow {
        Flow::new(self.options().version, self.options().qos, self.crew.run, ledger)
    }

    pub(crate) fn shape(&self) -> Shape {
        let options = self.options();
        Shape {
            version: options.version,
            qos: options.qos,
            retain: options.retain,
            payload: options.payload,
            is_ws: self.net.is_ws(),
        }
    }

    /// The beginning of all topics of this run.
    pub(crate) fn prefix(&self) -> String {
        format!("bench-{:06x}", self.crew.run)
    }

    /// A topic that is as long as all others of the run.
    pub(crate) fn topic(&self, number: usize) -> String {
        format!("{}/{number:07}", self.prefix())
    }

    pub(crate) fn client(&self, who: Who) -> Client {
        let (kind, number) = match who {
            Who::Publisher(number) => ('p', number),
            Who::Subscriber(number) => ('s', number),
            Who::Other(number) => ('c', number),
        };
        // At most 23 characters, for MQTT 3.1.
        Client { who, id: format!("{}-{kind}{number}", self.prefix()), is_persistent: false }
    }

    pub(crate) fn greeting(&self, client: &Client) -> Result<Vec<u8>, String> {
        let options = self.options();
        let mut connect = Connect::new(options.version, &client.id);
        connect.keep_alive = KEEP_ALIVE;
        connect.clean_start = !client.is_persistent;
        if client.is_persistent && options.version == Version::V5 {
            connect.properties.session_expiry = Some(3600);
        }
        connect.username = options.username.as_deref();
        connect.password = options.password.as_deref().map(str::as_bytes);
        let mut bytes = Vec::new();
        connect.encode(&mut bytes).map_err(|error| format!("CONNECT: {error}"))?;
        Ok(bytes)
    }

    /// Opens connections and waits for all CONNACK. Returns which they are, in order.
    pub(crate) fn connect(
        &mut self,
        flow: &mut Flow,
        clients: impl IntoIterator<Item = Client>,
    ) -> Result<Vec<usize>, String> {
        let mut clients = clients.into_iter().peekable();
        let mut links = Vec::new();
        let begin = flow.accepted;
        flow.progress = self.net.now();
        while clients.peek().is_some() || flow.accepted - begin < links.len() as u64 {
            while links.len() as u64 - (flow.accepted - begin) < self.options().parallel as u64 {
                let Some(client) = clients.next() else { break };
                let greeting = self.greeting(&client)?;
                links.push(self.net.open(client.who, greeting, None).map_err(say)?);
            }
            self.wait(flow, "CONNACK")?;
            self.progress.show(|| format!("{} connections", links.len()));
        }
        Ok(links)
    }

    /// Sends SUBSCRIBE packets, each on a link with its filters, and waits for all SUBACK.
    pub(crate) fn subscribe(
        &mut self,
        flow: &mut Flow,
        packets: impl IntoIterator<Item = (usize, Vec<String>)>,
    ) -> Result<(), String> {
        let mut packets = packets.into_iter().peekable();
        let qos = self.options().qos;
        let (mut asked, mut id) = (flow.subscribed, NonZeroU16::MIN);
        flow.progress = self.net.now();
        let mut answered = asked;
        while packets.peek().is_some() || flow.subscribed < asked {
            while asked - flow.subscribed < SUBSCRIBING {
                let Some((link, filters)) = packets.next() else { break };
                let packet = encode_subscribe(self.options().version, qos, id, &filters)?;
                id = id.checked_add(1).unwrap_or(NonZeroU16::MIN);
                asked += filters.len() as u64;
                self.net.links[link].put(&packet);
                self.net.flush(flow, link);
            }
            self.wait(flow, "SUBACK")?;
            if flow.subscribed > answered {
                answered = flow.subscribed;
                self.progress.show(|| format!("{answered} subscriptions"));
            }
        }
        Ok(())
    }

    /// Serves the connections for a while, or until something happens.
    pub(crate) fn serve(&mut self, flow: &mut Flow, nanoseconds: u64) -> Result<(), String> {
        self.poll(flow, nanoseconds)?;
        if let Some(reason) = flow.broken.take() {
            return Err(reason);
        }
        if self.crew.has_given_up() {
            return Err(String::new());
        }
        Ok(())
    }

    /// The same with a handler that is no flow.
    pub(crate) fn poll(&mut self, handler: &mut impl Handler, nanoseconds: u64) -> Result<(), String> {
        self.net.poll(handler, nanoseconds).map_err(say)?;
        let now = self.net.now();
        if now - self.pinged > PING_INTERVAL {
            self.pinged = now;
            self.net.ping(handler);
        }
        Ok(())
    }

    /// Serves the connections for so long.
    pub(crate) fn rest(&mut self, flow: &mut Flow, nanoseconds: u64) -> Result<(), String> {
        let end = self.net.now() + nanoseconds;
        loop {
            let now = self.net.now();
            if now >= end {
                return Ok(());
            }
            self.serve(flow, (end - now).min(50 * MILLISECOND))?;
        }
    }

    /// Serves the connections once, while something called `what` is waited for.
    pub(crate) fn wait(&mut self, flow: &mut Flow, what: &str) -> Result<(), String> {
        self.serve(flow, 20 * MILLISECOND)?;
        if self.net.now() - flow.progress.min(self.net.now()) > PATIENCE {
            return Err(format!("no {what} for {} seconds", PATIENCE / 1_000_000_000));
        }
        Ok(())
    }

    /// Waits until all threads have come so far.
    pub(crate) fn meet(&mut self, flow: &mut Flow) -> Result<(), String> {
        self.meetings += 1;
        self.crew.arrive();
        while !self.crew.has_met(self.meetings) {
            self.serve(flow, MILLISECOND)?;
        }
        Ok(())
    }

    /// Takes leave on all connections and waits until they are closed.
    pub(crate) fn leave(&mut self, handler: &mut impl Handler) -> Result<(), String> {
        self.net.leave(handler);
        let end = self.net.now() + PATIENCE;
        while self.net.len() > 0 && self.net.now() < end {
            self.poll(handler, 20 * MILLISECOND)?;
        }
        Ok(())
    }

    /// This instant.
    pub(crate) fn edge(&self) -> Result<Edge, String> {
        let broker = match self.options().pid {
            Some(pid) => Some(
                usage::sample(pid).ok_or_else(|| format!("there is no process {pid} to read from /proc"))?,
            ),
            None => None,
        };
        let own = usage::sample(std::process::id());
        Ok(Edge { time: self.net.now(), broker, own, totals: self.crew.totals() })
    }
}

/// A SUBSCRIBE with these filters at one QoS.
pub(crate) fn encode_subscribe(
    version: Version,
    qos: QoS,
    packet_id: NonZeroU16,
    filters: &[String],
) -> Result<Vec<u8>, String> {
    let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
    let items: Result<Vec<_>, _> = filters
        .iter()
        .map(|filter| TopicFilter::parse(filter).map(|filter| SubscribeItem { filter, options }))
        .collect();
    let items = items.map_err(|error| format!("a filter: {error}"))?;
    let packet = Subscribe {
        packet_id,
        subscription_id: None,
        user_properties: List::EMPTY,
        filters: List::from(items.as_slice()),
    };
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).map_err(|error| format!("SUBSCRIBE: {error}"))?;
    Ok(bytes)
}

/// An error as part of a sentence.
#[allow(clippy::needless_pass_by_value)] // for map_err
pub(crate) fn say(error: io::Error) -> String {
    error.to_string()
}
