//! One client with very many subscriptions, and messages of which each matches one of them.

use columba_codec::QoS;

use super::{Findings, add_deliveries, add_faults, bytes_each, each, report, seconds, shape};
use crate::batch::Batch;
use crate::crew::Crew;
use crate::flow::Lanes;
use crate::ledger::Ledger;
use crate::measure::{self, Plan};
use crate::net::Who;
use crate::report::{Report, grouped};
use crate::worker::{MILLISECOND, Worker};

/// Filters in one SUBSCRIBE.
const FILTERS: usize = 50;
/// Nanoseconds for memory to come to rest.
const SETTLE: u64 = 500 * MILLISECOND;

pub(super) fn run(crew: &Crew) -> Result<Report, String> {
    let mut worker = Worker::new(crew, 0)?;
    let options = &crew.options;
    let count = options.subs;
    let mut flow = worker.flow(Ledger::one(0..count as u32));
    let client = worker.client(Who::Subscriber(0));
    let link = worker.connect(&mut flow, [client])?[0];
    let prefix = worker.prefix();
    let filters: Vec<_> = (0..count).map(|number| filter(&prefix, number)).collect();
    worker.rest(&mut flow, SETTLE)?;
    let before = worker.edge()?;
    worker.subscribe(&mut flow, filters.chunks(FILTERS).map(|filters| (link, filters.to_vec())))?;
    let subscribed = worker.edge()?;
    worker.rest(&mut flow, SETTLE)?;
    let settled = worker.edge()?;

    flow.receive_maximum = u16::MAX;
    let client = worker.client(Who::Publisher(0));
    let link = worker.connect(&mut flow, [client])?[0];
    let mut batch = Batch::new(worker.shape(), (0..count).map(|number| topic(&prefix, number)));
    let lanes = Lanes { first: 0, count: count as u32, stride: stride(count as u32), topic: 0 };
    let window = if options.qos > QoS::AtMostOnce { options.window } else { 0 };
    flow.add_publisher(link, lanes, 1, window, u64::MAX);
    let plan = Plan::new(&worker, None, 1, 1);
    let span = measure::run(&mut worker, &mut flow, &mut batch, &plan)?;
    worker.leave(&mut flow)?;

    let mut report =
        report(crew, &format!("{} subscriptions, {}", grouped(&count.to_string()), shape(options)));
    report.field("subs", count.to_string());
    let count = count as u64;
    report
        .row("subscribed")
        .add("subscribes_per_s", count as f64 / seconds(&before, &subscribed), 0, "/s")
        .add("subscribe_cpu_us", each(&before, &subscribed, count), 2, "µs/subscription")
        .add("bytes_per_subscription", bytes_each(&before, &settled, count), 0, "bytes/subscription");
    add_deliveries(&mut report, options, &span);
    Findings::of(&flow, options.subs).put(&mut report, options.qos);
    add_faults(&mut report, &flow.faults);
    Ok(report)
}

/// A quarter each: exact, `+` at the end, `+` in the middle, `#`.
fn filter(prefix: &str, number: usize) -> String {
    match number % 4 {
        0 => format!("{prefix}/a/{number:07}/x"),
        1 => format!("{prefix}/b/{number:07}/+"),
        2 => format!("{prefix}/+/{number:07}/y"),
        _ => format!("{prefix}/d/{number:07}/#"),
    }
}

/// The topic that matches this filter and no other.
fn topic(prefix: &str, number: usize) -> String {
    let (kind, end) = [('a', 'x'), ('b', 'z'), ('c', 'y'), ('d', 'z')][number % 4];
    format!("{prefix}/{kind}/{number:07}/{end}")
}

/// A step that comes by all of `count` topics, and hardly ever to a neighbour.
fn stride(count: u32) -> u32 {
    let divides = |mut one: u32, mut other: u32| {
        while other > 0 {
            (one, other) = (other, one % other);
        }
        one > 1
    };
    let mut stride = (count as f64 * 0.618) as u32 | 1;
    while stride > 1 && divides(stride, count) {
        stride -= 1;
    }
    stride.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use columba_codec::{TopicFilter, TopicName};

    #[test]
    fn each_topic_matches_one_filter() {
        for number in 0..40 {
            let topic = topic("bench", number);
            let name = TopicName::parse(&topic).unwrap();
            let matching: Vec<_> = (0..40)
                .filter(|&other| TopicFilter::parse(&filter("bench", other)).unwrap().matches(name))
                .collect();
            assert_eq!(matching, [number], "{topic}");
            assert_eq!(topic.len(), super::topic("bench", 0).len());
        }
    }

    #[test]
    fn strides_come_by_all() {
        for count in [1, 2, 3, 10, 97, 100, 20_000] {
            let stride = u64::from(stride(count));
            let mut seen: Vec<_> =
                (0..u64::from(count)).map(|turn| turn * stride % u64::from(count)).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), count as usize, "{count} in steps of {stride}");
        }
    }
}
