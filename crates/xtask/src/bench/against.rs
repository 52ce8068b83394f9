//! Columba beside another broker: both are started anew for each scenario, `columba-bench` loads one after the other, and a
//! table says how they compare. Nothing here measures; the figures are the generator's.

use super::rig::{APART, Kind, Load, Rig};
use super::{Plan, factor, shards, shown};
use crate::install;

/// A run that differs by more from the best of its rounds was disturbed.
const NOISE: f64 = 0.15;

/// A scenario of the table.
struct Case {
    name: &'static str,
    words: &'static str,
    figures: &'static [Figure],
}

struct Figure {
    /// In the generator's JSON.
    key: &'static str,
    unit: &'static str,
    target: Target,
}

#[derive(Clone, Copy)]
enum Target {
    /// So many times less than the other broker.
    TimesLess(f64),
    /// So many times more.
    TimesMore(f64),
    /// Whatever the other one needs.
    AtMost(f64),
}

pub(super) const CPU: &str = "cpu_us_per_message";
const MICROS: &str = "µs of CPU per message";

/// One figure, broker CPU for a message, and the factor by which it should be less.
macro_rules! cpu {
    ($times:literal) => {
        &[Figure { key: CPU, unit: MICROS, target: Target::TimesLess($times) }]
    };
}

const CASES: [Case; 16] = [
    Case { name: "p2p, QoS 0", words: "p2p --qos 0", figures: cpu!(25.0) },
    Case { name: "p2p, QoS 1", words: "p2p --qos 1", figures: cpu!(35.0) },
    Case { name: "p2p, QoS 2", words: "p2p --qos 2", figures: cpu!(40.0) },
    Case { name: "p2p, QoS 1, MQTT 5", words: "p2p --qos 1 --version 5", figures: cpu!(33.0) },
    Case {
        name: "p2p, 16 KiB",
        words: "p2p --payload 16384",
        figures: &[Figure { key: "mb_per_s", unit: "MB/s", target: Target::TimesMore(1.3) }],
    },
    Case { name: "p2p, WebSocket", words: "p2p --ws", figures: cpu!(10.0) },
    Case { name: "fanin 50 → 1, QoS 1", words: "fanin --qos 1", figures: cpu!(26.0) },
    Case { name: "shared 50 → 4, QoS 1, MQTT 5", words: "shared --qos 1 --version 5", figures: cpu!(25.0) },
    Case { name: "fanout 1 → 100, QoS 0", words: "fanout --qos 0", figures: cpu!(40.0) },
    Case { name: "fanout 1 → 100, QoS 1", words: "fanout --qos 1", figures: cpu!(30.0) },
    Case {
        name: "retained, 20,000 messages",
        words: "retained",
        figures: &[
            Figure { key: "store_per_s", unit: "stored/s", target: Target::TimesMore(4.0) },
            Figure { key: "replay_per_s", unit: "replayed/s", target: Target::TimesMore(10.0) },
            Figure { key: "bytes_per_message", unit: "bytes per message", target: Target::AtMost(250.0) },
        ],
    },
    Case {
        name: "offline, 50,000 messages",
        words: "offline",
        figures: &[
            Figure { key: "queue_per_s", unit: "queued/s", target: Target::TimesMore(8.0) },
            Figure { key: "drain_per_s", unit: "drained/s", target: Target::TimesMore(10.0) },
            Figure { key: "bytes_per_message", unit: "bytes per message", target: Target::AtMost(200.0) },
        ],
    },
    Case {
        name: "storm, 64 at a time",
        words: "storm",
        figures: &[Figure {
            key: "cpu_us_per_session",
            unit: "µs of CPU per session",
            target: Target::TimesLess(1.3),
        }],
    },
    Case {
        name: "latency, 100 pairs, QoS 1, 10,000/s",
        words: "latency --pubs 100 --qos 1 --rate 10000",
        figures: &[
            Figure { key: "p50_us", unit: "µs p50", target: Target::TimesLess(1.0) },
            Figure { key: "p99_us", unit: "µs p99", target: Target::TimesLess(1.0) },
        ],
    },
    Case {
        name: "conns, 9,000 idle",
        words: "conns --conns 9000",
        figures: &[Figure {
            key: "bytes_per_connection",
            unit: "bytes per connection",
            target: Target::AtMost(700.0),
        }],
    },
    Case {
        name: "subs, 20,000 of one client",
        words: "subs",
        figures: &[
            Figure {
                key: "bytes_per_subscription",
                unit: "bytes per subscription",
                target: Target::AtMost(300.0),
            },
            Figure { key: "delivered_per_s", unit: "matched/s", target: Target::TimesMore(15.0) },
        ],
    },
];

