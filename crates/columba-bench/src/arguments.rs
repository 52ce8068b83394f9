//! Owns the command line. Never opens anything.

use std::time::Duration;

use columba_codec::{QoS, Version};
use lexopt::{Arg, Parser, ValueExt};

use crate::batch::Stamp;

pub(crate) const HELP: &str = "\
A load generator for MQTT brokers that checks what it gets.

Usage: columba-bench SCENARIO [options]

Scenarios, with what their own options are by default:
  p2p        publishers to as many subscribers, in pairs       --pubs 10
  fanin      many publishers, each its topic, to few           --pubs 50 --subs 1
  fanout     few publishers on one topic to many               --pubs 1 --subs 100
  shared     many publishers to the members of one group       --pubs 50 --subs 4
  latency    as p2p, but at a fixed rate: percentiles          --pubs 10 --rate 10000
  retained   store retained messages, replay them              --count 20000 --pubs 1
  offline    queue for a client that is away, drain            --count 50000 --pubs 1 --qos 1
  conns      idle connections: time and memory for each        --conns 1000 --seconds 3
  subs       many subscriptions: memory and matching           --subs 20000
  storm      connect, subscribe, disconnect, again             --parallel 64

The broker:
  --host HOST         127.0.0.1      --port PORT        1883
  --url URL           mqtt://HOST:PORT or ws://HOST:PORT/PATH, in place of both
  --username NAME     --password TEXT
  --pid PID           the broker's process, on this machine: its CPU time and memory are in the figures

The load:
  --version V         3.1, 3.1.1 (default) or 5
  --qos QOS           0 (default), 1 or 2, of publishing and of subscribing
  --payload BYTES     64 (default); at least 24
  --seconds S         5 (default), after --warmup S: 1 (default)
  --count N           so many messages in all instead, without warm-up
  --window N          100 (default) unacknowledged messages for each publisher at QoS 1 and 2
  --rate N            messages per second of all publishers together; only for latency
  --retain            publish retained messages; they are cleared at the end
  --parallel N        64 (default) connections being opened at a time
  --threads N         1 (default): threads of the generator
  --idle N            0 (default) connections beside the load that do nothing; not for scenarios that count memory

Other options:
  --json              one JSON object instead of lines
  --help; --version in place of a scenario says this program's own

Exit status: 0, 1 if a message was lost, came twice at QoS 2 or out of order, or if something else failed, 2 for
mistakes in the arguments.
";

/// What the command is to do.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Version,
    Run(Box<Options>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    P2p,
    FanIn,
    FanOut,
    Shared,
    Latency,
    Retained,
    Offline,
    Conns,
    Subs,
    Storm,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) scenario: Scenario,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Of a WebSocket; without it, TCP.
    pub(crate) path: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) version: Version,
    pub(crate) qos: QoS,
    pub(crate) payload: usize,
    pub(crate) pubs: usize,
    pub(crate) subs: usize,
    pub(crate) conns: usize,
    /// Connections beside the load.
    pub(crate) idle: usize,
    pub(crate) rate: f64,
    pub(crate) seconds: Duration,
    pub(crate) warmup: Duration,
    pub(crate) count: Option<u64>,
    pub(crate) window: u16,
    pub(crate) retain: bool,
    pub(crate) parallel: usize,
    pub(crate) threads: usize,
    pub(crate) json: bool,
}

/// Options that not every scenario has.
const MESSAGES: &[&str] = &["pubs", "seconds", "warmup", "count", "window", "retain", "threads", "idle"];

impl Scenario {
    const ALL: [Self; 10] = [
        Self::P2p,
        Self::FanIn,
        Self::FanOut,
        Self::Shared,
        Self::Latency,
        Self::Retained,
        Self::Offline,
        Self::Conns,
        Self::Subs,
        Self::Storm,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::P2p => "p2p",
            Self::FanIn => "fanin",
            Self::FanOut => "fanout",
            Self::Shared => "shared",
            Self::Latency => "latency",
            Self::Retained => "retained",
            Self::Offline => "offline",
            Self::Conns => "conns",
            Self::Subs => "subs",
            Self::Storm => "storm",
        }
    }

    /// Whether it has this option, one of those that not every scenario has.
    fn has(self, option: &str) -> bool {
        let own: &[&str] = match self {
            Self::P2p => return MESSAGES.contains(&option),
            Self::FanIn | Self::FanOut | Self::Shared => {
                return MESSAGES.contains(&option) || option == "subs";
            }
            Self::Latency => {
                return MESSAGES.contains(&option) && option != "count" || option == "rate";
            }
            Self::Retained | Self::Offline => &["pubs", "count", "window"],
            Self::Conns => &["conns", "seconds"],
            Self::Subs => &["subs", "seconds", "warmup", "window"],
            Self::Storm => &["seconds", "warmup"],
        };
        own.contains(&option)
    }
}

