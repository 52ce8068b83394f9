//! Where a program has its say: who comes in, who may do what, and who watches. Each hook is a trait that plain
//! closures implement.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use columba_core::{AuthRequest, Event, EventMask, Verdict};
use futures::future::BoxFuture;

/// Decides who comes in. Asked once per CONNECT, and again for every AUTH of MQTT 5; only the client in question
/// waits for the answer.
///
/// ```
/// use columba::{AuthRequest, Broker, ReasonCode, Verdict};
///
/// let builder = Broker::builder().authenticate(|request: AuthRequest| async move {
///     match (request.username.as_deref(), request.password.as_deref()) {
///         (Some("ada"), Some(b"secret")) => Verdict::accept(),
///         _ => Verdict::reject(ReasonCode::BadUserNameOrPassword),
///     }
/// });
/// # drop(builder);
/// ```
pub trait Authenticate: Send + Sync + 'static {
    /// The answer to one request. The client is sent away when [`Limits::connect_timeout`](crate::Limits::connect_timeout)
    /// is over; an answer that comes later is ignored.
    fn authenticate(&self, request: AuthRequest) -> BoxFuture<'static, Verdict>;
}

impl<F, Answer> Authenticate for F
where
    F: Fn(AuthRequest) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Verdict> + Send + 'static,
{
    fn authenticate(&self, request: AuthRequest) -> BoxFuture<'static, Verdict> {
        Box::pin(self(request))
    }
}

/// Sees what happens, in order, and cannot change it. Runs inside the broker, so it must not block.
pub trait Observe: Send + 'static {
    /// One event.
    fn observe(&mut self, event: &Event);
}

impl<F: FnMut(&Event) + Send + 'static> Observe for F {
    fn observe(&mut self, event: &Event) {
        self(event);
    }
}

/// The observers of a broker. Those of several shards share them, and take turns.
#[derive(Clone)]
pub(crate) struct Observers(Arc<Mutex<List>>);

type List = Vec<(EventMask, Box<dyn Observe>)>;

impl Observers {
    pub(crate) fn new(observers: List) -> Self {
        Self(Arc::new(Mutex::new(observers)))
    }

    pub(crate) fn share(&self) -> Option<Self> {
        let none = self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        (!none).then(|| self.clone())
    }

    pub(crate) fn observe(&self, event: &Event) {
        let kind = event.kind();
        for (kinds, observer) in &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            if kinds.contains(kind) {
                observer.observe(event);
            }
        }
    }
}
