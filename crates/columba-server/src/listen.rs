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
    /// One for each shard, or one where it cannot be shared out.
    pub(crate) listeners: Vec<Box<dyn Listener>>,
    /// Where to reach it, if that is an address with a port.
    pub(crate) address: Option<SocketAddr>,
}

impl Bound {
    /// Its transport and address.
    pub(crate) fn name(&self) -> String {
        self.listeners.first().map(Listener::address).unwrap_or_default()
    }

    /// Whether other machines can reach it.
    pub(crate) fn is_public(&self) -> bool {
        self.address.is_some_and(|address| !address.ip().to_canonical().is_loopback())
    }
}

/// Binds for so many shards; the error is a sentence.
pub(crate) async fn bind(config: &ListenerConfig, tls: Option<&Tls>, shards: usize) -> Result<Bound, String> {
    let ListenerConfig { kind, address, .. } = config;
    let kind = *kind;
    let outcome = match kind {
        ListenerKind::Unix => bind_unix(address),
        _ => bind_tcp(config, tls, shards).await,
    };
    let (listeners, local) = outcome.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let watched = |listener| Box::new(Watched { listener, warned: None }) as Box<dyn Listener>;
    Ok(Bound { kind, listeners: listeners.into_iter().map(watched).collect(), address: local })
}

type Listeners = (Vec<Box<dyn Listener>>, Option<SocketAddr>);

async fn bind_tcp(config: &ListenerConfig, tls: Option<&Tls>, shards: usize) -> io::Result<Listeners> {
    let tcp = TcpListener::bind(&config.address).await?.proxy_protocol(config.proxy_protocol);
    let local = Some(tcp.local_addr());
    let clones = (1..shards).map(|_| tcp.try_clone()).collect::<io::Result<Vec<_>>>()?;
    let all = clones.into_iter().chain([tcp]).map(|tcp| over(tcp, config, tls));
    Ok((all.collect::<io::Result<_>>()?, local))
}

/// What is spoken over TCP at this listener.
fn over(tcp: TcpListener, config: &ListenerConfig, tls: Option<&Tls>) -> io::Result<Box<dyn Listener>> {
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
    Ok(match (config.kind, tls) {
        (ListenerKind::Tls, Some(tls)) => Box::new(TlsListener::new(tcp, tls.clone())),
        (ListenerKind::Wss, Some(tls)) => Box::new(web(tcp).tls(tls.clone())),
        (ListenerKind::Ws, _) => Box::new(web(tcp)),
        (ListenerKind::Tcp, _) => Box::new(tcp),
        (ListenerKind::Tls | ListenerKind::Wss | ListenerKind::Unix, _) => {
            return Err(io::Error::other("there is no certificate"));
        }
    })
}

#[cfg(unix)]
fn bind_unix(path: &str) -> io::Result<Listeners> {
    Ok((vec![Box::new(columba_net::UnixListener::bind(path)?)], None))
}

#[cfg(not(unix))]
fn bind_unix(_path: &str) -> io::Result<Listeners> {
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