impl Options {
    fn new(scenario: Scenario) -> Self {
        let (pubs, subs) = match scenario {
            Scenario::P2p | Scenario::Latency => (10, 10),
            Scenario::FanIn => (50, 1),
            Scenario::FanOut => (1, 100),
            Scenario::Shared => (50, 4),
            Scenario::Subs => (1, 20_000),
            _ => (1, 1),
        };
        Self {
            scenario,
            host: "127.0.0.1".into(),
            port: 1883,
            path: None,
            username: None,
            password: None,
            pid: None,
            version: Version::V3_1_1,
            qos: if scenario == Scenario::Offline { QoS::AtLeastOnce } else { QoS::AtMostOnce },
            payload: 64,
            pubs,
            subs,
            conns: 1000,
            idle: 0,
            rate: 10_000.0,
            seconds: Duration::from_secs(if scenario == Scenario::Conns { 3 } else { 5 }),
            warmup: Duration::from_secs(1),
            count: match scenario {
                Scenario::Retained => Some(20_000),
                Scenario::Offline => Some(50_000),
                _ => None,
            },
            window: 100,
            retain: false,
            parallel: 64,
            threads: 1,
            json: false,
        }
    }

    /// How many subscribers there are: in pairs, as many as publishers.
    pub(crate) const fn subs(&self) -> usize {
        if matches!(self.scenario, Scenario::P2p | Scenario::Latency) { self.pubs } else { self.subs }
    }

    /// `mqtt://host:port`, `ws://host:port/path`; the port may be missing.
    fn set_url(&mut self, url: &str) -> Result<(), String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("{url:?} is no URL"))?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let default = match scheme {
            "mqtt" | "tcp" if path.is_empty() || path == "/" => 1883,
            "mqtt" | "tcp" => return Err(format!("{url:?} has a path, which only ws:// has")),
            "ws" => 80,
            other => return Err(format!("{other}:// is not supported; mqtt:// and ws:// are")),
        };
        if authority.contains('@') {
            return Err("user and password are options of their own: --username, --password".into());
        }
        // The colons of an IPv6 address are inside brackets.
        let colon = authority.rfind(':').filter(|&at| !authority[at..].contains(']'));
        let (host, port) = match colon {
            Some(at) => {
                (&authority[..at], authority[at + 1..].parse().map_err(|_| format!("{url:?} has no port"))?)
            }
            None => (authority, default),
        };
        if host.is_empty() {
            return Err(format!("{url:?} has no host"));
        }
        host.trim_matches(['[', ']']).clone_into(&mut self.host);
        self.port = port;
        let path = if path.is_empty() { "/" } else { path };
        self.path = (scheme == "ws").then(|| path.to_owned());
        Ok(())
    }

    fn check(&self, given: &[String]) -> Result<(), String> {
        let has = |name: &str| given.iter().any(|option| option == name);
        if has("url") && (has("host") || has("port")) {
            return Err("--url says where the broker is already".into());
        }
        if has("count") && (has("seconds") || has("warmup")) {
            return Err("either --count or --seconds".into());
        }
        if self.payload < Stamp::LEN {
            return Err(format!("--payload: at least {}, which the checks need", Stamp::LEN));
        }
        if self.payload > 200 << 20 {
            return Err("--payload: at most 200 MiB".into());
        }
        if self.password.is_some() && self.username.is_none() && self.version < Version::V5 {
            return Err("--password needs --username before MQTT 5".into());
        }
        for (name, number) in [
            ("pubs", self.pubs),
            ("subs", self.subs),
            ("conns", self.conns),
            ("window", self.window.into()),
            ("parallel", self.parallel),
            ("threads", self.threads),
            ("count", self.count.map_or(1, |count| count.min(1_000_000) as usize)),
        ] {
            if number == 0 || number > 1_000_000 {
                return Err(format!("--{name}: 1 to 1,000,000"));
            }
        }
        if self.idle > 1_000_000 {
            return Err("--idle: at most 1,000,000".into());
        }
        if self.seconds.is_zero() || self.rate <= 0.0 {
            return Err("--seconds and --rate: more than 0".into());
        }
        if self.threads > 1 && self.scenario == Scenario::Shared && self.threads > self.pubs + 1 {
            return Err(
                "--threads: shared has one for the subscribers and one for each publisher at most".into()
            );
        }
        if self.threads > self.pubs && self.scenario != Scenario::Shared {
            return Err("--threads: not more than publishers".into());
        }
        Ok(())
    }
}

