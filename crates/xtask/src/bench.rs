//! Columba beside another broker: both are started anew for each scenario, `columba-bench` loads one after the other, and a
//! table says how they compare. Nothing here measures; the figures are the generator's.

use std::env;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::install;
use crate::root;
use crate::run::{answer, cargo, output};

/// For a broker to open its port.
const START: Duration = Duration::from_secs(10);
/// A run that differs by more from the best of its rounds was disturbed.
const NOISE: f64 = 0.15;

/// A scenario of the table.
struct Case {
    name: &'static str,
    words: &'static str,
    figures: &'static [Figure],
}

struct Figure {
    /// In the generator's JSON.
    key: &'static str,
    unit: &'static str,
    target: Target,
}

#[derive(Clone, Copy)]
enum Target {
    /// So many times less than the other broker.
    TimesLess(f64),
    /// So many times more.
    TimesMore(f64),
    /// Whatever the other one needs.
    AtMost(f64),
}

const CPU: &str = "cpu_us_per_message";
const MICROS: &str = "µs of CPU per message";

/// One figure, broker CPU for a message, and the factor by which it should be less.
macro_rules! cpu {
    ($times:literal) => {
        &[Figure { key: CPU, unit: MICROS, target: Target::TimesLess($times) }]
    };
}

const CASES: [Case; 16] = [
    Case { name: "p2p, QoS 0", words: "p2p --qos 0", figures: cpu!(25.0) },
    Case { name: "p2p, QoS 1", words: "p2p --qos 1", figures: cpu!(35.0) },
    Case { name: "p2p, QoS 2", words: "p2p --qos 2", figures: cpu!(40.0) },
    Case { name: "p2p, QoS 1, MQTT 5", words: "p2p --qos 1 --version 5", figures: cpu!(33.0) },
    Case {
        name: "p2p, 16 KiB",
        words: "p2p --payload 16384",
        figures: &[Figure { key: "mb_per_s", unit: "MB/s", target: Target::TimesMore(1.3) }],
    },
    Case { name: "p2p, WebSocket", words: "p2p --ws", figures: cpu!(10.0) },
    Case { name: "fanin 50 → 1, QoS 1", words: "fanin --qos 1", figures: cpu!(26.0) },
    Case { name: "shared 50 → 4, QoS 1, MQTT 5", words: "shared --qos 1 --version 5", figures: cpu!(25.0) },
    Case { name: "fanout 1 → 100, QoS 0", words: "fanout --qos 0", figures: cpu!(40.0) },
    Case { name: "fanout 1 → 100, QoS 1", words: "fanout --qos 1", figures: cpu!(30.0) },
    Case {
        name: "retained, 20,000 messages",
        words: "retained",
        figures: &[
            Figure { key: "store_per_s", unit: "stored/s", target: Target::TimesMore(4.0) },
            Figure { key: "replay_per_s", unit: "replayed/s", target: Target::TimesMore(10.0) },
            Figure { key: "bytes_per_message", unit: "bytes per message", target: Target::AtMost(250.0) },
        ],
    },
    Case {
        name: "offline, 50,000 messages",
        words: "offline",
        figures: &[
            Figure { key: "queue_per_s", unit: "queued/s", target: Target::TimesMore(8.0) },
            Figure { key: "drain_per_s", unit: "drained/s", target: Target::TimesMore(10.0) },
            Figure { key: "bytes_per_message", unit: "bytes per message", target: Target::AtMost(200.0) },
        ],
    },
    Case {
        name: "storm, 64 at a time",
        words: "storm",
        figures: &[Figure {
            key: "cpu_us_per_session",
            unit: "µs of CPU per session",
            target: Target::TimesLess(1.3),
        }],
    },
    Case {
        name: "latency, 100 pairs, QoS 1, 10,000/s",
        words: "latency --pubs 100 --qos 1 --rate 10000",
        figures: &[
            Figure { key: "p50_us", unit: "µs p50", target: Target::TimesLess(1.0) },
            Figure { key: "p99_us", unit: "µs p99", target: Target::TimesLess(1.0) },
        ],
    },
    Case {
        name: "conns, 9,000 idle",
        words: "conns --conns 9000",
        figures: &[Figure {
            key: "bytes_per_connection",
            unit: "bytes per connection",
            target: Target::AtMost(700.0),
        }],
    },
    Case {
        name: "subs, 20,000 of one client",
        words: "subs",
        figures: &[
            Figure {
                key: "bytes_per_subscription",
                unit: "bytes per subscription",
                target: Target::AtMost(300.0),
            },
            Figure { key: "delivered_per_s", unit: "matched/s", target: Target::TimesMore(15.0) },
        ],
    },
];

