//! Owns the sockets of one thread: opens them, reads packets off them, writes what is put on them. Never decides what is sent.
//!
//! All connections share one buffer to read into, so an idle one holds no memory, and readiness comes once for each change
//! (edge-triggered).

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use columba_codec::packet::encode_ack;
use columba_codec::{FixedHeader, PacketId, PacketType, ReasonCode, Version};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::timer::Timer;
use crate::ws;

/// One read takes up to so many bytes.
const BUFFER: usize = 256 << 10;
/// The largest packet MQTT has.
const MAX_PACKET: usize = 268_435_460;
/// What a connection keeps of a buffer that it needed once.
const KEPT: usize = 64 << 10;
const EVENTS: usize = 1024;
const TIMER: Token = Token(usize::MAX);

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Host and port as the user wrote them, and the path; without it, plain TCP.
    pub(crate) ws: Option<(String, String)>,
}

/// Whose connection it is, by its number in the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Publisher(u32),
    Subscriber(u32),
    Other(u32),
}

/// What a scenario does about what happens on connections.
pub(crate) trait Handler {
    /// A packet has come. What is put on the link is sent when all that has come was handled.
    ///
    /// # Errors
    /// The broker did what it must not. The connection is closed.
    fn packet(&mut self, link: &mut Link, header: FixedHeader, body: &[u8], now: u64) -> Result<(), String>;

    /// All that was put on the link is written, and more can be.
    fn writable(&mut self, _link: &Link) {}

    /// The connection has ended, for this reason; without one, because it was to.
    fn closed(&mut self, link: &Link, reason: Option<String>);
}

#[derive(Debug)]
pub(crate) struct Net {
    poll: Poll,
    events: Events,
    timer: Timer,
    target: Target,
    pub(crate) links: Vec<Link>,
    buffer: Vec<u8>,
    /// Connections that have more to read, of which no event will tell.
    again: Vec<usize>,
    epoch: Instant,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) at: usize,
    pub(crate) who: Who,
    pub(crate) opened: u64,
    /// For the scenario to note how far it is.
    pub(crate) step: u8,
    stream: Option<TcpStream>,
    stage: Stage,
    is_writable: bool,
    /// It closes once all is written.
    is_ending: bool,
    out: Vec<u8>,
    written: usize,
    /// The beginning of a packet whose end has not come.
    rest: Vec<u8>,
    unwrapper: Option<Box<ws::Unwrapper>>,
    greeting: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// The request for a WebSocket is on its way.
    Asking,
    Open,
    Closed,
}

