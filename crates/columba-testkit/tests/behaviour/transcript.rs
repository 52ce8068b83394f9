//! The record of a conversation and its forms.

use std::process::Command;
use std::time::Duration;

use columba_testkit::codec::PacketType;
use columba_testkit::{Version, World, on, persistent};

fn conversation() -> World {
    let world = World::new();
    let device = world.connect("device", Version::V5, persistent);
    device.subscribe("command", 1);
    world.advance(Duration::from_millis(1500));
    let app = world.connect("app", Version::V3_1_1, |_| ());
    world.fault(on(PacketType::PubAck).from_broker().lose());
    app.start("command", 1, "on", |_| ());
    device.drop_link();
    world
}

#[test]
fn as_a_list() {
    assert_eq!(
        conversation().transcript().to_string(),
        r#"       0.000  device ──▶ (opened)
       0.000  device ──▶ CONNECT "device" MQTT 5.0
       0.000  device ◀── CONNACK 00
       0.000  device ──▶ SUBSCRIBE #1 command:q1
       0.000  device ◀── SUBACK #1 01
       1.500  app    ──▶ (opened)
       1.500  app    ──▶ CONNECT "app" MQTT 3.1.1 clean
       1.500  app    ◀── CONNACK 00
       1.500  app    ──▶ PUBLISH command=on q1 #1
       1.500  device ◀── PUBLISH command=on q1 #1
       1.500  app    ×── PUBACK #1   [lost]
       1.500  device ──▶ (cut)
"#
    );
}

#[test]
fn as_a_diagram() {
    assert_eq!(
        conversation().transcript().diagram(),
        r#"        time  device  app                                broker
       0.000  (opened)                                      │
       0.000  ├─ CONNECT "device" MQTT 5.0 ────────────────▶│
       0.000  │◀─ CONNACK 00 ───────────────────────────────┤
       0.000  ├─ SUBSCRIBE #1 command:q1 ──────────────────▶│
       0.000  │◀─ SUBACK #1 01 ─────────────────────────────┤
       1.500  │       (opened)                              │
       1.500  │       ├─ CONNECT "app" MQTT 3.1.1 clean ───▶│
       1.500  │       │◀─ CONNACK 00 ───────────────────────┤
       1.500  │       ├─ PUBLISH command=on q1 #1 ─────────▶│
       1.500  │◀─ PUBLISH command=on q1 #1 ─────────────────┤
       1.500  │       │×─ PUBACK #1 ────────────────────────┤  [lost]
       1.500  (cut)                                         │
"#
    );
}

#[test]
fn the_same_seed_gives_the_same_transcript() {
    let run = |seed| {
        let world = World::with_options(|options| {
            options.seed = seed;
            options.latency = (Duration::from_millis(1), Duration::from_millis(90));
        });
        world.fault(on(PacketType::Publish).with_probability(0.5).delay(Duration::from_secs(1)));
        let client = world.try_connect("", Version::V5, |_| ());
        world.advance(Duration::from_secs(1));
        for number in 0..20 {
            client.start("t", 1, number.to_string(), |_| ());
        }
        world.advance(Duration::from_mins(1));
        world.transcript().to_json()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn long_names_and_texts_are_shown_in_part() {
    let world = World::new();
    for letter in ["a", "b", "c"] {
        // They are refused, which is shown, too.
        world.try_connect(&letter.repeat(60_000), Version::V5, |_| ());
    }
    let transcript = world.transcript();
    let (diagram, list) = (transcript.diagram(), transcript.to_string());
    assert_eq!(diagram.lines().count(), 13);
    assert!(diagram.lines().all(|line| line.chars().count() < 4 * 600), "{} bytes", diagram.len());
    assert!(list.contains("aaa ──▶ CONNECT \"aaa"), "{} bytes", list.len());
}

#[test]
fn as_json() {
    let json = conversation().transcript().to_json();
    let entries: serde_json::Value = serde_json::from_str(&json).unwrap();
    let publish = &entries[8];
    assert_eq!(publish["text"], "PUBLISH command=on q1 #1");
    assert_eq!(publish["client"], "app");
    assert_eq!(publish["direction"], "to broker");
    assert_eq!(publish["bytes"], "320d0007636f6d6d616e6400016f6e");
    assert_eq!(publish["at"], 1.5);
    assert_eq!(entries[10]["fate"], "lost");
    let world = World::new();
    world.try_connect("\"a\\b\"\n\u{1}ä", Version::V5, |_| ());
    let json = world.transcript().to_json();
    let entries: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(entries[0]["client"], "\"a\\b\"\n\u{1}ä");
    let empty: serde_json::Value =
        serde_json::from_str(&columba_testkit::Transcript::default().to_json()).unwrap();
    assert_eq!(empty.as_array().map(Vec::len), Some(0));
}

/// Where tshark is installed, it reads every packet as what it is.
#[test]
fn as_a_capture() {
    let capture = conversation().transcript().to_pcap();
    assert_eq!(capture[..4], 0xa1b2_c3d4_u32.to_le_bytes());
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("tshark is not installed: the capture was not read");
        return;
    }
    let file = std::env::temp_dir().join(format!("columba-testkit-{}.pcap", std::process::id()));
    std::fs::write(&file, capture).unwrap();
    let output = Command::new("tshark")
        .args(["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-r"])
        .arg(&file)
        .args([
            "-Y",
            "mqtt",
            "-T",
            "fields",
            "-e",
            "mqtt.msgtype",
            "-e",
            "mqtt.topic",
            "-e",
            "tcp.checksum.status",
        ])
        .output()
        .unwrap();
    std::fs::remove_file(file).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(
        rows,
        [
            "1\t\t1",
            "2\t\t1",
            "8\tcommand\t1",
            "9\t\t1",
            "1\t\t1",
            "2\t\t1",
            "3\tcommand\t1",
            "3\tcommand\t1",
            "4\t\t1"
        ],
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
