//! A broker inside a tokio program, with a TCP port for others.
//!
//!     cargo run -p columba-examples --bin tokio_app
//!
//! The program listens in-process, a client comes over TCP, and at the end nothing is left: no task, thread or port. It
//! prints who comes and goes, and in between:
//!
//!     app: door/front is open

use std::time::Duration;

use columba::{Broker, Cause, Event, EventMask, QoS};
use columba_net::TcpListener;
use rumqttc::{AsyncClient, MqttOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Broker::builder().observe(EventMask::CLIENTS, |event: &Event| match event {
        Event::Connected { client_id, version, .. } => println!("{client_id} connected, {version:?}"),
        Event::Disconnected { client_id, cause: Cause::Shutdown, .. } => println!("{client_id} sent away"),
        Event::Disconnected { client_id, cause, .. } => println!("{client_id} left: {cause}"),
        _ => {}
    });
    let broker = columba::tokio::start(builder);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr().port();
    broker.serve(listener)?;

    let app = broker.client("app").connect().await?;
    app.subscribe("door/#", QoS::AtLeastOnce).await?;

    let (visitor, mut connection) = AsyncClient::new(MqttOptions::new("visitor", "127.0.0.1", port), 10);
    let visitor_runs = tokio::spawn(async move { while connection.poll().await.is_ok() {} });
    visitor.publish("door/front", rumqttc::QoS::AtLeastOnce, false, "open").await?;

    let message = app.recv().await.ok_or("the broker is gone")?;
    println!("app: {} is {}", message.topic(), String::from_utf8_lossy(message.payload()));

    visitor.disconnect().await?;
    visitor_runs.await?;
    broker.shutdown(Duration::from_secs(1)).await;
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err(), "the port is free");
    println!("shut down");
    Ok(())
}
