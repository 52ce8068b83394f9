//! Random workloads under random faults, in simulated time, held against a model of what MQTT promises. It never needs
//! anything but a seed, and the same seed is the same run.

mod agent;
mod generate;
mod op;
mod oracle;
mod rng;
mod run;
mod shrink;

pub use crate::generate::generate;
pub use crate::op::Script;
pub use crate::run::{Failure, Report, run};

use std::fmt::Write;

/// A seed that fails, told so that a person can go on from there.
pub fn explain(seed: u64) -> Option<String> {
    let script = generate(seed);
    let complaint = run(&script, false).failure?.complaint;
    let short = shrink::shrink(&script, &complaint);
    let failure = run(&short, true).failure?;
    let mut text = format!("seed {seed} fails: {}\n\n", first_line(&complaint));
    let _ = writeln!(text, "The shortest script that fails like it:\n{short}");
    let _ = writeln!(text, "After step {}: {}\n", failure.step, failure.complaint);
    text.push_str(tail(&failure.transcript));
    Some(text)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The last lines of a conversation.
fn tail(text: &str) -> &str {
    let start = text.char_indices().rev().filter(|&(_, char)| char == '\n').nth(80);
    &text[start.map_or(0, |(at, _)| at + 1)..]
}
