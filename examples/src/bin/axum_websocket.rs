//! MQTT on a route of an application's own HTTP server: bring your own transport.
//!
//!     cargo run -p columba-examples --bin axum_websocket
//!
//! axum does the WebSocket handshake; what comes out is a stream of messages, which an adapter makes a transport. A
//! client connects through it, and the program prints what it published:
//!
//!     app: browser/visitor hello

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use axum::routing::{any, get};
use columba::codec::{Connect, Packet, Publish, TopicName};
use columba::{Broker, Peer, QoS, Version};
use columba_net::{Incoming, MessageStream};
use futures::{SinkExt, StreamExt};
use std::net::SocketAddr;
use tokio_tungstenite::tungstenite;
use tungstenite::client::IntoClientRequest;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = columba::tokio::start(Broker::builder());
    let routes = Router::new()
        .route("/", get(|| async { "an application of its own" }))
        .route("/mqtt", any(mqtt))
        .with_state(broker.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });

    let app = broker.client("app").connect().await?;
    app.subscribe("browser/#", QoS::AtMostOnce).await?;
    visit(address).await?;
    let message = app.recv().await.ok_or("the broker is gone")?;
    println!("app: {} {}", message.topic(), String::from_utf8_lossy(message.payload()));
    Ok(())
}

/// The route. The subprotocol has to be `mqtt`, and one message should be able to hold the largest packet.
async fn mqtt(
    upgrade: WebSocketUpgrade,
    State(broker): State<Broker>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
) -> Response {
    upgrade.protocols(["mqtt"]).max_message_size(16 << 20).on_upgrade(move |socket| async move {
        let peer = Peer { transport: "ws", address: Some(address.to_string().into()), ..Peer::default() };
        // If the broker is gone, so is the connection.
        let _ = broker.attach(transport(socket), peer);
    })
}

fn transport(socket: WebSocket) -> impl columba::Transport {
    let incoming = |message| match message {
        Message::Binary(bytes) => Incoming::Bytes(bytes),
        Message::Text(_) => Incoming::Invalid("text where MQTT takes binary messages only"),
        Message::Close(_) => Incoming::End,
        Message::Ping(_) | Message::Pong(_) => Incoming::Nothing,
    };
    MessageStream::new(socket, incoming, Message::Binary)
}

/// A client by hand.
async fn visit(address: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    let mut request = format!("ws://{address}/mqtt").into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", "mqtt".parse()?);
    let (mut socket, response) = tokio_tungstenite::connect_async(request).await?;
    println!("visitor: agreed on {:?}", response.headers()["Sec-WebSocket-Protocol"]);
    let mut bytes = Vec::new();
    let version = Version::V5;
    Packet::Connect(Box::new(Connect::new(version, "visitor"))).encode(version, &mut bytes)?;
    Packet::Publish(Publish::new(TopicName::parse("browser/visitor")?, b"hello"))
        .encode(version, &mut bytes)?;
    socket.send(tungstenite::Message::binary(bytes)).await?;
    let answer = socket.next().await.ok_or("closed")??;
    println!("visitor: connected ({} bytes of CONNACK)", answer.len());
    Ok(())
}
