//! TCP and the PROXY protocol.

use std::future::poll_fn;
use std::task::Poll;

use crate::common::{CONNACK, CONNECT, echo, ended, exchange, run, serve, serve_and_watch};
use columba::Listener;
use columba_net::TcpListener;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[test]
fn a_free_port_is_found_and_told() {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr();
        assert_ne!(address.port(), 0);
        assert_eq!(listener.address(), format!("tcp {address}"));
        let _broker = serve(listener);
        echo(&mut TcpStream::connect(address).await.unwrap()).await;
    });
}

#[test]
fn a_taken_port_is_an_error() {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = TcpListener::bind(listener.local_addr()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        assert!(TcpListener::bind("no.such.name.invalid:1883").await.is_err());
    });
}

/// Whoever waits for the socket accepts from it, with the settings that it had.
#[test]
fn a_listener_can_be_cloned() {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().proxy_protocol(true);
        let address = listener.local_addr();
        let clones = [listener.try_clone().unwrap(), listener.try_clone().unwrap()];
        assert!(clones.iter().all(|clone| clone.local_addr() == address));
        // The first of them accepts nothing.
        let (broker, mut peers) = serve_and_watch(listener);
        let [_idle, clone] = clones;
        broker.serve(clone).unwrap();
        for port in 50_000..50_020 {
            let mut client = TcpStream::connect(address).await.unwrap();
            client
                .write_all(format!("PROXY TCP4 192.0.2.7 198.51.100.1 {port} 1883\r\n").as_bytes())
                .await
                .unwrap();
            echo(&mut client).await;
            assert_eq!(peers.next().await.unwrap(), format!("tcp 192.0.2.7:{port} -"));
        }
    });
}

#[test]
fn a_listener_that_accepts_is_not_cloned() {
    run(async || {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(poll_fn(|cx| Poll::Ready(listener.poll_accept(cx).is_pending())).await, "nobody comes");
        assert!(listener.try_clone().is_err());
    });
}

#[test]
fn the_port_is_free_after_shutdown() {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr();
        let broker = serve(listener);
        let mut client = TcpStream::connect(address).await.unwrap();
        exchange(&mut client, CONNECT, CONNACK).await;
        broker.shutdown(std::time::Duration::from_secs(5)).await;
        ended(&mut client).await;
        TcpListener::bind(address).await.unwrap();
    });
}

#[test]
fn the_proxy_says_where_a_client_is() {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().proxy_protocol(true);
        let address = listener.local_addr();
        let (_broker, mut peers) = serve_and_watch(listener);

        // The header alone, its CONNECT later;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883\r\n").await.unwrap();
        echo(&mut client).await;
        assert_eq!(peers.next().await.unwrap(), "tcp 192.0.2.7:50000 -");

        // both at once;
        let mut client = TcpStream::connect(address).await.unwrap();
        let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\xc6\x33\x64\x01\xc3\x50\x07\x5b";
        exchange(&mut client, &[&header[..], CONNECT].concat(), CONNACK).await;
        assert_eq!(peers.next().await.unwrap(), "tcp 192.0.2.8:50000 -");

        // and the proxy's own health check.
        let mut client = TcpStream::connect(address).await.unwrap();
        let local = client.local_addr().unwrap();
        exchange(&mut client, &[b"PROXY UNKNOWN\r\n", CONNECT].concat(), CONNACK).await;
        assert_eq!(peers.next().await.unwrap(), format!("tcp {local} -"));
    });
}

#[test]
fn who_does_not_come_through_the_proxy_stays_out() {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().proxy_protocol(true);
        let address = listener.local_addr();
        let _broker = serve(listener);
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(CONNECT).await.unwrap();
        ended(&mut client).await;
    });
}

#[test]
fn slow_handshakes_hold_up_nobody_while_there_is_room() {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().proxy_protocol(true).max_handshakes(3);
        let address = listener.local_addr();
        let _broker = serve(listener);
        let mut slow = Vec::new();
        for _ in 0..2 {
            slow.push(TcpStream::connect(address).await.unwrap());
        }
        let hello = [b"PROXY UNKNOWN\r\n", CONNECT].concat();
        let mut client = TcpStream::connect(address).await.unwrap();
        exchange(&mut client, &hello, CONNACK).await;

        // One more slow one, and the next has to wait until one of them gives up.
        slow.push(TcpStream::connect(address).await.unwrap());
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(&hello).await.unwrap();
        drop(slow);
        exchange(&mut client, b"", CONNACK).await;
    });
}

#[test]
fn a_handshake_that_takes_too_long_ends() {
    run(async || {
        let limit = std::time::Duration::from_millis(50);
        let listener =
            TcpListener::bind("127.0.0.1:0").await.unwrap().proxy_protocol(true).handshake_timeout(limit);
        let address = listener.local_addr();
        let _broker = serve(listener);
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"PROXY ").await.unwrap();
        ended(&mut client).await;
    });
}
