//! Rules of this repository that no compiler knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::root;
use crate::run::{answer, cargo};

/// Lines a source file may have, its tests not counted.
const MAX_LINES: usize = 700;

/// Files that may be longer, each with the reason.
const LONG_FILES: [(&str, &str); 0] = [];

/// What a draft may have and a commit may not. In pieces, or this file would break its own rule.
const DRAFT_MACROS: [&str; 3] = [concat!("todo", "!"), concat!("unimplemented", "!"), concat!("dbg", "!")];

/// Where packages happen to be downloaded from is a matter of each machine.
const REGISTRY_HOSTS: [&str; 6] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("registry.", "npmjs.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("pypi", ".org"),
    concat!("art", "ifactory"),
];

/// A package, the arguments that select its features, and the number of crates it must stay below, itself included.
const CRATE_LIMITS: [(&str, &[&str], usize); 3] = [
    ("columba-core", &[], 15),
    ("columba", &["--no-default-features"], 35),
    ("columba-testkit", &["--no-default-features"], 15),
];

/// What the core must not even be able to do: runtimes, sockets, randomness of its own.
const NOT_IN_CORE: [&str; 9] =
    ["tokio", "async-std", "smol", "mio", "futures", "futures-util", "socket2", "getrandom", "rand"];

/// Every violation of every rule.
pub(crate) fn all() -> Result<(), String> {
    let mut problems = Vec::new();
    for path in files()? {
        // A file that is gone or is no text has nothing to say here.
        if let Ok(text) = fs::read_to_string(root().join(&path)) {
            check_file(&path, &text, &mut problems);
        }
    }
    // What cargo cannot tell is a problem among the others; they are shown all the same.
    check_dependencies(&mut problems).unwrap_or_else(|error| problems.push(error));
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// What is committed or would be with `git add`.
fn files() -> Result<Vec<String>, String> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let list = answer(Command::new("git").args(arguments).current_dir(root()))?;
    Ok(list.split_terminator('\0').map(str::to_owned).collect())
}

fn check_file(path: &str, text: &str, problems: &mut Vec<String>) {
    check_lines(path, text, problems);
    check_hosts(path, text, problems);
    let is_rust = has_extension(path, "rs") && path.contains("/src/");
    let is_script = has_extension(path, "js") && (path.starts_with("www/") || path.starts_with("bindings/"));
    if is_rust || is_script {
        check_length(path, text, problems);
    }
    if has_extension(path, "md") {
        let directory = Path::new(path).parent().unwrap_or(Path::new(""));
        check_links(path, text, |target| root().join(directory).join(target).exists(), problems);
    }
}

fn check_lines(path: &str, text: &str, problems: &mut Vec<String>) {
    for (number, line) in (1..).zip(text.lines()) {
        if line.ends_with([' ', '\t']) {
            problems.push(format!("{path}:{number}: white space at the end of the line"));
        }
        if !has_extension(path, "rs") {
            continue;
        }
        for draft in DRAFT_MACROS.into_iter().filter(|draft| has_word(line, draft)) {
            problems.push(format!("{path}:{number}: {draft} is for drafts"));
        }
    }
}

/// Whether `word` occurs in `line` other than as the end of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(|before| before.is_alphanumeric() || before == '_')
    })
}

fn check_hosts(path: &str, text: &str, problems: &mut Vec<String>) {
    for host in REGISTRY_HOSTS.into_iter().filter(|host| text.contains(host)) {
        problems
            .push(format!("{path}: mentions {host}; where packages come from is each machine's own matter"));
    }
    if path.ends_with("package-lock.json") && text.contains("\"resolved\"") {
        problems.push(format!(
            "{path}: names hosts; npm leaves them out with omit-lockfile-registry-resolved=true"
        ));
    }
    if path.ends_with("Cargo.lock") {
        let official = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        let sources = text.lines().filter(|line| line.starts_with("source = "));
        for source in sources.filter(|line| *line != official) {
            problems.push(format!("{path}: {source} is not the public registry"));
        }
    }
}

fn check_length(path: &str, text: &str, problems: &mut Vec<String>) {
    let length = length_without_tests(path, text);
    let is_excepted = LONG_FILES.iter().any(|(long, _)| *long == path);
    if length > MAX_LINES && !is_excepted {
        problems.push(format!("{path}: {length} lines without its tests, {MAX_LINES} are allowed"));
    }
    if length <= MAX_LINES && is_excepted {
        problems.push(format!(
            "{path}: no longer too long, so no longer an exception (crates/xtask/src/tidy.rs)"
        ));
    }
}

