//! `cargo xtask`: everything about this repository that takes more than one cargo command.

mod bench;
mod fuzz;
mod install;
mod licence;
mod mutants;
mod run;
mod tidy;
mod wasm;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use run::{Run, cargo};

const HELP: &str = "\
cargo xtask <command> [-v]

  test      everything: the checks, all tests, the interoperability tests
  check     formatting, clippy, documentation, tidy
  conformance [--against HOST:PORT]
            every numbered statement of MQTT 5.0 and 3.1.1, against Columba or any other broker
  simulate [--seeds N]
            random workloads under random faults, held against what MQTT promises; --seed N replays one
  fuzz [SECONDS]
            the fuzz targets, so many seconds each (60)
  mutants [WORDS]
            deliberate defects, which the two commands above have to notice
  interop   the tests against real clients only; further words select tests by name
  tidy      the rules of this repository that no compiler knows
  deny      licences and known vulnerabilities of the dependencies
  bench     the benchmarks
  bench --against mosquitto [--quick] [--rounds N] [WORDS]
            Columba and mosquitto under the same load, as a table; words select scenarios
  bench --growth [--quick] [--rounds N] [WORDS]
            how Columba's cost grows: plots, figures and tables in docs/growth; words select curves
  wasm      the WebAssembly build and its package for browsers and Node, in target/wasm/package
  web       the playground with it, in target/web, from where any web server can serve it
  serve     the command with the playground, and its address; further words are the command's
  browser   the tests of both, in Node and in Chromium
  help      this text

  -v        show what the steps print, also where nothing fails

COLUMBA_TEST_BROKER=mosquitto runs the tests against mosquitto, COLUMBA_BIN against a program built elsewhere.";

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let is_verbose = arguments.iter().any(|argument| argument == "-v");
    arguments.retain(|argument| argument != "-v");
    let Some((command, rest)) = arguments.split_first() else {
        println!("{HELP}");
        return ExitCode::from(2);
    };
    let mut run = Run::new(is_verbose);
    match command.as_str() {
        "test" => {
            run.step("programs", "what the tests run is installed", install::all);
            check(&mut run);
            licences(&mut run);
            test(&mut run);
            simulate(&mut run);
            fuzz(&mut run, 60);
            web(&mut run);
            interop(&mut run, &[]);
            browser(&mut run);
        }
        "check" => check(&mut run),
        "interop" => {
            run.step("programs", "what the tests run is installed", install::all);
            interop(&mut run, rest);
        }
        "conformance" => return run::show(conformance().arg("--table").args(rest)),
        "simulate" => return run::show(simulation().args(rest)),
        "fuzz" => {
            let Ok(seconds) = rest.first().map_or(Ok(60), |seconds| seconds.parse()) else {
                eprintln!("fuzz takes a number of seconds");
                return ExitCode::from(2);
            };
            fuzz(&mut run, seconds);
        }
        "mutants" => {
            let filter = rest.join(" ");
            run.step("mutants", "deliberate defects are noticed", || mutants::all(&filter));
        }
        "tidy" => tidy(&mut run),
        "wasm" => return said(wasm::package()),
        "web" => return said(wasm::site()),
        "serve" => return serve(rest),
        "browser" => {
            web(&mut run);
            build(&mut run);
            browser(&mut run);
        }
        "deny" => {
            licences(&mut run);
            run.step("deny", "no dependency has a known vulnerability", licence::advisories);
        }
        "bench" if !rest.is_empty() => return bench::run(rest),
        "bench" => run.command("bench", "the benchmarks", cargo().args(["bench", "--workspace"])),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprintln!("{other} is no command; `cargo xtask help` lists them");
            return ExitCode::from(2);
        }
    }
    run.finish()
}

