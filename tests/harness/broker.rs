//! The broker under test as a child process.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use crate::scratch::Scratch;
use crate::{DEADLINE, Process, Transport, start};

/// A broker on free ports of the loopback interface, ended when dropped.
#[derive(Debug)]
pub struct Broker {
    pub(crate) process: Process,
    /// Where it listens, in the form that columba prints: `127.0.0.1:1883`, `127.0.0.1:8083/mqtt`, `/run/mqtt`.
    pub(crate) addresses: BTreeMap<Transport, String>,
    pub(crate) scratch: Scratch,
}

/// How a broker ended that did not come up.
#[derive(Debug)]
pub struct Failed {
    pub status: ExitStatus,
    pub stderr: String,
}

impl Broker {
    /// Starts it with listeners for TCP and WebSocket.
    pub fn start() -> Self {
        Self::start_on(&[Transport::Tcp, Transport::WebSocket])
    }

    /// Starts it with a listener for each of these.
    pub fn start_on(transports: &[Transport]) -> Self {
        if Self::is_columba() { start::columba(transports, None) } else { start::mosquitto(transports) }
    }

    /// Starts `columba`, whatever else is under test, with several shards.
    pub fn start_shards(count: usize) -> Self {
        start::columba(&[Transport::Tcp, Transport::WebSocket], Some(count))
    }

    /// Runs `columba` with just these arguments and waits for the end it is expected to meet.
    pub fn run_columba(arguments: &[&str]) -> Failed {
        let (mut process, _lines) = Process::spawn(Command::new(start::columba_program()).args(arguments));
        let Some(status) = process.wait(DEADLINE) else {
            panic!("columba {arguments:?} is still running; stderr:\n{}", process.errors());
        };
        Failed { status, stderr: process.all_errors() }
    }

    pub fn is_columba() -> bool {
        match env::var("COLUMBA_TEST_BROKER").as_deref() {
            Err(_) | Ok("" | "columba") => true,
            Ok("mosquitto") => false,
            Ok(other) => panic!("COLUMBA_TEST_BROKER is {other}; it can be columba or mosquitto"),
        }
    }

    pub fn tcp(&self) -> SocketAddr {
        self.socket(Transport::Tcp)
    }

    /// The address of a listener on a port.
    pub(crate) fn socket(&self, transport: Transport) -> SocketAddr {
        let address = self.address(transport);
        let socket = address.split('/').next().and_then(|socket| socket.parse().ok());
        socket.unwrap_or_else(|| panic!("{address} is no address with a port"))
    }

    pub(crate) fn address(&self, transport: Transport) -> &str {
        self.addresses
            .get(&transport)
            .unwrap_or_else(|| panic!("the broker does not listen on {transport:?}"))
    }

    /// The address for WebSocket clients, such as `ws://127.0.0.1:8083/mqtt`.
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address(Transport::WebSocket))
    }

    /// The certificate by which clients can tell that they are at the right broker.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.scratch.certificate()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits for the broker's end after [`terminate`](Self::terminate).
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.process.wait(limit)
    }

    /// The memory the broker occupies, in bytes; `None` where the system has no `/proc`.
    pub fn resident_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.process.is_running() {
            self.process.terminate();
            self.process.wait(Duration::from_secs(5));
        }
        let errors = self.process.errors();
        if thread::panicking() {
            eprintln!("the broker's stderr:\n{errors}");
        } else {
            // A task of the broker may have died without the test noticing.
            assert!(!errors.contains("panicked at"), "the broker panicked; its stderr:\n{errors}");
        }
    }
}
