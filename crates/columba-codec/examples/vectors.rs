//! Prints the table of packet vectors for tests in other languages, one JSON object a line: `name`, `version` (protocol
//! level), `bytes` in hexadecimal, `expect` (`is`, `reads`, `fails`, `incomplete`) and, where it fails, `error`.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use columba_codec::vectors::{self, Expect};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for vector in vectors::all() {
        let (expect, error) = match vector.expect {
            Expect::Is(_) => ("is", None),
            Expect::Reads(_) => ("reads", None),
            Expect::Fails(error) => ("fails", Some(error.to_string())),
            Expect::Incomplete => ("incomplete", None),
        };
        let bytes = vector.bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let (name, version) = (quoted(vector.name), vector.version.level());
        write!(out, r#"{{"name":{name},"version":{version},"bytes":"{bytes}","expect":"{expect}""#)?;
        if let Some(error) = error {
            write!(out, r#","error":{}"#, quoted(&error))?;
        }
        writeln!(out, "}}")?;
    }
    Ok(())
}

/// A JSON string. Neither names nor errors have control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
