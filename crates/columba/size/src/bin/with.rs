//! The same by way of a broker: one client publishes to another.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use columba::{Broker, ClientError, QoS};

async fn program(broker: Broker) -> Result<(), ClientError> {
    let kitchen = broker.client("kitchen").connect().await?;
    let display = broker.client("display").connect().await?;
    display.subscribe("+/greeting", QoS::AtLeastOnce).await?;
    kitchen.publish("kitchen/greeting", "hello").await?;
    if let Some(message) = display.recv().await {
        println!("{}", String::from_utf8_lossy(message.payload()));
    }
    Ok(())
}

fn main() -> Result<(), ClientError> {
    let (broker, mut driver) = Broker::builder().build();
    let mut program = pin!(program(broker));
    // Whoever waits here waits for the other.
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = program.as_mut().poll(&mut cx) {
            return result;
        }
        if Pin::new(&mut driver).poll(&mut cx).is_ready() {
            return Err(ClientError::Closed);
        }
    }
}
