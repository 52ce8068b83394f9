//! From configuration to listeners that accept.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use columba::{Listener, Peer, Transport};
use columba_net::{TcpListener, Tls, TlsListener, WsListener};

use crate::config::{ListenerConfig, ListenerKind};
use crate::log::{self, Level};
use crate::playground;

/// A listener that is bound.
pub(crate) struct Bound {
    pub(crate) kind: ListenerKind,
    pub(crate) listener: Box<dyn Listener>,
    /// Where to reach it, if that is an address with a port.
    pub(crate) address: Option<SocketAddr>,
}

impl Bound {
    /// Whether other machines can reach it.
    pub(crate) fn is_public(&self) -> bool {
        self.address.is_some_and(|address| !address.ip().to_canonical().is_loopback())
    }
}

/// Binds; the error is a sentence.
pub(crate) async fn bind(config: &ListenerConfig, tls: Option<&Tls>) -> Result<Bound, String> {
    let ListenerConfig { kind, address, .. } = config;
    let kind = *kind;
    let outcome = match kind {
        ListenerKind::Unix => bind_unix(address),
        _ => bind_tcp(config, tls).await,
    };
    let (listener, local) = outcome.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    Ok(Bound { kind, listener: Box::new(Watched { listener, warned: None }), address: local })
}

async fn bind_tcp(
    config: &ListenerConfig,
    tls: Option<&Tls>,
) -> io::Result<(Box<dyn Listener>, Option<SocketAddr>)> {
    let tcp = TcpListener::bind(&config.address).await?.proxy_protocol(config.proxy_protocol);
    let local = Some(tcp.local_addr());
    let web = |tcp: TcpListener| {
        let mut listener = WsListener::new(tcp).fallback(playground::page);
        if let Some(path) = &config.path {
            listener = listener.path(path);
        }
        match &config.origins {
            Some(origins) => listener.origins(origins.iter().map(String::as_str)),
            None => listener,
        }
    };
    let listener: Box<dyn Listener> = match (config.kind, tls) {
        (ListenerKind::Tls, Some(tls)) => Box::new(TlsListener::new(tcp, tls.clone())),
        (ListenerKind::Wss, Some(tls)) => Box::new(web(tcp).tls(tls.clone())),
        (ListenerKind::Ws, _) => Box::new(web(tcp)),
        (ListenerKind::Tcp, _) => Box::new(tcp),
        (ListenerKind::Tls | ListenerKind::Wss | ListenerKind::Unix, _) => {
            return Err(io::Error::other("there is no certificate"));
        }
    };
    Ok((listener, local))
}

#[cfg(unix)]
fn bind_unix(path: &str) -> io::Result<(Box<dyn Listener>, Option<SocketAddr>)> {
    Ok((Box::new(columba_net::UnixListener::bind(path)?), None))
}

#[cfg(not(unix))]
fn bind_unix(_path: &str) -> io::Result<(Box<dyn Listener>, Option<SocketAddr>)> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
}

/// Tells the log who comes, and who does not get in.
struct Watched {
    listener: Box<dyn Listener>,
    /// When it last could not accept. It tries ten times a second, and nobody wants to read that.
    warned: Option<Instant>,
}

/// Warnings of one listener are this far apart.
const SILENCE: Duration = Duration::from_secs(10);

impl Listener for Watched {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Transport>, Peer)>> {
        let outcome = self.listener.poll_accept(cx);
        match &outcome {
            Poll::Ready(Ok((_, peer))) => log::line(Level::Debug, format_args!("connection from {peer}")),
            // A socket that cannot accept is our affair,
            Poll::Ready(Err(error)) if error.raw_os_error().is_some() => {
                if self.warned.is_none_or(|last| last.elapsed() >= SILENCE) {
                    log::line(Level::Warn, format_args!("{} cannot accept: {error}", self.address()));
                    self.warned = Some(Instant::now());
                }
            }
            // what a stranger does wrong in a handshake is his.
            Poll::Ready(Err(error)) => {
                log::line(Level::Debug, format_args!("{}, from {error}", self.address()));
            }
            Poll::Pending => {}
        }
        outcome
    }

    fn address(&self) -> String {
        self.listener.address()
    }
}
