//! What is special about a reactor.

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use columba::{Broker, Chunks, Listener, Timer, Transport};
use columba_net::{TcpListener, reactor};
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::join_all;

use crate::common::{CONNACK, CONNECT, PUBLISH, SUBACK, SUBSCRIBE};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::from_std(std::net::TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let address = listener.local_addr();
    (listener, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn exchange(stream: &mut TcpStream, sent: &[u8], expected: &[u8]) {
    stream.write_all(sent).unwrap();
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received, expected);
}

async fn accept(listener: &mut TcpListener) -> Box<dyn Transport> {
    poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().0
}

/// A connection that was accepted on the calling reactor, and its other end.
async fn pair() -> (Box<dyn Transport>, TcpStream) {
    let (mut listener, address) = listener();
    let peer = connect(address);
    (accept(&mut listener).await, peer)
}

async fn read(transport: &mut Box<dyn Transport>) -> Result<Vec<u8>, ErrorKind> {
    let mut buf = BytesMut::with_capacity(64 << 10);
    let count = poll_fn(|cx| transport.poll_read(cx, &mut buf)).await.map_err(|error| error.kind())?;
    assert_eq!(count, buf.len());
    Ok(buf.to_vec())
}

async fn write(transport: &mut Box<dyn Transport>, bytes: &[u8]) {
    let mut out = Chunks::new();
    out.put(bytes);
    poll_fn(|cx| transport.poll_write(cx, &mut out)).await.unwrap();
}

/// One poll, and nobody who is told more.
fn poll_read_once(transport: &mut Box<dyn Transport>) -> Poll<std::io::Result<usize>> {
    transport.poll_read(&mut Context::from_waker(Waker::noop()), &mut BytesMut::with_capacity(1024))
}

#[test]
fn a_future_is_woken_from_another_thread() {
    let (sender, receiver) = oneshot::channel();
    let (parked, waits) = std::sync::mpsc::channel();
    let waker = thread::spawn(move || {
        waits.recv().unwrap();
        sender.send(7).unwrap();
    });
    let mut receiver = receiver;
    let value = reactor::block_on(poll_fn(|cx| {
        let outcome = std::pin::Pin::new(&mut receiver).poll(cx);
        // From here on the thread parks, sooner or later.
        let _ = parked.send(());
        outcome
    }));
    assert_eq!(value.unwrap(), Ok(7));
    waker.join().unwrap();
}

#[test]
fn wakes_from_many_threads_are_not_lost() {
    let count = 2000;
    let (sender, mut receiver) = futures::channel::mpsc::unbounded();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let sender = sender.clone();
            thread::spawn(move || (0..count).for_each(|at| sender.unbounded_send(at).unwrap()))
        })
        .collect();
    drop(sender);
    let received = reactor::block_on(async {
        let mut received = 0;
        while futures::StreamExt::next(&mut receiver).await.is_some() {
            received += 1;
        }
        received
    });
    assert_eq!(received.unwrap(), 4 * count);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn timers_are_due_in_their_order_and_not_before() {
    let start = Instant::now();
    let after = |millis| async move {
        let mut timer = reactor::Timer::new();
        // One that is set anew forgets what it was set to.
        timer.set(Some(start + Duration::from_hours(1)));
        timer.set(Some(start + Duration::from_millis(millis)));
        poll_fn(|cx| timer.poll_expired(cx)).await;
        assert!(start.elapsed() >= Duration::from_millis(millis));
        assert!(poll_fn(|cx| Poll::Ready(timer.poll_expired(cx))).await.is_pending(), "it is set once");
    };
    reactor::block_on(join_all([after(30), after(0), after(10), after(10)])).unwrap();
}

#[test]
fn many_sockets_are_served_side_by_side() {
    let (listener, address) = listener();
    let broker = reactor::start(Broker::builder()).unwrap();
    broker.serve(listener).unwrap();
    let mut clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let mut hello = CONNECT.to_vec();
        // A client id of one byte.
        *hello.last_mut().unwrap() = number as u8 + 1;
        exchange(client, &hello, CONNACK);
        exchange(client, SUBSCRIBE, SUBACK);
    }
    clients[50].write_all(PUBLISH).unwrap();
    for client in &mut clients {
        exchange(client, b"", PUBLISH);
    }
    block_on(broker.shutdown(PATIENCE));
}

#[test]
fn a_stream_moves_from_one_reactor_to_another() {
    let (mut transport, mut peer) = reactor::block_on(pair()).unwrap();
    for round in 0..3 {
        let waits = async {
            assert!(poll_read_once(&mut transport).is_pending());
            peer.write_all(&[round]).unwrap();
            assert_eq!(read(&mut transport).await.unwrap(), [round]);
            write(&mut transport, &[round]).await;
        };
        thread::scope(|scope| scope.spawn(|| reactor::block_on(waits).unwrap()).join().unwrap());
        exchange(&mut peer, b"", &[round]);
    }
}

#[test]
fn what_waits_while_a_stream_moves_is_read_there() {
    let (mut transport, peer) = reactor::block_on(pair()).unwrap();
    reactor::block_on(async { assert!(poll_read_once(&mut transport).is_pending()) }).unwrap();
    (&peer).write_all(b"meanwhile").unwrap();
    assert_eq!(reactor::block_on(read(&mut transport)).unwrap().unwrap(), b"meanwhile");
}

