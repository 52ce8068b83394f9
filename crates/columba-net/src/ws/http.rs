//! The HTTP request that opens a WebSocket, and everything else that may come in its place.

use std::fmt::Write;
use std::io;

use bytes::BytesMut;
use data_encoding::BASE64;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Options, Page};

/// The request line and headers; browsers send cookies, too.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// What a client may call MQTT, best first; the second is from the days of version 3.1.
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// Added to a client's key before hashing (RFC 6455, section 1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request gets.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// A WebSocket: the proof that the key was read, and the subprotocol [MQTT-6.0.0-4].
    Upgrade(String, &'static str),
    Page(Page),
    Refusal(u16, &'static str),
}

/// Answers the request on this connection. If that makes it a WebSocket, returns what came behind the request.
pub(super) async fn handshake<S>(stream: &mut S, options: &Options) -> io::Result<Option<BytesMut>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut input = BytesMut::with_capacity(1024);
    let answer = match read_head(stream, &mut input).await? {
        None if input.is_empty() => return Ok(None),
        None => Answer::Refusal(431, "the request is too long"),
        Some(length) => answer(&input.split_to(length), options),
    };
    stream.write_all(&answer.encode()).await?;
    stream.flush().await?;
    if let Answer::Upgrade(..) = answer {
        return Ok(Some(input));
    }
    stream.shutdown().await?;
    match answer {
        Answer::Refusal(status, text) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("HTTP {status}: {text}")))
        }
        _ => Ok(None),
    }
}

/// Reads up to the empty line and returns the length. `None` is a connection that was closed before its first byte, or
/// sent too much without the empty line.
async fn read_head(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> io::Result<Option<usize>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut searched = 0;
    while input.len() < MAX_HEAD {
        input.reserve(1024);
        if stream.read_buf(input).await? == 0 {
            return if input.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if let Some(at) = input[searched..].windows(END.len()).position(|window| window == END) {
            return Ok(Some(searched + at + END.len()));
        }
        searched = input.len().saturating_sub(END.len() - 1);
    }
    Ok(None)
}

fn answer(head: &[u8], options: &Options) -> Answer {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Answer::Refusal(431, "there are too many headers"),
        _ => return Answer::Refusal(400, "this is not HTTP"),
    }
    let path = request.path.and_then(|target| target.split('?').next()).unwrap_or_default();
    if request.method != Some("GET") {
        return Answer::Refusal(405, "only GET is served");
    }
    let headers = Headers(request.headers);
    if !headers.tokens("Upgrade").any(|token| token.eq_ignore_ascii_case("websocket")) {
        let page = options.fallback.as_ref().and_then(|fallback| fallback(path));
        return match page {
            Some(page) => Answer::Page(page),
            None if path == &*options.path => Answer::Refusal(426, "this is for WebSocket"),
            None => Answer::Refusal(404, "there is nothing here"),
        };
    }
    if path != &*options.path {
        return Answer::Refusal(404, "MQTT is at another path");
    }
    if let Some(allowed) = &options.origins
        && let Some(origin) = headers.first("Origin")
        && !allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    {
        return Answer::Refusal(403, "pages of this origin are not let in");
    }
    upgrade(request.version, &headers)
}

/// The handshake proper (RFC 6455, section 4.2).
fn upgrade(version: Option<u8>, headers: &Headers<'_>) -> Answer {
    if version != Some(1) || !headers.tokens("Connection").any(|token| token.eq_ignore_ascii_case("upgrade"))
    {
        return Answer::Refusal(400, "the request asks for no upgrade of HTTP 1.1");
    }
    if headers.first("Sec-WebSocket-Version") != Some("13") {
        return Answer::Refusal(426, "the version of WebSocket is not 13");
    }
    let key = headers.first("Sec-WebSocket-Key").unwrap_or_default();
    if !BASE64.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16) {
        return Answer::Refusal(400, "Sec-WebSocket-Key is no key");
    }
    let offered = |protocol: &&str| headers.tokens("Sec-WebSocket-Protocol").any(|token| token == *protocol);
    // [MQTT-6.0.0-3]
    match PROTOCOLS.into_iter().find(offered) {
        Some(protocol) => Answer::Upgrade(proof(key), protocol),
        None => Answer::Refusal(400, "the subprotocol mqtt is not offered"),
    }
}

/// What shows the client that its key was read by a WebSocket server.
fn proof(key: &str) -> String {
    BASE64.encode(&Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize())
}

struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.filter_map(|header| std::str::from_utf8(header.value).ok().map(str::trim))
    }

    fn first(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The members of a list, which may be spread over several headers.
    fn tokens(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim)
    }
}

