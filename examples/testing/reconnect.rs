//! An application has to come back, and to subscribe again: after its connection was cut, after the broker refused it, after
//! the broker was away.
//!
//!     cargo test -p columba-examples --test reconnect
//!
//! The broker is told to do each of these; nothing is slept for, and every test has a broker and a port of its own.

/// The application.
mod display {
    use std::time::Duration;

    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    pub(super) const TEMPERATURES: &str = "house/+/temperature";
    /// Between two attempts.
    const PAUSE: Duration = Duration::from_millis(10);

    /// Hands on the temperatures of a house, for as long as somebody wants them.
    pub(super) fn temperatures(port: u16) -> UnboundedReceiver<String> {
        let (sender, receiver) = unbounded_channel();
        tokio::spawn(follow(port, sender));
        receiver
    }

    async fn follow(port: u16, temperatures: UnboundedSender<String>) {
        let (client, mut connection) = AsyncClient::new(MqttOptions::new("display", "127.0.0.1", port), 10);
        while !temperatures.is_closed() {
            match connection.poll().await {
                // The session is a new one, and knows of no subscription.
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    client
                        .try_subscribe(TEMPERATURES, QoS::AtLeastOnce)
                        .expect("there is room for ten requests");
                }
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    let degrees = String::from_utf8_lossy(&message.payload);
                    // If nobody wants it any more, this was the last.
                    let _ = temperatures.send(format!("{}: {degrees}", message.topic));
                }
                Ok(_) => {}
                Err(error) => {
                    eprintln!("display: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

use std::time::Duration;

use columba_testkit::codec::PacketType;
use columba_testkit::{ReasonCode, TestBroker, Version, connected, disconnected, on, sequence, subscribed};
use display::{TEMPERATURES, temperatures};
use tokio::sync::mpsc::UnboundedReceiver;

/// The next temperature, which has to come within five seconds.
async fn next(temperatures: &mut UnboundedReceiver<String>) -> String {
    let next = tokio::time::timeout(Duration::from_secs(5), temperatures.recv()).await;
    next.expect("a temperature comes").expect("the application runs")
}

#[tokio::test]
async fn it_comes_back_after_a_cut() {
    let broker = TestBroker::start();
    let mut temperatures = temperatures(broker.port());
    broker.expect(subscribed("display", TEMPERATURES)).await;

    assert!(broker.cut("display"));

    broker.expect(connected("display").times(2)).await;
    broker.expect(subscribed("display", TEMPERATURES)).await;
    let sensor = broker.connect("sensor", Version::V5, |_| ());
    sensor.publish("house/kitchen/temperature", 1, "21.5");
    assert_eq!(next(&mut temperatures).await, "house/kitchen/temperature: 21.5");
}

#[tokio::test]
async fn it_comes_back_when_its_subscription_is_cut_off() {
    let broker = TestBroker::start();
    let cut = broker.fault(on(PacketType::Subscribe).client("display").once().cut());
    let _temperatures = temperatures(broker.port());

    broker.expect(subscribed("display", TEMPERATURES)).await;
    broker.expect(connected("display").times(2)).await;
    assert_eq!(cut.hits(), 1);
}

#[tokio::test]
async fn it_tries_until_it_is_accepted() {
    let broker = TestBroker::start();
    broker.fault(on(PacketType::Connect).times(2).answer(ReasonCode::ServerUnavailable));
    let _temperatures = temperatures(broker.port());

    // Transcripts speak MQTT 5: 0x88 stands for return code 3 of 3.1.1.
    let refused = ["-> CONNECT", "<- CONNACK 88"];
    let accepted = ["-> CONNECT", "<- CONNACK 00", "-> SUBSCRIBE", "<- SUBACK"];
    let all = [&refused[..], &refused, &accepted].concat();
    broker.expect(sequence("display", &all)).await;
}

#[tokio::test]
async fn it_comes_back_when_the_broker_does() {
    let broker = TestBroker::start();
    let mut temperatures = temperatures(broker.port());
    broker.expect(subscribed("display", TEMPERATURES)).await;

    broker.go_offline();
    broker.expect(disconnected("display")).await;
    broker.go_online();

    broker.expect(connected("display").times(2)).await;
    broker.expect(subscribed("display", TEMPERATURES)).await;
    let sensor = broker.connect("sensor", Version::V3_1_1, |_| ());
    sensor.publish("house/cellar/temperature", 0, "12.0");
    assert_eq!(next(&mut temperatures).await, "house/cellar/temperature: 12.0");
}
