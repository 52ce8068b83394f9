//! TCP, on which TLS and WebSocket stand.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use columba::{Listener, Peer, Transport};
use socket2::{Domain, SockRef, Type};
use tokio::net::{ToSocketAddrs, lookup_host};

use crate::accept::{Accepted, Handshakes, Outcome, Rest};
use crate::acceptor::{TcpAcceptor, TcpStream};
use crate::proxy;

/// Accepts connections over TCP, a stream that loses and reorders nothing [MQTT-4.2-1].
///
/// It waits where it is first polled: on that thread's [`reactor`](crate::reactor), or else on that thread's tokio runtime.
#[derive(Debug)]
pub struct TcpListener {
    socket: TcpAcceptor,
    local: SocketAddr,
    rest: Rest,
    proxy_protocol: bool,
    handshakes: Handshakes,
}

/// Connections that wait for being accepted; the system may allow fewer. More than most servers take, because all clients
/// of a broker come back at once when it was away.
const BACKLOG: i32 = 4096;

impl TcpListener {
    /// Binds an address and listens; port 0 picks a free one.
    ///
    /// # Errors
    /// The address cannot be resolved, or is taken or not this machine's.
    ///
    /// # Panics
    /// Outside of a tokio runtime if it has a name to look up.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
        for address in lookup_host(address).await? {
            match listen(address) {
                Ok(socket) => return Self::from_std(socket),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Takes over a listener that was made elsewhere: with options of its own, or by a supervisor.
    ///
    /// # Errors
    /// The system cannot tell its address, or change its options.
    pub fn from_std(socket: std::net::TcpListener) -> io::Result<Self> {
        if IS_INHERITED {
            SockRef::from(&socket).set_tcp_nodelay(true)?;
        }
        Ok(Self {
            local: socket.local_addr()?,
            socket: TcpAcceptor::new(socket)?,
            rest: Rest::default(),
            proxy_protocol: false,
            handshakes: Handshakes::default(),
        })
    }

    /// The same for one that is tokio's.
    ///
    /// # Errors
    /// The system cannot tell its address, or change its options.
    pub fn from_tokio(socket: tokio::net::TcpListener) -> io::Result<Self> {
        Self::from_std(socket.into_std()?)
    }

    /// The same socket with the same settings once more. For a broker of several shards: each accepts from a listener of its
    /// own, so that TLS handshakes are shared out, too.
    ///
    /// ```no_run
    /// # async fn example(broker: columba::Broker, shards: usize) -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = columba_net::TcpListener::bind("127.0.0.1:1883").await?;
    /// for _ in 1..shards {
    ///     broker.serve(listener.try_clone()?)?;
    /// }
    /// broker.serve(listener)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// It accepts already, or the process has no file left that it may open.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            local: self.local,
            rest: Rest::default(),
            proxy_protocol: self.proxy_protocol,
            handshakes: self.handshakes.anew(),
        })
    }

    /// The address it is bound to, with the port it really has.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Every connection begins with a header of the [PROXY protocol], version 1 or 2, as load balancers send it, and the
    /// peer's address is the one it announces. A connection without it is closed. Only for listeners that nobody but the
    /// proxy can reach: whoever sends the header says who he is.
    ///
    /// [PROXY protocol]: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
    #[must_use]
    pub const fn proxy_protocol(mut self, expected: bool) -> Self {
        self.proxy_protocol = expected;
        self
    }

    /// How many connections may be in the midst of a handshake (PROXY protocol, TLS, WebSocket); others wait in the
    /// system's queue. Each clone has its own. Default 1,024.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub const fn max_handshakes(mut self, max: usize) -> Self {
        assert!(max > 0, "somebody has to get in");
        self.handshakes.max = max;
        self
    }

    /// How long a handshake may take, from the connection to the first byte of MQTT. Default 10 s.
    #[must_use]
    pub const fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshakes.timeout = timeout;
        self
    }

    /// Accepts connections that become MQTT's by `upgrade`, after the PROXY header if there is one.
    pub(crate) fn poll_upgraded<F>(
        &mut self,
        cx: &mut Context<'_>,
        transport: &'static str,
        upgrade: impl FnOnce(TcpStream, Peer) -> F + Clone + Send + 'static,
    ) -> Poll<io::Result<Accepted>>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let Self { socket, rest, proxy_protocol, handshakes, .. } = self;
        let proxy_protocol = *proxy_protocol;
        handshakes.poll_accept(
            cx,
            |cx| rest.poll(cx, |cx| socket.poll_accept(cx)),
            |mut stream, address| {
                let upgrade = upgrade.clone();
                async move {
                    send_at_once(&stream)?;
                    let mut peer = peer(transport, address);
                    if proxy_protocol {
                        match proxy::read(&mut stream).await? {
                            proxy::Source::Announced(address) => peer.address = Some(address),
                            proxy::Source::Connection => {}
                            proxy::Source::Nobody => return Ok(None),
                        }
                    }
                    upgrade(stream, peer).await
                }
            },
        )
    }
}

impl Listener for TcpListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Transport>, Peer)>> {
        if self.proxy_protocol {
            let ready = async |stream, peer| Ok(Some(accepted(stream, peer)));
            return self.poll_upgraded(cx, "tcp", ready);
        }
        let (stream, address) = ready!(self.rest.poll(cx, |cx| self.socket.poll_accept(cx)))?;
        send_at_once(&stream)?;
        Poll::Ready(Ok(accepted(stream, peer("tcp", address))))
    }

    fn address(&self) -> String {
        format!("tcp {}", self.local)
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Without it the port of a broker that has just ended is taken for a minute. On Windows it means something else.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether connections have the options of the socket that accepts them, which saves a call for each.
const IS_INHERITED: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The broker gathers what it sends; the system need not wait for more.
fn send_at_once(stream: &TcpStream) -> io::Result<()> {
    match stream {
        _ if IS_INHERITED => Ok(()),
        TcpStream::Tokio(stream) => stream.set_nodelay(true),
        TcpStream::Reactor(stream) => stream.get_ref().set_nodelay(true),
    }
}

fn peer(transport: &'static str, address: SocketAddr) -> Peer {
    Peer { transport, address: Some(address.to_string().into()), ..Peer::default() }
}

fn accepted(stream: TcpStream, peer: Peer) -> Accepted {
    (stream.into_transport(), peer)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Accepts one connection and tells whether it sends at once.
    async fn sends_at_once() -> bool {
        let mut listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr()).unwrap();
        let (stream, _) = poll_fn(|cx| listener.socket.poll_accept(cx)).await.unwrap();
        send_at_once(&stream).unwrap();
        match stream {
            TcpStream::Tokio(stream) => stream.nodelay().unwrap(),
            TcpStream::Reactor(stream) => stream.get_ref().nodelay().unwrap(),
        }
    }

    #[test]
    fn what_is_sent_does_not_wait_for_more() {
        assert!(crate::reactor::block_on(sends_at_once()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(sends_at_once()));
    }
}
