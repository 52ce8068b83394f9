//! What all listeners share: rest after a failure, and handshakes side by side.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use columba::{Peer, Transport};
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;
use tokio::runtime::Handle;

use crate::reactor;

/// What a listener hands to the broker.
pub(crate) type Accepted = (Box<dyn Transport>, Peer);

/// How a handshake ends: with a connection, with nothing more to do (a page was served, a health check has looked in),
/// or badly.
pub(crate) type Outcome = io::Result<Option<Accepted>>;

/// Rests after a failure that lies with this machine: out of file descriptors, it would fail again at once.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    pause: Option<Pause>,
}

/// Some time, by the clock of who waits.
#[derive(Debug)]
enum Pause {
    Tokio(Pin<Box<tokio::time::Sleep>>),
    Reactor(reactor::Sleep),
}

/// Connections that cannot speak MQTT yet.
pub(crate) struct Handshakes {
    pending: FuturesUnordered<Pin<Box<dyn Future<Output = Outcome> + Send>>>,
    pub(crate) max: usize,
    pub(crate) timeout: Duration,
}

const PAUSE: Duration = Duration::from_millis(100);
/// Handshakes begun or ended before it is another's turn.
const TURNS: usize = 256;

impl Rest {
    /// Accepts, unless it is resting.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        accept: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Some(pause) = &mut self.pause {
            ready!(Pin::new(pause).poll(cx));
            self.pause = None;
        }
        let outcome = ready!(accept(cx));
        if outcome.as_ref().is_err_and(|error| !concerns_one_connection(error)) {
            // Without a clock it is for the driver, which rests, too.
            self.pause = Pause::new(PAUSE);
        }
        Poll::Ready(outcome)
    }
}

impl Pause {
    /// `None` if there is neither a reactor nor tokio on this thread.
    fn new(duration: Duration) -> Option<Self> {
        if reactor::is_current() {
            return Some(Self::Reactor(reactor::Sleep::until(Instant::now() + duration)));
        }
        Handle::try_current().is_ok().then(|| Self::Tokio(Box::pin(tokio::time::sleep(duration))))
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Self::Tokio(sleep) => sleep.as_mut().poll(cx),
            Self::Reactor(sleep) => Pin::new(sleep).poll(cx),
        }
    }
}

/// The connection that was to be accepted is gone; the next one may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { pending: FuturesUnordered::new(), max: 1024, timeout: Duration::from_secs(10) }
    }
}

impl Handshakes {
    /// None, with the same settings.
    pub(crate) fn anew(&self) -> Self {
        Self { pending: FuturesUnordered::new(), max: self.max, timeout: self.timeout }
    }

    /// Goes on with all that are pending, and begins new ones while there is room for them. Beyond it connections wait
    /// in the system's queue.
    pub(crate) fn poll_accept<T, F>(
        &mut self,
        cx: &mut Context<'_>,
        mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<(T, SocketAddr)>>,
        begin: impl Fn(T, SocketAddr) -> F,
    ) -> Poll<io::Result<Accepted>>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        for _ in 0..TURNS {
            match self.pending.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(Some(accepted)))) => return Poll::Ready(Ok(accepted)),
                Poll::Ready(Some(Ok(None))) => continue,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) | Poll::Pending => {}
            }
            if self.pending.len() >= self.max {
                return Poll::Pending;
            }
            let (stream, address) = ready!(accept(cx))?;
            let (handshake, limit) =
                (begin(stream, address), Pause::new(self.timeout).ok_or(io::ErrorKind::Unsupported)?);
            self.pending.push(Box::pin(async move {
                let outcome = match select(pin!(handshake), limit).await {
                    Either::Left((outcome, _)) => outcome,
                    Either::Right(_) => {
                        Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))
                    }
                };
                outcome.map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
            }));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl std::fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshakes").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    /// With a clock that jumps to the next deadline.
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(future)
    }

    #[test]
    fn a_failing_socket_rests() {
        block_on(async {
            let mut rest = Rest::default();
            let start = Instant::now();
            let fail =
                |_: &mut Context<'_>| Poll::Ready(Err::<(), _>(io::Error::other("no more descriptors")));
            poll_fn(|cx| rest.poll(cx, fail)).await.unwrap_err();
            poll_fn(|cx| rest.poll(cx, |_| Poll::Ready(Ok(())))).await.unwrap();
            assert!(start.elapsed() >= PAUSE);
        });
    }

    #[test]
    fn a_lost_connection_is_no_reason_to_rest() {
        block_on(async {
            let mut rest = Rest::default();
            let fail =
                |_: &mut Context<'_>| Poll::Ready(Err::<(), _>(io::ErrorKind::ConnectionAborted.into()));
            poll_fn(|cx| rest.poll(cx, fail)).await.unwrap_err();
            assert!(rest.pause.is_none());
        });
    }

    #[test]
    fn handshakes_are_as_many_as_allowed() {
        block_on(async {
            let mut handshakes = Handshakes { max: 3, ..Handshakes::default() };
            let mut accepted = 0;
            let outcome = poll_fn(|cx| {
                let accept = |_: &mut Context<'_>| {
                    accepted += 1;
                    Poll::Ready(Ok(((), ADDRESS)))
                };
                Poll::Ready(handshakes.poll_accept(cx, accept, |(), _| std::future::pending()))
            })
            .await;
            assert!(outcome.is_pending());
            assert_eq!(accepted, 3);
        });
    }

    #[test]
    fn a_slow_handshake_ends() {
        block_on(async {
            let mut handshakes = Handshakes::default();
            let start = Instant::now();
            let mut accepted = false;
            let outcome = poll_fn(|cx| {
                let accept = |_: &mut Context<'_>| {
                    if std::mem::replace(&mut accepted, true) {
                        Poll::Pending
                    } else {
                        Poll::Ready(Ok(((), ADDRESS)))
                    }
                };
                handshakes.poll_accept(cx, accept, |(), _| std::future::pending())
            })
            .await;
            assert_eq!(outcome.err().unwrap().kind(), io::ErrorKind::TimedOut);
            assert!(start.elapsed() >= handshakes.timeout);
        });
    }
}
