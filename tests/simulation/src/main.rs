//! The command `simulate`: runs many seeds, or one with its transcript. It never decides what a failure is.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use columba_simulation::{Report, explain, generate, run};

const USAGE: &str = "simulate --seeds N [--from S] [--jobs J] [--failures K] | simulate --seed X";

/// How often the same seed is run twice to see that nothing differs.
const REPEAT_EVERY: u64 = 50;

struct Arguments {
    seeds: u64,
    from: u64,
    jobs: u64,
    /// How many failures are enough.
    failures: usize,
    seed: Option<u64>,
}

struct Tally {
    next: AtomicU64,
    done: AtomicU64,
    operations: AtomicU64,
    stop: AtomicBool,
    failures: Mutex<Vec<(u64, String)>>,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // A panic in a simulation is caught and reported with its seed.
    std::panic::set_hook(Box::new(|_| ()));
    match arguments.seed {
        Some(seed) => replay(seed),
        None => run_all(&arguments),
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut arguments = Arguments { seeds: 2000, from: 0, jobs, failures: 1, seed: None };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
        let value =
            value.replace('_', "").parse::<u64>().map_err(|error| format!("{word} {value}: {error}"))?;
        match word.as_str() {
            "--seeds" => arguments.seeds = value,
            "--from" => arguments.from = value,
            "--jobs" => arguments.jobs = value.max(1),
            "--failures" => arguments.failures = usize::try_from(value).unwrap_or(usize::MAX),
            "--seed" => arguments.seed = Some(value),
            _ => return Err(format!("{word} is unknown")),
        }
    }
    Ok(arguments)
}

fn replay(seed: u64) -> ExitCode {
    let script = generate(seed);
    println!("{script}");
    let report = run(&script, true);
    match report.failure {
        None => {
            println!("seed {seed} passes, digest {:016x}", report.digest);
            ExitCode::SUCCESS
        }
        Some(failure) => {
            println!(
                "{}\nseed {seed} fails after step {}: {}",
                failure.transcript, failure.step, failure.complaint
            );
            if let Some(text) = explain(seed) {
                println!("\n{text}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run_all(arguments: &Arguments) -> ExitCode {
    let started = Instant::now();
    let tally = Tally {
        next: AtomicU64::new(arguments.from),
        done: AtomicU64::new(0),
        operations: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        failures: Mutex::new(Vec::new()),
    };
    let end = arguments.from.saturating_add(arguments.seeds);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| work(&tally, end, arguments.failures));
        }
        let mut last = Instant::now();
        while tally.done.load(Ordering::Relaxed) < arguments.seeds && !tally.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            if last.elapsed() > Duration::from_secs(5) {
                last = Instant::now();
                let done = tally.done.load(Ordering::Relaxed);
                let seconds = started.elapsed().as_secs();
                eprintln!("simulation: {done} of {} seeds, {seconds} s", arguments.seeds);
            }
        }
    });
    let failures = tally.failures.into_inner().unwrap_or_default();
    for (seed, text) in &failures {
        println!("{}", explain(*seed).unwrap_or_else(|| format!("seed {seed} fails: {text}")));
        println!("Again: simulate --seed {seed}\n");
    }
    println!(
        "simulation: {} seeds, {} failures, {} operations, {:.1} s",
        tally.done.load(Ordering::Relaxed),
        failures.len(),
        tally.operations.load(Ordering::Relaxed),
        started.elapsed().as_secs_f64()
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One thread: seed by seed until all are done or enough have failed.
fn work(tally: &Tally, end: u64, enough: usize) {
    while !tally.stop.load(Ordering::Relaxed) {
        let seed = tally.next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let script = generate(seed);
        let report = run(&script, false);
        tally.operations.fetch_add(report.operations, Ordering::Relaxed);
        if let Some(problem) = problem(seed, &report)
            && let Ok(mut failures) = tally.failures.lock()
        {
            failures.push((seed, problem));
            tally.stop.fetch_or(failures.len() >= enough, Ordering::Relaxed);
        }
        tally.done.fetch_add(1, Ordering::Relaxed);
    }
}

fn problem(seed: u64, report: &Report) -> Option<String> {
    if let Some(failure) = &report.failure {
        return Some(failure.complaint.clone());
    }
    let differs = seed.is_multiple_of(REPEAT_EVERY) && run(&generate(seed), false).digest != report.digest;
    differs.then(|| "the same seed run twice is not the same".to_owned())
}
