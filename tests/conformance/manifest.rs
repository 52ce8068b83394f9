//! The list of normative statements: what is held against it, and how it reads as a table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use columba_testkit::Version;
use serde::Deserialize;

use crate::suite::{Outcome, Run};

/// All statements of one version.
pub(crate) struct Manifest {
    /// `mqtt-5.0`: as the file is called, and the line that sums it up.
    name: &'static str,
    version: Version,
    statements: Vec<(String, Statement)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    about: String,
    /// The statement of 5.0 whose tag in the code upholds this one.
    code: Option<String>,
    tests: Option<Vec<String>>,
    client: Option<String>,
    unobservable: Option<String>,
}

/// What a statement comes to.
enum State {
    /// It holds, as so many tests show.
    Tested(usize),
    /// No test can show it: why.
    NotTestable(String),
    /// No test shows it, or one that should does not: why.
    Open(String),
}

/// What a foreign broker makes of a statement.
enum Judgement {
    Kept(String),
    Broken(String),
    NotRun(String),
}

/// Both manifests.
pub(crate) fn load() -> Result<Vec<Manifest>, String> {
    let v5 = include_str!("mqtt-5.0.toml");
    let v3 = include_str!("mqtt-3.1.1.toml");
    Ok(vec![
        Manifest::parse("mqtt-5.0", Version::V5, 251, v5)?,
        Manifest::parse("mqtt-3.1.1", Version::V3_1_1, 141, v3)?,
    ])
}

impl Manifest {
    fn parse(name: &'static str, version: Version, count: usize, text: &str) -> Result<Self, String> {
        // A second row for a statement is an error of TOML already.
        let rows: BTreeMap<String, Statement> =
            toml::from_str(text).map_err(|error| format!("{name}.toml: {error}"))?;
        if rows.len() != count {
            return Err(format!("{name}.toml: {} statements; the standard has {count}", rows.len()));
        }
        for (id, row) in &rows {
            let kinds = [row.tests.is_some(), row.client.is_some(), row.unobservable.is_some()];
            if kinds.iter().filter(|&&is| is).count() != 1 {
                return Err(format!("{name}.toml: {id}: one of tests, client and unobservable"));
            }
        }
        let mut statements: Vec<_> = rows.into_iter().collect();
        statements.sort_by_key(|(id, _)| place_in_standard(id));
        Ok(Self { name, version, statements })
    }

    /// What each statement comes to, as a table if wanted and as a line of figures. False if one is open.
    pub(crate) fn report(&self, runs: &[Run], code: &str, with_table: bool) -> (bool, String, String) {
        let (mut tested, mut not_testable, mut open) = (0, 0, 0);
        let mut table = String::new();
        for (id, row) in &self.statements {
            let state = self.state(id, row, runs, code);
            let text = match &state {
                State::Tested(count) => {
                    tested += 1;
                    format!("tested by {count}")
                }
                State::NotTestable(why) => {
                    not_testable += 1;
                    format!("not testable: {why}")
                }
                State::Open(why) => {
                    open += 1;
                    format!("OPEN: {why}")
                }
            };
            if with_table || matches!(state, State::Open(_)) {
                push_row(&mut table, self.name, id, &row.about, &text);
            }
        }
        let summary = format!(
            "{}: {} statements, {tested} tested, {not_testable} not testable, {open} open",
            self.name,
            self.statements.len(),
        );
        (open == 0, table, summary)
    }

    /// What a foreign broker makes of each statement, as a table and as a line of figures.
    pub(crate) fn judge(&self, runs: &[Run]) -> (String, String) {
        let (mut kept, mut broken, mut not_run, mut not_testable) = (0, 0, 0, 0);
        let mut table = String::new();
        for (id, row) in &self.statements {
            let text = match &row.tests {
                None => {
                    not_testable += 1;
                    "not testable".to_owned()
                }
                Some(tests) => match self.judgement(tests, runs) {
                    Judgement::Kept(text) => {
                        kept += 1;
                        text
                    }
                    Judgement::Broken(text) => {
                        broken += 1;
                        text
                    }
                    Judgement::NotRun(text) => {
                        not_run += 1;
                        text
                    }
                },
            };
            push_row(&mut table, self.name, id, &row.about, &text);
        }
        let summary = format!(
            "{}: {} statements, {kept} kept, {broken} broken, {not_run} not run, {not_testable} not testable",
            self.name,
            self.statements.len(),
        );
        (table, summary)
    }

    fn state(&self, id: &str, row: &Statement, runs: &[Run], code: &str) -> State {
        let Some(tests) = &row.tests else {
            let why = row.client.as_ref().or(row.unobservable.as_ref());
            return State::NotTestable(why.cloned().unwrap_or_default());
        };
        if tests.is_empty() {
            return State::Open("no test".to_owned());
        }
        for test in tests {
            let runs: Vec<_> = self.runs_of(test, runs).collect();
            if runs.is_empty() {
                return State::Open(format!("there is no test {test} with {}", self.version));
            }
            for run in runs {
                let what = match &run.outcome {
                    Outcome::Passed => continue,
                    Outcome::Failed(_) => "fails",
                    Outcome::NotRun(_) => "was not run",
                };
                return State::Open(format!("{test} {what}, {}", run.place));
            }
        }
        let tag = match (self.version, &row.code) {
            (Version::V5, _) => format!("[{id}]"),
            (_, Some(code)) => format!("[{code}]"),
            (_, None) => format!("[{id} of 3.1.1]"),
        };
        if !code.contains(&tag) {
            return State::Open(format!("no line of the code has the tag {tag}"));
        }
        State::Tested(tests.len())
    }

    fn judgement(&self, tests: &[String], runs: &[Run]) -> Judgement {
        let (mut passed, mut count) = (0, 0);
        let mut why_not = "no test".to_owned();
        for test in tests {
            for run in self.runs_of(test, runs) {
                count += 1;
                match &run.outcome {
                    Outcome::Passed => passed += 1,
                    Outcome::Failed(message) => {
                        let first = message.lines().next().unwrap_or_default();
                        return Judgement::Broken(format!("BROKEN by {test}: {first}"));
                    }
                    Outcome::NotRun(reason) => why_not.clone_from(reason),
                }
            }
        }
        if passed == 0 {
            Judgement::NotRun(format!("not run: {why_not}"))
        } else if passed < count {
            Judgement::Kept(format!("kept, as {passed} of {count} tests show; the others: {why_not}"))
        } else {
            Judgement::Kept("kept".to_owned())
        }
    }

    fn runs_of<'a>(&self, test: &'a str, runs: &'a [Run]) -> impl Iterator<Item = &'a Run> {
        let version = self.version;
        runs.iter().filter(move |run| run.test == test && run.version == version)
    }
}

/// All code of the broker, in which the tags are looked for. The test kit is none.
pub(crate) fn code() -> io::Result<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut text = String::new();
    for entry in fs::read_dir(crates)? {
        let entry = entry?;
        if !["columba-testkit", "xtask"].iter().any(|name| entry.file_name() == *name) {
            collect(&entry.path().join("src"), &mut text)?;
        }
    }
    Ok(text)
}

fn collect(directory: &Path, text: &mut String) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, text)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

fn push_row(table: &mut String, name: &str, id: &str, about: &str, state: &str) {
    let _ = writeln!(table, "{name:<11} {id:<16} {about}\n{:28} {state}", "");
}

/// The numbers in an id, in order: 3.1.10-2 comes after 3.1.9-1.
fn place_in_standard(id: &str) -> Vec<u32> {
    id.split(['.', '-']).filter_map(|part| part.parse().ok()).collect()
}
