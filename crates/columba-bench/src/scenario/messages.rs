//! Publishers and subscribers that are all there: p2p, fanin, fanout, shared, latency.

use std::thread;

use columba_codec::QoS;

use super::{Findings, add_deliveries, add_faults, add_percentiles, clear_retained, report, shape};
use crate::arguments::Scenario;
use crate::batch::Batch;
use crate::crew::Crew;
use crate::faults::Faults;
use crate::flow::{Flow, Lanes};
use crate::histogram::Histogram;
use crate::ledger::Ledger;
use crate::measure::{self, Plan, Span};
use crate::net::Who;
use crate::report::Report;
use crate::worker::Worker;

/// What one thread has to tell in the end.
struct Share {
    flow: Flow,
    span: Span,
}

/// Who publishes what to whom. Publisher i has lane i.
struct Topology {
    scenario: Scenario,
    pubs: usize,
    subs: usize,
}

pub(super) fn run(crew: &Crew) -> Result<Report, String> {
    let shares: Vec<Result<Share, String>> = thread::scope(|scope| {
        let others: Vec<_> = (1..crew.len()).map(|number| scope.spawn(move || share(crew, number))).collect();
        let first = share(crew, 0);
        let others = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())));
        std::iter::once(first).chain(others).collect()
    });
    // Threads that only gave up because another one did say nothing.
    if let Some(reason) =
        shares.iter().filter_map(|share| share.as_ref().err()).find(|reason| !reason.is_empty())
    {
        return Err(reason.clone());
    }
    let shares: Vec<_> = shares.into_iter().flatten().collect();
    Ok(evaluate(crew, &shares))
}

fn share(crew: &Crew, number: usize) -> Result<Share, String> {
    let share = Worker::new(crew, number).and_then(|mut worker| play(&mut worker));
    if share.is_err() {
        crew.give_up();
    }
    share
}

/// One thread's part of the scenario, from the first connection to the last.
fn play(worker: &mut Worker<'_>) -> Result<Share, String> {
    let crew = worker.crew;
    let options = worker.options();
    let topology = Topology { scenario: options.scenario, pubs: options.pubs, subs: options.subs() };
    let subs = topology.subscribers_of(worker.number, crew.len());
    let pubs = topology.publishers_of(worker.number, crew.len());
    let mut flow = worker.flow(topology.ledger(&subs));
    if worker.number == 0 {
        // All on one thread: nothing comes on them, so they are no work.
        let idle: Vec<_> = (0..options.idle).map(|number| worker.client(Who::Other(number as u32))).collect();
        worker.connect(&mut flow, idle)?;
    }

    let clients: Vec<_> = (0..subs.len()).map(|own| (own, subs[own])).collect();
    let clients = clients.into_iter().map(|(own, number)| {
        let mut client = worker.client(Who::Subscriber(number as u32));
        // On this thread it is known by its place in the ledger.
        client.who = Who::Subscriber(own as u32);
        client
    });
    let clients: Vec<_> = clients.collect();
    let links = worker.connect(&mut flow, clients)?;
    let filters: Vec<_> =
        links.into_iter().zip(&subs).map(|(link, &sub)| (link, vec![topology.filter(worker, sub)])).collect();
    worker.subscribe(&mut flow, filters)?;
    worker.meet(&mut flow)?;

    let clients: Vec<_> = pubs
        .iter()
        .enumerate()
        .map(|(own, &number)| {
            let mut client = worker.client(Who::Publisher(number as u32));
            client.who = Who::Publisher(own as u32);
            client
        })
        .collect();
    // From here on it is what the broker takes from publishers.
    flow.receive_maximum = u16::MAX;
    let links = worker.connect(&mut flow, clients)?;
    let topics: Vec<_> = (0..topology.topics()).map(|number| worker.topic(number)).collect();
    let mut batch = Batch::new(worker.shape(), topics.iter().cloned());
    let limit = options.count.map_or(u64::MAX, |count| count.div_ceil(options.pubs as u64));
    let window = if options.qos > QoS::AtMostOnce { options.window } else { 0 };
    for (&link, &number) in links.iter().zip(&pubs) {
        let lanes = Lanes::one(number as u32, topology.topic(number) as u32);
        flow.add_publisher(link, lanes, topology.fan(), window, limit);
    }
    let rate = (options.scenario == Scenario::Latency).then_some(options.rate);
    let plan = Plan::new(worker, rate, topology.pubs, topology.subs);
    // With several threads of the shared scenario the first has no publishers, and publishers are counted from the second.
    let span = measure::run(worker, &mut flow, &mut batch, &plan)?;
    if options.retain && worker.number == 0 {
        let link = links.first().copied();
        if let Some(link) = link {
            clear_retained(worker, &mut flow, link, &topics);
        }
    }
    worker.meet(&mut flow)?;
    worker.leave(&mut flow)?;
    Ok(Share { flow, span })
}

