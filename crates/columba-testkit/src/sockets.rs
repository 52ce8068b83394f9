//! Scripted clients on real sockets: TCP and WebSocket. They know nothing of MQTT but where a packet of theirs goes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use columba::Version;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::client::Client;
use crate::promises::Promises;
use crate::transcript::{Direction, Entry, Name, Transcript, What};
use crate::wire::Wire;

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a broker may take to notice that a connection was cut.
const CUT_TIMEOUT: Duration = Duration::from_secs(2);

impl Client {
    /// Opens a connection over TCP to any broker and sends nothing. What happens is added to `transcript`, under `name`.
    ///
    /// # Errors
    /// The connection cannot be opened.
    pub fn tcp(
        address: SocketAddr,
        name: &str,
        version: Version,
        transcript: &Transcript,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        Ok(Self::over(Tcp { stream }, name, version, transcript))
    }

    /// Opens a WebSocket to any broker (`ws://127.0.0.1:8080/mqtt`) and sends nothing of MQTT.
    ///
    /// # Errors
    /// The connection cannot be opened, or the other side does not speak MQTT over WebSocket.
    pub fn ws(url: &str, name: &str, version: Version, transcript: &Transcript) -> io::Result<Self> {
        let mut request = url.into_client_request().map_err(io::Error::other)?;
        let subprotocol = if version == Version::V3_1 { "mqttv3.1" } else { "mqtt" };
        let header = tungstenite::http::HeaderValue::from_static(subprotocol);
        request.headers_mut().insert("Sec-WebSocket-Protocol", header);
        let authority = request.uri().authority().map(ToString::to_string);
        let stream = TcpStream::connect(authority.unwrap_or_default())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        let (socket, _) =
            tungstenite::client(request, stream).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self::over(Ws { socket }, name, version, transcript))
    }

    fn over(stream: impl Stream + 'static, name: &str, version: Version, transcript: &Transcript) -> Self {
        let wire = Socket {
            stream,
            open: true,
            stalled: false,
            name: transcript.add_connection(name),
            version,
            transcript: transcript.clone(),
            start: Instant::now(),
        };
        Self::new(wire, version, Some(Promises::new(version)))
    }
}

/// What carries bytes, and waits no longer than told.
trait Stream {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Appends what comes; `TimedOut` or `WouldBlock` if nothing does within `patience`; 0 is the end.
    fn receive(&mut self, buffer: &mut BytesMut, patience: Duration) -> io::Result<usize>;
    fn cut(&mut self);
}

struct Socket<S> {
    stream: S,
    open: bool,
    stalled: bool,
    name: Arc<Name>,
    version: Version,
    transcript: Transcript,
    start: Instant,
}

struct Tcp {
    stream: TcpStream,
}

struct Ws {
    socket: WebSocket<TcpStream>,
}

impl<S: Stream> Wire for Socket<S> {
    fn send(&mut self, bytes: &[u8]) {
        self.record(Direction::ToBroker, bytes);
        // That the broker has closed shows when reading: there may be a last word.
        let _ = self.stream.send(bytes);
    }

    fn receive(&mut self, buffer: &mut BytesMut, patience: Duration) {
        if !self.open || self.stalled {
            return;
        }
        let before = buffer.len();
        loop {
            // After the first portion only what is there already.
            let patience = if buffer.len() > before { Duration::ZERO } else { patience };
            match self.stream.receive(buffer, patience) {
                Ok(count) if count > 0 => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                _ => {
                    self.open = false;
                    break;
                }
            }
        }
        let new = buffer[before..].to_vec();
        self.record(Direction::ToClient, &new);
    }

    fn waits(&self) -> bool {
        !self.stalled
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn cut(&mut self) {
        self.open = false;
        self.stream.cut();
    }

    fn stall(&mut self, stalled: bool) {
        self.stalled = stalled;
    }

    fn conversation(&self) -> String {
        self.transcript.tail()
    }
}

impl<S> Socket<S> {
    fn record(&self, direction: Direction, bytes: &[u8]) {
        let (at, version) = (self.start.elapsed(), self.version);
        self.transcript.add_packets(bytes, |bytes| {
            let bytes = Bytes::copy_from_slice(bytes);
            Entry::new(&self.name, at, direction, What::Packet { version, bytes })
        });
    }
}

impl Stream for Tcp {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.write_all(bytes)
    }

    fn receive(&mut self, buffer: &mut BytesMut, patience: Duration) -> io::Result<usize> {
        wait_at_most(&self.stream, patience)?;
        let mut room = [0; 16 << 10];
        let count = self.stream.read(&mut room)?;
        buffer.extend_from_slice(&room[..count]);
        Ok(count)
    }

    fn cut(&mut self) {
        cut(&self.stream);
    }
}

impl Stream for Ws {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.get_ref().set_nonblocking(false)?;
        self.socket.send(Message::binary(bytes.to_vec())).map_err(into_io)
    }

    fn receive(&mut self, buffer: &mut BytesMut, patience: Duration) -> io::Result<usize> {
        wait_at_most(self.socket.get_ref(), patience)?;
        match self.socket.read().map_err(into_io)? {
            Message::Binary(bytes) if !bytes.is_empty() => {
                buffer.extend_from_slice(&bytes);
                Ok(bytes.len())
            }
            // Pings are answered by tungstenite; a close ends the next read.
            Message::Ping(_) | Message::Pong(_) | Message::Binary(_) => Err(ErrorKind::Interrupted.into()),
            _ => Ok(0),
        }
    }

    fn cut(&mut self) {
        cut(self.socket.get_ref());
    }
}

/// Ends the connection, and waits until the broker has noticed: what a test does next comes after it.
fn cut(mut stream: &TcpStream) {
    let deadline = Instant::now() + CUT_TIMEOUT;
    // It may be gone already.
    let _ = stream.shutdown(Shutdown::Write);
    let mut room = [0; 4 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || wait_at_most(stream, left).is_err() || !matches!(stream.read(&mut room), Ok(1..))
        {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn wait_at_most(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    stream.set_nonblocking(patience.is_zero())?;
    if !patience.is_zero() {
        stream.set_read_timeout(Some(patience))?;
    }
    Ok(())
}

fn into_io(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}
