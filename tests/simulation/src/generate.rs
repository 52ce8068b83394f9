//! Makes workloads from seeds: the same seed, the same workload. It never looks at what a broker does with one.

use columba_testkit::Version;
use columba_testkit::codec::RetainHandling;

use crate::op::{Answer, Connect, Fault, Filter, LONGEST_DELAY, Op, Publish, Script, Setup, Will};
use crate::rng::Rng;

const TOPICS: [&str; 8] = ["a", "a/b", "a/b/c", "b", "b/c", "a//b", "$x/y", "s/1"];
const FILTERS: [&str; 14] =
    ["#", "+", "a", "a/b", "a/+", "a/#", "+/b", "b/c", "+/+/+", "$x/#", "s/+", "a/b/#", "b", "+/c"];
const SHARED: [&str; 7] = [
    "$share/g/a/b",
    "$share/g/#",
    "$share/g/a/#",
    "$share/h/a/b",
    "$share/g/+",
    "$share/g/#",
    "$share/h/s/1",
];
const VERSIONS: [Version; 5] = [Version::V3_1, Version::V3_1_1, Version::V5, Version::V5, Version::V5];
const SECONDS: [u32; 6] = [1, 2, 5, 10, 30, 100];

/// What a workload has much of and what it has none of.
#[derive(Debug)]
struct Theme {
    /// Weights of the kinds of steps, in the order of [`Generator::op`].
    weights: [u64; 14],
    topics: Vec<&'static str>,
    filters: Vec<&'static str>,
    shares: Vec<&'static str>,
    lowest_qos: u8,
    shared: bool,
    wills: bool,
    expiries: bool,
    limits: bool,
    chunks: bool,
    faults: bool,
    keep_alive: bool,
}

struct Generator {
    rng: Rng,
    versions: Vec<Version>,
    theme: Theme,
    /// Counts messages.
    message: u32,
    /// Counts SUBSCRIBE packets.
    subscriptions: u32,
}

/// The workload of a seed.
pub fn generate(seed: u64) -> Script {
    let mut rng = Rng::new(seed ^ 0x0C01_0BBA);
    let clients = 2 + rng.below(4) as usize;
    let mut setup = setup(&mut rng, clients);
    let theme = theme(&mut rng);
    let steps = rng.pick(&[15, 30, 30, 60, 60, 120]);
    let mut generator =
        Generator { rng, versions: setup.versions.clone(), theme, message: 0, subscriptions: 0 };
    let ops = generator.ops(steps, &setup);
    (setup.shards, setup.shard_latency) = shards(seed, &setup, &ops);
    Script { seed, setup, ops }
}

fn setup(rng: &mut Rng, clients: usize) -> Setup {
    let only = rng.one_in(3).then(|| rng.pick(&VERSIONS));
    Setup {
        versions: (0..clients).map(|_| only.unwrap_or_else(|| rng.pick(&VERSIONS))).collect(),
        latency: rng.pick(&[(0, 0), (0, 0), (0, 20), (5, 500), (0, 2000)]),
        shards: 1,
        shard_latency: (0, 0),
        inflight: rng.pick(&[1, 2, 5, 1024, 1024]),
        aliases_out: rng.pick(&[0, 1, 2, 64]),
        transmit_budget: rng.pick(&[1, 100, 65_536]),
        queued_messages: rng.pick(&[0, 2, 5, 1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000]),
        drop_oldest: rng.one_in(2),
        queue_qos0_offline: rng.one_in(4),
    }
}

/// One half of the workloads is for a broker of several shards, and would be the same without them.
fn shards(seed: u64, setup: &Setup, ops: &[Op]) -> (usize, (u32, u32)) {
    let mut rng = Rng::new(seed ^ 0x5A4D_0517);
    let (shards, latency) = (rng.pick(&[1, 1, 2, 3]), rng.pick(&[(0, 0), (0, 10), (0, 5000)]));
    // Where shards hear late from each other, a SUBSCRIBE takes effect later than it comes, and the model knows nothing of
    // that: nothing else may come meanwhile.
    let delays = ops.iter().any(|op| matches!(op, Op::Fault { what: Fault::Delay(_), .. }));
    (shards, if setup.latency == (0, 0) && !delays { latency } else { (0, 0) })
}

