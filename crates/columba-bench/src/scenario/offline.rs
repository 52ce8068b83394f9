//! Messages for a client that is away: queued at the broker, and sent when it comes back.

use super::{Findings, add_faults, add_usage, bytes_each, each, report, seconds, shape};
use crate::batch::Batch;
use crate::crew::Crew;
use crate::flow::{Flow, Lanes, Time};
use crate::ledger::Ledger;
use crate::net::Who;
use crate::report::{Report, grouped};
use crate::worker::{Client, MILLISECOND, PATIENCE, Worker};

/// Nanoseconds for memory to come to rest.
const SETTLE: u64 = 500 * MILLISECOND;
/// Publishers that write before the sockets are looked at again.
const TURN: usize = 16;
/// Nanoseconds without a message after which no more are waited for.
const SILENCE: u64 = 4_000 * MILLISECOND;

pub(super) fn run(crew: &Crew) -> Result<Report, String> {
    let mut worker = Worker::new(crew, 0)?;
    let options = &crew.options;
    let share = options.count.unwrap_or(1).div_ceil(options.pubs as u64);
    let count = share * options.pubs as u64;
    let mut flow = worker.flow(Ledger::one(0..options.pubs as u32));
    let sleeper = Client { is_persistent: true, ..worker.client(Who::Subscriber(0)) };
    let link = worker.connect(&mut flow, [sleeper.clone()])?[0];
    worker.subscribe(&mut flow, [(link, vec![format!("{}/#", worker.prefix())])])?;
    leave_one(&mut worker, &mut flow, link)?;

    flow.receive_maximum = u16::MAX;
    let clients: Vec<_> =
        (0..options.pubs).map(|number| worker.client(Who::Publisher(number as u32))).collect();
    let links = worker.connect(&mut flow, clients)?;
    let topics: Vec<_> = (0..options.pubs).map(|number| worker.topic(number)).collect();
    let mut batch = Batch::new(worker.shape(), topics);
    for (&link, number) in links.iter().zip(0..) {
        flow.add_publisher(link, Lanes::one(number, number), 0, options.window, share);
    }
    worker.rest(&mut flow, SETTLE)?;
    let before = worker.edge()?;
    publish_all(&mut worker, &mut flow, &mut batch)?;
    let queued = worker.edge()?;
    worker.rest(&mut flow, SETTLE)?;
    let settled = worker.edge()?;

    worker.connect(&mut flow, [sleeper.clone()])?;
    let was_present = flow.was_present;
    drain(&mut worker, &mut flow, count)?;
    let mut drained = worker.edge()?;
    drained.time = flow.progress;
    // Anything more would be a double.
    worker.rest(&mut flow, SETTLE)?;
    worker.leave(&mut flow)?;
    // Nothing is to be left at the broker: a clean start ends the session.
    worker.connect(&mut flow, [Client { is_persistent: false, ..sleeper }])?;
    worker.leave(&mut flow)?;

    let mut report = report(crew, &format!("{} messages, {}", grouped(&count.to_string()), shape(options)));
    report
        .row("queued")
        .add("queue_per_s", count as f64 / seconds(&before, &queued), 0, "/s")
        .add("queue_cpu_us_per_message", each(&before, &queued, count), 3, "µs/message")
        .add("bytes_per_message", bytes_each(&before, &settled, count), 0, "bytes/message");
    let delivered = flow.ledger.delivered;
    report.row("drained").add("drain_per_s", delivered as f64 / seconds(&settled, &drained), 0, "/s").add(
        "drain_cpu_us_per_message",
        each(&settled, &drained, delivered),
        3,
        "µs/message",
    );
    add_usage(&mut report, &before, &drained, 0, "", "");
    Findings::of(&flow, options.pubs).put(&mut report, options.qos);
    if !was_present && options.version > columba_codec::Version::V3_1 {
        report.fault("the broker had no session for who came back".into());
    }
    add_faults(&mut report, &flow.faults);
    Ok(report)
}

/// Publishes until every publisher is at its limit and all is answered.
pub(super) fn publish_all(worker: &mut Worker<'_>, flow: &mut Flow, batch: &mut Batch) -> Result<(), String> {
    flow.progress = worker.net.now();
    while !flow.is_published() || flow.unanswered > 0 {
        let now = worker.net.now();
        for _ in 0..flow.ready.len().min(TURN) {
            let Some(index) = flow.next_ready() else { break };
            let (_, can_more) = flow.send(&mut worker.net, batch, index, u64::MAX, Time::Now(now));
            let publisher = &flow.publishers[index];
            if can_more && publisher.sent < publisher.limit {
                flow.make_ready(index);
            }
        }
        let wait = if flow.ready.is_empty() { 20 * MILLISECOND } else { 0 };
        worker.serve(flow, wait)?;
        if worker.net.now().saturating_sub(flow.progress) > PATIENCE {
            return Err(format!("{} messages have no answer", flow.unanswered));
        }
        worker.progress.show(|| format!("{} messages published", grouped(&flow.published.to_string())));
    }
    Ok(())
}

/// Receives until there have been `count` messages, or no more come.
pub(super) fn drain(worker: &mut Worker<'_>, flow: &mut Flow, count: u64) -> Result<(), String> {
    while flow.ledger.delivered < count {
        worker.serve(flow, 20 * MILLISECOND)?;
        if worker.net.now().saturating_sub(flow.progress) > SILENCE {
            break;
        }
        worker.progress.show(|| format!("{} messages received", grouped(&flow.ledger.delivered.to_string())));
    }
    Ok(())
}

/// Takes leave on one connection, and gives the broker a moment to notice.
fn leave_one(worker: &mut Worker<'_>, flow: &mut Flow, link: usize) -> Result<(), String> {
    worker.net.links[link].leave();
    worker.net.flush(flow, link);
    worker.rest(flow, 200 * MILLISECOND)
}