pub(crate) fn parse(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let scenario = match parser.next()? {
        None | Some(Arg::Short('h') | Arg::Long("help")) => return Ok(Command::Help),
        Some(Arg::Short('V') | Arg::Long("version")) => return Ok(Command::Version),
        Some(Arg::Value(word)) => {
            let word = word.string()?;
            let known = Scenario::ALL.into_iter().find(|scenario| scenario.name() == word);
            known.ok_or_else(|| format!("{word:?} is no scenario"))?
        }
        Some(other) => return Err(other.unexpected()),
    };
    let mut options = Options::new(scenario);
    let mut given = Vec::new();
    while let Some(argument) = parser.next()? {
        let Arg::Long(name) = argument else {
            if argument == Arg::Short('h') {
                return Ok(Command::Help);
            }
            return Err(argument.unexpected());
        };
        let name = name.to_owned();
        if name == "help" {
            return Ok(Command::Help);
        }
        set(&mut options, &name, &mut parser)?;
        given.push(name);
    }
    options.check(&given)?;
    Ok(Command::Run(Box::new(options)))
}

/// One option and its value.
fn set(options: &mut Options, name: &str, parser: &mut Parser) -> Result<(), lexopt::Error> {
    let is_special = MESSAGES.contains(&name) || ["subs", "conns", "rate"].contains(&name);
    if is_special && !options.scenario.has(name) {
        return Err(format!("{} has no --{name}", options.scenario.name()).into());
    }
    match name {
        "host" => options.host = parser.value()?.string()?,
        "port" => options.port = parser.value()?.parse()?,
        "url" => options.set_url(&parser.value()?.string()?)?,
        "username" => options.username = Some(parser.value()?.string()?),
        "password" => options.password = Some(parser.value()?.string()?),
        "pid" => options.pid = Some(parser.value()?.parse()?),
        "version" => {
            options.version = match parser.value()?.string()?.as_str() {
                "3.1" => Version::V3_1,
                "3.1.1" => Version::V3_1_1,
                "5" | "5.0" => Version::V5,
                other => return Err(format!("{other:?} is no version; 3.1, 3.1.1 and 5 are").into()),
            };
        }
        "qos" => {
            let qos = QoS::from_u8(parser.value()?.parse()?).ok_or("--qos: 0, 1 or 2")?;
            if qos == QoS::AtMostOnce && options.scenario == Scenario::Offline {
                return Err("offline needs QoS 1 or 2: nothing else is kept for who is away".into());
            }
            options.qos = qos;
        }
        "payload" => options.payload = parser.value()?.parse()?,
        "pubs" => options.pubs = parser.value()?.parse()?,
        "subs" => options.subs = parser.value()?.parse()?,
        "conns" => options.conns = parser.value()?.parse()?,
        "idle" => options.idle = parser.value()?.parse()?,
        "rate" => options.rate = parser.value()?.parse()?,
        "seconds" => options.seconds = seconds(parser)?,
        "warmup" => options.warmup = seconds(parser)?,
        "count" => options.count = Some(parser.value()?.parse()?),
        "window" => options.window = parser.value()?.parse()?,
        "retain" => options.retain = true,
        "parallel" => options.parallel = parser.value()?.parse()?,
        "threads" => options.threads = parser.value()?.parse()?,
        "json" => options.json = true,
        _ => return Err(format!("--{name} is no option").into()),
    }
    Ok(())
}

