//! WebSocket, with another implementation at the other end.

use std::net::SocketAddr;
use std::time::Duration;

use columba::{Broker, Cause, Event, EventMask, Events, Listener, Peer};
use columba_net::{Incoming, MessageStream, Page, TcpListener, WsListener};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::common::{CONNACK, CONNECT, PUBLISH, SUBACK, SUBSCRIBE, run, serve, serve_and_watch};

const PINGREQ: &[u8] = b"\xc0\x00";
const PINGRESP: &[u8] = b"\xd0\x00";
const DISCONNECT: &[u8] = b"\xe0\x00";

type Socket = WebSocketStream<TcpStream>;

async fn listener() -> (WsListener, SocketAddr) {
    let listener = WsListener::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr();
    (listener, address)
}

fn request(url: &str, protocol: &str) -> Request {
    let mut request = url.into_client_request().unwrap();
    if !protocol.is_empty() {
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    }
    request
}

async fn open(address: SocketAddr) -> Socket {
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, response) = client_async(request("ws://localhost/mqtt", "mqtt"), stream).await.unwrap();
    // [MQTT-6.0.0-4]
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
    socket
}

/// The status of the answer to a request that is refused.
async fn refused(address: SocketAddr, path: &str, protocol: &str, origin: Option<&str>) -> u16 {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = request(&format!("ws://localhost{path}"), protocol);
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", origin.parse().unwrap());
    }
    match client_async(request, stream).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{path} {protocol:?}: {other:?}"),
    }
}

async fn send(socket: &mut (impl SinkExt<Message, Error = Error> + Unpin), bytes: &[u8]) {
    socket.send(Message::binary(bytes.to_vec())).await.unwrap();
}

