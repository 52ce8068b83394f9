//! Embeds the playground, if it has been built (`cargo xtask web`). It never builds it: that takes a compiler for
//! WebAssembly, which whoever wants a broker need not have.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let site = manifest.join("../../target/web");
    println!("cargo::rerun-if-changed={}", site.display());
    let mut files = Vec::new();
    if site.join("index.html").exists() {
        collect(&site, &mut files)?;
    }
    let mut named = Vec::new();
    for file in files {
        named.push((file.strip_prefix(&site)?.to_string_lossy().replace('\\', "/"), file));
    }
    // By name: they are looked up by bisection.
    named.sort();
    let mut code = String::from("&[\n");
    for (path, file) in &named {
        let content_type = content_type(path);
        let absolute = fs::canonicalize(file)?;
        println!("cargo::rerun-if-changed={}", absolute.display());
        writeln!(
            code,
            "    ({path:?}, {content_type:?}, include_bytes!({:?})),",
            absolute.display().to_string()
        )?;
    }
    code.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("playground.rs"), code)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}