fn seconds(parser: &mut Parser) -> Result<Duration, lexopt::Error> {
    let seconds: f64 = parser.value()?.parse()?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{seconds} are no seconds").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &str) -> Result<Command, String> {
        parse(Parser::from_args(words.split_whitespace())).map_err(|error| error.to_string())
    }

    fn options(words: &str) -> Options {
        match parse_words(words) {
            Ok(Command::Run(options)) => *options,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn every_scenario_has_defaults() {
        for scenario in Scenario::ALL {
            assert_eq!(options(scenario.name()), Options::new(scenario));
            assert!(HELP.contains(&format!("\n  {:<11}", scenario.name())), "{scenario:?}");
        }
        assert_eq!(options("fanout").subs, 100);
        assert_eq!(options("offline").qos, QoS::AtLeastOnce);
    }

    #[test]
    fn options_of_all_kinds() {
        let options = options(
            "shared --version 5 --qos=2 --payload 1000 --pubs 3 --subs 2 --window 7 --pid 42 --json --retain \
             --seconds 0.5 --warmup 0 --port 1884 --host broker --threads 2 --idle 9",
        );
        assert_eq!((options.version, options.qos, options.payload), (Version::V5, QoS::ExactlyOnce, 1000));
        assert_eq!((options.pubs, options.subs, options.window, options.threads), (3, 2, 7, 2));
        assert_eq!((options.pid, options.json, options.retain, options.idle), (Some(42), true, true, 9));
        assert_eq!((options.seconds, options.warmup), (Duration::from_millis(500), Duration::ZERO));
        assert_eq!((options.host.as_str(), options.port), ("broker", 1884));
    }

    #[test]
    fn urls() {
        for (url, host, port, path) in [
            ("mqtt://broker", "broker", 1883, None),
            ("tcp://10.0.0.1:1884/", "10.0.0.1", 1884, None),
            ("ws://broker:8083/mqtt", "broker", 8083, Some("/mqtt")),
            ("ws://broker", "broker", 80, Some("/")),
            ("mqtt://[::1]:1885", "::1", 1885, None),
            ("mqtt://[::1]", "::1", 1883, None),
        ] {
            let options = options(&format!("p2p --url {url}"));
            assert_eq!(
                (options.host.as_str(), options.port, options.path.as_deref()),
                (host, port, path),
                "{url}"
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (words, named) in [
            ("pairs", "\"pairs\" is no scenario"),
            ("--qos 1", "--qos"),
            ("p2p --subs 3", "p2p has no --subs"),
            ("storm --count 3", "storm has no --count"),
            ("conns --rate 3", "conns has no --rate"),
            ("conns --idle 3", "conns has no --idle"),
            ("p2p --idle 1000001", "--idle"),
            ("p2p extra", "extra"),
            ("p2p --fast", "--fast"),
            ("p2p --qos 3", "--qos"),
            ("p2p --qos", "--qos"),
            ("p2p --version 4", "3.1.1"),
            ("p2p --payload 23", "24"),
            ("p2p --pubs 0", "--pubs"),
            ("p2p --count 5 --seconds 1", "either"),
            ("p2p --seconds -1", "-1"),
            ("p2p --url broker", "is no URL"),
            ("p2p --url mqtts://broker", "mqtts"),
            ("p2p --url mqtt://broker/path", "path"),
            ("p2p --url mqtt://a:b@broker", "--username"),
            ("p2p --url mqtt://:1", "no host"),
            ("p2p --url mqtt://broker --port 1", "--url"),
            ("p2p --password x", "--username"),
            ("p2p --pubs 2 --threads 3", "--threads"),
            ("offline --qos 0", "offline"),
        ] {
            let error = parse_words(words).unwrap_err();
            assert!(error.contains(named), "{words}: {error}");
        }
    }

    #[test]
    fn help_and_version() {
        for words in ["", "--help", "-h", "p2p --help", "p2p --qos 1 -h"] {
            assert!(matches!(parse_words(words), Ok(Command::Help)), "{words}");
        }
        assert!(matches!(parse_words("--version"), Ok(Command::Version)));
    }
}
