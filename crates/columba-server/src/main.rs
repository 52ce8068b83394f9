//! The `columba` command: a broker as a program, with listeners, users and limits from arguments and a file.

use std::process::ExitCode;

mod access;
mod arguments;
mod config;
mod listen;
mod log;
mod password;
mod playground;
mod run;
mod settings;
mod sys;

use arguments::Command;

/// Something is wrong with the arguments; anything else that goes wrong is status 1.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match arguments::parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("columba: {error}; columba --help says what there is");
            return ExitCode::from(USAGE);
        }
    };
    let outcome = match command {
        Command::Help => {
            print!("{}", arguments::HELP);
            Ok(())
        }
        Command::Version => {
            println!("columba {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Command::Password => password::command(),
        Command::Serve(options) => settings::Settings::load(*options).and_then(run::run),
    };
    log::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("columba: {sentence}");
            ExitCode::FAILURE
        }
    }
}