fn theme(rng: &mut Rng) -> Theme {
    //  publish, subscribe, unsubscribe, ack, answer, connect, cut, vanish, disconnect, stall, resume, kick, advance,
    //  others
    let mut weights = [24, 6, 2, 8, 3, 8, 4, 1, 2, 2, 3, 1, 5, 2];
    for _ in 0..rng.below(4) {
        let at = rng.below(weights.len() as u64) as usize;
        weights[at] *= rng.pick(&[0, 3]);
    }
    let some = |rng: &mut Rng, all: &[&'static str]| {
        let count = 1 + rng.below(all.len() as u64) as usize;
        (0..count).map(|_| rng.pick(all)).collect::<Vec<_>>()
    };
    let shares: Vec<&'static str> = (0..rng.pick(&[1, 1, 2, 3])).map(|_| rng.pick(&SHARED)).collect();
    Theme {
        weights,
        shares,
        topics: some(rng, &TOPICS),
        filters: some(rng, &FILTERS),
        lowest_qos: rng.pick(&[0, 0, 1, 2]),
        shared: rng.one_in(3),
        wills: rng.one_in(3),
        expiries: rng.one_in(3),
        limits: rng.one_in(3),
        chunks: rng.one_in(4),
        faults: rng.one_in(4),
        keep_alive: rng.one_in(6),
    }
}

impl Generator {
    fn ops(&mut self, steps: usize, setup: &Setup) -> Vec<Op> {
        let mut ops: Vec<Op> = (0..setup.versions.len()).map(|client| self.connect(client)).collect();
        let latency = u64::from(setup.latency.1);
        if latency > 0 {
            ops.push(Op::Advance { ms: 3 * latency });
        }
        for client in 0..setup.versions.len() {
            if self.rng.below(5) > 0 {
                ops.push(self.subscribe(client));
            }
            if self.rng.one_in(4) {
                ops.push(Op::Answer { client, how: Answer::Later });
            }
        }
        for _ in 0..steps {
            let op = self.op();
            // Nothing can be done before CONNACK has come.
            let waits = matches!(op, Op::Connect(_)) && latency > 0 && self.rng.below(3) > 0;
            ops.push(op);
            if waits || latency > 0 && self.rng.one_in(8) {
                ops.push(Op::Advance { ms: self.rng.pick(&[1, latency.div_ceil(2), 2 * latency]) });
            }
        }
        ops
    }

    fn op(&mut self) -> Op {
        let total = self.theme.weights.iter().sum::<u64>().max(1);
        let mut at = self.rng.below(total);
        let mut kind = 0;
        while kind < self.theme.weights.len() - 1 && at >= self.theme.weights[kind] {
            at -= self.theme.weights[kind];
            kind += 1;
        }
        let client = self.rng.below(self.versions.len() as u64) as usize;
        match kind {
            0 => self.publish(client),
            1 => self.subscribe(client),
            2 => Op::Unsubscribe { client, filter: self.filter(client) },
            3 => Op::Ack { client, count: self.rng.pick(&[1, 1, 2, 5, 100]), latest: self.rng.one_in(4) },
            4 => {
                let how =
                    [Answer::Promptly, Answer::Promptly, Answer::Later, Answer::Later, Answer::WithError];
                Op::Answer { client, how: self.rng.pick(&how) }
            }
            5 => self.connect(client),
            6 => Op::Cut { client },
            7 => Op::Vanish { client },
            8 => Op::Disconnect {
                client,
                with_will: self.rng.one_in(2),
                session_expiry: self.rng.pick(&[None, None, Some(0), Some(20), Some(u32::MAX)]),
            },
            9 => Op::Stall { client },
            10 => Op::Resume { client },
            11 => Op::Kick { client },
            12 => Op::Advance { ms: self.rng.pick(&[1, 10, 300, 1000, 1500, 2000, 5000, 10_000, 60_000]) },
            _ if self.theme.faults && self.rng.one_in(2) => self.fault(),
            _ if self.rng.one_in(2) => Op::Ping { client },
            _ => Op::Compare,
        }
    }

    fn fault(&mut self) -> Op {
        let rng = &mut self.rng;
        let faults = [
            Fault::LoseAnswers,
            Fault::LoseMessages,
            Fault::Delay(1),
            Fault::Delay(LONGEST_DELAY),
            Fault::Split,
        ];
        let what = rng.pick(&faults);
        match rng.pick(&[0, 1, 1, 2, 3]) {
            0 => Op::ClearFaults,
            every => Op::Fault { what, from_broker: what == Fault::LoseMessages || rng.one_in(2), every },
        }
    }

