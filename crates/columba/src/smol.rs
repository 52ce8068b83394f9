//! Running under smol: its timer, and its global executor as home of the driver. Its streams are transports by
//! [`FuturesIo`](crate::FuturesIo).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::{Broker, BrokerBuilder};

/// smol's timer.
#[derive(Debug, Default)]
pub struct Timer {
    timer: Option<smol::Timer>,
}

/// Builds a broker and runs its driver on smol's global executor.
pub fn start(builder: BrokerBuilder) -> Broker {
    let (broker, driver) = builder.timer(Timer::default()).build();
    smol::spawn(driver).detach();
    broker
}

impl crate::Timer for Timer {
    fn set(&mut self, deadline: Option<Instant>) {
        self.timer = deadline.map(smol::Timer::at);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.timer {
            Some(timer) => {
                std::task::ready!(Pin::new(timer).poll(cx));
                self.timer = None;
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }
}
