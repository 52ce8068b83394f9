//! Deliberate defects of the core, one at a time, in a copy of the repository: each has to be noticed by the conformance tests
//! or by the simulation. The copy and its build lie under `target/mutants`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::root;
use crate::run::{answer, cargo, output};

/// A defect: what a line says and what it says instead. The text has to occur once, so that a change of the code which makes
/// a defect meaningless is noticed too.
struct Mutant {
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const MUTANTS: [Mutant; 15] = [
    Mutant {
        name: "what is sent again is not marked with DUP",
        file: "transmit.rs",
        from: "            dup,\n            qos: delivery.qos(),",
        to: "            dup: false,\n            qos: delivery.qos(),",
    },
    Mutant {
        name: "a packet identifier is given out while it is in use",
        file: "inflight.rs",
        from: "let in_use = self.live > 0 && self.position(self.last_id).is_some();",
        to: "self.last_id = 1 + self.last_id % 3;\n            let in_use = false;",
    },
    Mutant {
        name: "what is in flight is not sent again",
        file: "inflight.rs",
        from: "    pub(crate) fn restart(&mut self) {\n        self.resent = 0;",
        to: "    pub(crate) fn restart(&mut self) {\n        self.resent = self.entries.len();",
    },
    Mutant {
        name: "one queued message in four is lost",
        file: "route.rs",
        from: "        session.queue.waiting.push_back(delivery);",
        to: "        if session.queue.waiting.len() != 3 {\n            session.queue.waiting.push_back(delivery);\n        }",
    },
    Mutant {
        name: "a QoS 2 message that is sent again is passed on again",
        file: "incoming.rs",
        from: "            if incoming.contains(id.get()) {",
        to: "            if incoming.contains(id.get()) && !publish.dup {",
    },
    Mutant {
        name: "a message comes with the publisher's QoS",
        file: "route.rs",
        from: "        let qos = message.qos.min(found.qos);\n        if !self.wants(found.session, qos) {",
        to: "        let qos = message.qos;\n        if !self.wants(found.session, qos) {",
    },
    Mutant {
        name: "an empty message does not clear what is retained",
        file: "route.rs",
        from: "        if message.retain && message.payload.is_empty() {",
        to: "        if message.retain && message.payload.is_empty() && message.qos == QoS::ExactlyOnce {",
    },
    Mutant {
        name: "no local is ignored",
        file: "route.rs",
        from: "if member.options.no_local && member.session == publisher {",
        to: "if member.options.no_local && member.session == publisher && size > 1_000_000 {",
    },
    Mutant {
        name: "the will delay is forgotten",
        file: "lifecycle.rs",
        from: "            if will.delay == 0 || expiry == 0 {",
        to: "            if will.delay < u32::MAX || expiry == 0 {",
    },
    Mutant {
        name: "who comes back in time has left a will all the same",
        file: "lifecycle.rs",
        from: "                self.discard_will(old);",
        to: "                self.publish_will(old);",
    },
    Mutant {
        name: "a session lives for ever",
        file: "lifecycle.rs",
        from: "        session.ends = (expiry < u32::MAX).then(",
        to: "        session.ends = (expiry == u32::MAX).then(",
    },
    Mutant {
        name: "the client's receive maximum is overrun",
        file: "transmit.rs",
        from: "state.inflight.outstanding() < quota &&",
        to: "state.inflight.outstanding() <= quota &&",
    },
    Mutant {
        name: "message expiry is not counted down",
        file: "transmit.rs",
        from: "head.message_expiry = message.remaining_expiry(self.now);",
        to: "head.message_expiry = message.remaining_expiry(self.now).map(|seconds| seconds + 1);",
    },
    Mutant {
        name: "twice the keep alive is waited",
        file: "connection.rs",
        from: "u64::from(self.keep_alive) * 1500",
        to: "u64::from(self.keep_alive) * 2000",
    },
    Mutant {
        name: "what was only retained in between comes with RETAIN to who was there",
        file: "route.rs",
        from: "        let retain = message.retain && found.retain_as_published;\n        let notes = self.notes(found);",
        to: "        let retain = message.retain;\n        let notes = self.notes(found);",
    },
];

/// Tries those whose name contains `filter`.
pub(crate) fn all(filter: &str) -> Result<(), String> {
    let folder = root().join("target/mutants");
    let tree = folder.join("tree");
    copy(&tree)?;
    println!();
    match noticed(&tree, &folder)? {
        None => println!("  nothing is noticed where there is no defect"),
        Some(by) => return Err(format!("the code as it is does not pass: {by}")),
    }
    let mut problems = Vec::new();
    let mutants = MUTANTS.iter().filter(|mutant| mutant.name.contains(filter));
    for mutant in mutants.clone() {
        let begin = Instant::now();
        let source = tree.join("crates/columba-core/src").join(mutant.file);
        let text = read(&source)?;
        if text.matches(mutant.from).count() != 1 {
            problems.push(format!("{}: its line is not in {} any more", mutant.name, mutant.file));
            continue;
        }
        write(&source, &text.replacen(mutant.from, mutant.to, 1))?;
        let noticed = noticed(&tree, &folder);
        write(&source, &text)?;
        let took = begin.elapsed().as_secs();
        match noticed? {
            Some(by) => println!("  {}: noticed by {by} ({took} s)", mutant.name),
            None => problems.push(format!("{}: nobody noticed", mutant.name)),
        }
    }
    println!("  mutants: {} of {} noticed", mutants.clone().count() - problems.len(), mutants.count());
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// Who notices that something is wrong with this tree.
fn noticed(tree: &Path, folder: &Path) -> Result<Option<&'static str>, String> {
    let run = |arguments: &[&str]| {
        let mut command = cargo();
        command.current_dir(tree).env("CARGO_TARGET_DIR", folder.join("build")).args(arguments);
        output(&mut command, false)
    };
    let conformance = ["test", "--package", "columba-tests", "--test", "conformance"];
    let (is_built, text) = run(&[&conformance[..], &["--no-run"]].concat());
    if !is_built {
        return Err(format!("it does not compile:\n{text}"));
    }
    if !run(&[&conformance[..], &["--", "--simulated"]].concat()).0 {
        return Ok(Some("conformance"));
    }
    let simulate = ["run", "--profile", "simulate", "--package", "columba-simulation", "--bin", "simulate"];
    let is_fine = run(&[&simulate[..], &["--", "--seeds", "2000"]].concat()).0;
    Ok((!is_fine).then_some("simulation"))
}

/// Copies what is committed or would be with `git add`, and leaves alone what is the same, which spares building it again.
fn copy(tree: &Path) -> Result<(), String> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let list = answer(Command::new("git").args(arguments).current_dir(root()))?;
    for path in list.split_terminator('\0') {
        let (from, to): (PathBuf, PathBuf) = (root().join(path), tree.join(path));
        let Ok(bytes) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        let folder = to.parent().unwrap_or(tree);
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        fs::write(&to, bytes).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