/// The figures of one broker in one scenario: for each figure, one number of each round that went well.
type Rounds = Vec<Vec<f64>>;

/// Whether both brokers did all that was asked of them.
pub(super) fn compare(plan: &Plan) -> Result<bool, String> {
    let cases: Vec<&Case> = CASES.iter().filter(|case| plan.selects(&case.text())).collect();
    let pairs = shards::selected(plan);
    if cases.is_empty() && pairs.is_empty() {
        let names = CASES.iter().map(|case| case.name).chain(shards::names());
        let names: Vec<_> = names.collect();
        return Err(format!("no scenario has any of these words; there are: {}", names.join("; ")));
    }
    install::packages(&[&install::MOSQUITTO])?;
    let rig = Rig::build()?;
    let mut faults = Vec::new();
    if !cases.is_empty() {
        println!("{}", both(&rig, plan, &cases, &mut faults));
    }
    if !pairs.is_empty() {
        println!("\n{}", shards::compare(&rig, plan, &pairs, &mut faults));
    }
    for fault in &faults {
        println!("* {fault}");
    }
    Ok(faults.is_empty())
}

/// Runs the cases with either broker in turns. Returns the table, and adds what went wrong to `faults`.
fn both(rig: &Rig, plan: &Plan, cases: &[&Case], faults: &mut Vec<String>) -> String {
    let seconds = if plan.is_quick { ["1", "0.3"] } else { ["4", "1"] };
    let mut results: Vec<[Rounds; 2]> = cases
        .iter()
        .map(|case| [vec![Vec::new(); case.figures.len()], vec![Vec::new(); case.figures.len()]])
        .collect();
    for round in 1..=plan.rounds {
        for (case, result) in cases.iter().zip(&mut results) {
            for kind in [Kind::Mosquitto, Kind::Columba] {
                eprint!("{round}/{} {}, {} … ", plan.rounds, case.name, kind.name());
                let load = Load { kind, shards: 0, processors: APART, words: case.words, seconds };
                match rig.run(&load) {
                    Ok(outcome) => {
                        for (figure, rounds) in case.figures.iter().zip(&mut result[kind as usize]) {
                            rounds.extend(outcome.number(figure.key));
                        }
                        let first = result[kind as usize].first().and_then(|rounds| rounds.last());
                        eprintln!("{}", first.map_or("no figure".into(), |first| shown(*first)));
                        let complaint = outcome.complaint;
                        faults
                            .extend(complaint.map(|text| format!("{}, {}: {text}", case.name, kind.name())));
                    }
                    Err(reason) => {
                        eprintln!("failed");
                        faults.push(format!("{}, {}: {reason}", case.name, kind.name()));
                    }
                }
            }
        }
    }
    table(cases, &results, plan.rounds)
}

impl Case {
    /// What words select it by.
    fn text(&self) -> String {
        format!("{} {}", self.name, self.words)
    }
}

impl Figure {
    const fn is_less_better(&self) -> bool {
        !matches!(self.target, Target::TimesMore(_))
    }

    /// The best of all rounds.
    fn best(&self, rounds: &[f64]) -> Option<f64> {
        let better = if self.is_less_better() { f64::min } else { f64::max };
        rounds.iter().copied().reduce(better)
    }

