//! Sockets for the Columba MQTT broker, on [tokio](https://tokio.rs) or on a thread of its own, a [`reactor`].
//!
//! | listener | what it accepts | feature |
//! |---|---|---|
//! | [`TcpListener`] | TCP, with the PROXY protocol if asked for | |
//! | `UnixListener` | Unix sockets | |
//! | `TlsListener` | TLS, with client certificates if asked for | `tls` |
//! | `WsListener` | WebSocket, plain and over TLS | `ws` (and `tls`) |
//!
//! Each is bound first, so that its port is known and a failure is seen, and then handed to a broker:
//!
//! ```
//! use columba::{Broker, Listener};
//! use columba_net::TcpListener;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let broker = columba::tokio::start(Broker::builder());
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! println!("listening {}", listener.address()); // tcp 127.0.0.1:40123, say
//! broker.serve(listener)?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Handshakes of TLS, WebSocket and the PROXY protocol run inside the listener, side by side: a connection is handed to the
//! broker when it can speak MQTT, and a slow one holds up nobody. How many there may be at a time and how long each may
//! take is bounded ([`TcpListener::max_handshakes`], [`TcpListener::handshake_timeout`]).
//!
//! A program that has its own HTTP server can attach the WebSockets that come out of it: see [`MessageStream`].
//!
//! This crate is apart from `columba` so that a new major version of what it stands on is not one of the broker's. It
//! re-exports it, so that one line in `Cargo.toml` is enough.

mod accept;
mod acceptor;
mod messages;
mod proxy;
pub mod reactor;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tungstenite")]
mod tungstenite;
#[cfg(unix)]
mod unix;
#[cfg(feature = "ws")]
mod ws;

pub use columba;

pub use crate::messages::{Incoming, MessageStream};
pub use crate::tcp::TcpListener;
#[cfg(feature = "tls")]
pub use crate::tls::{ClientCertificates, Tls, TlsError, TlsListener};
#[cfg(feature = "tungstenite")]
pub use crate::tungstenite::tungstenite;
#[cfg(unix)]
pub use crate::unix::UnixListener;
#[cfg(feature = "ws")]
pub use crate::ws::{Page, WsListener};
/// For settings of TLS that [`Tls`] has no words for.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
