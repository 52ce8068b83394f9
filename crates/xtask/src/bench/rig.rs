//! Starts brokers and the load generator, on the processors they are to have. Never judges a figure.

use std::env;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::root;
use crate::run::{answer, cargo, output};

/// For a broker to open its port.
const START: Duration = Duration::from_secs(10);

/// Broker and generator do not get in each other's way.
pub(super) const APART: [&str; 2] = ["0", "1"];
/// Broker and generator share two processors as the system sees fit. A generator that is held on one of them leaves two shards
/// processors of unequal worth: two brokers with half the load each, which are as good as shards can be, came to 1.4 times one
/// broker then, and to 1.7 times and more when it was not.
pub(super) const SHARED: [&str; 2] = ["0,1", "0,1"];

/// The programs.
pub(super) struct Rig {
    columba: PathBuf,
    generator: PathBuf,
    has_taskset: bool,
    folder: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mosquitto,
    Columba,
}

/// One broker, and what is done to it.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) kind: Kind,
    /// Columba's; 0 for what it does by itself.
    pub(super) shards: u64,
    /// Processors of the broker and of the generator, as taskset takes them.
    pub(super) processors: [&'a str; 2],
    /// The generator's; `--ws` stands for the broker's WebSocket listener.
    pub(super) words: &'a str,
    /// Seconds that are measured, and those before; not for scenarios that have an end of their own.
    pub(super) seconds: [&'a str; 2],
}

/// What came of it.
pub(super) struct Outcome {
    /// The generator's, flat.
    json: String,
    /// What the generator found wrong.
    pub(super) complaint: Option<String>,
    /// Seconds of CPU of each thread of the broker, which includes all that was before the measured part.
    pub(super) threads: Vec<f64>,
}

/// A broker that runs until it is dropped.
struct Broker {
    child: Child,
    port: u16,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mosquitto => "mosquitto",
            Self::Columba => "Columba",
        }
    }
}

impl Outcome {
    /// A number that the generator gave.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        number(&self.json, key)
    }
}

impl Rig {
    pub(super) fn build() -> Result<Self, String> {
        eprintln!("building columba and columba-bench …");
        let packages = ["build", "--release", "--package", "columba-server", "--package", "columba-bench"];
        if let (false, text) = output(cargo().args(packages), false) {
            return Err(text);
        }
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        let folder = target.join("bench");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let program =
            |name: &str| target.join("release").join(name).with_extension(env::consts::EXE_EXTENSION);
        let columba = env::var_os("COLUMBA_BIN").map_or_else(|| program("columba"), PathBuf::from);
        let has_taskset = processors() > 1 && answer(Command::new("taskset").arg("--version")).is_ok();
        Ok(Self { columba, generator: program("columba-bench"), has_taskset, folder })
    }