/// What the user asked for.
struct Plan {
    rounds: usize,
    is_quick: bool,
    words: Vec<String>,
}

/// The programs, and where they run.
struct Bench {
    columba: PathBuf,
    generator: PathBuf,
    has_taskset: bool,
    folder: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mosquitto,
    Columba,
}

/// A broker that runs until it is dropped.
struct Broker {
    child: Child,
    port: u16,
}

/// The figures of one broker in one scenario: for each figure, one number of each round that went well.
type Rounds = Vec<Vec<f64>>;

/// Runs what `arguments` ask for, which are those behind `bench`.
pub(crate) fn against(arguments: &[String]) -> ExitCode {
    match parse(arguments).and_then(|plan| compare(&plan)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Plan, String> {
    let mut plan = Plan { rounds: 3, is_quick: false, words: Vec::new() };
    let mut rounds = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--against" => match arguments.next().map(String::as_str) {
                Some("mosquitto") => {}
                _ => return Err("--against mosquitto: there is no other yet".into()),
            },
            "--quick" => plan.is_quick = true,
            "--rounds" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                rounds = Some(number.filter(|&number| number > 0).ok_or("--rounds takes a number")?);
            }
            option if option.starts_with('-') => return Err(format!("bench has no {option}")),
            word => plan.words.push(word.to_lowercase()),
        }
    }
    plan.rounds = rounds.unwrap_or(if plan.is_quick { 1 } else { 3 });
    Ok(plan)
}

/// Whether both brokers did all that was asked of them.
fn compare(plan: &Plan) -> Result<bool, String> {
    let cases: Vec<&Case> = CASES.iter().filter(|case| plan.selects(case)).collect();
    if cases.is_empty() {
        let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        return Err(format!("no scenario has any of these words; there are: {}", names.join("; ")));
    }
    install::packages(&[&install::MOSQUITTO])?;
    let bench = Bench::build()?;
    let mut results: Vec<[Rounds; 2]> = cases
        .iter()
        .map(|case| [vec![Vec::new(); case.figures.len()], vec![Vec::new(); case.figures.len()]])
        .collect();
    let mut faults = Vec::new();
    for round in 1..=plan.rounds {
        for (case, result) in cases.iter().zip(&mut results) {
            for kind in [Kind::Mosquitto, Kind::Columba] {
                eprint!("{round}/{} {}, {} … ", plan.rounds, case.name, kind.name());
                match bench.run(case, kind, plan.is_quick) {
                    Ok((json, complaint)) => {
                        for (figure, rounds) in case.figures.iter().zip(&mut result[kind as usize]) {
                            rounds.extend(number(&json, figure.key));
                        }
                        let first = result[kind as usize].first().and_then(|rounds| rounds.last());
                        eprintln!("{}", first.map_or("no figure".into(), |first| shown(*first)));
                        faults.extend(
                            complaint.map(|text| (kind, format!("{}, {}: {text}", case.name, kind.name()))),
                        );
                    }
                    Err(reason) => {
                        eprintln!("failed");
                        faults.push((kind, format!("{}, {}: {reason}", case.name, kind.name())));
                    }
                }
            }
        }
    }
    println!("{}", table(&cases, &results, plan.rounds));
    for (_, fault) in &faults {
        println!("* {fault}");
    }
    Ok(faults.is_empty())
}

impl Plan {
    fn selects(&self, case: &Case) -> bool {
        let text = format!("{} {}", case.name, case.words).to_lowercase();
        self.words.is_empty() || self.words.iter().any(|word| text.contains(word.as_str()))
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Mosquitto => "mosquitto",
            Self::Columba => "Columba",
        }
    }
}

impl Bench {
    fn build() -> Result<Self, String> {
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
        let cpus = thread::available_parallelism().map_or(1, Into::into);
        let has_taskset = cpus > 1 && answer(Command::new("taskset").arg("--version")).is_ok();
        Ok(Self { columba, generator: program("columba-bench"), has_taskset, folder })
    }

