//! The PROXY protocol: what a load balancer says about a connection before its first byte. Versions 1 (a line of text)
//! and 2 (binary), read to the last byte of the header and not beyond.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Where a connection comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From here, says the proxy.
    Announced(Box<str>),
    /// From the proxy itself, or from where the proxy cannot tell: the connection's own address counts.
    Connection,
    /// It was closed before its first byte: a health check.
    Nobody,
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, says the specification.
const MAX_LINE: usize = 107;
/// The longest header of version 2 after its first 16 bytes: addresses and what may come behind them, here unused.
const MAX_BLOCK: usize = 4096;

/// Reads the header.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Source> {
    // No header is shorter than its first twelve bytes, and they tell the versions apart.
    let mut start = [0; SIGNATURE.len()];
    let count = stream.read(&mut start).await?;
    if count == 0 {
        return Ok(Source::Nobody);
    }
    stream.read_exact(&mut start[count..]).await?;
    if start == SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if length > MAX_BLOCK {
            return Err(invalid("too long"));
        }
        let mut block = vec![0; length];
        stream.read_exact(&mut block).await?;
        version_2(fixed[0], fixed[1], &block).ok_or_else(|| invalid("not of version 2"))
    } else if start.starts_with(b"PROXY ") {
        let mut line = start.to_vec();
        // Byte by byte, because what follows the line is not ours to read.
        while !line.ends_with(b"\r\n") {
            if line.len() == MAX_LINE {
                return Err(invalid("too long"));
            }
            line.push(stream.read_u8().await?);
        }
        let line = std::str::from_utf8(&line[..line.len() - 2]).ok();
        line.and_then(version_1).ok_or_else(|| invalid("not of version 1"))
    } else {
        Err(invalid("missing"))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the header of the PROXY protocol is {what}"))
}

fn version_1(line: &str) -> Option<Source> {
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Some(Source::Connection);
    }
    let address = |word: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => word.parse().ok().map(IpAddr::V4),
            "TCP6" => word.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, _destination) = (address(words.next()?)?, address(words.next()?)?);
    let (port, _destination) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    Some(announced(source, port))
}

fn port(word: &str) -> Option<u16> {
    // `parse` would take a sign.
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

fn version_2(version_and_command: u8, family: u8, block: &[u8]) -> Option<Source> {
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return None,
    };
    if is_local {
        return Some(Source::Connection);
    }
    match family {
        // TCP over IPv4: addresses of source and destination, then their ports.
        0x11 => {
            let addresses = block.first_chunk::<12>()?;
            let ip: [u8; 4] = addresses[..4].try_into().ok()?;
            Some(announced(Ipv4Addr::from(ip).into(), u16::from_be_bytes([addresses[8], addresses[9]])))
        }
        // TCP over IPv6.
        0x21 => {
            let addresses = block.first_chunk::<36>()?;
            let ip: [u8; 16] = addresses[..16].try_into().ok()?;
            Some(announced(Ipv6Addr::from(ip).into(), u16::from_be_bytes([addresses[32], addresses[33]])))
        }
        // Unspecified, or a Unix socket on the proxy's machine, whose path says nothing here.
        0x00 => Some(Source::Connection),
        0x31 => block.first_chunk::<216>().map(|_| Source::Connection),
        _ => None,
    }
}

fn announced(ip: IpAddr, port: u16) -> Source {
    Source::Announced(SocketAddr::new(ip, port).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the header, and what is behind it is left.
    fn check(header: &[u8], expected: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut input = header.to_vec();
        input.extend_from_slice(b"rest");
        let mut stream = &input[..];
        let source = match runtime.block_on(read(&mut stream)) {
            Ok(Source::Announced(address)) => address.into(),
            Ok(source) => format!("{source:?}"),
            Err(error) => format!("{:?}", error.kind()),
        };
        assert_eq!(source, expected, "{}", header.escape_ascii());
        if expected != INVALID {
            assert_eq!(stream, b"rest", "{}", header.escape_ascii());
        }
    }

    const CONNECTION: &str = "Connection";
    const INVALID: &str = "InvalidData";

    #[test]
    fn version_1_headers() {
        check(b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883\r\n", "192.0.2.7:50000");
        check(b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 1883\r\n", "[2001:db8::7]:50000");
        check(b"PROXY UNKNOWN\r\n", CONNECTION);
        check(b"PROXY UNKNOWN what ever\r\n", CONNECTION);
        check(b"PROXY TCP4 2001:db8::7 2001:db8::1 50000 1883\r\n", INVALID);
        check(b"PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n", INVALID);
        check(b"PROXY TCP4 192.0.2.7 198.51.100.1 +5000 1883\r\n", INVALID);
        check(b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 1883\r\n", INVALID);
        check(b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883 \r\n", INVALID);
        check(b"PROXY UDP4 192.0.2.7 198.51.100.1 50000 1883\r\n", INVALID);
        check(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", INVALID);
    }

    #[test]
    fn a_line_may_be_as_long_as_the_specification_allows() {
        let line = |length: usize| {
            let mut line = b"PROXY UNKNOWN ".to_vec();
            line.resize(length - 2, b'x');
            line.extend_from_slice(b"\r\n");
            line
        };
        check(&line(MAX_LINE), CONNECTION);
        check(&line(MAX_LINE + 1), INVALID);
    }

    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend_from_slice(&[command, family]);
        header.extend_from_slice(&u16::try_from(block.len()).unwrap().to_be_bytes());
        header.extend_from_slice(block);
        header
    }

    #[test]
    fn version_2_headers() {
        let ipv4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0x50, 0x07, 0x5b];
        check(&binary(0x21, 0x11, &ipv4), "192.0.2.7:50000");
        // With something behind the addresses.
        check(&binary(0x21, 0x11, &[&ipv4[..], &[4, 0, 1, 0]].concat()), "192.0.2.7:50000");
        let mut ipv6 = [0; 36];
        (ipv6[0], ipv6[15], ipv6[32], ipv6[33]) = (0xfd, 7, 0xc3, 0x50);
        check(&binary(0x21, 0x21, &ipv6), "[fd00::7]:50000");
        check(&binary(0x20, 0x00, &[]), CONNECTION);
        check(&binary(0x20, 0x11, &ipv4), CONNECTION);
        check(&binary(0x21, 0x00, &[1, 2, 3]), CONNECTION);
        check(&binary(0x21, 0x31, &[0; 216]), CONNECTION);
        check(&binary(0x21, 0x11, &ipv4[..11]), INVALID);
        check(&binary(0x21, 0x12, &ipv4), INVALID);
        check(&binary(0x22, 0x11, &ipv4), INVALID);
        check(&binary(0x31, 0x11, &ipv4), INVALID);
    }

    #[test]
    fn a_block_is_bounded() {
        check(&binary(0x21, 0x00, &[0; MAX_BLOCK]), CONNECTION);
        check(&binary(0x21, 0x00, &[0; MAX_BLOCK + 1]), INVALID);
    }

    #[test]
    fn a_health_check_is_no_failure() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(read(&mut &b""[..])).unwrap(), Source::Nobody);
        let cut = runtime.block_on(read(&mut &b"PROXY TC"[..])).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
