//! Owns which clients there are in each scenario, what they do, and which figures come of it.

mod conns;
mod messages;
mod offline;
mod retained;
mod storm;
mod subs;

use std::net::ToSocketAddrs;
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use columba_codec::{QoS, Version};

use crate::arguments::{Options, Scenario};
use crate::crew::Crew;
use crate::flow::Flow;
use crate::histogram::Histogram;
use crate::measure::Span;
use crate::net::Target;
use crate::report::{Report, quoted};
use crate::usage::Sample;
use crate::worker::{Edge, Worker};

/// Files besides connections.
const OTHER_FILES: u64 = 100;

/// Runs what the options say.
///
/// # Errors
/// Why there are no figures.
pub(crate) fn run(options: Options) -> Result<Report, String> {
    let clients = match options.scenario {
        Scenario::Conns => options.conns,
        Scenario::Storm => options.parallel,
        // One of each, however many subscriptions the subscriber has.
        Scenario::Subs => 2,
        _ => options.pubs + options.subs() + options.idle,
    };
    let wanted = clients as u64 + OTHER_FILES;
    let allowed = rlimit::increase_nofile_limit(wanted).unwrap_or(u64::MAX);
    if allowed < wanted {
        return Err(format!("{clients} connections are more than the {allowed} open files that are allowed"));
    }
    let target = resolve(&options)?;
    // Different from run to run, so that clients and topics of two runs at a time do not meet.
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let run = (time.as_nanos() as u32 >> 8).wrapping_mul(31) ^ process::id();
    let scenario = options.scenario;
    let crew = Crew::new(options, target, run);
    match scenario {
        Scenario::P2p | Scenario::FanIn | Scenario::FanOut | Scenario::Shared | Scenario::Latency => {
            messages::run(&crew)
        }
        Scenario::Retained => retained::run(&crew),
        Scenario::Offline => offline::run(&crew),
        Scenario::Conns => conns::run(&crew),
        Scenario::Subs => subs::run(&crew),
        Scenario::Storm => storm::run(&crew),
    }
}

