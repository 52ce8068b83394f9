//! Retained messages: stored one for each topic, then replayed to new subscribers.

use columba_codec::QoS;

use super::{Findings, add_faults, add_usage, bytes_each, clear_retained, each, report, seconds, shape};
use crate::batch::{Batch, Shape};
use crate::crew::Crew;
use crate::flow::{Flow, Lanes};
use crate::ledger::Ledger;
use crate::net::Who;
use crate::report::{Report, grouped};
use crate::worker::{Edge, MILLISECOND, Worker};

/// New subscribers, one after the other; the quickest counts.
const REPLAYS: u32 = 3;
/// Nanoseconds for memory to come to rest.
const SETTLE: u64 = 500 * MILLISECOND;

pub(super) fn run(crew: &Crew) -> Result<Report, String> {
    let mut worker = Worker::new(crew, 0)?;
    let options = &crew.options;
    // The same for each publisher.
    let share = options.count.unwrap_or(1).div_ceil(options.pubs as u64);
    let count = share * options.pubs as u64;
    let mut flow = worker.flow(Ledger::each([]));
    let clients: Vec<_> =
        (0..options.pubs).map(|number| worker.client(Who::Publisher(number as u32))).collect();
    let links = worker.connect(&mut flow, clients)?;
    let topics: Vec<_> = (0..count as usize).map(|number| worker.topic(number)).collect();
    let mut batch = Batch::new(Shape { retain: true, ..worker.shape() }, topics.iter().cloned());
    let window = if options.qos > QoS::AtMostOnce { options.window } else { 0 };
    for (&link, number) in links.iter().zip(0..) {
        let first = number * share as u32;
        let lanes = Lanes { first, count: share as u32, stride: 1, topic: first };
        flow.add_publisher(link, lanes, 0, window, share);
    }
    worker.rest(&mut flow, SETTLE)?;
    let before = worker.edge()?;
    super::offline::publish_all(&mut worker, &mut flow, &mut batch)?;
    let after = worker.edge()?;
    worker.rest(&mut flow, SETTLE)?;
    let settled = worker.edge()?;
    let (sent, publisher) = (flow.sent(count as usize), links[0]);
    let replays = replay(&mut worker, &mut flow, count, &sent);
    // Also where something is missing: nothing is to be left at the broker.
    clear_retained(&mut worker, &mut flow, publisher, &topics);
    let left = worker.leave(&mut flow);
    let (replays, findings) = replays?;
    left?;

    let what = format!("{} messages, {}", grouped(&count.to_string()), shape(options));
    let mut report = report(crew, &what);
    let time = seconds(&before, &after);
    report
        .row("stored")
        .add("store_per_s", count as f64 / time, 0, "/s")
        .add("store_cpu_us_per_message", each(&before, &after, count), 3, "µs/message")
        .add("bytes_per_message", bytes_each(&before, &settled, count), 0, "bytes/message");
    let time = replays.iter().map(|(before, after)| seconds(before, after)).fold(f64::INFINITY, f64::min);
    let cpu = replays.iter().map(|(before, after)| each(before, after, count)).fold(f64::NAN, f64::min);
    report.row("replayed").add("replay_per_s", count as f64 / time, 0, "/s").add(
        "replay_cpu_us_per_message",
        cpu,
        3,
        "µs/message",
    );
    let (first, last) = (before, replays.last().map_or(after, |(_, after)| *after));
    add_usage(&mut report, &first, &last, 0, "", "");
    findings.put(&mut report, options.qos);
    add_faults(&mut report, &flow.faults);
    Ok(report)
}

/// Has all messages sent to new subscribers, and says when each began and when it had the last.
fn replay(
    worker: &mut Worker<'_>,
    flow: &mut Flow,
    count: u64,
    sent: &[u64],
) -> Result<(Vec<(Edge, Edge)>, Findings), String> {
    let mut findings = Findings::default();
    let mut replays = Vec::new();
    flow.wants_retained = true;
    for number in 0..REPLAYS {
        flow.ledger = Ledger::one(0..count as u32);
        let mut client = worker.client(Who::Subscriber(number));
        client.who = Who::Subscriber(0);
        let link = worker.connect(flow, [client])?[0];
        let before = worker.edge()?;
        worker.subscribe(flow, [(link, vec![format!("{}/#", worker.prefix())])])?;
        super::offline::drain(worker, flow, count)?;
        let mut after = worker.edge()?;
        after.time = flow.progress;
        replays.push((before, after));
        // Anything more would be a double.
        worker.rest(flow, 100 * MILLISECOND)?;
        findings.add(Findings::with(flow, sent));
        worker.net.links[link].leave();
        worker.net.flush(flow, link);
    }
    Ok((replays, findings))
}