impl Answer {
    fn encode(&self) -> Vec<u8> {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = match self {
            Self::Upgrade(proof, protocol) => write!(
                text,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
            ),
            Self::Page(page) => write_head(&mut text, page.status, &page.content_type, page.body.len()),
            Self::Refusal(status, reason) => write_head(&mut text, *status, "text/plain", reason.len() + 1)
                .and_then(|()| writeln!(text, "{reason}")),
        };
        let mut bytes = text.into_bytes();
        if let Self::Page(page) = self {
            bytes.extend_from_slice(&page.body);
        }
        bytes
    }
}

fn write_head(text: &mut String, status: u16, content_type: &str, length: usize) -> std::fmt::Result {
    let name = match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        // The words are for people, and may be left out.
        _ => "",
    };
    write!(text, "HTTP/1.1 {status} {name}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n")?;
    match status {
        405 => text.write_str("Allow: GET\r\n")?,
        426 => text.write_str("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")?,
        _ => {}
    }
    text.write_str("Connection: close\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn options() -> Options {
        Options {
            path: "/mqtt".into(),
            origins: Some(["https://example.org".into()].into()),
            fallback: Some(Arc::new(|path| (path == "/").then(|| Page::new("text/html", "hello")))),
        }
    }

    const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\r\n";

    /// What becomes of the request with a change made to it.
    fn changed(from: &str, to: &str) -> Answer {
        assert!(REQUEST.contains(from));
        answer(REQUEST.replace(from, to).as_bytes(), &options())
    }

    fn status(answer: &Answer) -> u16 {
        match answer {
            Answer::Upgrade(..) => 101,
            Answer::Page(page) => page.status,
            Answer::Refusal(status, _) => *status,
        }
    }

    #[test]
    fn a_websocket_is_opened() {
        // The key and its proof are the example of RFC 6455.
        let expected = |protocol| Answer::Upgrade("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(), protocol);
        assert_eq!(changed("", ""), expected("mqtt"));
        assert_eq!(changed("mqttv3.1, mqtt", "mqttv3.1"), expected("mqttv3.1"));
        assert_eq!(changed("mqttv3.1, mqtt", "x\r\nsec-websocket-protocol: mqtt"), expected("mqtt"));
        assert_eq!(changed("/mqtt ", "/mqtt?token=1 "), expected("mqtt"));
        assert_eq!(changed("\r\n\r\n", "\r\nOrigin: https://example.org\r\n\r\n"), expected("mqtt"));
    }

    #[test]
    fn anything_else_is_refused() {
        for (from, to, expected) in [
            ("GET", "POST", 405),
            ("/mqtt ", "/mqtt/ ", 404),
            ("HTTP/1.1", "HTTP/1.0", 400),
            ("HTTP/1.1", "FTP", 400),
            ("keep-alive, Upgrade", "keep-alive", 400),
            ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", 400),
            ("mqttv3.1, mqtt", "MQTT", 400),
            ("Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n", "", 400),
            ("\r\n\r\n", "\r\nOrigin: https://example.com\r\n\r\n", 403),
        ] {
            assert_eq!(status(&changed(from, to)), expected, "{from} {to}");
        }
        let headers = "X: y\r\n".repeat(MAX_HEADERS);
        assert_eq!(status(&answer(format!("GET / HTTP/1.1\r\n{headers}\r\n").as_bytes(), &options())), 200);
        assert_eq!(
            status(&answer(format!("GET / HTTP/1.1\r\n{headers}X: y\r\n\r\n").as_bytes(), &options())),
            431
        );
    }

    #[test]
    fn pages_are_served_where_no_websocket_is_asked_for() {
        let get = |path: &str| answer(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes(), &options());
        assert_eq!(get("/?x"), Answer::Page(Page::new("text/html", "hello")));
        assert_eq!(status(&get("/other")), 404);
        assert_eq!(status(&get("/mqtt")), 426);
        let page = Answer::Page(Page::new("text/html", "hello")).encode();
        let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        assert_eq!(String::from_utf8(page).unwrap(), expected);
    }

    #[test]
    fn a_head_is_bounded() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = |mut bytes: &[u8]| {
            let mut input = BytesMut::new();
            runtime.block_on(read_head(&mut bytes, &mut input))
        };
        assert_eq!(read(b"GET\r\n\r\nmore").unwrap(), Some(7));
        assert_eq!(read(b"").unwrap(), None);
        assert_eq!(read(b"GET").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&vec![b'x'; 2 * MAX_HEAD]).unwrap(), None);
    }
}
