//! The broker for clients of the test's own.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use columba_testkit::codec::{Connect, Packet, PacketType};
use columba_testkit::columba::QoS;
use columba_testkit::{Client, ReasonCode, TestBroker, Transcript, Version, on, on_any, persistent};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;

const V5: Version = Version::V5;

/// A client on each of the ways in.
fn on_every_way(broker: &TestBroker, name: &str) -> [Client; 3] {
    let transcript = Transcript::default();
    [
        broker.open(name, V5),
        Client::tcp(broker.address(), name, V5, &transcript).unwrap(),
        Client::ws(&broker.ws_url(), name, V5, &transcript).unwrap(),
    ]
}

#[test]
fn every_way_in_leads_to_the_same_broker() {
    let broker = TestBroker::start();
    let watch = broker.connect("watch", V5, |_| ());
    watch.subscribe("#", 2);
    for (number, client) in on_every_way(&broker, "a").into_iter().enumerate() {
        client.connect(&format!("client-{number}"), |_| ());
        client.accepted();
        client.publish("t", 2, number.to_string());
        client.subscribe("echo", 1);
        client.publish("echo", 1, "x");
        client.expect("PUBLISH echo=x q1 #1");
        client.ping();
        client.expect_nothing();
        client.disconnect();
    }
    assert_eq!(watch.messages(), ["t=0", "echo=x", "t=1", "echo=x", "t=2", "echo=x"]);
}

#[test]
fn nothing_is_left_when_it_is_dropped() {
    let broker = TestBroker::start();
    let address = broker.address();
    let client = broker.connect("a", V5, |_| ());
    let over_tcp = Client::tcp(address, "b", V5, &Transcript::default()).unwrap();
    drop(broker);
    // A last word may have made it.
    client.drain();
    client.expect_closed();
    over_tcp.expect_closed();
    TcpStream::connect(address).unwrap_err();
}

#[test]
fn clients_are_told_of_a_shutdown() {
    let broker = TestBroker::start();
    let client = broker.connect("a", V5, |_| ());
    broker.shutdown(Duration::from_secs(5));
    client.expect_disconnect(0x8b);
}

#[test]
fn a_thousand_at_the_same_time() {
    let brokers: Vec<_> = (0..1000).map(|_| TestBroker::start()).collect();
    for broker in &brokers {
        let client = broker.connect("a", V5, |_| ());
        client.subscribe("t", 1);
        client.publish("t", 1, "x");
        client.expect("PUBLISH t=x q1 #1");
        assert_eq!(broker.metrics().connections, 1);
    }
}

#[test]
fn the_same_faults_meet_clients_on_sockets() {
    let broker = TestBroker::start();
    let lost = broker.fault(on(PacketType::PubAck).from_broker().times(3).lose());
    let split = broker.fault(on_any().split());
    for (number, client) in on_every_way(&broker, "a").into_iter().enumerate() {
        client.connect(&format!("client-{number}"), |_| ());
        client.accepted();
        client.start("t", 1, "x", |_| ());
        client.expect_nothing();
        client.publish("u", 2, vec![7; 10_000]);
    }
    assert_eq!(lost.hits(), 3);
    assert!(split.hits() > 20);
}

#[test]
fn cut_half_open_and_blackhole_on_a_socket() {
    let broker = TestBroker::builder().manual_clock().start();
    let open = |id: &str| {
        let client = Client::tcp(broker.address(), id, V5, &Transcript::default()).unwrap();
        client.connect(id, |connect| {
            persistent(connect);
            connect.keep_alive = 10;
        });
        client.accepted();
        client
    };
    let connected = |id: &str| broker.session(id).unwrap().connection.is_some();
    let cut = open("cut");
    assert!(broker.cut("cut"));
    cut.expect_closed();
    assert!(!broker.cut("nobody"));

    let half = open("half");
    let _ = broker.fault(on(PacketType::PingReq).client("half").half_open());
    half.send(&columba_testkit::codec::Packet::PingReq);
    half.expect_closed();
    assert!(connected("half"));

    let hole = open("hole");
    let _ = broker.fault(on(PacketType::PingReq).client("hole").blackhole());
    hole.send(&columba_testkit::codec::Packet::PingReq);
    hole.drop_link();
    broker.advance(Duration::from_secs(14));
    assert!(connected("hole") && connected("half"));
    broker.advance(Duration::from_secs(1));
    assert!(!connected("hole") && !connected("half"));
}