fn resolve(options: &Options) -> Result<Target, String> {
    let Options { host, port, path, .. } = options;
    let mut addresses =
        (host.as_str(), *port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    let address = addresses.next().ok_or_else(|| format!("{host} has no address"))?;
    let ws = path.clone().map(|path| (format!("{host}:{port}"), path));
    Ok(Target { address, ws })
}

/// A report with what every scenario has in common in its title and its fields; `what` is the rest.
fn report(crew: &Crew, what: &str) -> Report {
    let options = &crew.options;
    let name = options.scenario.name();
    let version = match options.version {
        Version::V3_1 => "3.1",
        Version::V3_1_1 => "3.1.1",
        Version::V5 => "5",
    };
    let transport = if options.path.is_some() { "WebSocket" } else { "TCP" };
    let mut report = Report::new(format!("{name}: {what}, MQTT {version} over {transport}"));
    report.field("scenario", quoted(name));
    report.field("version", quoted(version));
    report.field("transport", quoted(transport));
    report.field("qos", (options.qos as u8).to_string());
    report.field("payload", options.payload.to_string());
    report
}

/// "QoS 1, 64 bytes"
fn shape(options: &Options) -> String {
    format!("QoS {}, {} bytes", options.qos as u8, options.payload)
}

/// Seconds between two instants.
fn seconds(before: &Edge, after: &Edge) -> f64 {
    after.time.saturating_sub(before.time).max(1) as f64 / 1e9
}

/// Seconds of the broker's CPU between two instants, if its process is known.
fn broker_seconds(before: &Edge, after: &Edge) -> Option<f64> {
    Some(after.broker?.cpu - before.broker?.cpu)
}

/// Microseconds of the broker's CPU for one of `count` things done between two instants; no number if it is not known.
fn each(before: &Edge, after: &Edge, count: u64) -> f64 {
    broker_seconds(before, after).filter(|_| count > 0).map_or(f64::NAN, |cpu| cpu * 1e6 / count as f64)
}

/// Bytes that the broker has grown by for one of `count` things; no number if it has not, because it had room left from
/// earlier ones.
fn bytes_each(before: &Edge, after: &Edge, count: u64) -> f64 {
    let grown =
        before.broker.zip(after.broker).and_then(|(before, after)| after.memory.checked_sub(before.memory));
    grown.map_or(f64::NAN, |grown| grown as f64 / count as f64)
}

/// Rows for what broker and generator have used between two instants. `what` is what the broker's time is divided by.
fn add_usage(
    report: &mut Report,
    before: &Edge,
    after: &Edge,
    count: u64,
    name: &'static str,
    unit: &'static str,
) {
    let share = |used: Option<f64>| used.map_or(f64::NAN, |used| used / seconds(before, after) * 100.0);
    let broker = share(broker_seconds(before, after));
    let own = before.own.zip(after.own).map(|(before, after)| after.cpu - before.cpu);
    let own = share(own);
    report.row("broker").add(name, each(before, after, count), 3, unit).add(
        "broker_cpu_percent",
        broker,
        1,
        "% of a CPU",
    );
    if let Some(Sample { memory, peak, .. }) = after.broker {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        report.row("memory").add("memory_mb", megabytes(memory), 1, "MB").add(
            "memory_peak_mb",
            megabytes(peak),
            1,
            "MB at most",
        );
    }
    report.row("generator").add("generator_cpu_percent", own, 1, "% of a CPU");
    if own > 90.0 && broker < 90.0 {
        report.remark("the generator was busier than the broker: rates are its own limit".into());
    }
}

/// A row of percentiles, in microseconds.
fn add_percentiles(
    report: &mut Report,
    label: &'static str,
    names: [&'static str; 5],
    histogram: &Histogram,
) {
    let micros = |nanoseconds: u64| {
        if histogram.len() == 0 { f64::NAN } else { nanoseconds as f64 / 1e3 }
    };
    let units = ["µs p50", "µs p90", "µs p99", "µs p99.9"];
    let mut row = report.row(label);
    for ((name, unit), share) in names.into_iter().zip(units).zip([0.5, 0.9, 0.99, 0.999]) {
        row = row.add(name, micros(histogram.quantile(share)), 1, unit);
    }
    row.add(names[4], micros(histogram.max()), 1, "µs max");
}

/// What has been found wrong with the messages of a run.
#[derive(Clone, Copy, Debug, Default)]
struct Findings {
    lost: u64,
    doubled: u64,
    disordered: u64,
    astray: u64,
}

impl Findings {
    /// Of one flow, which has published all that its ledger is about.
    fn of(flow: &Flow, lanes: usize) -> Self {
        Self::with(flow, &flow.sent(lanes))
    }

    fn with(flow: &Flow, sent: &[u64]) -> Self {
        let ledger = &flow.ledger;
        Self {
            lost: ledger.lost(sent),
            doubled: ledger.doubled,
            disordered: ledger.disordered,
            astray: ledger.astray,
        }
    }

    fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.disordered += other.disordered;
        self.astray += other.astray;
    }

    /// Shows them, and makes the report a failure if there are any that may not be.
    fn put(self, report: &mut Report, qos: QoS) {
        report
            .row("checked")
            .count("lost", self.lost, "lost")
            .count("doubled", self.doubled, "doubled")
            .count("disordered", self.disordered, "out of order");
        let mut faults = vec![
            (self.lost, "messages were lost"),
            (self.disordered, "messages came out of order"),
            (self.astray, "messages came to somebody else"),
        ];
        if qos != QoS::AtLeastOnce {
            faults.push((self.doubled, "messages came twice"));
        }
        for (count, what) in faults.into_iter().filter(|(count, _)| *count > 0) {
            report.fault(format!("{count} {what}"));
        }
    }
}

fn add_faults(report: &mut Report, faults: &crate::faults::Faults) {
    for (what, count) in faults.iter() {
        report.fault(format!("{count} {what}"));
    }
}

/// Rows for a span of messages that were delivered.
fn add_deliveries(report: &mut Report, options: &Options, span: &Span) {
    let Span { before, after, stalls } = span;
    let delivered = after.totals.delivered - before.totals.delivered;
    let published = after.totals.published - before.totals.published;
    let seconds = seconds(before, after);
    let rate = delivered as f64 / seconds;
    report.row("published").count("published", published, "messages").add(
        "published_per_s",
        published as f64 / seconds,
        0,
        "/s",
    );
    report
        .row("delivered")
        .count("delivered", delivered, "messages")
        .add("delivered_per_s", rate, 0, "/s")
        .add("mb_per_s", rate * options.payload as f64 / 1e6, 1, "MB/s");
    add_usage(report, before, after, delivered, "cpu_us_per_message", "µs/message");
    if *stalls > 0 {
        report.remark(format!("{stalls} times nothing came for 0.3 s, and what was missing was given up"));
    }
}

/// Clears retained messages, as if they had never been published.
fn clear_retained(worker: &mut Worker<'_>, flow: &mut Flow, link: usize, topics: &[String]) {
    for topic in topics {
        let Ok(name) = columba_codec::TopicName::parse(topic) else { continue };
        let mut publish = columba_codec::Publish::new(name, b"");
        publish.retain = true;
        let mut bytes = Vec::new();
        if publish.encode(worker.options().version, &mut bytes).is_ok() {
            worker.net.links[link].put(&bytes);
        }
    }
    worker.net.flush(flow, link);
}