    /// What keeps Columba from being measured with one shard and with two, if anything does.
    pub(super) fn no_shards(&self) -> Option<&'static str> {
        let has_option =
            answer(Command::new(&self.columba).arg("--help")).is_ok_and(|help| help.contains("--shards"));
        if !has_option {
            return Some("the columba command has no --shards");
        }
        (!self.has_taskset).then_some("there are no two processors to choose from, or there is no taskset")
    }

    /// Which Columba it is: its version, and the commit unless the program comes from elsewhere.
    pub(super) fn version(&self) -> Result<String, String> {
        let version = answer(Command::new(&self.columba).arg("--version"))?;
        let version = version.trim().replace("columba", "Columba");
        if env::var_os("COLUMBA_BIN").is_some() {
            return Ok(version);
        }
        let git = |arguments: &[&str]| answer(Command::new("git").args(arguments).current_dir(root()));
        let commit = git(&["rev-parse", "--short", "HEAD"])?;
        let changes = git(&["status", "--porcelain", "--", "crates", "Cargo.toml", "Cargo.lock"])?;
        let changed = if changes.is_empty() { "" } else { " with changes" };
        Ok(format!("{version} ({}{changed})", commit.trim()))
    }

    /// Starts a broker, loads it and stops it. One of its own for each run, so that nothing of another is in its memory.
    pub(super) fn run(&self, load: &Load<'_>) -> Result<Outcome, String> {
        let mut words: Vec<&str> = load.words.split(' ').collect();
        let is_ws = words.contains(&"--ws");
        words.retain(|word| *word != "--ws");
        let broker = self.start(load, is_ws)?;
        let scheme = if is_ws { "ws" } else { "mqtt" };
        let path = if is_ws { "/mqtt" } else { "" };
        let mut generator = self.pinned(&self.generator, load.processors[1]);
        generator.args(&words).arg("--json");
        generator.args(["--url", &format!("{scheme}://127.0.0.1:{}{path}", broker.port)]);
        generator.args(["--pid", &broker.child.id().to_string()]);
        if !["retained", "offline", "conns"].contains(&words[0]) {
            let [seconds, warmup] = load.seconds;
            generator.args(["--seconds", seconds, "--warmup", warmup]);
        }
        let output = generator.stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("columba-bench does not start: {error}"))?;
        let json = String::from_utf8_lossy(&output.stdout).into_owned();
        if !json.starts_with('{') {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let complaint = (!output.status.success()).then(|| faults(&json));
        Ok(Outcome { json, complaint, threads: threads(broker.child.id()) })
    }

    fn start(&self, load: &Load<'_>, is_ws: bool) -> Result<Broker, String> {
        let port = free_port()?;
        let mut command = match load.kind {
            Kind::Columba => {
                let path = self.configure("columba.toml", COLUMBA_CONF)?;
                let mut command = self.pinned(&self.columba, load.processors[0]);
                command.arg("--config").arg(&path);
                command.args([if is_ws { "--ws" } else { "--tcp" }, &format!("127.0.0.1:{port}")]);
                command.args(["--log-level", "error"]);
                if load.shards > 0 {
                    command.args(["--shards", &load.shards.to_string()]);
                }
                command
            }
            Kind::Mosquitto => {
                // It does not serve WebSocket without a TCP listener.
                let ws = if is_ws {
                    format!("protocol websockets\nlistener {} 127.0.0.1\n", free_port()?)
                } else {
                    String::new()
                };
                let text = format!("{MOSQUITTO_CONF}listener {port} 127.0.0.1\n{ws}");
                let path = self.configure("mosquitto.conf", &text)?;
                let mut command = self.pinned(Path::new("/usr/sbin/mosquitto"), load.processors[0]);
                command.arg("-c").arg(&path);
                command
            }
        };
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child =
            command.spawn().map_err(|error| format!("{} does not start: {error}", load.kind.name()))?;
        let mut broker = Broker { child, port };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Ok(Some(status)) = broker.child.try_wait() {
                return Err(format!("it ended: {status}"));
            }
            if begin.elapsed() > START {
                return Err("it does not open its port".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        // What it does at its start is over then.
        thread::sleep(Duration::from_millis(300));
        Ok(broker)
    }

    fn configure(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// On these processors only, and with as many open files as are allowed at all.
    fn pinned(&self, program: &Path, processors: &str) -> Command {
        let mut command = if cfg!(unix) { Command::new("sh") } else { Command::new(program) };
        if cfg!(unix) {
            command.args(["-c", "ulimit -n $(ulimit -H -n); exec \"$@\"", "sh"]);
            if self.has_taskset {
                command.args(["taskset", "-c", processors]);
            }
            command.arg(program);
        }
        command
    }
}

/// Without limits that would lose messages, without waiting for larger packets (Nagle), without a log, figures or files.
const MOSQUITTO_CONF: &str = "\
max_inflight_messages 65535
max_queued_messages 0
set_tcp_nodelay true
sys_interval 0
log_dest none
persistence false
allow_anonymous true
";

/// One client has more subscriptions than one is usually allowed.
const COLUMBA_CONF: &str = "\
[limits]
subscriptions = 1_000_000
";

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many there are for this process.
pub(super) fn processors() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

/// Seconds of CPU of each thread of a process; none where no /proc says so.
fn threads(process: u32) -> Vec<f64> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let texts = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    texts
        .filter_map(|text| text.split(' ').next()?.parse::<f64>().ok())
        .map(|nanoseconds| nanoseconds / 1e9)
        .collect()
}

/// A number in the generator's JSON, which is flat.
fn number(json: &str, key: &str) -> Option<f64> {
    let field = format!("\"{key}\":");
    let rest = &json[json.find(&field)? + field.len()..];
    rest[..rest.find([',', '}'])?].parse().ok()
}

/// What the generator has found wrong, as it says it.
fn faults(json: &str) -> String {
    let list = json.split_once("\"faults\":[").and_then(|(_, rest)| rest.split_once(']'));
    list.map_or_else(|| "it failed".to_owned(), |(list, _)| list.replace('"', "").replace(',', ", "))
}

/// One that nobody has at this moment.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no port is free: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_off_json() {
        let json = "{\"scenario\":\"p2p\",\"cpu_us_per_message\":0.25,\"lost\":3,\"faults\":[\"3 messages were lost\"],\"ok\":false}\n";
        assert_eq!(number(json, "cpu_us_per_message"), Some(0.25));
        assert_eq!(number(json, "lost"), Some(3.0));
        assert_eq!(number(json, "nothing"), None);
        assert_eq!(faults(json), "3 messages were lost");
    }
}
