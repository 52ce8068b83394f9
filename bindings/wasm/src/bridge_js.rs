//! The bridge with its WebSocket. The connection to the broker in this program is moved by the JavaScript around it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use columba_codec::QoS;
use columba_core::{Flow, Time};
use js_sys::{Array, Function, Uint8Array};
use wasm_bindgen::prelude::{Closure, wasm_bindgen};
use wasm_bindgen::{JsCast, JsError, JsValue};
use web_sys::{BinaryType, CloseEvent, Event, MessageEvent, WebSocket};

use crate::bridge::{Bridge, BridgeEvent, BridgeOptions, LinkState, Route, Side};
use crate::packets;
use crate::value::{self, array, boolean, bytes, counter, field, list, number, string, unsigned_16, wrong};

/// Bytes that the browser has not sent, after which it is given no more.
const BACKLOG: u32 = 1 << 20;
/// Bytes given to the WebSocket in one message.
const PORTION: usize = 64 << 10;

/// A bridge from the broker in this program to one behind a WebSocket.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawBridge(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    bridge: Bridge,
    url: String,
    socket: Option<WebSocket>,
    handlers: Option<Handlers>,
    /// Milliseconds on a clock that only goes forward.
    clock: Function,
    /// Called when there is something to be taken.
    wake: Function,
    events: Vec<Array>,
}

/// What the WebSocket calls. One set serves all sockets, one after the other.
#[derive(Debug)]
struct Handlers {
    open: Closure<dyn FnMut(Event)>,
    message: Closure<dyn FnMut(MessageEvent)>,
    close: Closure<dyn FnMut(CloseEvent)>,
}

thread_local! {
    /// For the event `error`, which says nothing that the event behind it does not. Somebody has to take it: in Node an
    /// `error` of the package ws that nobody takes ends the program. So it is left on sockets that are not needed any more,
    /// and lives as long as the module.
    static IGNORE: Closure<dyn Fn()> = Closure::new(|| {});
}

#[wasm_bindgen]
impl RawBridge {
    /// A bridge with these options; see `BridgeOptions` in the type declarations. It begins with the first
    /// [`turn`](Self::turn).
    #[wasm_bindgen(constructor)]
    pub fn new(given: &JsValue, seed: u64, clock: Function, wake: Function) -> Result<Self, JsError> {
        let url = string(given, "url")?.ok_or_else(|| wrong("url", "given"))?;
        let bridge = Bridge::new(&options(given)?, seed)?;
        let inner = Inner { bridge, url, socket: None, handlers: None, clock, wake, events: Vec::new() };
        let inner = Rc::new(RefCell::new(inner));
        let handlers = Handlers::new(&Rc::downgrade(&inner));
        inner.borrow_mut().handlers = Some(handlers);
        Ok(Self(inner))
    }

    /// The local transport is open.
    pub fn opened(&self) {
        let mut inner = self.0.borrow_mut();
        let now = inner.now();
        inner.bridge.open(now, Side::Local);
        inner.work();
    }

    /// Bytes from the local broker.
    pub fn receive(&self, bytes: &[u8]) {
        let mut inner = self.0.borrow_mut();
        let now = inner.now();
        inner.bridge.receive(now, Side::Local, bytes);
        inner.work();
    }

    /// The local transport is gone.
    pub fn closed(&self) {
        let mut inner = self.0.borrow_mut();
        let now = inner.now();
        inner.bridge.close(now, Side::Local);
        inner.work();
    }

    /// Bytes for the local broker.
    pub fn transmit(&self) -> Option<Uint8Array> {
        let mut inner = self.0.borrow_mut();
        let now = inner.now();
        let mut out = Vec::new();
        let _ = inner.bridge.poll_transmit(now, Side::Local, &mut out);
        (!out.is_empty()).then(|| Uint8Array::from(&out[..]))
    }

    /// Does what is due.
    pub fn turn(&self) {
        let mut inner = self.0.borrow_mut();
        let now = inner.now();
        inner.bridge.handle_timeout(now);
        inner.work();
    }