    fn connect(&mut self, client: usize) -> Op {
        let limits = self.theme.limits;
        let rng = &mut self.rng;
        let session_expiry =
            rng.pick(&[None, Some(0), Some(5), Some(30), Some(300), Some(u32::MAX), Some(u32::MAX)]);
        let connect = Connect {
            client,
            clean: rng.one_in(4),
            session_expiry,
            keep_alive: if self.theme.keep_alive { rng.pick(&[0, 2, 10, 60]) } else { 0 },
            receive_maximum: if limits { rng.pick(&[None, Some(1), Some(2), Some(7)]) } else { None },
            maximum_packet_size: if limits { rng.pick(&[None, None, Some(40), Some(80)]) } else { None },
            alias_maximum: rng.pick(&[0, 0, 1, 2, 10]),
            will: None,
            chunk: if self.theme.chunks { rng.pick(&[0, 1, 3, 10]) } else { 0 },
        };
        let will = (self.theme.wills || self.rng.one_in(10)).then(|| self.will());
        Op::Connect(Connect { will, ..connect })
    }

    fn will(&mut self) -> Will {
        self.message += 1;
        let rng = &mut self.rng;
        Will {
            message: self.message,
            topic: rng.pick(&self.theme.topics),
            qos: rng.pick(&[0, 1, 2, 2]).max(self.theme.lowest_qos),
            retain: rng.one_in(3),
            delay: rng.pick(&[None, Some(0), Some(1), Some(5), Some(20), Some(1000)]),
            expiry: if self.theme.expiries { Some(rng.pick(&SECONDS)) } else { None },
        }
    }

    fn publish(&mut self, client: usize) -> Op {
        let rng = &mut self.rng;
        let retain = rng.one_in(4);
        // Without a payload nobody can tell messages apart, which matters where it is open who gets one.
        let empty = retain && !self.theme.shared && rng.one_in(3);
        self.message += 1;
        Op::Publish(Publish {
            client,
            message: if empty { 0 } else { self.message },
            topic: rng.pick(&self.theme.topics),
            qos: rng.pick(&[0, 1, 1, 2, 2]).max(self.theme.lowest_qos),
            retain,
            expiry: if self.theme.expiries && rng.one_in(2) { Some(rng.pick(&SECONDS)) } else { None },
            alias: rng.one_in(4),
            padding: if empty { 0 } else { rng.pick(&[0, 0, 0, 10, 100]) },
        })
    }

    fn subscribe(&mut self, client: usize) -> Op {
        let first = self.filter(client);
        let is_shared = first.starts_with("$share");
        let mut filters = vec![self.options(first)];
        for _ in 0..self.rng.pick(&[0, 0, 0, 1, 2]) {
            let filter = self.filter(client);
            let is_fit = !is_shared && !filter.starts_with("$share");
            if is_fit && filters.iter().all(|other| other.text != filter) {
                filters.push(self.options(filter));
            }
        }
        // Where there are shared subscriptions, each has an identifier of its own: how else could anybody tell for
        // which of them a message came?
        self.subscriptions += 1;
        let id = if self.theme.shared {
            Some(self.subscriptions)
        } else if self.rng.one_in(2) {
            Some(1 + self.rng.below(300) as u32)
        } else {
            None
        };
        Op::Subscribe { client, id, filters }
    }

    fn options(&mut self, filter: &'static str) -> Filter {
        let rng = &mut self.rng;
        let handling = [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
        Filter {
            text: filter,
            qos: rng.pick(&[0, 1, 2, 2]).max(self.theme.lowest_qos),
            no_local: !filter.starts_with("$share") && rng.one_in(5),
            retain_as_published: rng.one_in(3),
            retain_handling: rng.pick(&handling),
        }
    }

    /// Clients of older versions, who have no identifiers, have either shared subscriptions of one filter or others.
    fn filter(&mut self, client: usize) -> &'static str {
        let shares = self.theme.shared
            && match self.versions[client] {
                Version::V5 => self.rng.one_in(2),
                _ => client.is_multiple_of(2),
            };
        match shares {
            true if self.versions[client] == Version::V5 => self.rng.pick(&self.theme.shares),
            true => self.theme.shares[0],
            false => self.rng.pick(&self.theme.filters),
        }
    }
}
