//! Every example ends by itself and says what it should.

use std::process::Command;

#[track_caller]
fn check(program: &str, expected: &[&str]) {
    let output = Command::new(program).output().expect("the example starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    for line in expected {
        assert!(text.lines().any(|printed| printed == *line), "no line {line:?} in\n{text}\n{errors}");
    }
}

#[test]
fn bus() {
    check(
        env!("CARGO_BIN_EXE_bus"),
        &[
            "display: house/kitchen/temperature 21.5",
            "display: house/cellar/temperature 12.0",
            "latecomer: house/cellar/temperature (retained: true)",
        ],
    );
}

#[test]
fn tokio_app() {
    check(
        env!("CARGO_BIN_EXE_tokio_app"),
        &["visitor connected, V3_1_1", "app: door/front is open", "app sent away", "shut down"],
    );
}

#[test]
fn smol_app() {
    check(env!("CARGO_BIN_EXE_smol_app"), &["greeter: ConnAck", "app: greeting hello", "shut down"]);
}

#[test]
fn auth() {
    check(
        env!("CARGO_BIN_EXE_auth"),
        &[
            "mallory: refused, BadUserNamePassword",
            "ada with a wrong password: refused, BadUserNamePassword",
            "ada to ada/x: published",
            "ada to bob/x: not authorized",
        ],
    );
}

#[test]
fn unit_test() {
    check(env!("CARGO_BIN_EXE_unit_test"), &["heater: on"]);
}

#[test]
fn axum_websocket() {
    check(env!("CARGO_BIN_EXE_axum_websocket"), &["app: browser/visitor hello"]);
}
