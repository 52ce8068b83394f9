//! Every numbered statement of MQTT 5.0 and 3.1.1, and what MQTT 3.1 does otherwise, as tests against a broker: in the
//! simulated world, over TCP and over WebSocket, and with `--against HOST:PORT` any other broker.

mod authenticator;
mod exchange;
mod stage;
mod steps;

mod foreign;
mod manifest;
mod own;
mod suite;

mod answers;
mod raw;

mod clean_start;
mod client_id;
mod client_limits;
mod connack;
mod connect;
mod fixed_header;
mod keep_alive;
mod packet_ids;
mod strings;
mod version_3_1;
mod will;

mod acks;
mod auth;
mod disconnect;
mod errors;
mod flow;
mod message_properties;
mod mistakes;
mod order;
mod overlapping;
mod ping;
mod publish;
mod qos;
mod resend;
mod retain;
mod session;
mod shared;
mod subscribe;
mod topic_alias;
mod topics;
mod unsubscribe;
mod websocket;

use std::process::ExitCode;
use std::time::Instant;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use foreign::Home;
use own::{Protocol, Site};
use stage::Group;
use suite::{Outcome, Run, Venue};

/// All tests, by module.
const TESTS: &[&[Group]] = &[
    subscribe::TESTS,
    unsubscribe::TESTS,
    ping::TESTS,
    disconnect::TESTS,
    auth::TESTS,
    session::TESTS,
    topics::TESTS,
    shared::TESTS,
    errors::TESTS,
    websocket::TESTS,
    mistakes::TESTS,
    publish::TESTS,
    retain::TESTS,
    message_properties::TESTS,
    topic_alias::TESTS,
    overlapping::TESTS,
    acks::TESTS,
    qos::TESTS,
    resend::TESTS,
    order::TESTS,
    flow::TESTS,
    strings::TESTS,
    fixed_header::TESTS,
    packet_ids::TESTS,
    connect::TESTS,
    client_id::TESTS,
    clean_start::TESTS,
    will::TESTS,
    keep_alive::TESTS,
    client_limits::TESTS,
    connack::TESTS,
    version_3_1::TESTS,
];

const HELP: &str = "\
Tests every numbered statement of MQTT 5.0 and 3.1.1, and what MQTT 3.1 does otherwise.

    conformance [--simulated] [--table] [FILTER…]
                                                against Columba
    conformance --against PLACE [FILTER…]       against any broker; from the repository:
    cargo test -p columba-tests --test conformance -- --against HOST:PORT

  FILTER           only tests whose name contains it; the list of statements is then not checked
  --table          what each statement comes to, not only those that are open
  --simulated      leaves out TCP and WebSocket
  --against PLACE  a broker at HOST:PORT, or at ws://HOST:PORT/PATH
  --help           this

Against Columba all tests run in a simulated world, over TCP and over WebSocket, and each statement that binds a server
has to have tests that pass and a tag in the code. Exit status 1 if a test fails or a statement is open.

Against another broker it has to let anybody in. Retained messages and sessions of a test are cleared after it; retained
messages from before the first test stay, but may make tests fail. An answer has to come within 1 second. Up to 8 seconds are
really waited for; tests that would wait longer or need settings of the broker are not run. The table says of each
statement whether the broker keeps it. Exit status 0 however it does, 1 if the tests could not be run.
";

#[derive(Default)]
struct Options {
    against: Option<String>,
    with_table: bool,
    is_only_simulated: bool,
    filters: Vec<String>,
}

fn main() -> ExitCode {
    let done = match Options::read() {
        Err(error) => Err(format!("{error}; --help tells more")),
        Ok(None) => {
            print!("{HELP}");
            Ok(true)
        }
        Ok(Some(options)) => {
            suite::silence_panics();
            match &options.against {
                Some(place) => against(place, &options),
                None => against_columba(&options),
            }
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Shards of a simulated broker that has several.
const SHARDS: usize = 3;

impl Options {
    /// `None` if help is wanted.
    fn read() -> Result<Option<Self>, lexopt::Error> {
        let mut options = Self::default();
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("against") => options.against = Some(parser.value()?.string()?),
                Long("table") => options.with_table = true,
                Long("simulated") => options.is_only_simulated = true,
                // What cargo's users pass to all test programs alike.
                Long("nocapture" | "quiet") | Short('q') => {}
                Long("help") | Short('h') => return Ok(None),
                Value(filter) => options.filters.push(filter.string()?),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(options))
    }
}

/// True if all is well.
fn against_columba(options: &Options) -> Result<bool, String> {
    let manifests = manifest::load()?;
    let code = manifest::code().map_err(|error| format!("the code cannot be read: {error}"))?;
    let begin = Instant::now();
    let mut venues = vec![Venue::Simulated(1), Venue::Simulated(SHARDS)];
    if !options.is_only_simulated {
        for protocol in [Protocol::Tcp, Protocol::WebSocket] {
            let site = Site::new(protocol).map_err(|error| format!("no threads for brokers: {error}"))?;
            venues.push(Venue::Own(site));
        }
    }
    let run_all = |venue| suite::run_all(TESTS, venue, &options.filters);
    let runs: Vec<_> = venues.iter().flat_map(run_all).collect();
    let is_whole = options.filters.is_empty();
    let reports: Vec<_> = manifests
        .iter()
        .filter(|_| is_whole)
        .map(|manifest| manifest.report(&runs, &code, options.with_table))
        .collect();
    for (_, table, _) in &reports {
        print!("{table}");
    }
    let passed = count(&runs, |outcome| matches!(outcome, Outcome::Passed));
    let is_fine = passed == runs.len() && reports.iter().all(|&(is_closed, ..)| is_closed);
    println!(
        "test result: {}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s",
        if is_fine { "ok" } else { "FAILED" },
        runs.len() - passed,
        begin.elapsed().as_secs_f64(),
    );
    for (_, _, summary) in &reports {
        println!("{summary}");
    }
    Ok(is_fine)
}

fn against(place: &str, options: &Options) -> Result<bool, String> {
    let manifests = manifest::load()?;
    let home = match suite::attempt(|| Home::find(place)) {
        Ok(Ok(home)) => home,
        Ok(Err(error)) => return Err(format!("{place}: {error}")),
        Err(Outcome::Failed(problem)) => return Err(format!("{place}: {problem}")),
        Err(_) => return Err(format!("{place}: not a broker to be tested")),
    };
    let runs = suite::run_all(TESTS, &Venue::Foreign(home), &options.filters);
    let reports: Vec<_> = manifests.iter().map(|manifest| manifest.judge(&runs)).collect();
    if options.filters.is_empty() {
        for (table, _) in &reports {
            print!("{table}");
        }
    }
    println!(
        "{place}: {} passed; {} failed; {} not run",
        count(&runs, |outcome| matches!(outcome, Outcome::Passed)),
        count(&runs, |outcome| matches!(outcome, Outcome::Failed(_))),
        count(&runs, |outcome| matches!(outcome, Outcome::NotRun(_))),
    );
    if options.filters.is_empty() {
        for (_, summary) in &reports {
            println!("{summary}");
        }
    }
    Ok(true)
}

fn count(runs: &[Run], is: impl Fn(&Outcome) -> bool) -> usize {
    runs.iter().filter(|run| is(&run.outcome)).count()
}
