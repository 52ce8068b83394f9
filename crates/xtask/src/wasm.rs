//! The WebAssembly build: the compiler for it, the module, the package for browsers and Node, and the page with both.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::install::{self, Program};
use crate::root;
use crate::run::{answer, cargo, output};

const TARGET: &str = "wasm32-unknown-unknown";
/// Where Debian puts a compiler that is recent enough, with the sources of its standard library.
const DEBIAN: Program = Program {
    name: "Debian's Rust for WebAssembly",
    check: &[
        "sh",
        "-c",
        "test -d /usr/lib/rustlib/src/rust/library && /usr/bin/rustc --version | grep -Eq '1[.](9[5-9]|[1-9][0-9][0-9])[.]'",
    ],
    packages: &["rustc-web", "cargo-web", "rust-web-src"],
};
const CHROMIUM: Program =
    Program { name: "chromium", check: &["which", "chromium"], packages: &["chromium"] };
/// How long rustup may take to fetch the target: a machine without a way to its server does not answer at all.
const PATIENCE: Duration = Duration::from_mins(2);

/// Builds the package and returns the line that tells its size.
pub(crate) fn package() -> Result<String, String> {
    let module = module()?;
    let folder = built();
    let size = said(
        cargo()
            .args(["run", "--quiet", "--package", "columba-bindgen", "--"])
            .args([&module, &folder.join("bindgen")]),
    )?;
    let modules = folder.join("modules");
    empty(&modules)?;
    copy_all(&root().join("bindings/wasm/js"), &modules)?;
    copy(&folder.join("bindgen/columba_wasm.js"), &modules.join("columba_wasm.js"))?;
    let package = folder.join("package");
    empty(&package)?;
    let whole = ["package.json", "README.md", "columba.d.ts", "node.d.ts"];
    for file in whole {
        copy(&modules.join(file), &package.join(file))?;
    }
    copy(&folder.join("bindgen/columba_wasm_bg.wasm"), &package.join("columba_wasm_bg.wasm"))?;
    bundle(&modules, &package)?;
    Ok(size)
}

/// The page and the package beside it, ready for any web server.
pub(crate) fn site() -> Result<String, String> {
    let size = package()?;
    let site = root().join("target/web");
    empty(&site)?;
    copy_all(&root().join("www"), &site)?;
    let package = site.join("columba");
    fs::create_dir_all(&package).map_err(|error| told(&package, &error))?;
    for entry in entries(&built().join("package"))? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("columba") && !name.contains(".d.") {
            copy(&entry, &package.join(name))?;
        }
    }
    Ok(size)
}

/// Node's tests of the package.
pub(crate) fn node_tests() -> Result<Command, String> {
    let tests = root().join("bindings/wasm/tests/js");
    install::node_packages(&tests, "MQTT.js and Paho")?;
    // A copy, as npm would install it: a link would look for its own dependencies elsewhere.
    let installed = tests.join("node_modules/columba");
    empty(&installed)?;
    copy_all(&built().join("package"), &installed)?;
    Ok(test_runner(&tests))
}

/// Chromium's tests of the package and of the page.
pub(crate) fn browser_tests() -> Result<Command, String> {
    let tests = root().join("tests/browser");
    install::packages(&[&CHROMIUM])?;
    install::node_packages(&tests, "playwright-core and axe-core")?;
    Ok(test_runner(&tests))
}

fn test_runner(folder: &Path) -> Command {
    let mut command = Command::new("node");
    // One file after the other: browsers and brokers of several would be in each other's way on a small machine. What hangs
    // for ten minutes is named and fails.
    let arguments = ["--test", "--test-reporter=tap", "--test-concurrency=1", "--test-timeout=600000"];
    command.args(arguments).current_dir(folder);
    command
}

/// The conformance tests, against the package in Node.
pub(crate) fn conformance(command: &mut Command) -> (bool, String) {
    let failed = |text: String| (false, text);
    let mut node = Command::new("node");
    node.arg("serve.mjs").current_dir(root().join("bindings/wasm/tests/js"));
    let spawned = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut broker = match spawned {
        Ok(broker) => broker,
        Err(error) => return failed(format!("node does not start: {error}")),
    };
    let mut line = String::new();
    let stdout = broker.stdout.take().map(BufReader::new);
    let read = stdout.map(|mut stdout| stdout.read_line(&mut line));
    let outcome = match line.trim().strip_prefix("listening tcp ") {
        Some(address) => output(command.args(["--against", address]), false),
        None => failed(format!("the broker said {line:?} ({read:?})")),
    };
    // It ends with its input.
    drop(broker.stdin.take());
    let _ = broker.wait();
    let (is_success, text) = outcome;
    // `127.0.0.1:40123: 888 passed; …`
    let count = text
        .lines()
        .rev()
        .find_map(|line| line.split_once(": ").filter(|(_, rest)| rest.contains(" passed; ")));
    let count = count.map_or(String::new(), |(_, rest)| format!("test result: {rest}\n"));
    (is_success, text + &count)
}

