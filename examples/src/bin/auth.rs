//! Who comes in, and who may do what: two closures.
//!
//!     cargo run -p columba-examples --bin auth
//!
//! Passwords are checked by an async function, which may ask a database; only the client in question waits. Permissions
//! are a pure function of who and what. Here every user owns the topics below its name. It prints:
//!
//!     mallory: refused, BadUserNamePassword
//!     ada with a wrong password: refused, BadUserNamePassword
//!     ada to ada/x: published
//!     ada to bob/x: not authorized

use columba::{Action, AuthRequest, Broker, ClientIdentity, ReasonCode, Verdict};
use columba_net::TcpListener;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Broker::builder().authenticate(check_password).authorize(owns_topic);
    let broker = columba::tokio::start(builder);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr().port();
    broker.serve(listener)?;

    println!("mallory: {}", publish(port, "mallory", "guess", "mallory/x").await);
    println!("ada with a wrong password: {}", publish(port, "ada", "guess", "ada/x").await);
    println!("ada to ada/x: {}", publish(port, "ada", "secret", "ada/x").await);
    println!("ada to bob/x: {}", publish(port, "ada", "secret", "bob/x").await);
    Ok(())
}

async fn check_password(request: AuthRequest) -> Verdict {
    // A database would be asked here.
    tokio::task::yield_now().await;
    match (request.username.as_deref(), request.password.as_deref()) {
        (Some("ada"), Some(b"secret")) => Verdict::accept(),
        _ => Verdict::reject(ReasonCode::BadUserNameOrPassword),
    }
}

fn owns_topic(client: ClientIdentity<'_>, action: Action<'_>) -> bool {
    let topic = match action {
        Action::Publish { topic, .. } => topic.as_str(),
        Action::Subscribe { filter, .. } => filter.filter(),
        _ => return false,
    };
    client.username.is_some_and(|name| topic.split('/').next() == Some(name))
}

/// Connects, publishes at QoS 1, and says in words what came of it.
async fn publish(port: u16, username: &str, password: &str, topic: &str) -> String {
    let mut options = MqttOptions::new(format!("{username}-client"), "127.0.0.1", port);
    options.set_credentials(username, password);
    let (client, mut connection) = AsyncClient::new(options, 10);
    if let Err(error) = client.publish(topic, QoS::AtLeastOnce, false, "hi").await {
        return error.to_string();
    }
    loop {
        match connection.poll().await {
            Ok(Event::Incoming(Packet::PubAck(ack))) if ack.reason == PubAckReason::NotAuthorized => {
                return "not authorized".into();
            }
            Ok(Event::Incoming(Packet::PubAck(_))) => return "published".into(),
            Ok(_) => {}
            Err(rumqttc::v5::ConnectionError::ConnectionRefused(code)) => {
                return format!("refused, {code:?}");
            }
            Err(error) => return error.to_string(),
        }
    }
}
