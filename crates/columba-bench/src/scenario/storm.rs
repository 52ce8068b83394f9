//! Sessions that come and go: connect, subscribe, disconnect, and the next.

use std::num::NonZeroU16;

use columba_codec::{FixedHeader, Packet, PacketType};

use super::{add_percentiles, add_usage, report, seconds};
use crate::crew::{Crew, Totals};
use crate::histogram::Histogram;
use crate::net::{Handler, Link, Who};
use crate::report::{Report, grouped};
use crate::worker::{Edge, MILLISECOND, PATIENCE, Worker, encode_subscribe, say};

/// All sessions of the run.
struct Storm<'c> {
    crew: &'c Crew,
    done: u64,
    /// When a session last ended as it should.
    progress: u64,
    sessions: Histogram,
    is_measured: bool,
    /// Places among the connections that are free again.
    free: Vec<usize>,
    broken: Option<String>,
}

pub(super) fn run(crew: &Crew) -> Result<Report, String> {
    let mut worker = Worker::new(crew, 0)?;
    let options = &crew.options;
    let mut storm = Storm {
        crew,
        done: 0,
        progress: 0,
        sessions: Histogram::new(),
        is_measured: false,
        free: Vec::new(),
        broken: None,
    };
    let begin = worker.net.now() + options.warmup.as_nanos() as u64;
    let end = begin + options.seconds.as_nanos() as u64;
    let mut before = None;
    let mut opened = 0;
    let after = loop {
        let now = worker.net.now();
        crew.post(0, Totals { delivered: storm.done, ..Totals::default() });
        if before.is_none() && now >= begin {
            before = Some(worker.edge()?);
            storm.is_measured = true;
        }
        if now >= end {
            break worker.edge()?;
        }
        while worker.net.links.len() < options.parallel || !storm.free.is_empty() {
            let who = Who::Other(opened);
            opened += 1;
            let greeting = worker.greeting(&worker.client(who))?;
            worker.net.open(who, greeting, storm.free.pop()).map_err(say)?;
        }
        worker.poll(&mut storm, 10 * MILLISECOND)?;
        if let Some(reason) = storm.broken.take() {
            return Err(reason);
        }
        if worker.net.now().saturating_sub(storm.progress) > PATIENCE {
            return Err("no session has come to its end for a while".into());
        }
        worker.progress.show(|| format!("{} sessions", grouped(&storm.done.to_string())));
    };
    storm.is_measured = false;
    worker.leave(&mut storm)?;
    Ok(evaluate(crew, &storm, before.unwrap_or(after), after))
}

fn evaluate(crew: &Crew, storm: &Storm<'_>, before: Edge, after: Edge) -> Report {
    let mut report = report(crew, &format!("{} sessions at a time", crew.options.parallel));
    report.field("parallel", crew.options.parallel.to_string());
    let sessions = after.totals.delivered - before.totals.delivered;
    report.row("sessions").count("sessions", sessions, "sessions").add(
        "sessions_per_s",
        sessions as f64 / seconds(&before, &after),
        0,
        "/s",
    );
    let names = ["session_p50_us", "session_p90_us", "session_p99_us", "session_p999_us", "session_max_us"];
    add_percentiles(&mut report, "duration", names, &storm.sessions);
    add_usage(&mut report, &before, &after, sessions, "cpu_us_per_session", "µs/session");
    report
}

impl Handler for Storm<'_> {
    fn packet(&mut self, link: &mut Link, header: FixedHeader, body: &[u8], now: u64) -> Result<(), String> {
        let options = &self.crew.options;
        let packet = Packet::decode(header, body, options.version);
        match packet.map_err(|error| format!("a broken {}: {error}", header.packet_type.name()))? {
            Packet::ConnAck(answer) if answer.reason.is_error() => {
                return Err(format!("the broker refuses the connection: {:?}", answer.reason));
            }
            Packet::ConnAck(_) if link.step == 0 => {
                let filter = format!("bench-{:06x}/{:07}", self.crew.run, link.at);
                link.put(&encode_subscribe(options.version, options.qos, NonZeroU16::MIN, &[filter])?);
                link.step = 1;
            }
            Packet::SubAck(answer) if link.step == 1 => {
                if let Some(reason) = answer.reasons.iter().find(|reason| reason.is_error()) {
                    return Err(format!("the broker refuses a subscription: {reason:?}"));
                }
                link.leave();
                link.step = 2;
                self.done += 1;
                self.progress = now;
                if self.is_measured {
                    self.sessions.record(now - link.opened);
                }
            }
            // After the end of the run there is no more than leave-taking.
            _ if header.packet_type == PacketType::PingResp => {}
            _ => return Err(format!("a {} from the broker", header.packet_type.name())),
        }
        Ok(())
    }

    fn closed(&mut self, link: &Link, reason: Option<String>) {
        match reason {
            Some(reason) => {
                self.broken.get_or_insert(reason);
            }
            None => self.free.push(link.at),
        }
    }
}
