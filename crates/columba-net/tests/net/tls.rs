//! TLS.

use std::net::SocketAddr;

use crate::certificates::Authority;
use crate::common::{echo, ended, run, serve, serve_and_watch};
use columba::Listener;
use columba_net::{ClientCertificates, TcpListener, Tls, TlsError, TlsListener};
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

async fn listener(tls: Tls) -> (TlsListener, SocketAddr) {
    let listener = TlsListener::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), tls);
    let address = listener.local_addr();
    (listener, address)
}

fn server(authority: &Authority) -> Tls {
    let identity = authority.sign("localhost");
    Tls::new(identity.certificate.as_bytes(), identity.key.as_bytes()).unwrap()
}

fn asking(authority: &Authority, clients: ClientCertificates) -> Tls {
    let identity = authority.sign("localhost");
    let (certificate, key) = (identity.certificate.as_bytes(), identity.key.as_bytes());
    Tls::with_client_certificates(certificate, key, authority.pem().as_bytes(), clients).unwrap()
}

#[test]
fn mqtt_over_tls() {
    run(async || {
        let authority = Authority::new();
        let (listener, address) = listener(server(&authority)).await;
        assert_eq!(listener.address(), format!("tls {address}"));
        let _broker = serve(listener);
        let stream = TcpStream::connect(address).await.unwrap();
        echo(&mut authority.connect(stream, None).await.unwrap()).await;
    });
}

#[test]
fn a_client_that_is_slow_or_no_tls_holds_up_nobody() {
    run(async || {
        let authority = Authority::new();
        let (listener, address) = listener(server(&authority)).await;
        let _broker = serve(listener);
        let _silent = TcpStream::connect(address).await.unwrap();
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(crate::common::CONNECT).await.unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        echo(&mut authority.connect(stream, None).await.unwrap()).await;
    });
}

#[test]
fn a_certificate_gives_its_name() {
    run(async || {
        let authority = Authority::new();
        let (listener, address) = listener(asking(&authority, ClientCertificates::Optional)).await;
        let (_broker, mut peers) = serve_and_watch(listener);
        for name in [Some("sensor-7"), None] {
            let stream = TcpStream::connect(address).await.unwrap();
            let local = stream.local_addr().unwrap();
            let identity = name.map(|name| authority.sign(name));
            echo(&mut authority.connect(stream, identity.as_ref()).await.unwrap()).await;
            assert_eq!(peers.next().await.unwrap(), format!("tls {local} {}", name.unwrap_or("-")));
        }
    });
}

#[test]
fn who_needs_a_certificate_and_has_none_stays_out() {
    run(async || {
        let authority = Authority::new();
        let (listener, address) = listener(asking(&authority, ClientCertificates::Required)).await;
        let _broker = serve(listener);
        let stranger = Authority::new().sign("sensor-7");
        for identity in [None, Some(&stranger)] {
            let stream = TcpStream::connect(address).await.unwrap();
            // With TLS 1.3 the client learns of it only when it reads.
            if let Ok(mut stream) = authority.connect(stream, identity).await {
                let _ = stream.write_all(crate::common::CONNECT).await;
                ended(&mut stream).await;
            }
        }
        let known = authority.sign("sensor-7");
        let stream = TcpStream::connect(address).await.unwrap();
        echo(&mut authority.connect(stream, Some(&known)).await.unwrap()).await;
    });
}

#[test]
fn a_large_message_passes() {
    run(async || {
        let authority = Authority::new();
        let (listener, address) = listener(server(&authority)).await;
        let _broker = serve(listener);
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = authority.connect(stream, None).await.unwrap();
        echo(&mut stream).await;
        // A PUBLISH of 1 MiB: its length takes three bytes, and "t" another three.
        let mut publish = b"\x30\x83\x80\x40\x00\x01t".to_vec();
        publish.resize(publish.len() + (1 << 20), 7);
        let (mut reader, mut writer) = tokio::io::split(stream);
        let read = async {
            let mut received = vec![0; publish.len()];
            tokio::io::AsyncReadExt::read_exact(&mut reader, &mut received).await.unwrap();
            assert!(received == publish);
        };
        futures::future::join(read, async { writer.write_all(&publish).await.unwrap() }).await;
    });
}

#[test]
fn what_does_not_fit_is_refused_at_once() {
    let authority = Authority::new();
    let (one, other) = (authority.sign("localhost"), authority.sign("localhost"));
    let check = |certificate: &str, key: &str| Tls::new(certificate.as_bytes(), key.as_bytes()).unwrap_err();
    assert!(matches!(check(&one.certificate, &other.key), TlsError::Certificate(_)));
    assert_eq!(check("", &one.key).to_string(), "no PEM with certificates");
    assert_eq!(check(&one.certificate, "").to_string(), "no PEM with key");
    let authorities = Tls::with_client_certificates(
        one.certificate.as_bytes(),
        one.key.as_bytes(),
        b"",
        ClientCertificates::Optional,
    );
    assert_eq!(authorities.unwrap_err().to_string(), "no PEM with authorities");
}
