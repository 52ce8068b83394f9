//! Owns the course of a measured run: warming up, measuring, waiting for the rest; as fast as the broker takes it (closed
//! loop) or by a schedule (open loop). Never knows who the clients are.

use std::thread;
use std::time::Duration;

use columba_codec::QoS;

use crate::batch::Batch;
use crate::crew::Totals;
use crate::flow::{Flow, Time};
use crate::worker::{Edge, MILLISECOND, PATIENCE, Worker};

/// Nanoseconds without a delivery after which missing QoS 0 messages are taken for lost.
const STALL: u64 = 300 * MILLISECOND;
/// After the end of publishing, so long without a delivery means that no more come.
const SILENCE: u64 = 4_000 * MILLISECOND;
/// Publishers that write before the sockets are looked at again.
const TURN: usize = 16;
/// Bytes that may be waiting in the broker, headers of packets included.
const BACKLOG: u64 = 16 << 20;
/// Deliveries that may be outstanding for each subscriber.
const LAG: u64 = 10_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) warmup: u64,
    /// Nanoseconds; `None` if publishers have a limit instead.
    pub(crate) length: Option<u64>,
    /// Messages per second of all threads' publishers; `None` for as many as the broker takes.
    pub(crate) rate: Option<f64>,
    pub(crate) publishers: u64,
    /// Deliveries that may be outstanding, or a broker that queues would look fast.
    pub(crate) lag: u64,
}

/// The measured part of a run, as the first thread has seen it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) before: Edge,
    pub(crate) after: Edge,
    /// How often missing messages were given up to go on.
    pub(crate) stalls: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    WarmingUp,
    Measuring,
    Draining,
}

struct Course<'a> {
    plan: &'a Plan,
    begin: u64,
    stage: Stage,
    before: Option<Edge>,
    after: Option<Edge>,
    is_throttled: bool,
    /// The number of settled deliveries when it last changed, and when that was.
    settled: u64,
    changed: u64,
    stalls: u64,
    /// Open loop: the number of the next message that falls due, of all publishers.
    due: u64,
    pace: Pace,
}

/// How fast messages come, to know how long they may be left waiting.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    time: u64,
    settled: u64,
    per_nanosecond: f64,
}

impl Plan {
    /// By the options of a worker, for so many publishers and deliveries of each message.
    pub(crate) fn new(worker: &Worker<'_>, rate: Option<f64>, publishers: usize, subscribers: usize) -> Self {
        let options = worker.options();
        let is_counted = options.count.is_some();
        Self {
            warmup: if is_counted { 0 } else { options.warmup.as_nanos() as u64 },
            length: (!is_counted).then_some(options.seconds.as_nanos() as u64),
            rate,
            publishers: publishers as u64,
            lag: lag(options.payload, publishers, subscribers),
        }
    }
}

/// Deliveries that may be outstanding: one of each publisher at least, however large.
fn lag(payload: usize, publishers: usize, subscribers: usize) -> u64 {
    let bytes = (payload + 40) as u64;
    (LAG * subscribers.max(1) as u64).min((BACKLOG / bytes).max(publishers as u64))
}

/// Runs the publishers of one thread.
///
/// # Errors
/// A connection ended, the broker stopped answering, or another thread gave up.
pub(crate) fn run(
    worker: &mut Worker<'_>,
    flow: &mut Flow,
    batch: &mut Batch,
    plan: &Plan,
) -> Result<Span, String> {
    worker.meet(flow)?;
    // Without a warm-up the measured part begins with the first message of all threads, so before there is any.
    let start = worker.edge()?;
    if worker.number == 0 {
        worker.crew.set_begin(worker.net.now() + MILLISECOND);
    }
    worker.meet(flow)?;
    let begin = worker.crew.begin();
    if let (Some(_), Some(length)) = (plan.rate, plan.length) {
        flow.measured = begin + plan.warmup..begin + plan.warmup + length;
        // What a schedule does not call stays silent.
        while flow.next_ready().is_some() {}
    }
    let mut course = Course {
        plan,
        begin,
        stage: if plan.warmup == 0 { Stage::Measuring } else { Stage::WarmingUp },
        before: (plan.warmup == 0).then_some(Edge { time: begin, ..start }),
        after: None,
        is_throttled: false,
        settled: 0,
        changed: begin,
        stalls: 0,
        due: 0,
        pace: Pace::default(),
    };
    while !course.advance(worker, flow)? {
        let wait = if plan.rate.is_some() {
            course.publish_due(worker, flow, batch)
        } else {
            course.publish(worker, flow, batch)
        };
        worker.serve(flow, wait)?;
    }
    // The last acknowledgements of subscribers are still on their way.
    worker.meet(flow)?;
    worker.rest(flow, 50 * MILLISECOND)?;
    flow.faults.add("messages without an acknowledgement", flow.unanswered);
    let (Some(before), Some(after)) = (course.before, course.after) else {
        return Err("the run has ended before it began".into());
    };
    Ok(Span { before, after, stalls: course.stalls })
}