#[test]
fn a_stream_can_leave_a_reactor_that_goes_on() {
    let (taken, take) = oneshot::channel();
    let (done, ended) = oneshot::channel::<()>();
    let other = thread::spawn(move || {
        reactor::block_on(async {
            let (mut transport, peer) = pair().await;
            assert!(poll_read_once(&mut transport).is_pending());
            let _ = taken.send((transport, peer));
            let _ = ended.await;
            // Places of streams that have left are used again.
            let (mut transport, peer) = pair().await;
            (&peer).write_all(b"next").unwrap();
            assert_eq!(read(&mut transport).await.unwrap(), b"next");
        })
    });
    let (mut transport, peer) = block_on(take).unwrap();
    (&peer).write_all(b"here").unwrap();
    assert_eq!(reactor::block_on(read(&mut transport)).unwrap().unwrap(), b"here");
    drop(transport);
    done.send(()).unwrap();
    other.join().unwrap().unwrap();
}

#[test]
fn without_a_reactor_there_is_an_error() {
    let (mut transport, _peer) = reactor::block_on(pair()).unwrap();
    let Poll::Ready(Err(error)) = poll_read_once(&mut transport) else { panic!("it waits for nothing") };
    assert!(error.to_string().contains("reactor"), "{error}");
    let (mut listener, _) = listener();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(listener.poll_accept(&mut cx), Poll::Ready(Err(_))));
    // And it is not the worse for it.
    let peer = connect(listener.local_addr());
    reactor::block_on(accept(&mut listener)).unwrap();
    drop(peer);
}

#[test]
fn a_half_closed_stream_is_read_to_its_end_and_written() {
    reactor::block_on(async {
        let (mut transport, mut peer) = pair().await;
        assert!(poll_read_once(&mut transport).is_pending());
        // Both arrive as one event, and there is none after it.
        peer.write_all(b"last words").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&mut transport).await.unwrap(), b"last words");
        assert_eq!(read(&mut transport).await.unwrap(), b"");
        write(&mut transport, b"answer").await;
        poll_fn(|cx| transport.poll_close(cx)).await.unwrap();
        drop(transport);
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"answer");
    })
    .unwrap();
}

#[test]
fn closing_is_seen_before_the_stream_is_dropped() {
    reactor::block_on(async {
        let (mut transport, mut peer) = pair().await;
        // Unread, so that dropping it would be a reset.
        peer.write_all(b"too late").unwrap();
        write(&mut transport, b"bye").await;
        poll_fn(|cx| transport.poll_close(cx)).await.unwrap();
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"bye");
    })
    .unwrap();
}

#[test]
fn an_end_that_comes_later_is_noticed() {
    reactor::block_on(async {
        let (mut transport, mut peer) = pair().await;
        peer.write_all(b"one").unwrap();
        assert_eq!(read(&mut transport).await.unwrap(), b"one");
        assert!(poll_read_once(&mut transport).is_pending());
        drop(peer);
        assert_eq!(read(&mut transport).await.unwrap(), b"");
    })
    .unwrap();
}

#[test]
fn a_reset_is_noticed() {
    reactor::block_on(async {
        let (mut transport, peer) = pair().await;
        write(&mut transport, b"unread").await;
        assert!(poll_read_once(&mut transport).is_pending());
        // Closing without having read all is a reset.
        peer.peek(&mut [0]).unwrap();
        drop(peer);
        assert_eq!(read(&mut transport).await.unwrap_err(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn large_amounts_pass_both_ways() {
    const SIZE: usize = 8 << 20;
    let pattern: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let sent = pattern.clone();
    reactor::block_on(async {
        let (mut transport, peer) = pair().await;
        let echo = thread::spawn(move || {
            let mut received = vec![0; SIZE];
            // It begins to read when the other side has no more room.
            (&peer).read_exact(&mut received).unwrap();
            (&peer).write_all(&received).unwrap();
        });
        write(&mut transport, &sent).await;
        let mut received = Vec::new();
        while received.len() < SIZE {
            let part = read(&mut transport).await.unwrap();
            assert!(!part.is_empty(), "it ends early");
            received.extend_from_slice(&part);
        }
        assert!(received == pattern, "not what was sent");
        echo.join().unwrap();
    })
    .unwrap();
}

#[test]
fn a_broker_that_has_ended_leaves_no_thread_and_no_socket() {
    let (listener, address) = listener();
    let (broker, driver) = Broker::builder().timer(reactor::Timer::new()).build();
    let thread = reactor::spawn(driver).unwrap();
    broker.serve(listener).unwrap();
    let mut client = connect(address);
    exchange(&mut client, CONNECT, CONNACK);
    block_on(broker.shutdown(PATIENCE));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    thread.join().unwrap().unwrap();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_panic_ends_the_broker() {
    let panics = |_: columba::AuthRequest| async { panic!("this test's own") };
    let (broker, driver) = Broker::builder().timer(reactor::Timer::new()).authenticate(panics).build();
    let thread = reactor::spawn(driver).unwrap();
    let (listener, address) = listener();
    broker.serve(listener).unwrap();
    let mut client = connect(address);
    client.write_all(CONNECT).unwrap();
    // It is closed, one way or the other.
    let _ = client.read(&mut [0]);
    assert!(thread.join().is_err());
    assert!(broker.is_gone());
}