/// The bytes of the next binary message.
async fn receive(socket: &mut (impl StreamExt<Item = Result<Message, Error>> + Unpin)) -> Vec<u8> {
    match socket.next().await.unwrap().unwrap() {
        Message::Binary(bytes) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}

async fn expect(socket: &mut Socket, sent: &[u8], expected: &[u8]) {
    send(socket, sent).await;
    assert_eq!(receive(socket).await, expected);
}

/// The code of the close frame that comes next.
async fn closed(socket: &mut Socket) -> CloseCode {
    match socket.next().await.unwrap().unwrap() {
        Message::Close(Some(CloseFrame { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

fn clients(broker: &Broker) -> Events {
    broker.events(EventMask::CLIENTS).unwrap()
}

/// Waits for the next event that is `wanted`.
async fn wait_for(events: &Events, wanted: impl Fn(&Event) -> bool) {
    while !wanted(&events.recv().await.expect("the broker runs")) {}
}

/// HTTP without WebSocket.
async fn http(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn a_packet_in_each_frame() {
    run(async || {
        let (listener, address) = listener().await;
        assert_eq!(listener.address(), format!("ws {address}/mqtt"));
        let (_broker, mut peers) = serve_and_watch(listener);
        let mut socket = open(address).await;
        expect(&mut socket, CONNECT, CONNACK).await;
        expect(&mut socket, SUBSCRIBE, SUBACK).await;
        expect(&mut socket, PUBLISH, PUBLISH).await;
        let local = socket.get_ref().local_addr().unwrap();
        assert_eq!(peers.next().await.unwrap(), format!("ws {local} -"));
    });
}

/// [MQTT-6.0.0-2]
#[test]
fn packets_and_frames_have_nothing_to_do_with_each_other() {
    run(async || {
        let (listener, address) = listener().await;
        let _broker = serve(listener);
        let mut socket = open(address).await;
        // A byte to a frame,
        for byte in CONNECT {
            send(&mut socket, &[*byte]).await;
        }
        assert_eq!(receive(&mut socket).await, CONNACK);
        // several packets to one,
        expect(&mut socket, &PINGREQ.repeat(3), &PINGRESP.repeat(3)).await;
        // and a message in pieces with a ping between them.
        let piece = |bytes: &[u8], kind, last| {
            Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(kind), last))
        };
        socket.send(piece(&SUBSCRIBE[..3], Data::Binary, false)).await.unwrap();
        socket.send(Message::Ping("between".into())).await.unwrap();
        socket.send(piece(&[], Data::Continue, false)).await.unwrap();
        socket.send(piece(&SUBSCRIBE[3..], Data::Continue, true)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("between".into()));
        assert_eq!(receive(&mut socket).await, SUBACK);
    });
}

#[test]
fn many_messages_share_a_frame() {
    run(async || {
        let (listener, address) = listener().await;
        let _broker = serve(listener);
        let mut socket = open(address).await;
        expect(&mut socket, CONNECT, CONNACK).await;
        expect(&mut socket, SUBSCRIBE, SUBACK).await;
        let count = 1000;
        expect(&mut socket, &PUBLISH.repeat(count), &PUBLISH.repeat(count)).await;
    });
}

#[test]
fn a_large_message_passes() {
    run(async || {
        let (listener, address) = listener().await;
        let _broker = serve(listener);
        let mut socket = open(address).await;
        expect(&mut socket, CONNECT, CONNACK).await;
        expect(&mut socket, SUBSCRIBE, SUBACK).await;
        // A PUBLISH of 5 MiB: its length takes four bytes, and "t" another three.
        let mut publish = b"\x30\x83\x80\xc0\x02\x00\x01t".to_vec();
        publish.resize(publish.len() + (5 << 20), 7);
        let (mut sink, mut stream) = socket.split();
        let read = async {
            let mut received = Vec::new();
            while received.len() < publish.len() {
                received.extend(receive(&mut stream).await);
            }
            assert!(received == publish);
        };
        futures::future::join(read, send(&mut sink, &publish)).await;
    });
}

/// [MQTT-6.0.0-1]
#[test]
fn text_ends_the_connection() {
    run(async || {
        let (listener, address) = listener().await;
        let broker = serve(listener);
        let events = clients(&broker);
        let mut socket = open(address).await;
        expect(&mut socket, CONNECT, CONNACK).await;
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(closed(&mut socket).await, CloseCode::Unsupported);
        wait_for(&events, |event| matches!(event, Event::Disconnected { cause: Cause::Transport, .. })).await;
    });
}

#[test]
fn either_side_may_close() {
    run(async || {
        let (listener, address) = listener().await;
        let broker = serve(listener);
        let events = clients(&broker);
        // The client's close frame is answered,
        let mut socket = open(address).await;
        expect(&mut socket, CONNECT, CONNACK).await;
        socket.close(Some(CloseFrame { code: CloseCode::Away, reason: "bye".into() })).await.unwrap();
        assert_eq!(closed(&mut socket).await, CloseCode::Away);
        wait_for(&events, |event| matches!(event, Event::Disconnected { .. })).await;
        // a DISCONNECT is followed by the broker's,
        let mut socket = open(address).await;
        expect(&mut socket, CONNECT, CONNACK).await;
        send(&mut socket, DISCONNECT).await;
        assert_eq!(closed(&mut socket).await, CloseCode::Normal);
        assert!(socket.next().await.is_none());
        // and so is the broker's end.
        let mut socket = open(address).await;
        expect(&mut socket, CONNECT, CONNACK).await;
        let end = broker.shutdown(Duration::from_mins(1));
        let (code, ()) = futures::future::join(
            async {
                let code = closed(&mut socket).await;
                assert!(socket.next().await.is_none());
                code
            },
            end,
        )
        .await;
        assert_eq!(code, CloseCode::Normal);
    });
}

/// [MQTT-6.0.0-3]
#[test]
fn a_handshake_that_is_none_of_ours_is_refused() {
    run(async || {
        let (listener, address) = listener().await;
        let _broker = serve(listener.origins(["https://example.org"]));
        assert_eq!(refused(address, "/mqtt", "", None).await, 400);
        assert_eq!(refused(address, "/mqtt", "wamp", None).await, 400);
        assert_eq!(refused(address, "/other", "mqtt", None).await, 404);
        assert_eq!(refused(address, "/mqtt", "mqtt", Some("https://example.com")).await, 403);
        let answer = http(address, "GET / HTTP/1.1\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        let answer = http(address, &"x".repeat(16 << 10)).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        // After all of that, the next one is served.
        expect(&mut open(address).await, CONNECT, CONNACK).await;
    });
}

#[test]
fn version_3_1_had_a_name_of_its_own() {
    run(async || {
        let (listener, address) = listener().await;
        let _broker = serve(listener.path("/"));
        let stream = TcpStream::connect(address).await.unwrap();
        let (_socket, response) = client_async(request("ws://localhost/", "mqttv3.1"), stream).await.unwrap();
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqttv3.1");
    });
}

#[test]
fn pages_are_served_beside_it() {
    run(async || {
        let (listener, address) = listener().await;
        let page = |path: &str| (path == "/").then(|| Page::new("text/html", "<p>hello</p>"));
        let _broker = serve(listener.fallback(page));
        let answer = http(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n<p>hello</p>"), "{answer}");
        expect(&mut open(address).await, CONNECT, CONNACK).await;
    });
}

#[test]
fn who_is_slow_to_ask_holds_up_nobody() {
    run(async || {
        let (listener, address) = listener().await;
        let _broker = serve(listener);
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /mqtt HTTP/1.1\r\n").await.unwrap();
        expect(&mut open(address).await, CONNECT, CONNACK).await;
    });
}

#[test]
fn what_comes_with_the_request_is_not_lost() {
    run(async || {
        let (listener, address) = listener().await;
        let _broker = serve(listener);
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut bytes =
            b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Protocol: mqtt\r\n\r\n"
                .to_vec();
        // With a mask of zeros.
        bytes.extend_from_slice(&[0x82, 0x80 | CONNECT.len() as u8, 0, 0, 0, 0]);
        bytes.extend_from_slice(CONNECT);
        stream.write_all(&bytes).await.unwrap();
        let mut received = Vec::new();
        while !received.ends_with(CONNACK) {
            assert!(stream.read_buf(&mut received).await.unwrap() > 0);
        }
    });
}

#[test]
fn a_stream_of_messages_can_be_attached() {
    run(async || {
        let broker = columba::tokio::start(Broker::builder());
        let (ours, theirs) = tokio::io::duplex(1000);
        let server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        let mut client: WebSocketStream<DuplexStream> =
            WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let incoming = |message| match message {
            Message::Binary(bytes) => Incoming::Bytes(bytes),
            Message::Text(_) => Incoming::Invalid("text"),
            Message::Close(_) => Incoming::End,
            _ => Incoming::Nothing,
        };
        let peer = Peer { transport: "axum", ..Peer::default() };
        broker.attach(MessageStream::new(server, incoming, Message::Binary), peer).unwrap();
        send(&mut client, CONNECT).await;
        assert_eq!(receive(&mut client).await, CONNACK);
        client.send(Message::Ping("x".into())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("x".into()));
        send(&mut client, SUBSCRIBE).await;
        assert_eq!(receive(&mut client).await, SUBACK);
        send(&mut client, DISCONNECT).await;
        assert!(matches!(client.next().await, Some(Ok(Message::Close(_)) | Err(_)) | None));
    });
}

#[cfg(feature = "tungstenite")]
#[test]
fn a_websocket_of_tungstenite_can_be_attached() {
    run(async || {
        let broker = columba::tokio::start(Broker::builder());
        let (ours, theirs) = tokio::io::duplex(1000);
        let server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        let mut client: WebSocketStream<DuplexStream> =
            WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        broker.attach(columba_net::tungstenite(server), Peer::default()).unwrap();
        send(&mut client, CONNECT).await;
        assert_eq!(receive(&mut client).await, CONNACK);
        // [MQTT-6.0.0-1]
        client.send(Message::text("hello")).await.unwrap();
        assert!(matches!(client.next().await, Some(Ok(Message::Close(_)) | Err(_)) | None));
    });
}

#[cfg(feature = "tls")]
#[test]
fn over_tls() {
    use crate::certificates::Authority;

    run(async || {
        let authority = Authority::new();
        let identity = authority.sign("localhost");
        let tls = columba_net::Tls::new(identity.certificate.as_bytes(), identity.key.as_bytes()).unwrap();
        let (listener, address) = listener().await;
        let listener = listener.tls(tls);
        assert_eq!(listener.address(), format!("wss {address}/mqtt"));
        let (_broker, mut peers) = serve_and_watch(listener);
        let stream = authority.connect(TcpStream::connect(address).await.unwrap(), None).await.unwrap();
        let (mut socket, _) = client_async(request("wss://localhost/mqtt", "mqtt"), stream).await.unwrap();
        send(&mut socket, CONNECT).await;
        assert_eq!(receive(&mut socket).await, CONNACK);
        assert!(peers.next().await.unwrap().starts_with("wss 127.0.0.1:"));
    });
}
