//! A device sleeps most of the time, and the broker keeps its commands for up to 31 days: what happens after 30, and what after
//! 32?
//!
//!     cargo test -p columba-examples --test sleeping_device
//!
//! The broker's clock is moved by the test, so a month takes no time although the device has a real client on a real socket.

/// The application.
mod valve {
    use rumqttc::Outgoing;
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{ConnectProperties, Packet};
    use rumqttc::v5::{Client, Event, MqttOptions};

    pub(super) const COMMANDS: &str = "valve/7/command";
    /// How long the broker is to remember the device and what it was sent.
    const MEMORY: u32 = 31 * 86_400;

    /// What the device found out while it was awake.
    #[derive(Debug, PartialEq)]
    pub(super) struct Wake {
        /// The broker knew nothing of it: commands may have been lost, and somebody should be asked.
        pub(super) was_forgotten: bool,
        pub(super) commands: Vec<String>,
    }

    /// Wakes up, takes commands until it is told to sleep, and sleeps. A device that was forgotten subscribes, and sleeps at once.
    pub(super) fn wake_up(port: u16) -> Result<Wake, Box<dyn std::error::Error>> {
        let mut options = MqttOptions::new("valve-7", "127.0.0.1", port);
        let properties =
            ConnectProperties { session_expiry_interval: Some(MEMORY), ..ConnectProperties::new() };
        options.set_clean_start(false).set_connect_properties(properties);
        let (client, mut connection) = Client::new(options, 10);
        let mut wake = Wake { was_forgotten: false, commands: Vec::new() };
        for event in connection.iter() {
            match event? {
                Event::Incoming(Packet::ConnAck(accepted)) if !accepted.session_present => {
                    wake.was_forgotten = true;
                    client.subscribe(COMMANDS, QoS::AtLeastOnce)?;
                }
                Event::Incoming(Packet::SubAck(_)) => client.disconnect()?,
                Event::Incoming(Packet::Publish(command)) if command.payload == "sleep" => {
                    client.disconnect()?;
                }
                Event::Incoming(Packet::Publish(command)) => {
                    wake.commands.push(String::from_utf8(command.payload.to_vec())?);
                }
                Event::Outgoing(Outgoing::Disconnect) => break,
                _ => {}
            }
        }
        Ok(wake)
    }
}

use std::time::Duration;

use columba_testkit::{TestBroker, Version, session, subscribed};
use valve::{COMMANDS, Wake, wake_up};

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

/// Wakes the device; it is back when the broker has seen it go to sleep.
fn wake_and_sleep(broker: &TestBroker) -> Wake {
    let wake = wake_up(broker.port()).unwrap();
    // Its goodbye may be on its way still, and is to arrive before the clock is moved.
    broker.expect(session("valve-7").connected(false)).wait();
    wake
}

fn command(broker: &TestBroker, commands: &[&str]) {
    let office = broker.connect("office", Version::V5, |_| ());
    for command in commands {
        office.publish(COMMANDS, 1, command);
    }
    office.disconnect();
}

#[test]
fn commands_wait_for_thirty_days() {
    let broker = TestBroker::builder().manual_clock().start();
    assert!(wake_and_sleep(&broker).was_forgotten, "it is new");
    command(&broker, &["open", "report", "sleep"]);
    broker.expect(session("valve-7").queued(3)).wait();

    broker.advance(days(30));

    let wake = wake_and_sleep(&broker);
    assert_eq!(wake, Wake { was_forgotten: false, commands: vec!["open".into(), "report".into()] });
}

#[test]
fn after_thirty_two_days_it_is_forgotten_and_knows() {
    let broker = TestBroker::builder().manual_clock().start();
    wake_and_sleep(&broker);
    command(&broker, &["open", "sleep"]);

    broker.advance(days(32));

    assert!(broker.session("valve-7").is_none());
    assert_eq!(wake_and_sleep(&broker), Wake { was_forgotten: true, commands: Vec::new() });
    broker.expect(subscribed("valve-7", COMMANDS)).wait();
}

#[test]
fn every_wake_begins_a_new_month() {
    let broker = TestBroker::builder().manual_clock().start();
    wake_and_sleep(&broker);
    for _ in 0..12 {
        command(&broker, &["sleep"]);
        broker.advance(days(30));
        assert!(!wake_and_sleep(&broker).was_forgotten);
    }
}
