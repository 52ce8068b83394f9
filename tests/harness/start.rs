//! Starting the one broker or the other.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scratch::Scratch;
use crate::{Broker, DEADLINE, Process, Transport, wait_until};

const ANY_PORT: &str = "127.0.0.1:0";

/// With as many shards as `COLUMBA_TEST_SHARDS` says, unless the test itself needs some.
pub(crate) fn columba(transports: &[Transport], shards: Option<usize>) -> Broker {
    let scratch = Scratch::new();
    let mut command = Command::new(columba_program());
    // Tests that read `$SYS` do not want to wait.
    command.arg("--config").arg(scratch.write("columba.toml", "sys_interval = 1\n"));
    let shards = shards.map(|count| count.to_string()).or_else(|| env::var("COLUMBA_TEST_SHARDS").ok());
    if let Some(shards) = shards {
        command.args(["--shards", &shards]);
    }
    for transport in transports {
        command.arg(format!("--{}", transport.name()));
        if *transport == Transport::Unix {
            command.arg(scratch.path("socket"));
        } else {
            command.arg(ANY_PORT);
        }
    }
    if transports.iter().any(|transport| transport.is_tls()) {
        scratch.make_certificate();
        command.arg("--certificate").arg(scratch.certificate()).arg("--key").arg(scratch.key());
    }
    let (mut process, lines) = Process::spawn(&mut command);
    let mut addresses = BTreeMap::new();
    let end = Instant::now() + DEADLINE;
    while addresses.len() < transports.len() {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => addresses.extend(announcement(&line)),
            Err(RecvTimeoutError::Timeout) => {
                panic!("the broker says only of {addresses:?} that it listens; stderr:\n{}", process.errors())
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = process.wait(Duration::from_secs(1));
                panic!("the broker ended ({status:?}); stderr:\n{}", process.errors())
            }
        }
    }
    Broker { process, addresses, scratch }
}

/// Takes `listening tcp 127.0.0.1:1883` apart.
fn announcement(line: &str) -> Option<(Transport, String)> {
    let (name, address) = line.strip_prefix("listening ")?.split_once(' ')?;
    let transport = Transport::ALL.into_iter().find(|transport| transport.name() == name)?;
    Some((transport, address.to_owned()))
}

/// mosquitto cannot pick its ports, so another process may get in between; then it is tried again.
pub(crate) fn mosquitto(transports: &[Transport]) -> Broker {
    let mut complaint = String::new();
    for _ in 0..10 {
        match try_mosquitto(transports) {
            Ok(broker) => return broker,
            Err(stderr) => complaint = stderr,
        }
    }
    panic!("mosquitto does not start:\n{complaint}");
}

fn try_mosquitto(transports: &[Transport]) -> Result<Broker, String> {
    let scratch = Scratch::new();
    // Started by root, it would become another user and could not read the key.
    let mut configuration = "user root\nallow_anonymous true\nsys_interval 1\nlog_dest stderr\n\
        log_type error\nlog_type warning\nlog_type information\n"
        .to_owned();
    let mut addresses = BTreeMap::new();
    for transport in transports {
        let (address, listener) = mosquitto_listener(*transport, &scratch);
        configuration += &listener;
        addresses.insert(*transport, address);
    }
    if transports.iter().any(|transport| transport.is_tls()) {
        scratch.make_certificate();
    }
    let file = scratch.write("mosquitto.conf", &configuration);
    let (mut process, _lines) = Process::spawn(Command::new(mosquitto_program()).arg("-c").arg(file));
    let is_up = wait_until(DEADLINE, || {
        let is_up = process.errors().lines().any(|line| line.ends_with(" running"));
        (is_up || !process.is_running()).then_some(is_up)
    });
    if is_up == Some(true) { Ok(Broker { process, addresses, scratch }) } else { Err(process.all_errors()) }
}

fn mosquitto_listener(transport: Transport, scratch: &Scratch) -> (String, String) {
    if transport == Transport::Unix {
        let path = scratch.path("socket").display().to_string();
        let listener = format!("listener 0 {path}\n");
        return (path, listener);
    }
    let address = free_port();
    let mut listener = format!("listener {} {}\n", address.port(), address.ip());
    if transport.is_web_socket() {
        listener += "protocol websockets\n";
    }
    if transport.is_tls() {
        let (certificate, key) = (scratch.certificate(), scratch.key());
        let _ = writeln!(listener, "certfile {}\nkeyfile {}", certificate.display(), key.display());
    }
    let path = if transport.is_web_socket() { "/mqtt" } else { "" };
    (format!("{address}{path}"), listener)
}

/// Debian puts mosquitto where an ordinary user's `PATH` does not look.
fn mosquitto_program() -> &'static str {
    let debian = "/usr/sbin/mosquitto";
    if Path::new(debian).exists() { debian } else { "mosquitto" }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind(ANY_PORT).expect("bind a port");
    listener.local_addr().expect("the bound address")
}

/// `COLUMBA_BIN`, or what `cargo build --release` makes of the workspace.
pub(crate) fn columba_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| env::var_os("COLUMBA_BIN").map_or_else(build_columba, PathBuf::from))
}

fn build_columba() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--package", "columba-server", "--message-format=json"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("run cargo");
    assert!(output.status.success(), "columba does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "columba")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo reports where the columba program is")
}
