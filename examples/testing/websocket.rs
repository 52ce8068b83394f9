//! A dashboard reads retained values over a WebSocket. Packets need not come one to a message, and connections end: the tests
//! send it single bytes, and cut it off.
//!
//!     cargo test -p columba-examples --test websocket
//!
//! Faults are the same as over TCP; only the address is another (`ws_url`).

/// The application.
mod dashboard {
    use std::collections::BTreeMap;
    use std::error::Error;
    use std::time::Duration;

    use bytes::BytesMut;
    use futures::{SinkExt, StreamExt};
    use rumqttc::mqttbytes::{self, v4};
    use tokio::sync::watch;
    use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

    /// By topic.
    pub(super) type Values = BTreeMap<String, String>;
    /// Between two attempts.
    const PAUSE: Duration = Duration::from_millis(10);
    const MAX_PACKET: usize = 1 << 20;

    /// The values that are there, and changes as they come.
    pub(super) fn dashboard(url: String) -> watch::Receiver<Values> {
        let (sender, receiver) = watch::channel(Values::new());
        tokio::spawn(async move {
            while !sender.is_closed() {
                if let Err(error) = follow(&url, &sender).await {
                    eprintln!("dashboard: {error}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        receiver
    }

    /// Takes values from one connection, until it ends.
    async fn follow(url: &str, values: &watch::Sender<Values>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", "mqtt".parse()?);
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;
        let mut hello = BytesMut::new();
        v4::Connect { keep_alive: 0, ..v4::Connect::new("dashboard") }.write(&mut hello)?;
        let mut subscribe = v4::Subscribe::new("house/#", mqttbytes::QoS::AtMostOnce);
        subscribe.pkid = 1;
        subscribe.write(&mut hello)?;
        socket.send(Message::binary(hello)).await?;
        let mut input = BytesMut::new();
        while let Some(message) = socket.next().await {
            // A message may bring half a packet, or two.
            input.extend_from_slice(&message?.into_data());
            loop {
                match v4::Packet::read(&mut input, MAX_PACKET) {
                    Ok(v4::Packet::Publish(publish)) => {
                        let value = String::from_utf8_lossy(&publish.payload).into_owned();
                        values.send_modify(|values| drop(values.insert(publish.topic, value)));
                    }
                    Ok(_) => {}
                    Err(mqttbytes::Error::InsufficientBytes(_)) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

use std::time::Duration;

use columba_testkit::codec::PacketType;
use columba_testkit::{Client, TestBroker, Version, connected, on, on_any};
use dashboard::{Values, dashboard};
use tokio::sync::watch;

/// A meter that has left two values.
fn meter(broker: &TestBroker) -> Client {
    let meter = broker.connect("meter", Version::V5, |_| ());
    meter.retain("house/power", 1, "230 W");
    meter.retain("house/water", 1, "4 l/min");
    meter
}

/// Waits until this is shown, no longer than five seconds.
async fn shows(dashboard: &mut watch::Receiver<Values>, topic: &str, value: &str) {
    let is_shown = dashboard.wait_for(|values| values.get(topic).is_some_and(|shown| shown == value));
    let outcome = tokio::time::timeout(Duration::from_secs(5), is_shown).await.map(drop);
    assert!(outcome.is_ok(), "{topic} is not shown as {value}");
}

#[tokio::test]
async fn packets_may_come_in_single_bytes() {
    let broker = TestBroker::start();
    let split = broker.fault(on_any().client("dashboard").split());
    let meter = meter(&broker);
    let mut dashboard = dashboard(broker.ws_url());
    shows(&mut dashboard, "house/power", "230 W").await;
    shows(&mut dashboard, "house/water", "4 l/min").await;

    meter.retain("house/power", 1, "1200 W");

    shows(&mut dashboard, "house/power", "1200 W").await;
    assert!(split.hits() > 0);
}

#[tokio::test]
async fn it_shows_what_has_changed_while_it_was_away() {
    let broker = TestBroker::start();
    let meter = meter(&broker);
    let mut dashboard = dashboard(broker.ws_url());
    shows(&mut dashboard, "house/water", "4 l/min").await;

    let away = broker.fault(on(PacketType::Connect).client("dashboard").cut());
    assert!(broker.cut("dashboard"));
    meter.retain("house/water", 1, "0 l/min");
    broker.expect(away.happened(2)).await;
    assert_eq!(dashboard.borrow()["house/water"], "4 l/min");
    away.remove();

    shows(&mut dashboard, "house/water", "0 l/min").await;
    broker.expect(connected("dashboard").times(2)).await;
}

#[tokio::test]
async fn it_comes_back_for_what_was_cut_off() {
    let broker = TestBroker::start();
    let values_sent = on(PacketType::Publish).from_broker().client("dashboard");
    let cut = broker.fault(values_sent.nth(2).cut());
    let _meter = meter(&broker);
    let mut dashboard = dashboard(broker.ws_url());

    shows(&mut dashboard, "house/power", "230 W").await;
    shows(&mut dashboard, "house/water", "4 l/min").await;
    assert_eq!(cut.hits(), 1);
    broker.expect(connected("dashboard").times(2)).await;
}