#[test]
fn a_month_passes_for_a_client_on_a_socket() {
    let broker = TestBroker::builder().manual_clock().start();
    let connect = |days: u32| {
        let client = Client::tcp(broker.address(), "device", V5, &Transcript::default()).unwrap();
        client.connect("device", |connect| {
            persistent(connect);
            connect.properties.session_expiry = Some(days * 86_400);
        });
        client.accepted();
        client
    };
    let device = connect(31);
    device.subscribe("command", 1);
    device.disconnect();
    let app = broker.connect("app", V5, |_| ());
    app.publish("command", 1, "on");
    broker.advance(Duration::from_hours(30 * 24));
    let device = connect(31);
    device.expect("PUBLISH command=on q1 #1");
    device.ack(PacketType::PubAck, 1);
    device.disconnect();
    broker.advance(Duration::from_secs(31 * 86_400 - 1));
    assert!(broker.session("device").is_some());
    broker.advance(Duration::from_secs(1));
    assert!(broker.session("device").is_none());
}

#[test]
fn who_connects_after_a_month_is_not_late() {
    let broker = TestBroker::builder().manual_clock().start();
    for _ in 0..500 {
        broker.connect("b", V5, |_| ()).disconnect();
        broker.advance(Duration::from_hours(30 * 24));
        let client = Client::tcp(broker.address(), "a", V5, &Transcript::default()).unwrap();
        client.connect("a", |_| ());
        client.accepted();
        client.disconnect();
    }
}

#[test]
fn users_and_features_of_real_servers() {
    let broker = TestBroker::builder()
        .user("ada", "secret")
        .without_retain()
        .maximum_qos(QoS::AtLeastOnce)
        .receive_maximum(5)
        .server_keep_alive(60)
        .start();
    broker.try_connect("a", V5, |_| ()).expect_refused(0x86);
    let ada = broker.try_connect("a", V5, |connect| {
        connect.username = Some("ada");
        connect.password = Some(b"secret");
    });
    let accepted = ada.accepted();
    let columba_testkit::codec::Packet::ConnAck(ack) = accepted.packet() else { panic!("{accepted:?}") };
    assert_eq!(ack.properties.retain_available, Some(false));
    assert_eq!(ack.properties.maximum_qos, Some(QoS::AtLeastOnce));
    assert_eq!(ack.properties.receive_maximum.map(u16::from), Some(5));
    assert_eq!(ack.properties.server_keep_alive, Some(60));
    ada.start("t", 0, "x", |publish| publish.retain = true);
    ada.expect_disconnect(0x9a);
}

#[test]
fn everybody_is_sent_to_another_server() {
    let broker = TestBroker::builder().redirect("other:1883", true).start();
    let client = broker.try_connect("a", V5, |_| ());
    let refused = client.next();
    let columba_testkit::codec::Packet::ConnAck(ack) = refused.packet() else { panic!("{refused:?}") };
    assert_eq!((ack.reason, ack.properties.server_reference), (ReasonCode::ServerMoved, Some("other:1883")));
    client.expect_closed();
    broker.try_connect("b", Version::V3_1_1, |_| ()).expect_refused(3);
}

#[test]
fn offline_it_takes_nobody() {
    let broker = TestBroker::start();
    let client = broker.connect("a", V5, persistent);
    broker.go_offline();
    client.expect_closed();
    broker.open("b", V5).expect_closed();
    Client::tcp(broker.address(), "c", V5, &Transcript::default()).unwrap().expect_closed();
    broker.go_online();
    broker.connect("a", V5, persistent);
}

#[test]
fn a_cut_of_a_websocket_is_no_goodbye() {
    let cut_end = |cut: fn(&TestBroker)| {
        let broker = TestBroker::start();
        let mut request = broker.ws_url().into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
        let (mut socket, _) = tungstenite::connect(request).unwrap();
        let mut connect = Vec::new();
        Packet::Connect(Box::new(Connect::new(V5, "a"))).encode(V5, &mut connect).unwrap();
        socket.send(Message::binary(connect)).unwrap();
        assert!(socket.read().unwrap().is_binary());
        cut(&broker);
        socket.read()
    };
    assert!(cut_end(|broker| assert!(broker.cut("a"))).is_err(), "no close frame");
    assert!(cut_end(TestBroker::go_offline).is_err(), "no close frame");
}

#[test]
fn no_connection_slips_through_when_it_goes_offline() {
    for _ in 0..100 {
        let broker = TestBroker::start();
        let is_offline = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut clients = Vec::new();
                while !is_offline.load(Ordering::Acquire) && clients.len() < 10_000 {
                    clients.push(broker.open("a", V5));
                }
                clients.iter().for_each(Client::expect_closed);
            });
            broker.go_offline();
            is_offline.store(true, Ordering::Release);
        });
    }
}

#[test]
fn a_cut_is_over_when_it_returns() {
    let broker = TestBroker::start();
    for _ in 0..50 {
        let client = Client::tcp(broker.address(), "a", V5, &Transcript::default()).unwrap();
        client.connect("a", persistent);
        client.accepted();
        assert!(broker.cut("a"));
        assert!(broker.session("a").unwrap().connection.is_none());
    }
}
