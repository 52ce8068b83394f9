//! Running under tokio: its streams as transports, its clock as timer, its runtime as home of the driver.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use columba_core::Chunks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::transport::{READ_SIZE, write_all};
use crate::{Broker, BrokerBuilder, Driver, Transport};

/// A transport over anything that speaks tokio's traits.
#[derive(Debug)]
pub struct TokioIo<T> {
    stream: T,
}

/// tokio's timer.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// Builds a broker and runs its driver on the current runtime.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn start(builder: BrokerBuilder) -> Broker {
    let (broker, driver) = builder.timer(Timer::default()).build();
    drop(spawn(driver));
    broker
}

/// Runs a driver on the current runtime. It bounds its own work per turn, so tokio need not.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn spawn(driver: Driver) -> JoinHandle<()> {
    tokio::spawn(tokio::task::unconstrained(driver))
}

impl<T> TokioIo<T>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Wraps a stream.
    pub const fn new(stream: T) -> Self {
        Self { stream }
    }
}

impl<T> Transport for TokioIo<T>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if buf.capacity() == buf.len() {
            buf.reserve(READ_SIZE);
        }
        tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Chunks) -> Poll<io::Result<()>> {
        if self.stream.is_write_vectored() {
            write_all(out, |slices| Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        } else {
            write_all(out, |slices| Pin::new(&mut self.stream).poll_write(cx, &slices[0]))?;
        }
        if !out.is_empty() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl crate::Timer for Timer {
    fn set(&mut self, deadline: Option<Instant>) {
        match (deadline, &mut self.sleep) {
            (Some(at), Some(sleep)) => sleep.as_mut().reset(at.into()),
            (Some(at), None) => self.sleep = Some(Box::pin(tokio::time::sleep_until(at.into()))),
            (None, _) => self.sleep = None,
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) => {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }
}