impl Course<'_> {
    /// Goes on to the next stage if it is time. Whether all is over.
    fn advance(&mut self, worker: &mut Worker<'_>, flow: &mut Flow) -> Result<bool, String> {
        let now = worker.net.now();
        let crew = worker.crew;
        let own = Totals {
            published: flow.published,
            expected: flow.expected,
            delivered: flow.ledger.delivered,
            settled: flow.ledger.settled(),
        };
        crew.post(worker.number, own);
        let totals = crew.totals();
        if totals.settled != self.settled {
            (self.settled, self.changed) = (totals.settled, now);
        }
        // A thread that only publishes sees its acknowledgements, too.
        let last = self.changed.max(flow.progress).max(self.begin);
        let silence = now.saturating_sub(last);
        self.show(worker, now, totals);
        match self.stage {
            Stage::WarmingUp if now >= self.begin + self.plan.warmup => {
                self.before = Some(worker.edge()?);
                self.stage = Stage::Measuring;
            }
            Stage::Measuring => {
                let is_over = match self.plan.length {
                    Some(length) => now >= self.begin + self.plan.warmup + length,
                    None => flow.is_published(),
                };
                if is_over {
                    self.stage = Stage::Draining;
                    crew.finish();
                    self.changed = now;
                    if self.plan.length.is_some() {
                        self.after = Some(worker.edge()?);
                        crew.recall();
                    }
                } else if self.is_throttled && flow.qos == QoS::AtMostOnce && silence > STALL {
                    crew.write_off();
                    self.stalls += 1;
                    self.changed = now;
                } else if silence > PATIENCE && (flow.unanswered > 0 || crew.outstanding() > 0) {
                    return Err(format!("nothing has come for {} seconds", PATIENCE / 1_000_000_000));
                }
            }
            Stage::Draining => {
                let is_empty = crew.has_finished()
                    && crew.outstanding() == 0
                    && flow.unanswered == 0
                    && flow.publishers.iter().all(|publisher| publisher.due == 0);
                if is_empty || silence > SILENCE {
                    if self.after.is_none() {
                        let mut after = worker.edge()?;
                        // Silence is waited for, not worked.
                        after.time = if is_empty { after.time } else { last };
                        self.after = Some(after);
                    }
                    return Ok(true);
                }
            }
            Stage::WarmingUp => {}
        }
        Ok(false)
    }

    /// Closed loop. Returns for how long nothing has to be sent.
    fn publish(&mut self, worker: &mut Worker<'_>, flow: &mut Flow, batch: &mut Batch) -> u64 {
        if self.stage == Stage::Draining && self.plan.length.is_some() {
            return MILLISECOND;
        }
        let early = self.begin.saturating_sub(worker.net.now());
        if early > 0 {
            return early;
        }
        let outstanding = worker.crew.outstanding();
        if self.is_throttled && outstanding <= self.plan.lag / 4 * 3 {
            self.is_throttled = false;
        }
        let mut room = self.plan.lag.saturating_sub(outstanding);
        if room == 0 {
            self.is_throttled = true;
        }
        if !self.is_throttled {
            let now = worker.net.now();
            for _ in 0..flow.ready.len().min(TURN) {
                let Some(index) = flow.next_ready() else { break };
                let fan = flow.publishers[index].fan();
                let (sent, can_more) =
                    flow.send(&mut worker.net, batch, index, room.div_ceil(fan), Time::Now(now));
                if can_more {
                    flow.make_ready(index);
                }
                room = room.saturating_sub(sent * fan);
                if room == 0 {
                    // Whoever had no turn is still in line.
                    self.is_throttled = true;
                    break;
                }
            }
            if !self.is_throttled && !flow.ready.is_empty() {
                return 0;
            }
        }
        if flow.qos == QoS::AtMostOnce {
            self.pace.nap(worker.net.now(), self.settled, outstanding);
        }
        // Other threads make room without a word.
        if worker.crew.len() > 1 { MILLISECOND / 4 } else { 10 * MILLISECOND }
    }

    /// Open loop: sends what is due. Returns for how long nothing is.
    fn publish_due(&mut self, worker: &mut Worker<'_>, flow: &mut Flow, batch: &mut Batch) -> u64 {
        let now = worker.net.now();
        let (Some(rate), Some(length)) = (self.plan.rate, self.plan.length) else { return MILLISECOND };
        let interval = 1e9 / rate;
        let end = self.begin + self.plan.warmup + length;
        let mut wait = 10 * MILLISECOND;
        let (threads, own) = (worker.crew.len() as u64, worker.number as u64);
        loop {
            let at = self.begin + (self.due as f64 * interval) as u64;
            if at >= end {
                break;
            }
            if at > now {
                wait = at - now;
                break;
            }
            let publisher = self.due % self.plan.publishers;
            self.due += 1;
            // Publishers are dealt to the threads in turns.
            if publisher % threads == own {
                let index = (publisher / threads) as usize;
                flow.publishers[index].due += 1;
                flow.make_ready(index);
            }
        }
        for _ in 0..flow.ready.len() {
            let Some(index) = flow.next_ready() else { break };
            let publisher = index as u64 * threads + own;
            let publishers = self.plan.publishers;
            let time = Time::Schedule { now, begin: self.begin, interval, publisher, publishers };
            loop {
                let due = flow.publishers[index].due;
                let (sent, can_more) = flow.send(&mut worker.net, batch, index, due, time);
                flow.publishers[index].due -= sent;
                // Where it cannot go on, an acknowledgement or the socket calls it again.
                if !can_more || flow.publishers[index].due == 0 {
                    break;
                }
            }
        }
        wait
    }

    fn show(&self, worker: &mut Worker<'_>, now: u64, totals: Totals) {
        let stage = self.stage;
        worker.progress.show(|| {
            let seconds = now.saturating_sub(self.begin) as f64 / 1e9;
            let what = match stage {
                Stage::WarmingUp => "warming up",
                Stage::Measuring => "measuring",
                Stage::Draining => "waiting for the rest",
            };
            let delivered = crate::report::grouped(&totals.delivered.to_string());
            format!("{what}, {seconds:.1} s: {delivered} messages")
        });
    }
}