    /// When [`turn`](Self::turn) has to be called at the latest, in milliseconds on the clock.
    pub fn deadline(&self) -> Option<f64> {
        let inner = self.0.borrow();
        inner.bridge.poll_timeout().map(value::deadline)
    }

    /// The WebSocket has more than it can send: [`turn`](Self::turn) has to be called soon.
    #[wasm_bindgen(js_name = isBlocked)]
    pub fn is_blocked(&self) -> bool {
        self.0.borrow().is_blocked()
    }

    /// The next event, as an array that begins with its kind.
    #[wasm_bindgen(js_name = next)]
    pub fn next_event(&self) -> Option<Array> {
        let mut inner = self.0.borrow_mut();
        (!inner.events.is_empty()).then(|| inner.events.remove(0))
    }

    /// Messages that came, that went, and that wait.
    pub fn counts(&self) -> Vec<f64> {
        let inner = self.0.borrow();
        let bridge = &inner.bridge;
        [bridge.received(), bridge.sent(), bridge.waiting() as u64, bridge.dropped()].map(counter).to_vec()
    }

    /// Says goodbye on both sides.
    #[wasm_bindgen(js_name = shutDown)]
    pub fn shut_down(&self) {
        let mut inner = self.0.borrow_mut();
        let now = inner.now();
        inner.bridge.shut_down(now);
        inner.work();
        inner.drop_socket();
    }
}

impl Inner {
    fn now(&self) -> Time {
        let milliseconds =
            self.clock.call0(&JsValue::NULL).ok().and_then(|now| now.as_f64()).unwrap_or_default();
        value::time(milliseconds)
    }

    fn is_blocked(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.buffered_amount() > BACKLOG)
    }

    /// Sends what there is to send, and does what the bridge asks for.
    fn work(&mut self) {
        loop {
            self.send();
            let Some(event) = self.bridge.poll_event() else { return };
            let now = self.now();
            match event {
                BridgeEvent::Open(Side::Remote) => self.connect(),
                BridgeEvent::Open(Side::Local) => self.events.push(array(&["open".into()])),
                BridgeEvent::State { side: Side::Remote, state } => self.events.push(described(&state, now)),
                BridgeEvent::State { side: Side::Local, .. } => {}
                BridgeEvent::NotSubscribed { filter, reason, .. } => {
                    let text = format!("{filter} is not subscribed to: {reason}");
                    self.events.push(array(&["note".into(), text.into(), reason.code().into()]));
                }
            }
        }
    }

    fn send(&mut self) {
        let Some(socket) = self.socket.clone() else { return };
        if socket.ready_state() != WebSocket::OPEN {
            return;
        }
        while !self.is_blocked() {
            let now = self.now();
            let mut out = Vec::new();
            let flow = self.bridge.poll_transmit(now, Side::Remote, &mut out);
            for portion in out.chunks(PORTION) {
                // An error here is followed by the event that the socket is closed.
                let _ = socket.send_with_u8_array(portion);
            }
            match flow {
                Flow::Close => {
                    // The rest comes with the event.
                    let _ = socket.close();
                    return;
                }
                Flow::More => {}
                Flow::Idle => return,
            }
        }
    }

    fn connect(&mut self) {
        self.drop_socket();
        let protocols = Array::of1(&"mqtt".into());
        let Ok(socket) = WebSocket::new_with_str_sequence(&self.url, &protocols) else {
            let now = self.now();
            return self.bridge.close(now, Side::Remote);
        };
        socket.set_binary_type(BinaryType::Arraybuffer);
        IGNORE.with(|ignore| socket.set_onerror(Some(ignore.as_ref().unchecked_ref())));
        if let Some(handlers) = &self.handlers {
            socket.set_onopen(Some(handlers.open.as_ref().unchecked_ref()));
            socket.set_onmessage(Some(handlers.message.as_ref().unchecked_ref()));
            socket.set_onclose(Some(handlers.close.as_ref().unchecked_ref()));
        }
        self.socket = Some(socket);
    }

    /// Nothing more is heard of the socket.
    fn drop_socket(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.set_onopen(None);
            socket.set_onmessage(None);
            socket.set_onclose(None);
            // It may be closed already.
            let _ = socket.close();
        }
    }
}

