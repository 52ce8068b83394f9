//! Makes a failing workload as short and as plain as it can be while it still fails. It never changes why it does: the
//! complaint must stay of the same kind.

use crate::op::{Connect, Op, Publish, Script};
use crate::run::run;

/// Runs that shrinking may take.
const MOST_RUNS: usize = 5_000;

struct Shrinker {
    script: Script,
    kind: String,
    runs: usize,
}

/// The shortest script found that fails like this one.
pub(crate) fn shrink(script: &Script, complaint: &str) -> Script {
    let mut shrinker = Shrinker { script: script.clone(), kind: kind(complaint), runs: 0 };
    loop {
        let before = shrinker.script.clone();
        shrinker.remove_chunks();
        shrinker.simplify_setup();
        shrinker.simplify_ops();
        if shrinker.script == before || shrinker.runs > MOST_RUNS {
            return shrinker.script;
        }
    }
}

/// A complaint without what differs from case to case: the words after its last number or name.
fn kind(complaint: &str) -> String {
    let text = complaint.lines().next().unwrap_or_default();
    let words = text.split_whitespace();
    let plain =
        words.filter(|word| word.chars().all(|char| char.is_ascii_alphabetic() || ",:'".contains(char)));
    plain.collect::<Vec<_>>().join(" ")
}

impl Shrinker {
    fn fails(&mut self, script: &Script) -> bool {
        self.runs += 1;
        self.runs <= MOST_RUNS
            && run(script, false).failure.is_some_and(|failure| kind(&failure.complaint) == self.kind)
    }

    fn accept(&mut self, script: Script) -> bool {
        let fails = script != self.script && self.fails(&script);
        if fails {
            self.script = script;
        }
        fails
    }

    fn remove_chunks(&mut self) {
        let mut size = self.script.ops.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.script.ops.len() {
                let mut script = self.script.clone();
                let end = (at + size).min(script.ops.len());
                script.ops.drain(at..end);
                if !self.accept(script) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn simplify_setup(&mut self) {
        let changes: [fn(&mut Script); 8] = [
            |script| script.setup.latency = (0, 0),
            |script| script.setup.inflight = 1024,
            |script| script.setup.aliases_out = 0,
            |script| script.setup.transmit_budget = 65_536,
            |script| script.setup.queued_messages = 1_000_000,
            |script| script.setup.drop_oldest = false,
            |script| script.setup.queue_qos0_offline = false,
            |script| {
                let used = script.ops.iter().filter_map(Op::client).max().map_or(0, |client| client + 1);
                script.setup.versions.truncate(used);
            },
        ];
        for change in changes {
            let mut script = self.script.clone();
            change(&mut script);
            self.accept(script);
        }
    }

    fn simplify_ops(&mut self) {
        // They tell for which shared subscription a message came.
        let keep_ids = self.script.ops.iter().any(|op| match op {
            Op::Subscribe { filters, .. } => filters.iter().any(|item| item.text.starts_with("$share")),
            _ => false,
        });
        for at in 0..self.script.ops.len() {
            for plainer in plainer(&self.script.ops[at]) {
                let mut script = self.script.clone();
                script.ops[at] = plainer;
                self.accept(script);
            }
            // One field at a time, each on top of what was accepted before.
            for plainer in plainer_fields(&self.script.ops[at], keep_ids) {
                let mut script = self.script.clone();
                script.ops[at] = plainer;
                self.accept(script);
            }
        }
    }
}

/// The same step with everything plain that can be.
fn plainer(op: &Op) -> Vec<Op> {
    match op {
        Op::Connect(connect) => vec![Op::Connect(Connect {
            keep_alive: 0,
            receive_maximum: None,
            maximum_packet_size: None,
            alias_maximum: 0,
            will: None,
            chunk: 0,
            ..connect.clone()
        })],
        Op::Publish(publish) => vec![Op::Publish(Publish {
            retain: false,
            expiry: None,
            alias: false,
            padding: 0,
            ..publish.clone()
        })],
        _ => Vec::new(),
    }
}

/// The same step with one thing plainer.
fn plainer_fields(op: &Op, keep_ids: bool) -> Vec<Op> {
    let mut found = Vec::new();
    match op {
        Op::Connect(connect) => {
            let mut change = |change: fn(&mut Connect)| {
                let mut connect = connect.clone();
                change(&mut connect);
                found.push(Op::Connect(connect));
            };
            change(|connect| connect.keep_alive = 0);
            change(|connect| connect.receive_maximum = None);
            change(|connect| connect.maximum_packet_size = None);
            change(|connect| connect.alias_maximum = 0);
            change(|connect| connect.chunk = 0);
            change(|connect| connect.session_expiry = None);
            change(|connect| connect.clean = true);
            change(|connect| connect.will = None);
            change(|connect| connect.will.iter_mut().for_each(|will| will.expiry = None));
            change(|connect| connect.will.iter_mut().for_each(|will| will.delay = None));
            change(|connect| connect.will.iter_mut().for_each(|will| will.retain = false));
        }
        Op::Publish(publish) => {
            let mut change = |change: fn(&mut Publish)| {
                let mut publish = publish.clone();
                change(&mut publish);
                found.push(Op::Publish(publish));
            };
            change(|publish| publish.retain = false);
            change(|publish| publish.expiry = None);
            change(|publish| publish.alias = false);
            change(|publish| publish.padding = 0);
            change(|publish| publish.qos = publish.qos.min(1));
            change(|publish| publish.qos = 0);
        }
        Op::Subscribe { client, id, filters } => {
            if !keep_ids {
                found.push(Op::Subscribe { client: *client, id: None, filters: filters.clone() });
            }
            for at in (0..filters.len()).filter(|_| filters.len() > 1) {
                let mut filters = filters.clone();
                filters.remove(at);
                found.push(Op::Subscribe { client: *client, id: *id, filters });
            }
            let mut filters = filters.clone();
            for filter in &mut filters {
                filter.no_local = false;
                filter.retain_as_published = false;
            }
            found.push(Op::Subscribe { client: *client, id: *id, filters });
        }
        Op::Ack { client, count, latest: _ } => {
            found.push(Op::Ack { client: *client, count: *count, latest: false });
            found.push(Op::Ack { client: *client, count: 1, latest: false });
        }
        _ => {}
    }
    found
}