/// For commands whose last line is what they are for.
fn said(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn check(run: &mut Run) {
    run.command(
        "fmt",
        "rustfmt has nothing to change",
        cargo().args(["fmt", "--all", "--check", "--", "--color=never"]),
    );
    run.command(
        "clippy",
        "clippy has nothing to say",
        cargo().args(["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]),
    );
    run.command(
        "leaner",
        "nor has it where columba is built with no features",
        cargo()
            .args(["clippy", "--package", "columba", "--all-targets", "--no-default-features"])
            .args(["--", "-D", "warnings"]),
    );
    run.command(
        "doc",
        "the documentation builds without a warning",
        cargo()
            .args(["doc", "--workspace", "--all-features", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    );
    tidy(run);
}

fn tidy(run: &mut Run) {
    run.step("tidy", "the rules of this repository are kept", tidy::all);
}

fn licences(run: &mut Run) {
    run.step("licences", "every dependency has a permissive licence", licence::all);
}

fn test(run: &mut Run) {
    // The whole-system tests need a broker and clients; they are a step of their own.
    run.tests(
        "tests",
        "the crates' tests with all features",
        cargo().args([
            "test",
            "--workspace",
            "--exclude",
            "columba-tests",
            "--all-features",
            "--no-fail-fast",
        ]),
    );
    run.tests(
        "bare",
        "columba's tests with no features",
        cargo().args(["test", "--package", "columba", "--no-default-features", "--no-fail-fast"]),
    );
}

/// The conformance tests, to be given what words they take.
fn conformance() -> Command {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "columba-tests", "--test", "conformance", "--"]);
    command
}

/// The simulation, built to be fast and to check itself.
fn simulation() -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--profile", "simulate", "--package", "columba-simulation"]);
    command.args(["--bin", "simulate", "--"]);
    command
}

fn simulate(run: &mut Run) {
    run.command(
        "simulate",
        "2,000 random workloads keep what MQTT promises",
        simulation().args(["--seeds", "2000"]),
    );
}

fn fuzz(run: &mut Run, seconds: u64) {
    run.step("fuzz", "no input breaks the codec or the broker", || fuzz::all(seconds, 3));
}

/// The WebAssembly build, its package in Node, the page.
fn web(run: &mut Run) {
    let mut size = String::new();
    run.step("web", "the WebAssembly build, its package and the playground", || {
        size = wasm::site()?;
        print!("{size}, ");
        Ok(())
    });
    run.counted("node", "the package in Node, with unmodified clients", || match wasm::node_tests() {
        Ok(mut command) => run::output(&mut command, false),
        Err(reason) => (false, reason),
    });
    run.counted("wasm", "conformance of the WebAssembly build", || wasm::conformance(&mut conformance()));
}

/// The command, which has the playground in it if that was built before.
fn build(run: &mut Run) {
    run.command(
        "build",
        "the columba command, optimised",
        cargo().args(["build", "--release", "--package", "columba-server"]),
    );
}

fn browser(run: &mut Run) {
    run.counted("browser", "the playground in Chromium", || match wasm::browser_tests() {
        Ok(mut command) => run::output(&mut command, false),
        Err(reason) => (false, reason),
    });
}

/// Builds the page and the command with it, and runs that until it is stopped.
fn serve(rest: &[String]) -> ExitCode {
    match wasm::site() {
        Ok(size) => println!("{size}"),
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::FAILURE;
        }
    }
    println!(
        "the playground is at http://127.0.0.1:8083/ once the broker listens, unless another address is given"
    );
    run::show(cargo().args(["run", "--release", "--package", "columba-server", "--"]).args(rest))
}

fn interop(run: &mut Run, names: &[String]) {
    let is_columba = !env::var("COLUMBA_TEST_BROKER").is_ok_and(|broker| broker == "mosquitto");
    if is_columba && env::var_os("COLUMBA_BIN").is_none() {
        build(run);
    }
    run.tests(
        "interop",
        "real clients against a running broker",
        cargo().args(["test", "--package", "columba-tests", "--no-fail-fast", "--"]).args(names),
    );
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