impl Handlers {
    fn new(inner: &Weak<RefCell<Inner>>) -> Self {
        let (open, message, close) = (inner.clone(), inner.clone(), inner.clone());
        Self {
            open: Closure::new(move |_| with(&open, |inner, now| inner.bridge.open(now, Side::Remote))),
            message: Closure::new(move |event: MessageEvent| {
                // Text is no MQTT and comes out as nothing.
                let bytes = Uint8Array::new(&event.data()).to_vec();
                with(&message, |inner, now| inner.bridge.receive(now, Side::Remote, &bytes));
            }),
            close: Closure::new(move |_| {
                with(&close, |inner, now| {
                    inner.drop_socket();
                    inner.bridge.close(now, Side::Remote);
                });
            }),
        }
    }
}

/// Something has happened to the socket.
fn with(inner: &Weak<RefCell<Inner>>, change: impl FnOnce(&mut Inner, Time)) {
    let Some(inner) = inner.upgrade() else { return };
    let wake = {
        let mut inner = inner.borrow_mut();
        let now = inner.now();
        change(&mut inner, now);
        inner.work();
        inner.wake.clone()
    };
    // It reports what its own listeners throw.
    let _ = wake.call0(&JsValue::NULL);
}

fn described(state: &LinkState, now: Time) -> Array {
    let rest = |until: &Time| value::milliseconds(until.since(now)).into();
    match state {
        LinkState::Connecting => array(&["state".into(), "connecting".into()]),
        LinkState::Connected => array(&["state".into(), "connected".into()]),
        LinkState::Closed => array(&["state".into(), "closed".into()]),
        LinkState::Waiting { until, reason } => {
            let text =
                reason.as_ref().map_or_else(|| "there is no connection".to_owned(), ToString::to_string);
            array(&["state".into(), "waiting".into(), text.into(), JsValue::UNDEFINED, rest(until)])
        }
        LinkState::Refused { until, reason } => {
            let text = reason.name();
            array(&["state".into(), "refused".into(), text.into(), reason.code().into(), rest(until)])
        }
    }
}

fn options(given: &JsValue) -> Result<BridgeOptions, JsError> {
    let mut options = BridgeOptions::new(string(given, "clientId")?.unwrap_or_default());
    options.version = packets::version_of(number(given, "version", 255)?.unwrap_or(5))?;
    options.username = string(given, "username")?;
    options.password = bytes(given, "password")?.map(Into::into);
    options.clean_start = boolean(given, "cleanStart")?.unwrap_or(false);
    options.keep_alive = unsigned_16(given, "keepAlive")?.unwrap_or(options.keep_alive);
    options.routes_in = routes(given, "in")?;
    options.routes_out = routes(given, "out")?;
    if let Some(backoff) = field(given, "backoff") {
        let backoff: &Array =
            backoff.dyn_ref().ok_or_else(|| wrong("backoff", "two numbers of milliseconds"))?;
        let (Some(first), Some(longest)) = (backoff.get(0).as_f64(), backoff.get(1).as_f64()) else {
            return Err(wrong("backoff", "two numbers of milliseconds"));
        };
        options.backoff = (value::duration(first), value::duration(longest));
    }
    Ok(options)
}

fn routes(given: &JsValue, name: &str) -> Result<Vec<Route>, JsError> {
    let route = |given: JsValue| {
        let filter = match given.as_string() {
            Some(filter) => filter,
            None => string(&given, "filter")?.ok_or_else(|| wrong("filter", "given"))?,
        };
        let qos = number(&given, "qos", 2)?.unwrap_or(2) as u8;
        Ok(Route {
            filter,
            qos: QoS::from_u8(qos).unwrap_or(QoS::ExactlyOnce),
            local_prefix: string(&given, "localPrefix")?.unwrap_or_default(),
            remote_prefix: string(&given, "remotePrefix")?.unwrap_or_default(),
        })
    };
    list(given, name)?.into_iter().map(route).collect()
}
