//! Unix sockets.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::common::{echo, run, serve, serve_and_watch};
use columba::Listener;
use columba_net::UnixListener;
use futures::StreamExt;
use tokio::net::UnixStream;

/// A path of this test's own.
fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("columba-{}-{name}.sock", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

#[test]
fn a_socket_is_served_and_removed() {
    run(async || {
        let path = path("served");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(listener.address(), format!("unix {}", path.display()));
        let (broker, mut peers) = serve_and_watch(listener);
        echo(&mut UnixStream::connect(&path).await.unwrap()).await;
        let peer = peers.next().await.unwrap();
        assert!(peer.starts_with("unix uid "), "{peer}");
        broker.shutdown(std::time::Duration::from_secs(5)).await;
        assert!(!path.exists());
    });
}

#[test]
fn a_socket_that_is_left_over_is_replaced() {
    run(async || {
        let path = path("left");
        // std does not remove the file.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let _broker = serve(UnixListener::bind(&path).unwrap());
        echo(&mut UnixStream::connect(&path).await.unwrap()).await;
    });
}

#[test]
fn a_socket_in_use_and_other_files_are_left_alone() {
    run(async || {
        let path = path("used");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        let _broker = serve(listener);
        echo(&mut UnixStream::connect(&path).await.unwrap()).await;

        let file = path.with_extension("txt");
        fs::write(&file, "precious").unwrap();
        assert_eq!(UnixListener::bind(&file).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(fs::read(&file).unwrap(), b"precious");
        fs::remove_file(&file).unwrap();
    });
}

#[test]
fn a_file_that_took_the_sockets_place_is_left_alone() {
    run(async || {
        let path = path("replaced");
        let listener = UnixListener::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(listener);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
    });
}