    /// The generator's JSON, and what it complains about.
    fn run(&self, case: &Case, kind: Kind, is_quick: bool) -> Result<(String, Option<String>), String> {
        let mut words: Vec<&str> = case.words.split(' ').collect();
        let is_ws = words.contains(&"--ws");
        words.retain(|word| *word != "--ws");
        let broker = self.start(kind, is_ws)?;
        let scheme = if is_ws { "ws" } else { "mqtt" };
        let path = if is_ws { "/mqtt" } else { "" };
        let mut generator = self.pinned(&self.generator, "1");
        generator.args(&words).arg("--json");
        generator.args(["--url", &format!("{scheme}://127.0.0.1:{}{path}", broker.port)]);
        generator.args(["--pid", &broker.child.id().to_string()]);
        let is_timed = !["retained", "offline", "conns"].contains(&words[0]);
        if is_timed {
            generator.args(if is_quick { ["--seconds", "1"] } else { ["--seconds", "4"] });
            generator.args(if is_quick { ["--warmup", "0.3"] } else { ["--warmup", "1"] });
        }
        let output = generator.stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("columba-bench does not start: {error}"))?;
        let json = String::from_utf8_lossy(&output.stdout).into_owned();
        if !json.starts_with('{') {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let complaint = (!output.status.success()).then(|| faults(&json));
        Ok((json, complaint))
    }

