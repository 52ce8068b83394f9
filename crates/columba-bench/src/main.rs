//! The `columba-bench` command: loads an MQTT broker, measures it, and checks that it lost, doubled and swapped nothing.

// Figures are for people: none is negative, and the 52 bits of a float are more than was measured.
#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]

use std::process::ExitCode;

mod arguments;
mod batch;
mod crew;
mod faults;
mod flow;
mod histogram;
mod ledger;
mod measure;
mod net;
mod progress;
mod report;
mod scenario;
mod timer;
mod usage;
mod worker;
mod ws;

use arguments::Command;

/// Something is wrong with the arguments; anything else that goes wrong is status 1.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = match arguments::parse(lexopt::Parser::from_env()) {
        Ok(Command::Run(options)) => *options,
        Ok(Command::Help) => {
            print!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            println!("columba-bench {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("columba-bench: {error}; columba-bench --help says what there is");
            return ExitCode::from(USAGE);
        }
    };
    let is_json = options.json;
    match scenario::run(options) {
        Ok(report) => {
            print!("{}", if is_json { report.to_json() } else { report.to_text() });
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(sentence) => {
            eprintln!("columba-bench: {sentence}");
            ExitCode::FAILURE
        }
    }
}