fn length_without_tests(path: &str, text: &str) -> usize {
    // A module of tests may be a file or a folder of its own.
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return 0;
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut length = lines.len();
    for begin in (0..lines.len()).filter(|&index| lines[index] == "#[cfg(test)]") {
        let attributes = lines[begin..].iter().take_while(|line| line.starts_with("#[")).count();
        let is_block =
            lines.get(begin + attributes).is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'));
        if is_block {
            let rest = &lines[begin..];
            length -= rest.iter().position(|line| *line == "}").map_or(rest.len(), |end| end + 1);
        }
    }
    length
}

fn check_links(path: &str, text: &str, exists: impl Fn(&str) -> bool, problems: &mut Vec<String>) {
    let mut is_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        is_code ^= line.trim_start().starts_with("```");
        if is_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let link = line[at + 2..].split(')').next().unwrap_or_default();
            let target = link.split(['#', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') && !exists(target) {
                problems.push(format!("{path}:{number}: there is no {target}"));
            }
        }
    }
}

fn check_dependencies(problems: &mut Vec<String>) -> Result<(), String> {
    for (package, features, limit) in CRATE_LIMITS {
        let crates = crates_of(package, features)?;
        if crates.len() >= limit {
            let list = crates.into_iter().collect::<Vec<_>>().join(", ");
            problems.push(format!(
                "{package} is made of too many crates; fewer than {limit} are allowed: {list}"
            ));
        }
    }
    // With every feature and on every system.
    let core = crates_of("columba-core", &["--all-features", "--target=all"])?;
    let names: BTreeSet<&str> = core.iter().filter_map(|name| name.split(' ').next()).collect();
    for forbidden in NOT_IN_CORE.into_iter().filter(|name| names.contains(name)) {
        problems
            .push(format!("columba-core must not depend on {forbidden}: the core does no input or output"));
    }
    Ok(())
}

/// Names and versions of what `package` needs to run, itself included.
fn crates_of(package: &str, features: &[&str]) -> Result<BTreeSet<String>, String> {
    let arguments = ["tree", "--package", package, "--edges=normal", "--prefix=none", "--format={p}"];
    let tree = answer(cargo().args(arguments).args(features))?;
    Ok(tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect())
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|own| own == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(check: impl Fn(&mut Vec<String>)) -> Vec<String> {
        let mut problems = Vec::new();
        check(&mut problems);
        problems
    }

    #[test]
    fn drafts_and_white_space_are_named_with_their_line() {
        let text = format!(
            "fn a() {{}}\nfn b() {{ {}() }}\nfn c() {{}} \nmy_{}();\n",
            DRAFT_MACROS[0], DRAFT_MACROS[2]
        );
        let found = problems(|list| check_lines("a.rs", &text, list));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a.rs:2: "), "{found:?}");
        assert!(found[1].starts_with("a.rs:3: "), "{found:?}");
        assert_eq!(problems(|list| check_lines("a.md", DRAFT_MACROS[0], list)), [""; 0]);
    }

    #[test]
    fn only_the_public_registry_is_named() {
        let lock = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert_eq!(problems(|list| check_hosts("Cargo.lock", lock, list)), [""; 0]);
        let other = "source = \"registry+https://mirror.example/index\"\n";
        assert_eq!(problems(|list| check_hosts("Cargo.lock", other, list)).len(), 1);
        assert_eq!(problems(|list| check_hosts("a.json", REGISTRY_HOSTS[2], list)).len(), 1);
        let resolved = "\"resolved\": \"https://mirror.example/mqtt.tgz\"";
        assert_eq!(problems(|list| check_hosts("a/package-lock.json", resolved, list)).len(), 1);
    }

    #[test]
    fn tests_do_not_count_as_length() {
        let code = "fn a() {}\n".repeat(MAX_LINES);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    // a test\n".repeat(50));
        let file = format!("{code}{tests}");
        assert_eq!(length_without_tests("a.rs", &file), MAX_LINES);
        assert_eq!(problems(|list| check_length("a.rs", &file, list)), [""; 0]);
        assert_eq!(problems(|list| check_length("a.rs", &format!("{file}\n"), list)).len(), 1);
        assert_eq!(length_without_tests("crates/a/src/tests.rs", &file), 0);
        // A module of tests in another file is two lines here.
        assert_eq!(length_without_tests("a.rs", "fn a() {}\n#[cfg(test)]\nmod tests;\n"), 3);
    }

    #[test]
    fn links_lead_somewhere() {
        let text =
            "[a](there.md#part) [b](https://example.org) [c](#here) [d](gone.md)\n```\n[e](code)\n```\n";
        let found = problems(|list| check_links("README.md", text, |target| target == "there.md", list));
        assert_eq!(found, ["README.md:1: there is no gone.md"]);
    }
}