    /// A broker of its own for each run, so that nothing of another run is in its memory.
    fn start(&self, kind: Kind, is_ws: bool) -> Result<Broker, String> {
        let port = free_port()?;
        let mut command = match kind {
            Kind::Columba => {
                let mut command = self.pinned(&self.columba, "0");
                command.args([if is_ws { "--ws" } else { "--tcp" }, &format!("127.0.0.1:{port}")]);
                command.args(["--log-level", "error"]);
                command
            }
            Kind::Mosquitto => {
                let path = self.folder.join("mosquitto.conf");
                // It does not serve WebSocket without a TCP listener.
                let ws = if is_ws {
                    format!("protocol websockets\nlistener {} 127.0.0.1\n", free_port()?)
                } else {
                    String::new()
                };
                let text = format!("{MOSQUITTO_CONF}listener {port} 127.0.0.1\n{ws}");
                fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
                let mut command = self.pinned(Path::new("/usr/sbin/mosquitto"), "0");
                command.arg("-c").arg(&path);
                command
            }
        };
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{} does not start: {error}", kind.name()))?;
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

    /// On one processor, and with as many open files as are allowed at all.
    fn pinned(&self, program: &Path, processor: &str) -> Command {
        let mut command = if cfg!(unix) { Command::new("sh") } else { Command::new(program) };
        if cfg!(unix) {
            command.args(["-c", "ulimit -n $(ulimit -H -n); exec \"$@\"", "sh"]);
            if self.has_taskset {
                command.args(["taskset", "-c", processor]);
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

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Figure {
    const fn is_less_better(&self) -> bool {
        !matches!(self.target, Target::TimesMore(_))
    }

    /// The best of all rounds.
    fn best(&self, rounds: &[f64]) -> Option<f64> {
        let better = if self.is_less_better() { f64::min } else { f64::max };
        rounds.iter().copied().reduce(better)
    }

    /// How they compare, what was wanted, and whether it is so.
    fn judge(&self, other: f64, own: f64) -> (String, String, bool) {
        let times = if self.is_less_better() { other / own } else { own / other };
        let (more, less) = if self.is_less_better() { ("less", "more") } else { ("more", "less") };
        let ratio = if times >= 1.0 {
            format!("{} times {more}", factor(times))
        } else {
            format!("{} times {less}", factor(1.0 / times))
        };
        match self.target {
            Target::TimesLess(target) | Target::TimesMore(target) if target > 1.0 => {
                (ratio, format!("{} times {more}", factor(target)), times >= target)
            }
            Target::AtMost(target) => (ratio, format!("at most {}", shown(target)), own <= target),
            _ => (ratio, format!("not {less}"), times >= 1.0),
        }
    }
}

fn table(cases: &[&Case], results: &[[Rounds; 2]], rounds: usize) -> String {
    let mut lines = vec![
        "| scenario | figure | mosquitto | Columba | ratio | target | reached |".to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    let mut noisy = Vec::new();
    for (case, result) in cases.iter().zip(results) {
        for (index, figure) in case.figures.iter().enumerate() {
            let [others, own] = [&result[0][index], &result[1][index]];
            let (Some(other_best), Some(own_best)) = (figure.best(others), figure.best(own)) else {
                lines.push(format!("| {} | {} | – | – | – | – | – |", case.name, figure.unit));
                continue;
            };
            let (ratio, target, is_reached) = figure.judge(other_best, own_best);
            let reached = if is_reached { "yes" } else { "no" };
            let (other_best, own_best) = (shown(other_best), shown(own_best));
            lines.push(format!(
                "| {} | {} | {other_best} | {own_best} | {ratio} | {target} | {reached} |",
                case.name, figure.unit
            ));
            for (kind, rounds) in [(Kind::Mosquitto, others), (Kind::Columba, own)] {
                let spread = spread(rounds);
                if spread > NOISE {
                    let percent = (spread * 100.0).round();
                    noisy.push(format!("{} ({}) of {} by {percent} %", case.name, figure.unit, kind.name()));
                }
            }
        }
    }
    lines.push(String::new());
    lines.push(match rounds {
        1 => "One round, so nothing is known about how noisy the machine is.".to_owned(),
        rounds => format!("The best of {rounds} rounds."),
    });
    if !noisy.is_empty() {
        lines.push(format!("The machine is noisy; rounds differ for {}.", noisy.join(", ")));
    }
    lines.join("\n")
}

/// How far the rounds are apart, as a part of the smallest.
fn spread(rounds: &[f64]) -> f64 {
    let min = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    let max = rounds.iter().copied().fold(0.0, f64::max);
    if rounds.len() > 1 && min > 0.0 { max / min - 1.0 } else { 0.0 }
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

fn shown(number: f64) -> String {
    match number.abs() {
        0.0..10.0 => format!("{number:.2}"),
        10.0..1000.0 => format!("{number:.0}"),
        _ => {
            let digits = format!("{number:.0}");
            let groups: Vec<&str> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|group| std::str::from_utf8(group).unwrap_or_default())
                .collect();
            groups.join(",")
        }
    }
}

fn factor(times: f64) -> String {
    if times < 10.0 { format!("{times:.1}") } else { format!("{times:.0}") }
}

/// One that nobody has at this moment.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no port is free: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments() {
        let plan = parse(&words("--against mosquitto --quick WebSocket storm"))
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((plan.rounds, plan.is_quick), (1, true));
        assert_eq!(CASES.iter().filter(|case| plan.selects(case)).count(), 2);
        let plan = parse(&words("--rounds 5")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((plan.rounds, CASES.iter().filter(|case| plan.selects(case)).count()), (5, CASES.len()));
        for mistake in ["--against", "--against emqx", "--rounds 0", "--fast"] {
            assert!(parse(&words(mistake)).is_err(), "{mistake}");
        }
    }

    #[test]
    fn figures_are_read_off_json() {
        let json = "{\"scenario\":\"p2p\",\"cpu_us_per_message\":0.25,\"lost\":3,\"faults\":[\"3 messages were lost\"],\"ok\":false}\n";
        assert_eq!(number(json, CPU), Some(0.25));
        assert_eq!(number(json, "lost"), Some(3.0));
        assert_eq!(number(json, "nothing"), None);
        assert_eq!(faults(json), "3 messages were lost");
    }

    #[test]
    fn a_table_of_both() {
        let cases = [&CASES[0], &CASES[4]];
        let results =
            [[vec![vec![8.0, 9.0]], vec![vec![0.4, 0.25]]], [vec![vec![900.0]], vec![vec![1000.0]]]];
        let table = table(&cases, &results, 2);
        let expected =
            "| p2p, QoS 0 | µs of CPU per message | 8.00 | 0.25 | 32 times less | 25 times less | yes |";
        assert!(table.contains(expected), "{table}");
        let expected = "| p2p, 16 KiB | MB/s | 900 | 1,000 | 1.1 times more | 1.3 times more | no |";
        assert!(table.contains(expected), "{table}");
        assert!(table.contains("noisy") && table.contains("of Columba by 60 %"), "{table}");
        assert!(!table.contains("of mosquitto by"), "{table}");
    }

    #[test]
    fn targets_that_are_no_ratio() {
        let at_most = Figure { key: "", unit: "", target: Target::AtMost(700.0) };
        assert_eq!(at_most.judge(734.0, 1076.0), ("1.5 times more".into(), "at most 700".into(), false));
        let not_more = Figure { key: "", unit: "", target: Target::TimesLess(1.0) };
        assert_eq!(not_more.judge(50.0, 25.0), ("2.0 times less".into(), "not more".into(), true));
    }

    #[test]
    fn numbers_for_a_person() {
        assert_eq!([0.256, 12.3, 999.6, 1_234_567.0].map(shown), ["0.26", "12", "1000", "1,234,567"]);
    }
}