/// Where the build ends up.
pub(crate) fn built() -> PathBuf {
    root().join("target/wasm")
}

/// Compiles the crate with whichever compiler there is.
fn module() -> Result<PathBuf, String> {
    let mut command = compiler()?;
    command.args(["--package", "columba-wasm", "--lib", "--profile", "wasm", "--target", TARGET]);
    command.env("CARGO_TARGET_DIR", root().join("target"));
    said(&mut command)?;
    Ok(root().join("target").join(TARGET).join("wasm/columba_wasm.wasm"))
}

/// `cargo build` with a compiler that has a standard library for WebAssembly: the usual one where the target is
/// installed or rustup can add it, else Debian's, which builds the library from its sources.
fn compiler() -> Result<Command, String> {
    if !has_target() && !rustup_adds_it() {
        return debian();
    }
    let mut command = cargo();
    command.arg("build");
    Ok(command)
}

fn has_target() -> bool {
    let folder = answer(rustc().args(["--print", "target-libdir", "--target", TARGET]));
    folder.is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

fn rustup_adds_it() -> bool {
    print!("adding the target {TARGET} … ");
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]).current_dir(root());
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = spawned else { return false };
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        match child.try_wait() {
            Ok(Some(_)) => return has_target(),
            Ok(None) => thread::sleep(Duration::from_millis(100)),
            Err(_) => return false,
        }
    }
    // It may have ended by itself just now.
    let _ = child.kill();
    let _ = child.wait();
    false
}

fn debian() -> Result<Command, String> {
    install::packages(&[&DEBIAN])?;
    let mut command = Command::new("/usr/bin/cargo");
    command.current_dir(root()).args(["build", "-Zbuild-std=std,panic_abort"]);
    // Variables that cargo sets for this program speak of the other compiler.
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_cargo(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", "/usr/bin/rustc");
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker()?);
    Ok(command)
}

fn is_of_cargo(name: &str) -> bool {
    let names = ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"];
    names.contains(&name) || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// The usual compiler's linker: Debian's package has none for WebAssembly.
fn linker() -> Result<PathBuf, String> {
    let sysroot = answer(rustc().args(["--print", "sysroot"]))?;
    let host = answer(rustc().arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
    let linker = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/rust-lld");
    if linker.exists() { Ok(linker) } else { Err(format!("{} is not there", linker.display())) }
}

fn rustc() -> Command {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(root());
    command
}

/// The modules in one file each for browsers, for Node, and for `require`: what is loaded one after the other takes longer to
/// start. Names stay as they are, for who reads a stack trace.
fn bundle(modules: &Path, package: &Path) -> Result<(), String> {
    let tools = root().join("bindings/wasm");
    install::node_packages(&tools, "esbuild")?;
    let targets: [(&str, &str, &[&str]); 3] = [
        ("columba.js", "columba.js", &["--platform=browser", "--format=esm"]),
        ("node.js", "node.js", &["--platform=node", "--format=esm"]),
        ("node.js", "node.cjs", &["--platform=node", "--format=cjs", "--define:import.meta.url=\"\""]),
    ];
    for (from, to, options) in targets {
        let mut command = Command::new("node");
        command.current_dir(&tools).args(["node_modules/esbuild/bin/esbuild", "--bundle"]);
        command.args(["--minify-whitespace", "--minify-syntax", "--log-level=error", "--external:ws"]);
        command
            .args(options)
            .arg(format!("--outfile={}", package.join(to).display()))
            .arg(modules.join(from));
        said(&mut command)?;
    }
    // TypeScript takes declarations for what is required from files of their own.
    for name in ["columba", "node"] {
        let from = package.join(name).with_extension("d.ts");
        let text = fs::read_to_string(&from).map_err(|error| told(&from, &error))?;
        let to = package.join(name).with_extension("d.cts");
        fs::write(&to, text.replace("'./columba.js'", "'./columba.cjs'"))
            .map_err(|error| told(&to, &error))?;
    }
    Ok(())
}

/// Runs a command that has to succeed, and returns the last line it printed.
fn said(command: &mut Command) -> Result<String, String> {
    match output(command, false) {
        (true, text) => Ok(text.lines().last().unwrap_or_default().to_owned()),
        (false, text) => Err(text),
    }
}

fn empty(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| told(folder, &error))?;
    }
    fs::create_dir_all(folder).map_err(|error| told(folder, &error))
}

fn copy_all(from: &Path, to: &Path) -> Result<(), String> {
    for entry in entries(from)? {
        let target = to.join(entry.file_name().unwrap_or_default());
        if entry.is_dir() {
            fs::create_dir_all(&target).map_err(|error| told(&target, &error))?;
            copy_all(&entry, &target)?;
        } else {
            copy(&entry, &target)?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| told(folder, &error))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|error| told(folder, &error))).collect()
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(|_| ()).map_err(|error| told(from, &error))
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
