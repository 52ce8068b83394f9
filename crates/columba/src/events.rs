//! The broker's events as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use columba_core::Event;
use futures::Stream;

/// Events as they happen; ends with the broker. Holds 4,096 of them: a reader further behind loses the newest,
/// counted in [`Metrics::events_lost`](crate::Metrics::events_lost).
#[derive(Clone, Debug)]
pub struct Events {
    receiver: Pin<Box<async_channel::Receiver<Event>>>,
}

const CAPACITY: usize = 4096;

impl Events {
    pub(crate) fn channel() -> (async_channel::Sender<Event>, Self) {
        let (sender, receiver) = async_channel::bounded(CAPACITY);
        (sender, Self { receiver: Box::pin(receiver) })
    }

    /// The next event; `None` once the broker is gone.
    pub async fn recv(&self) -> Option<Event> {
        self.receiver.recv().await.ok()
    }

    /// An event that is there already.
    pub fn try_recv(&self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.receiver.as_mut().poll_next(cx)
    }
}
