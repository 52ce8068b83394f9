//! Columba with one shard and with two, on two processors that the generator needs a part of. So beside what came of it is what
//! two shards could do if nobody else were there.

use super::against::CPU;
use super::rig::{Kind, Load, Outcome, Rig, SHARED};
use super::{Plan, factor, shown};

/// What two shards are to do of what one does.
const TARGET: f64 = 1.7;

/// A scenario that is run with one shard and with two.
pub(super) struct Pair {
    name: &'static str,
    words: &'static str,
}

const PAIRS: [Pair; 3] = [
    Pair { name: "two shards: p2p, QoS 0", words: "p2p --qos 0" },
    Pair { name: "two shards: p2p, QoS 1", words: "p2p --qos 1" },
    Pair { name: "two shards: p2p, QoS 2", words: "p2p --qos 2" },
];

/// What one run, or the best of some, has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shown {
    /// Messages per second.
    rate: f64,
    /// Microseconds of the broker's CPU for each.
    cost: f64,
    /// Per cent of one processor that the broker and the generator used.
    broker: f64,
    generator: f64,
    /// How many of the broker's threads were busy: their CPU time divided by that of the busiest.
    threads: f64,
}

pub(super) fn selected(plan: &Plan) -> Vec<&'static Pair> {
    PAIRS.iter().filter(|pair| plan.selects(pair.name)).collect()
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PAIRS.iter().map(|pair| pair.name)
}

/// Runs the pairs. Returns the table, or why there is none, and adds what went wrong to `faults`.
pub(super) fn compare(rig: &Rig, plan: &Plan, pairs: &[&Pair], faults: &mut Vec<String>) -> String {
    if let Some(reason) = rig.no_shards() {
        return format!("One shard beside two: skipped, {reason}.");
    }
    let seconds = if plan.is_quick { ["1", "0.3"] } else { ["4", "1"] };
    let mut results = vec![[None; 2]; pairs.len()];
    for round in 1..=plan.rounds {
        for (pair, result) in pairs.iter().zip(&mut results) {
            for (best, shards) in result.iter_mut().zip(1..) {
                eprint!("{round}/{} {}, {shards} … ", plan.rounds, pair.name);
                let load =
                    Load { kind: Kind::Columba, shards, processors: SHARED, words: pair.words, seconds };
                match rig.run(&load) {
                    Ok(outcome) => {
                        let run = Shown::of(&outcome);
                        eprintln!("{}", run.map_or("no figure".into(), |run| shown(run.rate)));
                        *best = best.take().into_iter().chain(run).reduce(Shown::better);
                        let complaint = outcome.complaint;
                        faults.extend(complaint.map(|text| format!("{}, {shards}: {text}", pair.name)));
                    }
                    Err(reason) => {
                        eprintln!("failed");
                        faults.push(format!("{}, {shards}: {reason}", pair.name));
                    }
                }
            }
        }
    }
    table(pairs, &results)
}

impl Shown {
    fn of(outcome: &Outcome) -> Option<Self> {
        let (sum, max) =
            outcome.threads.iter().fold((0.0, 0.0), |(sum, max), &own| (sum + own, f64::max(max, own)));
        Some(Self {
            rate: outcome.number("delivered_per_s")?,
            cost: outcome.number(CPU)?,
            broker: outcome.number("broker_cpu_percent")?,
            generator: outcome.number("generator_cpu_percent")?,
            threads: if max > 0.0 { sum / max } else { 1.0 },
        })
    }

    /// The run with the higher rate: figures of one run belong together.
    fn better(self, other: Self) -> Self {
        if other.rate > self.rate { other } else { self }
    }

    /// Of what `one` shard does, what these would do if they had their processors for themselves: so many times less is a
    /// message's cost, and so many of them work at a time.
    fn alone(&self, one: &Self) -> f64 {
        one.cost / self.cost * self.threads / one.threads
    }
}

fn table(pairs: &[&Pair], results: &[[Option<Shown>; 2]]) -> String {
    let mut lines = vec![
        "| one shard → two | messages/s | µs of CPU per message | broker's CPU | generator's CPU | here | alone | target | reached |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for (pair, result) in pairs.iter().zip(results) {
        let name = pair.name.trim_start_matches("two shards: ");
        let &[Some(one), Some(two)] = result else {
            lines.push(format!("| {name} |{}", " – |".repeat(8)));
            continue;
        };
        let column = |figure: fn(&Shown) -> f64| format!("{} → {}", shown(figure(&one)), shown(figure(&two)));
        let (here, alone) = (two.rate / one.rate, two.alone(&one));
        lines.push(format!(
            "| {name} | {} | {} | {} % | {} % | {} times | {} times | {} times | {} |",
            column(|run| run.rate),
            column(|run| run.cost),
            column(|run| run.broker),
            column(|run| run.generator),
            hundredths(here),
            hundredths(alone),
            factor(TARGET),
            if here >= TARGET { "yes" } else { "no" },
        ));
    }
    lines.push(String::new());
    lines.push(
        "Broker and generator share processors 0 and 1. “Here” are the messages per second, which cannot double because \
         the generator needs a part of both processors. “Alone” is the most that two shards could do on processors of their \
         own: what a message costs with one, divided by what it costs with two, times how many of them were busy."
            .to_owned(),
    );
    lines.join("\n")
}

fn hundredths(times: f64) -> String {
    format!("{times:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Shown = Shown { rate: 1000.0, cost: 0.2, broker: 100.0, generator: 40.0, threads: 1.0 };
    const TWO: Shown = Shown { rate: 1300.0, cost: 0.21, broker: 150.0, generator: 50.0, threads: 1.9 };

    #[test]
    fn a_table_of_one_and_two() {
        let table = table(&[&PAIRS[0], &PAIRS[1]], &[[Some(ONE), Some(TWO)], [Some(ONE), None]]);
        let expected = "| p2p, QoS 0 | 1,000 → 1,300 | 0.20 → 0.21 | 100 → 150 % | 40 → 50 % | 1.30 times | 1.81 times | 1.7 times | no |";
        assert!(table.contains(expected), "{table}");
        assert!(table.contains("| p2p, QoS 1 | – | – |"), "{table}");
    }

    #[test]
    fn shards_of_which_one_does_all_are_no_gain() {
        let idle = Shown { threads: 1.0, ..TWO };
        assert!(idle.alone(&ONE) < 1.0);
    }

    #[test]
    fn the_quicker_run_counts_as_a_whole() {
        assert_eq!(ONE.better(TWO), TWO);
        assert_eq!(TWO.better(ONE), TWO);
    }
}
