//! How the `columba` command begins and ends.
#![cfg(unix)]
#![allow(missing_docs)]

use std::net::TcpListener;
use std::time::Duration;

use columba_tests::raw::{DISCONNECT, Raw};
use columba_tests::{Broker, Version};

/// The reason code by which a server says that it is shutting down.
const SERVER_SHUTTING_DOWN: u8 = 0x8b;

#[test]
fn a_signal_ends_it_in_order() {
    let mut broker = Broker::start();
    let mut version_5 = Raw::connect(&broker, Version::V5, "five");
    let mut version_3 = Raw::connect(&broker, Version::V311, "three");
    broker.terminate();

    // mosquitto 2.0 just closes.
    if Broker::is_columba() {
        let disconnect = version_5.expect(DISCONNECT).expect("DISCONNECT");
        assert_eq!(disconnect.body.first(), Some(&SERVER_SHUTTING_DOWN));
    }
    assert_eq!(version_5.read_frame().expect("an orderly end"), None);
    // MQTT 3 has no such packet: the connection just ends.
    assert_eq!(version_3.read_frame().expect("an orderly end"), None);

    let status = broker.wait(Duration::from_secs(5)).expect("an end within seconds");
    assert_eq!(status.code(), Some(0));
    assert!(Raw::socket(broker.tcp(), Version::V5).is_err(), "the port is free again");
}

#[test]
fn a_taken_port_is_one_sentence_and_status_1() {
    if skips_columba() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind a port");
    let address = taken.local_addr().expect("the bound address").to_string();
    let failed = Broker::run_columba(&["--tcp", &address]);
    assert_eq!(failed.status.code(), Some(1), "stderr: {}", failed.stderr);
    assert_eq!(failed.stderr.lines().count(), 1, "stderr: {}", failed.stderr);
    assert!(failed.stderr.contains(&address), "stderr: {}", failed.stderr);
}

#[test]
fn an_unknown_argument_is_status_2() {
    if skips_columba() {
        return;
    }
    let failed = Broker::run_columba(&["--no-such-option"]);
    assert_eq!(failed.status.code(), Some(2), "stderr: {}", failed.stderr);
    assert!(failed.stderr.contains("--no-such-option"), "stderr: {}", failed.stderr);
}

fn skips_columba() -> bool {
    if !Broker::is_columba() {
        eprintln!("skipped: this is about the columba command");
    }
    !Broker::is_columba()
}