    /// How they compare, what was wanted, and whether it is so.
    fn judge(&self, other: f64, own: f64) -> (String, String, bool) {
        let times = if self.is_less_better() { other / own } else { own / other };
        let (more, less) = if self.is_less_better() { ("less", "more") } else { ("more", "less") };
        let ratio = if times >= 1.0 {
            format!("{} times {more}", factor(times))
        } else {
            format!("{} times {less}", factor(1.0 / times))
        };
        match self.target {
            Target::TimesLess(target) | Target::TimesMore(target) if target > 1.0 => {
                (ratio, format!("{} times {more}", factor(target)), times >= target)
            }
            Target::AtMost(target) => (ratio, format!("at most {}", shown(target)), own <= target),
            _ => (ratio, format!("not {less}"), times >= 1.0),
        }
    }
}

fn table(cases: &[&Case], results: &[[Rounds; 2]], rounds: usize) -> String {
    let mut lines = vec![
        "| scenario | figure | mosquitto | Columba | ratio | target | reached |".to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    let mut noisy = Vec::new();
    for (case, result) in cases.iter().zip(results) {
        for (index, figure) in case.figures.iter().enumerate() {
            let [others, own] = [&result[0][index], &result[1][index]];
            let (Some(other_best), Some(own_best)) = (figure.best(others), figure.best(own)) else {
                lines.push(format!("| {} | {} | – | – | – | – | – |", case.name, figure.unit));
                continue;
            };
            let (ratio, target, is_reached) = figure.judge(other_best, own_best);
            let reached = if is_reached { "yes" } else { "no" };
            let (other_best, own_best) = (shown(other_best), shown(own_best));
            lines.push(format!(
                "| {} | {} | {other_best} | {own_best} | {ratio} | {target} | {reached} |",
                case.name, figure.unit
            ));
            for (kind, rounds) in [(Kind::Mosquitto, others), (Kind::Columba, own)] {
                let spread = spread(rounds);
                if spread > NOISE {
                    let percent = (spread * 100.0).round();
                    noisy.push(format!("{} ({}) of {} by {percent} %", case.name, figure.unit, kind.name()));
                }
            }
        }
    }
    lines.push(String::new());
    lines.push(match rounds {
        1 => "One round, so nothing is known about how noisy the machine is.".to_owned(),
        rounds => format!("The best of {rounds} rounds."),
    });
    if !noisy.is_empty() {
        lines.push(format!("The machine is noisy; rounds differ for {}.", noisy.join(", ")));
    }
    lines.join("\n")
}

/// How far the rounds are apart, as a part of the smallest.
fn spread(rounds: &[f64]) -> f64 {
    let min = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    let max = rounds.iter().copied().fold(0.0, f64::max);
    if rounds.len() > 1 && min > 0.0 { max / min - 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_both() {
        let cases = [&CASES[0], &CASES[4]];
        let results =
            [[vec![vec![8.0, 9.0]], vec![vec![0.4, 0.25]]], [vec![vec![900.0]], vec![vec![1000.0]]]];
        let table = table(&cases, &results, 2);
        let expected =
            "| p2p, QoS 0 | µs of CPU per message | 8.00 | 0.25 | 32 times less | 25 times less | yes |";
        assert!(table.contains(expected), "{table}");
        let expected = "| p2p, 16 KiB | MB/s | 900 | 1,000 | 1.1 times more | 1.3 times more | no |";
        assert!(table.contains(expected), "{table}");
        assert!(table.contains("noisy") && table.contains("of Columba by 60 %"), "{table}");
        assert!(!table.contains("of mosquitto by"), "{table}");
    }

    #[test]
    fn targets_that_are_no_ratio() {
        let at_most = Figure { key: "", unit: "", target: Target::AtMost(700.0) };
        assert_eq!(at_most.judge(734.0, 1076.0), ("1.5 times more".into(), "at most 700".into(), false));
        let not_more = Figure { key: "", unit: "", target: Target::TimesLess(1.0) };
        assert_eq!(not_more.judge(50.0, 25.0), ("2.0 times less".into(), "not more".into(), true));
    }
}
