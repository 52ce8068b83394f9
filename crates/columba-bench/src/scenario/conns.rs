//! Connections that do nothing: what opening and holding each of them costs.

use super::{add_percentiles, add_usage, bytes_each, each, report, seconds};
use crate::crew::Crew;
use crate::ledger::Ledger;
use crate::net::Who;
use crate::report::{Report, grouped};
use crate::worker::{MILLISECOND, Worker};

/// Nanoseconds for memory to come to rest.
const SETTLE: u64 = 1_000 * MILLISECOND;

pub(super) fn run(crew: &Crew) -> Result<Report, String> {
    let mut worker = Worker::new(crew, 0)?;
    let options = &crew.options;
    let count = options.conns as u64;
    let mut flow = worker.flow(Ledger::each([]));
    let clients: Vec<_> = (0..options.conns).map(|number| worker.client(Who::Other(number as u32))).collect();
    let before = worker.edge()?;
    worker.connect(&mut flow, clients)?;
    let connected = worker.edge()?;
    worker.rest(&mut flow, SETTLE)?;
    let settled = worker.edge()?;
    worker.rest(&mut flow, options.seconds.as_nanos() as u64)?;
    let held = worker.edge()?;
    worker.leave(&mut flow)?;

    let mut report = report(crew, &format!("{} idle connections", grouped(&count.to_string())));
    report.field("conns", count.to_string());
    report.row("opened").add("connects_per_s", count as f64 / seconds(&before, &connected), 0, "/s").add(
        "connect_cpu_us",
        each(&before, &connected, count),
        1,
        "µs/connection",
    );
    let names =
        ["handshake_p50_us", "handshake_p90_us", "handshake_p99_us", "handshake_p999_us", "handshake_max_us"];
    add_percentiles(&mut report, "handshake", names, &flow.handshakes);
    let idle = super::broker_seconds(&settled, &held).unwrap_or(f64::NAN) / seconds(&settled, &held) * 100.0;
    report
        .row("held")
        .add("bytes_per_connection", bytes_each(&before, &settled, count), 0, "bytes/connection")
        .add("idle_cpu_percent", idle, 2, "% of a CPU");
    add_usage(&mut report, &before, &held, 0, "", "");
    Ok(report)
}
