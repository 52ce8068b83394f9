//! Steps, what they print and what they add up to.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::root;

/// What has been done so far.
#[derive(Debug)]
pub(crate) struct Run {
    is_verbose: bool,
    begin: Instant,
    steps: usize,
    failed_steps: Vec<&'static str>,
    tests: Option<Count>,
}

/// Test functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
}

impl Run {
    pub(crate) fn new(is_verbose: bool) -> Self {
        Self { is_verbose, begin: Instant::now(), steps: 0, failed_steps: Vec::new(), tests: None }
    }

    /// One line for the step, and after it whatever explains a failure.
    pub(crate) fn step(&mut self, name: &'static str, what: &str, work: impl FnOnce() -> Result<(), String>) {
        print!("{name:<9} {what} … ");
        flush();
        let begin = Instant::now();
        let outcome = work();
        self.report(name, begin, outcome);
    }

    pub(crate) fn command(&mut self, name: &'static str, what: &str, command: &mut Command) {
        let is_verbose = self.is_verbose;
        self.step(name, what, || match output(command, is_verbose) {
            (true, _) => Ok(()),
            (false, text) => Err(text),
        });
    }

    /// A command that runs tests and prints their number the way `cargo test` or `node --test` does.
    pub(crate) fn tests(&mut self, name: &'static str, what: &str, command: &mut Command) {
        let is_verbose = self.is_verbose;
        self.counted(name, what, || output(command, is_verbose));
    }

    /// The same for anything that runs tests: it returns whether it succeeded and what was printed.
    pub(crate) fn counted(&mut self, name: &'static str, what: &str, work: impl FnOnce() -> (bool, String)) {
        print!("{name:<9} {what} … ");
        flush();
        let begin = Instant::now();
        let (is_success, text) = work();
        let mut count = Count::of(&text);
        if !is_success && count.failed == 0 {
            // It did not compile, or a test program died: the last line must not look like a success.
            count.failed = 1;
        }
        print!("{} passed, {} failed, ", count.passed, count.failed);
        let total = self.tests.get_or_insert_default();
        total.passed += count.passed;
        total.failed += count.failed;
        self.report(name, begin, if is_success { Ok(()) } else { Err(text) });
    }

    pub(crate) fn finish(self) -> ExitCode {
        let steps = self.steps;
        let took = seconds(self.begin.elapsed());
        if self.failed_steps.is_empty() {
            println!("all {steps} steps succeeded in {took}");
        } else {
            println!(
                "{} of {steps} steps failed in {took}: {}",
                self.failed_steps.len(),
                self.failed_steps.join(", ")
            );
        }
        if let Some(tests) = self.tests {
            println!("{} passed, {} failed", tests.passed, tests.failed);
        }
        if self.failed_steps.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn report(&mut self, name: &'static str, begin: Instant, outcome: Result<(), String>) {
        self.steps += 1;
        let took = seconds(begin.elapsed());
        match outcome {
            Ok(()) => println!("ok, {took}"),
            Err(reason) => {
                println!("FAILED, {took}");
                if !self.is_verbose {
                    reason.lines().filter(|line| !is_progress(line)).for_each(|line| println!("{line}"));
                }
                self.failed_steps.push(name);
            }
        }
        flush();
    }
}

impl Count {
    /// Adds up the lines `test result: ok. 3 passed; 0 failed; …`, and `# pass 3` of Node's test runner.
    fn of(text: &str) -> Self {
        let mut count = Self::default();
        for line in text.lines() {
            // Node's test runner has a line for each.
            if let Some(number) = line.strip_prefix("# pass ") {
                count.passed += number.trim().parse::<usize>().unwrap_or(0);
            }
            if let Some(number) = line.strip_prefix("# fail ").or_else(|| line.strip_prefix("# cancelled ")) {
                count.failed += number.trim().parse::<usize>().unwrap_or(0);
            }
        }
        for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("test result: ")) {
            for part in line.split([';', '.']) {
                let mut words = part.split_whitespace();
                if let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse::<usize>), words.next())
                {
                    match what {
                        "passed" => count.passed += number,
                        "failed" => count.failed += number,
                        _ => {}
                    }
                }
            }
        }
        count
    }
}

/// The cargo that runs this program, at the root of the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs `command` and returns whether it succeeded and all that it printed, both streams in one.
pub(crate) fn output(command: &mut Command, is_shown: bool) -> (bool, String) {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            return (false, format!("{} does not start: {error}", command.get_program().display()));
        }
    };
    if is_shown {
        println!();
    }
    let (sender, lines) = channel();
    forward(child.stdout.take(), sender.clone());
    forward(child.stderr.take(), sender);
    let mut text = String::new();
    for line in lines {
        if is_shown {
            println!("{line}");
        }
        text.push_str(&line);
        text.push('\n');
    }
    (child.wait().is_ok_and(|status| status.success()), text)
}

/// Runs a command whose output is the point, and ends as it does.
pub(crate) fn show(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{} does not start: {error}", command.get_program().display());
            ExitCode::FAILURE
        }
    }
}

/// Like [`output`], for commands of which only the answer matters.
pub(crate) fn answer(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output =
        output.map_err(|error| format!("{} does not start: {error}", command.get_program().display()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn forward(stream: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line);
            if lines.send(text.trim_end_matches('\n').to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// What cargo prints while all is well, which is of no use to who looks for a failure.
fn is_progress(line: &str) -> bool {
    let verbs = ["Compiling ", "Checking ", "Documenting ", "Downloading ", "Downloaded "];
    let is_verb = verbs.iter().any(|verb| line.trim_start().starts_with(verb));
    let is_node = line.starts_with("ok ") || line.starts_with("# Subtest: ");
    is_verb || is_node || line.starts_with("test ") && line.ends_with(" ok")
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Whoever reads the output through a pipe sees what is under way, too.
fn flush() {
    let _ = io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_results_are_added_up() {
        let text = "running 3 tests\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s\n\
             test a ... FAILED\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 7.05s\n";
        assert_eq!(Count::of(text), Count { passed: 4, failed: 2 });
        assert_eq!(Count::of("error: could not compile"), Count::default());
        let text = "ok 1 - one\n# tests 5\n# pass 3\n# fail 1\n# cancelled 1\n";
        assert_eq!(Count::of(text), Count { passed: 3, failed: 2 });
    }

    #[test]
    fn progress_is_told_from_failures() {
        assert!(is_progress("   Compiling columba v0.1.0"));
        assert!(is_progress("test a::b ... ok"));
        assert!(!is_progress("test a::b ... FAILED"));
        assert!(!is_progress("error: it is not ok"));
    }

    #[test]
    fn a_program_that_does_not_start_has_failed() {
        let (is_success, text) = output(&mut Command::new("no such program"), false);
        assert!(!is_success);
        assert!(text.contains("no such program does not start"), "{text}");
    }
}
