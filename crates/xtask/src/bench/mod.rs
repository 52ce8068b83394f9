//! What `cargo xtask bench` measures with `columba-bench`: Columba beside another broker, and how its cost grows.

mod against;
mod figures;
mod growth;
mod page;
mod plot;
mod rig;
mod shards;

use std::process::ExitCode;

/// What the user asked for.
#[derive(Debug)]
struct Plan {
    what: What,
    rounds: usize,
    is_quick: bool,
    words: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Against,
    Growth,
}

/// Runs what `arguments` ask for, which are those behind `bench`.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let outcome = parse(arguments).and_then(|plan| match plan.what {
        What::Against => against::compare(&plan),
        What::Growth => growth::measure(&plan),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Plan, String> {
    let mut plan = Plan { what: What::Against, rounds: 3, is_quick: false, words: Vec::new() };
    let (mut rounds, mut whats) = (None, 0);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--against" => match arguments.next().map(String::as_str) {
                Some("mosquitto") => whats += 1,
                _ => return Err("--against mosquitto: there is no other yet".into()),
            },
            "--growth" => {
                plan.what = What::Growth;
                whats += 1;
            }
            "--quick" => plan.is_quick = true,
            "--rounds" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                rounds = Some(number.filter(|&number| number > 0).ok_or("--rounds takes a number")?);
            }
            option if option.starts_with('-') => return Err(format!("bench has no {option}")),
            word => plan.words.push(word.to_lowercase()),
        }
    }
    if whats != 1 {
        return Err("bench, with options, takes either --against mosquitto or --growth".into());
    }
    plan.rounds = rounds.unwrap_or(if plan.is_quick { 1 } else { 3 });
    Ok(plan)
}

impl Plan {
    /// Whether what is called so was asked for.
    fn selects(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.words.is_empty() || self.words.iter().any(|word| text.contains(word.as_str()))
    }
}

/// A number for a person, with no more digits than were measured.
fn shown(number: f64) -> String {
    match number.abs() {
        0.0..10.0 => format!("{number:.2}"),
        10.0..1000.0 => format!("{number:.0}"),
        _ => {
            let digits = format!("{number:.0}");
            let groups: Vec<&str> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|group| std::str::from_utf8(group).unwrap_or_default())
                .collect();
            groups.join(",")
        }
    }
}

fn factor(times: f64) -> String {
    if times < 10.0 { format!("{times:.1}") } else { format!("{times:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, String> {
        parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn arguments() {
        let quick = plan("--against mosquitto --quick WebSocket storm").unwrap();
        assert_eq!((quick.what, quick.rounds, quick.is_quick), (What::Against, 1, true));
        assert!(quick.selects("p2p, WebSocket") && !quick.selects("p2p"));
        let growth = plan("--growth --rounds 5").unwrap();
        assert_eq!((growth.what, growth.rounds, growth.is_quick), (What::Growth, 5, false));
        assert!(growth.selects("anything"));
        for mistake in [
            "--against",
            "--against emqx",
            "--growth --rounds 0",
            "--growth --fast",
            "--quick",
            "--growth --against mosquitto",
        ] {
            assert!(plan(mistake).is_err(), "{mistake}");
        }
    }

    #[test]
    fn numbers_for_a_person() {
        assert_eq!([0.256, 12.3, 999.6, 1_234_567.0].map(shown), ["0.26", "12", "1000", "1,234,567"]);
    }
}