impl Net {
    pub(crate) fn new(target: Target, epoch: Instant) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            timer,
            target,
            links: Vec::new(),
            buffer: vec![0; BUFFER],
            again: Vec::new(),
            epoch,
        })
    }

    /// Nanoseconds since all began.
    pub(crate) fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    pub(crate) const fn is_ws(&self) -> bool {
        self.target.ws.is_some()
    }

    /// Begins a connection, in the place of the one at `place` if there was one. `greeting` is what is sent first.
    pub(crate) fn open(&mut self, who: Who, greeting: Vec<u8>, place: Option<usize>) -> io::Result<usize> {
        let mut stream = TcpStream::connect(self.target.address)?;
        // Without it a small acknowledgement may wait for 40 ms.
        stream.set_nodelay(true)?;
        let at = place.unwrap_or(self.links.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(at), interest)?;
        let link = Link {
            at,
            who,
            opened: self.now(),
            step: 0,
            stream: Some(stream),
            stage: Stage::Connecting,
            is_writable: false,
            is_ending: false,
            out: Vec::new(),
            written: 0,
            rest: Vec::new(),
            unwrapper: self.is_ws().then(Box::default),
            greeting,
        };
        if at == self.links.len() {
            self.links.push(link);
        } else {
            self.links[at] = link;
        }
        Ok(at)
    }

    /// Waits up to `nanoseconds` for something to happen, and handles it.
    pub(crate) fn poll(&mut self, handler: &mut impl Handler, nanoseconds: u64) -> io::Result<()> {
        let wait = if self.again.is_empty() { self.timer.set(nanoseconds)? } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let again = std::mem::take(&mut self.again);
        for event in events.iter().filter(|event| event.token() != TIMER) {
            let at = event.token().0;
            if self.links[at].stage == Stage::Connecting && !self.begin(handler, at) {
                continue;
            }
            if event.is_writable() && !self.links[at].is_writable {
                self.links[at].is_writable = true;
                if self.flush(handler, at) && self.links[at].stage == Stage::Open {
                    handler.writable(&self.links[at]);
                }
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.read(handler, at, event.is_read_closed() || event.is_error());
            }
        }
        self.events = events;
        for at in again {
            self.read(handler, at, true);
        }
        Ok(())
    }

    /// Writes what has been put on a link, as much as goes. Whether that was all.
    pub(crate) fn flush(&mut self, handler: &mut impl Handler, at: usize) -> bool {
        match self.links[at].write_out() {
            Ok(is_all) => {
                if is_all && self.links[at].is_ending {
                    self.end(handler, at, None);
                }
                is_all
            }
            Err(error) => {
                self.end(handler, at, Some(format!("writing failed: {error}")));
                false
            }
        }
    }

    /// Says DISCONNECT on all connections and closes them.
    pub(crate) fn leave(&mut self, handler: &mut impl Handler) {
        for at in 0..self.links.len() {
            let link = &mut self.links[at];
            if link.stage == Stage::Open {
                link.leave();
                self.flush(handler, at);
            }
        }
    }

    /// Says PINGREQ on all connections.
    pub(crate) fn ping(&mut self, handler: &mut impl Handler) {
        for at in 0..self.links.len() {
            if self.links[at].stage == Stage::Open {
                self.links[at].put(&[0xC0, 0]);
                self.flush(handler, at);
            }
        }
    }

    /// How many connections have not ended.
    pub(crate) fn len(&self) -> usize {
        self.links.iter().filter(|link| link.stage != Stage::Closed).count()
    }

    /// Whether the connection stands; if it does not, it may be on its way or at its end.
    fn begin(&mut self, handler: &mut impl Handler, at: usize) -> bool {
        let link = &mut self.links[at];
        let Some(stream) = &link.stream else { return false };
        match stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => {
                self.end(handler, at, Some(format!("cannot connect: {error}")));
                return false;
            }
        }
        match stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => return false,
            Err(error) => {
                self.end(handler, at, Some(format!("cannot connect: {error}")));
                return false;
            }
        }
        if let Some((host, path)) = &self.target.ws {
            link.stage = Stage::Asking;
            link.out.extend_from_slice(&ws::request(host, path));
        } else {
            link.greet();
        }
        true
    }

    /// One read, and all packets in it.
    fn read(&mut self, handler: &mut impl Handler, at: usize, is_ending: bool) {
        let have = self.links[at].rest.len();
        if have * 2 > self.buffer.len() {
            self.buffer.resize(have * 4, 0);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.links[at].read(&mut buffer, have);
        let handled = match outcome {
            Ok(0) => Ok(()),
            Ok(count) => {
                // A read that does not fill the buffer has emptied the socket, and what comes later is an event again;
                // the end of the stream may have been announced together with these bytes.
                if count == buffer.len() - have || is_ending {
                    self.again.push(at);
                }
                let now = self.now();
                self.links[at].take(handler, &mut buffer[..have + count], have, now)
            }
            Err(reason) => Err(reason),
        };
        self.buffer = buffer;
        match handled {
            Ok(()) => {
                self.flush(handler, at);
            }
            Err(reason) => self.end(handler, at, Some(reason)),
        }
    }

    fn end(&mut self, handler: &mut impl Handler, at: usize, reason: Option<String>) {
        let link = &mut self.links[at];
        if link.stage != Stage::Closed {
            let reason = reason.filter(|_| !link.is_ending);
            link.stage = Stage::Closed;
            link.stream = None;
            link.out = Vec::new();
            link.rest = Vec::new();
            handler.closed(link, reason);
        }
    }
}

