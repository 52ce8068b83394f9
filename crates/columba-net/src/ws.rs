//! MQTT over WebSocket, plain and over TLS.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use columba::{Listener, Peer, Transport};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::accept::{Accepted, Outcome};
use crate::tcp::TcpListener;
#[cfg(feature = "tls")]
use crate::tls::Tls;

mod frames;
mod http;
mod transport;

/// Accepts WebSocket connections that offer the subprotocol `mqtt` [MQTT-6.0.0-3] on one path, `/mqtt` unless told
/// otherwise. Binary frames carry MQTT, in whatever pieces [MQTT-6.0.0-2]; text ends a connection [MQTT-6.0.0-1].
///
/// ```
/// use columba_net::{Page, TcpListener, WsListener};
///
/// # async fn start(broker: columba::Broker) -> Result<(), Box<dyn std::error::Error>> {
/// let listener = WsListener::new(TcpListener::bind("127.0.0.1:0").await?)
///     .fallback(|path| (path == "/").then(|| Page::new("text/html", "<h1>This is a broker</h1>")));
/// println!("listening {}", columba::Listener::address(&listener)); // ws 127.0.0.1:40123/mqtt, say
/// broker.serve(listener)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WsListener {
    tcp: TcpListener,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    options: Arc<Options>,
}

/// The answer to a GET that does not ask for a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status, 200 say.
    pub status: u16,
    /// The media type of the body.
    pub content_type: Cow<'static, str>,
    /// The body.
    pub body: Bytes,
}

/// Answers requests for a path that are no handshake.
type Fallback = Arc<dyn Fn(&str) -> Option<Page> + Send + Sync>;

#[derive(Clone)]
struct Options {
    path: Box<str>,
    origins: Option<Box<[Box<str>]>>,
    fallback: Option<Fallback>,
}

impl WsListener {
    /// WebSocket over this listener's connections.
    pub fn new(tcp: TcpListener) -> Self {
        Self {
            tcp,
            #[cfg(feature = "tls")]
            tls: None,
            options: Arc::new(Options { path: "/mqtt".into(), origins: None, fallback: None }),
        }
    }

    /// With TLS below, as for addresses that begin with `wss:`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The path of MQTT; any other is answered with 404. Default `/mqtt`.
    ///
    /// # Panics
    /// If it does not begin with a slash.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        assert!(path.starts_with('/'), "a path begins with a slash");
        Arc::make_mut(&mut self.options).path = path.into();
        self
    }

    /// Lets in web pages of these origins only (`https://example.org`); others get 403. Programs that are no browser say
    /// nothing of an origin and are not concerned. Default: pages from anywhere, for authentication to decide. A broker
    /// without authentication that a browser can reach is open to every page that browser visits.
    #[must_use]
    pub fn origins(mut self, origins: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        Arc::make_mut(&mut self.options).origins = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Answers a GET that asks for no WebSocket, given its path without query; `None` is a 404. It must not block.
    #[must_use]
    pub fn fallback(mut self, page: impl Fn(&str) -> Option<Page> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.options).fallback = Some(Arc::new(page));
        self
    }

    /// The address it is bound to, with the port it really has.
    pub const fn local_addr(&self) -> SocketAddr {
        self.tcp.local_addr()
    }
}

impl Listener for WsListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Transport>, Peer)>> {
        let options = self.options.clone();
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls.clone() {
            return self.tcp.poll_upgraded(cx, "wss", async move |stream, mut peer| {
                let stream = tls.accept(stream, &mut peer).await?;
                open(stream, &options, peer).await
            });
        }
        self.tcp.poll_upgraded(cx, "ws", async move |stream, peer| open(stream, &options, peer).await)
    }

    fn address(&self) -> String {
        #[cfg(feature = "tls")]
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        #[cfg(not(feature = "tls"))]
        let scheme = "ws";
        format!("{scheme} {}{}", self.local_addr(), self.options.path)
    }
}

impl Page {
    /// A page with status 200.
    pub fn new(content_type: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Self {
        Self { status: 200, content_type: content_type.into(), body: body.into() }
    }
}

async fn open<S>(mut stream: S, options: &Options, peer: Peer) -> Outcome
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Some(early) = http::handshake(&mut stream, options).await? else { return Ok(None) };
    let accepted: Accepted = (Box::new(transport::WebSocket::new(stream, early)), peer);
    Ok(Some(accepted))
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("path", &self.path)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}
