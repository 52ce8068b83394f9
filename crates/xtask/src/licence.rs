//! The licences of the dependencies.

use std::collections::BTreeSet;

use crate::run::{answer, cargo, output};

/// Licences that ask for no more than a notice.
const PERMISSIVE: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(crate) fn all() -> Result<(), String> {
    let wrong = not_permissive()?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into_iter().collect::<Vec<_>>().join("\n")) }
}

/// Known vulnerabilities. They come by the day, so the tests do not ask for them, and only cargo-deny knows them.
pub(crate) fn advisories() -> Result<(), String> {
    if answer(cargo().args(["deny", "--version"])).is_err() {
        print!("cargo-deny is not installed, skipped … ");
        return Ok(());
    }
    match output(cargo().args(["deny", "--all-features", "check", "advisories"]), false) {
        (true, _) => Ok(()),
        (false, text) => Err(text),
    }
}

fn not_permissive() -> Result<BTreeSet<String>, String> {
    let tree = answer(cargo().args([
        "tree",
        "--workspace",
        "--all-features",
        "--target=all",
        "--edges=normal,build,dev",
        "--prefix=none",
        "--format={p}\t{l}",
    ]))?;
    let packages = tree.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('\t'));
    let wrong = packages.filter(|(_, licence)| !is_permissive(licence));
    Ok(wrong.map(|(package, licence)| format!("{package} has the licence {licence:?}")).collect())
}

/// Whether one of the choices that an SPDX expression offers is permissive throughout.
fn is_permissive(expression: &str) -> bool {
    // The slash is an older way to write OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) == Some(true) && rest.is_empty()
}

/// `None` where the expression is not well formed, here and below.
fn any(words: &mut &[&str]) -> Option<bool> {
    let mut result = every(words)?;
    while take(words, "OR") {
        result |= every(words)?;
    }
    Some(result)
}

fn every(words: &mut &[&str]) -> Option<bool> {
    let mut result = one(words)?;
    while take(words, "AND") {
        result &= one(words)?;
    }
    Some(result)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    if take(words, "(") {
        let result = any(words)?;
        return take(words, ")").then_some(result);
    }
    let licence = next(words)?;
    if take(words, "WITH") {
        let exception = next(words)?;
        return Some(PERMISSIVE.contains(&format!("{licence} WITH {exception}").as_str()));
    }
    Some(PERMISSIVE.contains(&licence))
}

fn next<'a>(words: &mut &[&'a str]) -> Option<&'a str> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    Some(first)
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let is_next = words.first() == Some(&word);
    if is_next {
        *words = &words[1..];
    }
    is_next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for permissive in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "GPL-3.0-only OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(is_permissive(permissive), "{permissive}");
        }
        for other in [
            "",
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT OR Apache-2.0) AND MPL-2.0",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "MIT OR",
            "(MIT",
            "MIT Apache-2.0",
        ] {
            assert!(!is_permissive(other), "{other}");
        }
    }
}