impl Link {
    /// Whether what is written now goes to the socket at once.
    pub(crate) fn is_clear(&self) -> bool {
        self.is_writable && self.out.is_empty() && self.stage == Stage::Open
    }

    /// Queues one packet.
    pub(crate) fn put(&mut self, packet: &[u8]) {
        if self.unwrapper.is_some() {
            ws::header(packet.len(), &mut self.out);
            let begin = self.out.len();
            self.out.extend_from_slice(packet);
            ws::mask(&mut self.out[begin..], 0);
        } else {
            self.out.extend_from_slice(packet);
        }
    }

    /// Queues an acknowledgement.
    #[inline]
    pub(crate) fn acknowledge(&mut self, packet_type: PacketType, id: PacketId) {
        let is_ws = self.unwrapper.is_some();
        if is_ws {
            // Without a reason it has the same four bytes in every version.
            ws::header(4, &mut self.out);
        }
        let begin = self.out.len();
        encode_ack(packet_type, id, ReasonCode::Success, Version::V3_1_1, &mut self.out);
        if is_ws {
            ws::mask(&mut self.out[begin..], 0);
        }
    }

    /// Queues DISCONNECT; the connection closes behind it.
    pub(crate) fn leave(&mut self) {
        self.put(&[0xE0, 0]);
        self.is_ending = true;
    }

    /// Writes bytes that are framed already, past the queue, which has to be empty; how many went.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        match stream.write(bytes) {
            Ok(count) => {
                // A short write means that the socket is full, and will say when it no longer is.
                self.is_writable = count == bytes.len();
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_writable = false;
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// Queues bytes that are framed already.
    pub(crate) fn put_framed(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn greet(&mut self) {
        self.stage = Stage::Open;
        let greeting = std::mem::take(&mut self.greeting);
        self.put(&greeting);
    }

    fn write_out(&mut self) -> io::Result<bool> {
        while self.written < self.out.len() {
            if !self.is_writable {
                return Ok(false);
            }
            let out = std::mem::take(&mut self.out);
            let count = self.write(&out[self.written..]);
            self.out = out;
            self.written += count?;
        }
        self.written = 0;
        self.out.clear();
        self.out.shrink_to(KEPT);
        Ok(true)
    }

    /// Reads behind what is left of the last read, which is put in front then. 0 if there is nothing to read now.
    fn read(&mut self, buffer: &mut [u8], have: usize) -> Result<usize, String> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        if self.stage == Stage::Connecting {
            return Ok(0);
        }
        match stream.read(&mut buffer[have..]) {
            Ok(0) => Err("the broker closed the connection".into()),
            Ok(count) => {
                buffer[..have].copy_from_slice(&self.rest);
                self.rest.clear();
                Ok(count)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(format!("reading failed: {error}")),
        }
    }

    /// Handles the packets in `bytes`, of which those from `new` on have just come.
    fn take(
        &mut self,
        handler: &mut impl Handler,
        bytes: &mut [u8],
        new: usize,
        now: u64,
    ) -> Result<(), String> {
        let (mut new, mut begin) = (new, 0);
        if self.stage == Stage::Asking {
            let Some(len) = ws::read_answer(bytes)? else {
                self.rest.extend_from_slice(bytes);
                return Ok(());
            };
            self.greet();
            (new, begin) = (len, len);
        }
        let mut end = bytes.len();
        if let Some(unwrapper) = &mut self.unwrapper {
            end = new + unwrapper.unwrap(&mut bytes[new..], &mut self.out)?;
        }
        let bytes = &bytes[..end];
        loop {
            let header = FixedHeader::read(&bytes[begin..], MAX_PACKET);
            let header = header.map_err(|error| format!("a broken packet: {error}"))?;
            let Some(header) = header.filter(|header| header.total() <= bytes.len() - begin) else { break };
            handler.packet(self, header, &bytes[begin + header.len..begin + header.total()], now)?;
            begin += header.total();
        }
        self.rest.extend_from_slice(&bytes[begin..]);
        if begin == bytes.len() {
            self.rest.shrink_to(KEPT);
        }
        Ok(())
    }
}
