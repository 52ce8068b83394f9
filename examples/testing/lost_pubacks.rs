//! At least once is not once: when acknowledgements are lost with the connection the broker sends the orders again, and the
//! application has to know which ones it has shipped.
//!
//!     cargo test -p columba-examples --test lost_pubacks
//!
//! The tests lose exactly those packets, and look into what was sent and what the broker still waits for.

/// The application.
mod shipping {
    use std::collections::HashSet;
    use std::time::Duration;

    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    pub(super) const ORDERS: &str = "orders/#";
    /// Between two attempts.
    const PAUSE: Duration = Duration::from_millis(10);

    /// Ships orders and tells which: `orders/17`.
    pub(super) fn shipping(port: u16) -> UnboundedReceiver<String> {
        let (sender, receiver) = unbounded_channel();
        tokio::spawn(ship(port, sender));
        receiver
    }

    async fn ship(port: u16, shipped: UnboundedSender<String>) {
        let mut options = MqttOptions::new("consumer", "127.0.0.1", port);
        // The broker keeps what comes while it is away, and an order is acknowledged when it has been shipped.
        options.set_clean_session(false).set_manual_acks(true);
        let (client, mut connection) = AsyncClient::new(options, 100);
        // A database, in earnest. Neither DUP nor the packet identifier tells that an order is the same; its number does.
        let mut known = HashSet::new();
        while !shipped.is_closed() {
            match connection.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(accepted))) if !accepted.session_present => {
                    client
                        .try_subscribe(ORDERS, QoS::AtLeastOnce)
                        .expect("there is room for a hundred requests");
                }
                Ok(Event::Incoming(Packet::Publish(order))) => {
                    if known.insert(order.topic.clone()) {
                        // If nobody wants to know, this was the last.
                        let _ = shipped.send(order.topic.clone());
                    }
                    client.try_ack(&order).expect("there is room for a hundred requests");
                }
                Ok(_) => {}
                Err(error) => {
                    eprintln!("consumer: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

use columba_testkit::codec::PacketType;
use columba_testkit::{TestBroker, Version, delivered, on, session, subscribed};
use shipping::{ORDERS, shipping};
use tokio::sync::mpsc::UnboundedReceiver;

/// What was shipped so far.
fn all(shipped: &mut UnboundedReceiver<String>) -> Vec<String> {
    std::iter::from_fn(|| shipped.try_recv().ok()).collect()
}

#[tokio::test]
async fn an_order_that_comes_twice_is_shipped_once() {
    let broker = TestBroker::start();
    let lost = broker.fault(on(PacketType::PubAck).from_client().client("consumer").times(2).lose());
    let mut shipped = shipping(broker.port());
    broker.expect(subscribed("consumer", ORDERS)).await;
    let shop = broker.connect("shop", Version::V5, |_| ());
    shop.publish("orders/1", 1, "a table");
    shop.publish("orders/2", 1, "six chairs");
    broker.expect(lost.happened(2)).await;

    assert!(broker.cut("consumer"));

    broker.expect(delivered(ORDERS).client("consumer").dup(true).times(2)).await;
    broker.expect(session("consumer").connected(true).inflight(0)).await;
    assert_eq!(all(&mut shipped), ["orders/1", "orders/2"]);
}

#[tokio::test]
async fn an_order_that_was_cut_off_is_shipped_all_the_same() {
    let broker = TestBroker::start();
    let cut = broker.fault(on(PacketType::Publish).from_broker().topic("orders/2").once().cut());
    let mut shipped = shipping(broker.port());
    broker.expect(subscribed("consumer", ORDERS)).await;
    let shop = broker.connect("shop", Version::V5, |_| ());
    for number in 1..=3 {
        shop.publish(&format!("orders/{number}"), 1, "a chair");
    }
    broker.expect(cut.happened(1)).await;

    broker.expect(session("consumer").inflight(0).queued(0)).await;
    assert_eq!(all(&mut shipped), ["orders/1", "orders/2", "orders/3"]);
}
