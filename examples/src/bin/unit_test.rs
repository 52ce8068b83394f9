//! A broker in a unit test: one line, no port, no disk, gone with the test. Any number of tests run side by side.
//!
//!     cargo test -p columba-examples --bin unit_test
//!
//! What is tested here is a thermostat that listens to a temperature and switches a heater. Run as a program
//! (`cargo run`), it goes through one step and prints:
//!
//!     heater: on

use columba::{Broker, Client, ClientError, QoS};

/// The code under test: one step of the thermostat.
async fn regulate(client: &Client, wanted: f32) -> Result<(), ClientError> {
    let message = client.recv().await.ok_or(ClientError::Closed)?;
    let degrees: f32 = String::from_utf8_lossy(message.payload()).parse().unwrap_or(wanted);
    client.publish("heater", if degrees < wanted { "on" } else { "off" }).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ClientError> {
    let broker = columba::tokio::start(Broker::builder());
    let house = broker.client("house").connect().await?;
    house.subscribe("heater", QoS::AtMostOnce).await?;
    let thermostat = broker.client("thermostat").connect().await?;
    thermostat.subscribe("temperature", QoS::AtMostOnce).await?;
    house.publish("temperature", "18.5").await?;
    regulate(&thermostat, 20.0).await?;
    let message = house.recv().await.ok_or(ClientError::Closed)?;
    println!("heater: {}", String::from_utf8_lossy(message.payload()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_heater_goes_on_when_it_is_cold() -> Result<(), ClientError> {
        let broker = columba::tokio::start(Broker::builder());
        let heater = broker.client("heater").connect().await?;
        heater.subscribe("heater", QoS::AtMostOnce).await?;
        let thermostat = broker.client("thermostat").connect().await?;
        thermostat.subscribe("temperature", QoS::AtMostOnce).await?;

        for (degrees, expected) in [("18.5", "on"), ("21.0", "off")] {
            heater.publish("temperature", degrees).await?;
            regulate(&thermostat, 20.0).await?;
            assert_eq!(heater.recv().await.ok_or(ClientError::Closed)?.payload(), expected);
        }
        Ok(())
    }
}
