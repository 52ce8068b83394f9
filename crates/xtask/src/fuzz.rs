//! The fuzz targets: built without cargo-fuzz and with the stable toolchain, started from the codec's table of packets,
//! and run side by side. All that comes of it lies under `target/fuzz`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::root;
use crate::run::{answer, cargo, output};

/// A program that the engine drives.
#[derive(Debug)]
struct Target {
    name: &'static str,
    /// The longest input, in bytes.
    max_len: u32,
}

const PACKAGES: [&str; 2] = ["crates/columba-codec/fuzz", "crates/columba-core/fuzz"];

const TARGETS: [Target; 3] = [
    Target { name: "decode", max_len: 1024 },
    Target { name: "broker", max_len: 1500 },
    Target { name: "topics", max_len: 1500 },
];

/// Every branch and comparison tells the engine that it was taken. It is what cargo-fuzz passes, but for the address
/// sanitizer, which only a nightly compiler has.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// MiB that a target may hold.
const RSS_LIMIT: u32 = 2048;
/// Seconds that one input may take.
const TIMEOUT: u32 = 10;

/// Builds all targets and lets each run for so many seconds, so many at a time.
pub(crate) fn all(seconds: u64, jobs: usize) -> Result<(), String> {
    let Some(host) = host()? else {
        print!("the engine needs a C++ compiler and there is none, skipped … ");
        return Ok(());
    };
    let folder = folder();
    for package in PACKAGES {
        build(package, &host, &folder)?;
    }
    println!();
    let programs = folder.join(host).join("release");
    let mut failures = Vec::new();
    for targets in TARGETS.chunks(jobs.max(1)) {
        let outcomes: Vec<_> = thread::scope(|scope| {
            let runs: Vec<_> = targets
                .iter()
                .map(|target| scope.spawn(|| run(target, seconds, &programs, &folder)))
                .collect();
            runs.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for (target, outcome) in targets.iter().zip(outcomes) {
            match outcome.unwrap_or_else(|_| Err("could not be watched".to_owned())) {
                Ok(runs) => println!("fuzz {}: {} runs in {seconds} s, no crash", target.name, grouped(runs)),
                Err(problem) => failures.push(format!("fuzz {}: {problem}", target.name)),
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Where programs, inputs and logs go.
fn folder() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    root().join(target).join("fuzz")
}

/// What this machine is called, or nothing where the engine cannot be compiled.
fn host() -> Result<Option<String>, String> {
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    if answer(Command::new(compiler).arg("--version")).is_err() {
        return Ok(None);
    }
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = answer(Command::new(rustc).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(|host| Some(host.to_owned())).ok_or_else(|| format!("rustc does not say its host:\n{version}"))
}

fn build(package: &str, host: &str, folder: &Path) -> Result<(), String> {
    let mut command = cargo();
    command
        .args(["build", "--release", "--manifest-path", &format!("{package}/Cargo.toml")])
        // Named, even though it is the default: so that build scripts are built without these flags.
        .args(["--target", host, "--target-dir"])
        .arg(folder)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", FLAGS);
    match output(&mut command, false) {
        (true, _) => Ok(()),
        (false, text) => Err(text),
    }
}

/// Runs one target, from what earlier runs have found and what it starts from, and returns how many inputs it tried.
fn run(target: &Target, seconds: u64, programs: &Path, folder: &Path) -> Result<u64, String> {
    let program = programs.join(target.name);
    let corpus = folder.join("corpus").join(target.name);
    let artifacts = folder.join("artifacts");
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let mut command = Command::new(&program);
    command
        .arg(&corpus)
        .args([
            format!("-max_total_time={seconds}"),
            format!("-max_len={}", target.max_len),
            format!("-rss_limit_mb={RSS_LIMIT}"),
            format!("-timeout={TIMEOUT}"),
            format!("-artifact_prefix={}/{}-", artifacts.display(), target.name),
            "-print_final_stats=1".to_owned(),
            // Long inputs reach what short ones do not; the default grows them slowly.
            "-len_control=20".to_owned(),
            // Not a line for each input that is new.
            "-verbosity=0".to_owned(),
        ])
        // Written before the engine reads its corpus.
        .env("COLUMBA_FUZZ_SEEDS", &corpus);
    let (is_success, text) = output(&mut command, false);
    match runs(&text) {
        Some(runs) if is_success => Ok(runs),
        _ => Err(explain(&program, &text)),
    }
}

/// How many inputs the engine says it tried.
fn runs(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    line.trim().parse().ok()
}

/// What went wrong, and how to see it again.
fn explain(program: &Path, text: &str) -> String {
    let Some((_, artifact)) = text.split_once("Test unit written to ") else {
        return format!("ended without a reason:\n{text}");
    };
    let artifact = artifact.lines().next().unwrap_or_default();
    let program = program.display();
    format!(
        "failed on {artifact}\n{text}\nagain, with every packet:\n  COLUMBA_FUZZ_PRINT=1 {program} {artifact}\n\
         made smaller:\n  {program} -minimize_crash=1 -max_total_time=60 {artifact}"
    )
}

/// The number with a comma between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn what_the_engine_says_is_understood() {
        let text = "INFO: Seed: 1\nstat::number_of_executed_units: 6244244\nstat::peak_rss_mb: 41\n";
        assert_eq!(runs(text), Some(6_244_244));
        assert_eq!(runs("INFO: Seed: 1\n"), None);
        let text =
            "panicked at x\nartifact_prefix='a/'; Test unit written to a/broker-crash-1\nBase64: AA==\n";
        let explained = explain(Path::new("broker"), text);
        assert!(explained.starts_with("failed on a/broker-crash-1\npanicked at x"), "{explained}");
        assert!(explained.contains("COLUMBA_FUZZ_PRINT=1 broker a/broker-crash-1\n"), "{explained}");
    }
}
