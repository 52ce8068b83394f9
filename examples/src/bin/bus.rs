//! A message bus inside a program: no sockets, no runtime, one thread.
//!
//!     cargo run -p columba-examples --bin bus
//!
//! Two sensors publish, a display shows what comes, and whoever subscribes later still gets the last values. It prints:
//!
//!     display: house/kitchen/temperature 21.5
//!     display: house/cellar/temperature 12.0
//!     latecomer: house/cellar/temperature (retained: true)

use std::pin::pin;

use columba::{Broker, ClientError, Publish, QoS};
use futures::executor::block_on;
use futures::future::{Either, select};

fn main() -> Result<(), ClientError> {
    let (broker, driver) = Broker::builder().build();
    // The driver and the program take turns on this thread.
    match block_on(select(pin!(run(broker)), driver)) {
        Either::Left((result, _)) => result,
        Either::Right(((), _)) => Err(ClientError::Closed),
    }
}

async fn run(broker: Broker) -> Result<(), ClientError> {
    let display = broker.client("display").connect().await?;
    display.subscribe("house/+/temperature", QoS::AtLeastOnce).await?;

    let sensors = broker.client("sensors").connect().await?;
    for (room, degrees) in [("kitchen", "21.5"), ("cellar", "12.0")] {
        let message = Publish::new(format!("house/{room}/temperature"), degrees);
        // Waits until the broker has taken responsibility.
        sensors.send(message.qos(QoS::AtLeastOnce).retain(true)).await?;
    }
    for _ in 0..2 {
        let message = display.recv().await.ok_or(ClientError::Closed)?;
        println!("display: {} {}", message.topic(), String::from_utf8_lossy(message.payload()));
    }

    let latecomer = broker.client("latecomer").connect().await?;
    latecomer.subscribe("house/cellar/#", QoS::AtMostOnce).await?;
    let message = latecomer.recv().await.ok_or(ClientError::Closed)?;
    println!("latecomer: {} (retained: {})", message.topic(), message.retain());
    Ok(())
}
