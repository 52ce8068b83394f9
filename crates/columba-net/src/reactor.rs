//! A broker's thread without a runtime: one future, its sockets and its deadlines, and one call that waits for all of
//! them.
//!
//! ```
//! use columba::Broker;
//! use columba_net::{TcpListener, reactor};
//!
//! let broker = reactor::start(Broker::builder())?;
//! let listener = TcpListener::from_std(std::net::TcpListener::bind("127.0.0.1:0")?)?;
//! broker.serve(listener)?;
//! # futures::executor::block_on(broker.shutdown(std::time::Duration::ZERO));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! All listeners of this crate work here as they do under tokio: whoever polls them first decides. A connection holds a
//! few bytes here where tokio holds some hundred, and no message costs more system calls than its reading and writing.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::thread::{self, JoinHandle};

use columba::{Broker, BrokerBuilder};

mod park;
mod sleep;
mod socket;

pub use sleep::Timer;

use park::Reactor;
pub(crate) use park::is_current;
pub(crate) use sleep::Sleep;
pub(crate) use socket::{Duplex, Socket};

/// Builds a broker and runs its driver on a thread of its own, which ends with the broker.
///
/// # Errors
/// The system gives no thread, or no way to wait for sockets.
///
/// # Panics
/// As [`BrokerBuilder::build`].
pub fn start(builder: BrokerBuilder) -> io::Result<Broker> {
    let (broker, driver) = builder.timer(Timer::new()).build();
    spawn(driver)?;
    Ok(broker)
}

/// Runs a future on a thread of its own, which ends with it: a driver, whose broker is best built with a [`Timer`], or it
/// has one more thread for its deadlines.
///
/// # Errors
/// The system gives no thread, or no way to wait for sockets; the future is dropped.
pub fn spawn<F>(future: F) -> io::Result<JoinHandle<io::Result<F::Output>>>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let reactor = Reactor::new()?;
    thread::Builder::new().name("columba".to_owned()).spawn(move || reactor.block_on(pin!(future)))
}

/// Runs a future on this thread until it is ready, and what it polls of this crate meanwhile: listeners and their
/// connections.
///
/// # Errors
/// The system gives no way to wait for sockets, or takes it back.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    Reactor::new()?.block_on(pin!(future))
}
