//! Writes the JavaScript that goes with a WebAssembly build, and says how large the build is.
//!
//! `columba-bindgen <built.wasm> <folder>`: the folder gets `columba_wasm.js` (an ES module) and `columba_wasm_bg.wasm`.
//! A program of ours over the library, so that nobody has to install wasm-bindgen's command in the version that fits.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [input, folder] = arguments.as_slice() else {
        eprintln!("columba-bindgen <built.wasm> <folder>");
        return ExitCode::from(2);
    };
    match write(Path::new(input), Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{input}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(input: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    Bindgen::new()
        .input_path(input)
        .web(true)?
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)?;
    let wasm = fs::read(folder.join("columba_wasm_bg.wasm"))?;
    println!("wasm: {} bytes, {} gzipped", wasm.len(), gzipped(&wasm)?);
    Ok(())
}

/// As a web server would send it.
fn gzipped(bytes: &[u8]) -> std::io::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}
