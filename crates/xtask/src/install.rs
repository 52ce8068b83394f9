//! The programs and libraries that the tests run, installed where they are missing.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::root;
use crate::run::{answer, cargo, output};

/// A program, the command that shows it is there, and the Debian packages that bring it.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) check: &'static [&'static str],
    pub(crate) packages: &'static [&'static str],
}

const PROGRAMS: [Program; 6] = [
    Program { name: "openssl", check: &["openssl", "version"], packages: &["openssl"] },
    Program { name: "mosquitto_pub", check: &["which", "mosquitto_pub"], packages: &["mosquitto-clients"] },
    Program { name: "mosquitto_sub", check: &["which", "mosquitto_sub"], packages: &["mosquitto-clients"] },
    Program {
        name: "python3 with venv",
        check: &["python3", "-c", "import venv, ensurepip"],
        packages: &["python3", "python3-venv"],
    },
    Program { name: "node", check: &["node", "--version"], packages: &["nodejs"] },
    Program { name: "npm", check: &["npm", "--version"], packages: &["npm"] },
];

pub(crate) const MOSQUITTO: Program =
    Program { name: "mosquitto", check: &["test", "-x", "/usr/sbin/mosquitto"], packages: &["mosquitto"] };

pub(crate) fn all() -> Result<(), String> {
    components()?;
    programs()?;
    python_packages()?;
    node_packages(&root().join("tests/clients"), "MQTT.js")
}

/// A toolchain of rustup's minimal profile lacks them.
fn components() -> Result<(), String> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if answer(cargo().args([subcommand, "--version"])).is_err() {
            install(
                Command::new("rustup").args(["component", "add", component]).current_dir(root()),
                component,
            )?;
        }
    }
    Ok(())
}

fn programs() -> Result<(), String> {
    let is_mosquitto = env::var("COLUMBA_TEST_BROKER").is_ok_and(|broker| broker == "mosquitto");
    let wanted = PROGRAMS.iter().chain(is_mosquitto.then_some(&MOSQUITTO));
    packages(&wanted.collect::<Vec<_>>())
}

/// Installs those of the programs that are not there.
pub(crate) fn packages(wanted: &[&Program]) -> Result<(), String> {
    let missing: Vec<_> = wanted.iter().filter(|program| !is_there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|program| program.name).collect();
    let mut packages: Vec<_> = missing.iter().flat_map(|program| program.packages).copied().collect();
    packages.dedup();
    if !can_install() {
        return Err(format!(
            "missing: {}. On Debian: sudo apt-get install {}",
            names.join(", "),
            packages.join(" ")
        ));
    }
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages.as_slice()].concat())?;
    match missing.iter().find(|program| !is_there(program)) {
        Some(program) => Err(format!("{} is still not there after installing it", program.name)),
        None => Ok(()),
    }
}

fn is_there(program: &Program) -> bool {
    answer(Command::new(program.check[0]).args(&program.check[1..])).is_ok()
}

/// Only root on a system with apt; nothing asks for a password.
fn can_install() -> bool {
    let is_root = answer(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    is_root && answer(Command::new("apt-get").arg("--version")).is_ok()
}

fn apt_get(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    install(
        command.arg("--quiet").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"),
        &arguments.join(" "),
    )
}

/// paho-mqtt, in an environment of its own.
fn python_packages() -> Result<(), String> {
    let tests = root().join("tests");
    let venv = tests.join(".venv");
    let wanted = tests.join("clients/requirements.txt");
    let stamp = venv.join("requirements.txt");
    if is_same(&wanted, &stamp) {
        return Ok(());
    }
    install(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), "a Python environment")?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&wanted);
    install(&mut pip, "paho-mqtt")?;
    copy(&wanted, &stamp)
}

/// What a folder's lock file says, exactly; no package may run a script of its own.
pub(crate) fn node_packages(folder: &Path, what: &str) -> Result<(), String> {
    let wanted = folder.join("package-lock.json");
    let stamp = folder.join("node_modules/.installed-lock.json");
    if is_same(&wanted, &stamp) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    install(npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder), what)?;
    copy(&wanted, &stamp)
}

fn install(command: &mut Command, what: &str) -> Result<(), String> {
    print!("installing {what} … ");
    match output(command, false) {
        (true, _) => Ok(()),
        (false, text) => {
            Err(format!("{what} cannot be installed ({}):\n{text}", command.get_program().display()))
        }
    }
}

/// What was installed is remembered by a copy of the file that asked for it.
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(|_| ()).map_err(|error| format!("{}: {error}", to.display()))
}