fn evaluate(crew: &Crew, shares: &[Share]) -> Report {
    let options = &crew.options;
    let (pubs, subs) = (options.pubs, options.subs());
    let people = |count: usize, who: &str| format!("{count} {who}{}", if count == 1 { "" } else { "s" });
    let mut what =
        format!("{} to {}, {}", people(pubs, "publisher"), people(subs, "subscriber"), shape(options));
    if options.scenario == Scenario::Latency {
        what = format!("{what}, {} messages/s", options.rate);
    }
    if options.idle > 0 {
        what = format!("{what}, beside {} idle", people(options.idle, "connection"));
    }
    let mut report = report(crew, &what);
    report.field("idle", options.idle.to_string());
    report.field("pubs", pubs.to_string());
    report.field("subs", subs.to_string());
    add_deliveries(&mut report, options, &shares[0].span);

    let mut sent = vec![0; pubs];
    let (mut faults, mut latency, mut lateness) = (Faults::default(), Histogram::new(), Histogram::new());
    for Share { flow, .. } in shares {
        for (total, own) in sent.iter_mut().zip(flow.sent(pubs)) {
            *total += own;
        }
        faults.merge(&flow.faults);
        latency.merge(&flow.latency);
        lateness.merge(&flow.lateness);
    }
    if options.scenario == Scenario::Latency {
        let names = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"];
        add_percentiles(&mut report, "latency", names, &latency);
        let late = lateness.quantile(0.99) as f64 / 1e3;
        report.row("sent").add("late_p99_us", late, 1, "µs late p99");
        if lateness.quantile(0.99) > 1_000_000 {
            report.remark("messages were sent late, which their latency includes".into());
        }
    }
    let mut findings = Findings::default();
    for Share { flow, .. } in shares.iter().filter(|share| share.flow.ledger.has_subscribers()) {
        findings.add(Findings::with(flow, &sent));
    }
    findings.put(&mut report, options.qos);
    add_faults(&mut report, &faults);
    report
}

impl Topology {
    const fn is_paired(&self) -> bool {
        matches!(self.scenario, Scenario::P2p | Scenario::Latency)
    }

    fn subscribers_of(&self, thread: usize, threads: usize) -> Vec<usize> {
        match self.scenario {
            // Who has got a message and who has not can only be told in one place.
            Scenario::Shared if thread > 0 => Vec::new(),
            Scenario::Shared => (0..self.subs).collect(),
            _ => (thread..self.subs).step_by(threads).collect(),
        }
    }

    fn publishers_of(&self, thread: usize, threads: usize) -> Vec<usize> {
        match (self.scenario, threads) {
            (Scenario::Shared, 2..) if thread == 0 => Vec::new(),
            (Scenario::Shared, 2..) => (thread - 1..self.pubs).step_by(threads - 1).collect(),
            _ => (thread..self.pubs).step_by(threads).collect(),
        }
    }

    fn ledger(&self, subs: &[usize]) -> Ledger {
        let lanes = self.pubs as u32;
        match self.scenario {
            Scenario::Shared => Ledger::shared(subs.len(), lanes),
            _ if self.is_paired() => Ledger::each(subs.iter().map(|&sub| sub as u32..sub as u32 + 1)),
            _ => Ledger::each(subs.iter().map(|_| 0..lanes)),
        }
    }

    const fn topics(&self) -> usize {
        if matches!(self.scenario, Scenario::FanOut) { 1 } else { self.pubs }
    }

    const fn topic(&self, publisher: usize) -> usize {
        if matches!(self.scenario, Scenario::FanOut) { 0 } else { publisher }
    }

    fn filter(&self, worker: &Worker<'_>, subscriber: usize) -> String {
        match self.scenario {
            Scenario::FanIn => format!("{}/#", worker.prefix()),
            Scenario::Shared => format!("$share/group/{}/#", worker.prefix()),
            Scenario::FanOut => worker.topic(0),
            _ => worker.topic(subscriber),
        }
    }

    /// Deliveries of each message.
    fn fan(&self) -> u64 {
        match self.scenario {
            Scenario::FanIn | Scenario::FanOut => self.subs as u64,
            _ => 1,
        }
    }
}
