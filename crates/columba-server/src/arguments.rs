//! The command line.

use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::config::{ListenerConfig, ListenerKind, Shards};
use crate::log::Level;

/// What the command is to do.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Version,
    Password,
    Serve(Box<Options>),
}

/// What the command line says of the broker. It comes before what the file says.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) listeners: Vec<ListenerConfig>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) allow_anonymous: bool,
    pub(crate) log_level: Option<Level>,
    pub(crate) shards: Option<Shards>,
}

pub(crate) const HELP: &str = "\
An MQTT broker: versions 3.1, 3.1.1 and 5.0 over TCP, TLS, WebSocket and Unix sockets.

Usage: columba [options]
       columba password     hash a password, read from standard input, for the configuration file

Listeners, each of which can be given several times; port 0 picks a free one:
  --tcp ADDRESS         MQTT over TCP, 127.0.0.1:1883 say
  --tls ADDRESS         over TLS
  --ws ADDRESS          over WebSocket, at the path /mqtt
  --wss ADDRESS         over WebSocket and TLS
  --unix PATH           over a Unix socket
Without any, here or in the file: --tcp 127.0.0.1:1883 --ws 127.0.0.1:8083

Other options:
  --config FILE         read a configuration file (TOML)
  --certificate FILE    the server's certificates in PEM, for --tls and --wss
  --key FILE            and their key
  --shards COUNT        use so many cores of the machine, 1 (default) to 64
  --allow-anonymous     let in clients that show no name, also from other machines
  --log-level LEVEL     error, warn, info (default) or debug
  --help, --version
";

pub(crate) fn parse(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let mut options = Options::default();
    let mut first = true;
    while let Some(argument) = parser.next()? {
        let is_first = std::mem::replace(&mut first, false);
        let listener = match argument {
            Arg::Long("tcp") => ListenerKind::Tcp,
            Arg::Long("tls") => ListenerKind::Tls,
            Arg::Long("ws") => ListenerKind::Ws,
            Arg::Long("wss") => ListenerKind::Wss,
            Arg::Long("unix") => ListenerKind::Unix,
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Version),
            Arg::Value(word) if is_first && word == "password" => {
                return match parser.next()? {
                    Some(argument) => Err(argument.unexpected()),
                    None => Ok(Command::Password),
                };
            }
            Arg::Long("config") => {
                options.config = Some(parser.value()?.into());
                continue;
            }
            Arg::Long("certificate") => {
                options.certificate = Some(parser.value()?.into());
                continue;
            }
            Arg::Long("key") => {
                options.key = Some(parser.value()?.into());
                continue;
            }
            Arg::Long("shards") => {
                options.shards = Some(parser.value()?.parse()?);
                continue;
            }
            Arg::Long("allow-anonymous") => {
                options.allow_anonymous = true;
                continue;
            }
            Arg::Long("log-level") => {
                options.log_level = Some(parser.value()?.parse()?);
                continue;
            }
            _ => return Err(argument.unexpected()),
        };
        let address = parser.value()?.string()?;
        options.listeners.push(ListenerConfig::new(listener, address)?);
    }
    Ok(Command::Serve(Box::new(options)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &str) -> Result<Command, String> {
        parse(Parser::from_args(words.split_whitespace())).map_err(|error| error.to_string())
    }

    fn options(words: &str) -> Options {
        match parse_words(words) {
            Ok(Command::Serve(options)) => *options,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn listeners_come_in_order_and_repeatedly() {
        let options =
            options("--tcp 127.0.0.1:0 --ws=[::1]:8083 --tcp localhost:1884 --unix /run/columba.sock");
        let listeners: Vec<_> =
            options.listeners.iter().map(|listener| (listener.kind, listener.address.as_str())).collect();
        assert_eq!(
            listeners,
            [
                (ListenerKind::Tcp, "127.0.0.1:0"),
                (ListenerKind::Ws, "[::1]:8083"),
                (ListenerKind::Tcp, "localhost:1884"),
                (ListenerKind::Unix, "/run/columba.sock"),
            ]
        );
    }

    #[test]
    fn other_options() {
        let options = options(
            "--config c.toml --certificate c.pem --key k.pem --allow-anonymous --log-level debug --shards 2",
        );
        assert_eq!(options.config.unwrap(), PathBuf::from("c.toml"));
        assert_eq!(options.certificate.unwrap(), PathBuf::from("c.pem"));
        assert_eq!(options.key.unwrap(), PathBuf::from("k.pem"));
        assert!(options.allow_anonymous);
        assert_eq!(options.log_level, Some(Level::Debug));
        assert_eq!(options.shards.map(Shards::get), Some(2));
        assert!(matches!(parse_words("password"), Ok(Command::Password)));
        assert!(matches!(parse_words("--help"), Ok(Command::Help)));
        assert!(matches!(parse_words("--tcp a:1 -V"), Ok(Command::Version)));
    }

    #[test]
    fn mistakes_are_named() {
        for (words, named) in [
            ("--no-such-option", "--no-such-option"),
            ("serve", "serve"),
            ("--tcp", "--tcp"),
            ("--tcp 1883", "\"1883\" is no address"),
            ("--tcp 127.0.0.1:65536", "127.0.0.1:65536"),
            ("--log-level loud", "it can be error, warn, info or debug"),
            ("--shards 0", "from 1 to 64"),
            ("--shards 65", "from 1 to 64"),
            ("--shards two", "from 1 to 64"),
            ("password --tcp", "--tcp"),
            ("--allow-anonymous password", "password"),
        ] {
            let error = parse_words(words).unwrap_err();
            assert!(error.contains(named), "{words}: {error}");
        }
    }
}
