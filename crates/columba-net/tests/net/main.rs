//! Listeners as clients see them: each test binds a free port, starts a broker, and connects.

#[cfg(feature = "tls")]
mod certificates;
mod common;
mod reactor;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod unix;
#[cfg(feature = "ws")]
mod ws;