impl Pace {
    /// While the broker has a long queue to work on, reading waits a little: fewer wake-ups, larger reads, as a receiver has
    /// them that is busy. Never for longer than an eighth of what the queue lasts, so that the broker has room to write.
    fn nap(&mut self, now: u64, settled: u64, outstanding: u64) {
        if now - self.time > 5 * MILLISECOND {
            let rate = settled.saturating_sub(self.settled) as f64 / (now - self.time) as f64;
            let is_first = self.time == 0;
            self.per_nanosecond = if is_first { 0.0 } else { 0.5 * (self.per_nanosecond + rate) };
            (self.time, self.settled) = (now, settled);
        }
        let lasts = outstanding as f64 / self.per_nanosecond / 8.0;
        if lasts.is_finite() && lasts > 20_000.0 {
            thread::sleep(Duration::from_nanos(lasts.min(200_000.0) as u64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outstanding_is_bounded_in_bytes() {
        assert_eq!(lag(64, 1, 1), LAG);
        for payload in [64, 16 << 10, 1 << 20] {
            let bytes = lag(payload, 10, 1000) * payload as u64;
            assert!((BACKLOG / 2..=BACKLOG).contains(&bytes), "{payload}: {bytes}");
        }
        assert_eq!(lag(200 << 20, 10, 10), 10);
    }

    #[test]
    fn nobody_naps_beside_an_empty_queue() {
        let mut pace = Pace { time: 1, settled: 0, per_nanosecond: 0.001 };
        let begin = std::time::Instant::now();
        pace.nap(2, 0, 0);
        pace.nap(6 * MILLISECOND, 5_000, 0);
        assert!(pace.per_nanosecond > 0.0005);
        assert!(begin.elapsed() < Duration::from_secs(1));
    }
}
