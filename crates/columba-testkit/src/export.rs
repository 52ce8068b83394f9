//! A transcript in other forms: a sequence diagram as text, JSON, and a capture that Wireshark opens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::transcript::{Direction, Entry, Transcript, What};

/// The most characters of a name or a packet's description that a diagram shows.
const MAX_TEXT: usize = 500;

impl Transcript {
    /// A sequence diagram: a line of life for each client and, on the right, the broker's; an arrow for each packet, with what
    /// a fault did to it. The same conversation gives the same text, times included in a simulated world, so that a test can
    /// keep it as a snapshot.
    ///
    /// ```text
    ///        time  device  app                              broker
    ///       0.000  ├─ CONNECT "device" MQTT 5.0 clean ──────▶│
    ///       0.000  │◀─ CONNACK 00 ───────────────────────────┤
    ///       1.500  │       ├─ PUBLISH command=on q1 #1 ─────▶│
    /// ```
    pub fn diagram(&self) -> String {
        let entries = self.entries();
        let mut columns: Vec<(String, usize)> = Vec::new();
        let mut left = 0;
        for entry in &entries {
            let name = shortened(&entry.client());
            if !columns.iter().any(|(known, _)| *known == name) {
                let width = name.chars().count().max(6) + 2;
                columns.push((name, left));
                left += width;
            }
        }
        let column = |entry: &Entry| {
            let name = shortened(&entry.client());
            columns.iter().find(|(known, _)| *known == name).map_or(0, |(_, at)| *at)
        };
        let needed = entries.iter().map(|entry| column(entry) + shortened(&entry.text()).chars().count() + 8);
        let broker = needed.max().unwrap_or(0).max(left);
        let mut text = format!("{:>12}  ", "time");
        for (at, (name, _)) in columns.iter().enumerate() {
            let end = columns.get(at + 1).map_or(broker - 3, |(_, next)| *next);
            text.push_str(name);
            pad(&mut text, (end - columns[at].1).saturating_sub(name.chars().count()));
        }
        text.push_str("broker\n");
        for entry in &entries {
            let at = column(entry);
            let _ = write!(text, "{:>12.3}  ", entry.at.as_secs_f64());
            let mut place = 0;
            for (_, other) in columns.iter().filter(|(_, other)| *other < at) {
                pad(&mut text, other - place);
                text.push('│');
                place = other + 1;
            }
            pad(&mut text, at - place);
            text.push_str(&arrow(entry, broker - at));
            if let Some(fate) = &entry.fate {
                let _ = write!(text, "  [{fate}]");
            }
            text.push('\n');
        }
        text
    }

    /// All entries as a JSON array of objects: `at` in seconds, `connection`, `client`, `direction` (`to broker` or `to
    /// client`), `text`, `bytes` in hexadecimal where it is a packet, `fate` where there is one.
    pub fn to_json(&self) -> String {
        let entries: Vec<String> = self.entries().iter().map(json).collect();
        match entries.join(",\n") {
            entries if entries.is_empty() => "[]\n".to_owned(),
            entries => format!("[\n{entries}\n]\n"),
        }
    }

    /// All packets as a capture file (pcap) that Wireshark and tshark open. Each connection is one over TCP, from its own
    /// address to port 1883 of the broker at 10.0.0.1, as though it had been recorded where packets are sent; times count from
    /// 1970. What a fault did does not show.
    pub fn to_pcap(&self) -> Vec<u8> {
        let mut capture = Capture::new();
        for entry in self.entries() {
            if let What::Packet { bytes, .. } = &entry.what {
                capture.add(entry.connection, entry.direction, entry.at, bytes);
            }
        }
        capture.finish()
    }
}

/// As much of a text as there is room for in a diagram.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The width of a format string ends at 65,535.
fn pad(text: &mut String, width: usize) {
    text.extend(std::iter::repeat_n(' ', width));
}

/// An entry as a JSON object.
fn json(entry: &Entry) -> String {
    let direction = match entry.direction {
        Direction::ToBroker => "to broker",
        Direction::ToClient => "to client",
    };
    let mut members = vec![("at", format!("{:?}", entry.at.as_secs_f64()))];
    if let What::Packet { bytes, .. } = &entry.what {
        let mut hex = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let _ = write!(hex, "{byte:02x}");
        }
        members.push(("bytes", quoted(&hex)));
    }
    members.push(("client", quoted(&entry.client())));
    members.push(("connection", entry.connection.to_string()));
    members.push(("direction", quoted(direction)));
    members.extend(entry.fate.as_deref().map(|fate| ("fate", quoted(fate))));
    members.push(("text", quoted(&entry.text())));
    let lines: Vec<String> = members.iter().map(|(name, value)| format!("    \"{name}\": {value}")).collect();
    format!("  {{\n{}\n  }}", lines.join(",\n"))
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// One row, from the client's line of life to the broker's.
fn arrow(entry: &Entry, width: usize) -> String {
    let text = shortened(&entry.text());
    let dashes = "─".repeat(width.saturating_sub(text.chars().count() + 6));
    let lost = entry.fate.as_deref().is_some_and(|fate| fate == "lost" || fate.starts_with("cut before"));
    match (&entry.what, entry.direction) {
        (What::Link(_), _) => {
            let space = " ".repeat(width.saturating_sub(text.chars().count()));
            format!("{text}{space}│")
        }
        (_, Direction::ToBroker) => format!("├─ {text} {dashes}─{}│", if lost { '×' } else { '▶' }),
        (_, Direction::ToClient) => format!("│{}─ {text} {dashes}─┤", if lost { "×" } else { "◀" }),
    }
}

/// A capture file (pcap) under construction, for packets that are no [`Transcript`]: raw IPv4, as
/// [`Transcript::to_pcap`] describes it.
#[derive(Debug)]
pub struct Capture {
    file: Vec<u8>,
    /// By connection: the next sequence numbers of client and broker, after the handshake.
    sequences: BTreeMap<usize, (u32, u32)>,
}

/// How much of a stream one segment carries; an IP packet holds less than 64 KiB.
const SEGMENT: usize = 60_000;
const BROKER: ([u8; 4], u16) = ([10, 0, 0, 1], 1883);
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PUSH: u8 = 0x08;

impl Capture {
    /// A capture without packets.
    pub fn new() -> Self {
        let mut file = Vec::new();
        // Magic number for microseconds, version 2.4, no time zone, no accuracy, whole packets.
        file.extend_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
        file.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend_from_slice(&0x0004_0000_u32.to_le_bytes());
        // LINKTYPE_RAW: IP without a link layer.
        file.extend_from_slice(&101_u32.to_le_bytes());
        Self { file, sequences: BTreeMap::new() }
    }

    /// Adds a packet. Of the number of a connection the lower 16 bits tell it from others.
    pub fn add(&mut self, connection: usize, direction: Direction, at: Duration, bytes: &[u8]) {
        if !self.sequences.contains_key(&connection) {
            self.segment(connection, Direction::ToBroker, at, (0, 0), SYN, &[]);
            self.segment(connection, Direction::ToClient, at, (0, 1), SYN | ACK, &[]);
            self.segment(connection, Direction::ToBroker, at, (1, 1), ACK, &[]);
        }
        let (mut client, mut broker) = self.sequences.get(&connection).copied().unwrap_or((1, 1));
        for part in bytes.chunks(SEGMENT) {
            // A segment is shorter than 64 KiB.
            let length = part.len() as u32;
            if direction == Direction::ToBroker {
                self.segment(connection, direction, at, (client, broker), PUSH | ACK, part);
                client = client.wrapping_add(length);
            } else {
                self.segment(connection, direction, at, (broker, client), PUSH | ACK, part);
                broker = broker.wrapping_add(length);
            }
        }
        self.sequences.insert(connection, (client, broker));
    }

    /// The whole file.
    pub fn finish(self) -> Vec<u8> {
        self.file
    }

    fn segment(
        &mut self,
        connection: usize,
        direction: Direction,
        at: Duration,
        (sequence, acknowledged): (u32, u32),
        flags: u8,
        payload: &[u8],
    ) {
        // Addresses from 10.1.0.1 on, one for each connection.
        let [_, _, high, low] = (connection as u32 + 1).to_be_bytes();
        let client = ([10, 1, high, low], 49_152);
        let (from, to) = if direction == Direction::ToBroker { (client, BROKER) } else { (BROKER, client) };
        let mut tcp = Vec::with_capacity(20 + payload.len());
        tcp.extend_from_slice(&u16::to_be_bytes(from.1));
        tcp.extend_from_slice(&u16::to_be_bytes(to.1));
        tcp.extend_from_slice(&sequence.to_be_bytes());
        tcp.extend_from_slice(&acknowledged.to_be_bytes());
        // Header of five words, flags, the largest window; checksum and urgent pointer follow.
        tcp.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend_from_slice(payload);
        let mut pseudo = [&from.0[..], &to.0[..], &[0, 6], &(tcp.len() as u16).to_be_bytes()].concat();
        pseudo.extend_from_slice(&tcp);
        let sum = checksum(&pseudo);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());

        let mut ip = vec![0x45, 0];
        ip.extend_from_slice(&((20 + tcp.len()) as u16).to_be_bytes());
        // No identification, no fragments, 64 hops, TCP; the checksum follows.
        ip.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
        ip.extend_from_slice(&from.0);
        ip.extend_from_slice(&to.0);
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());

        let length = (ip.len() + tcp.len()) as u32;
        self.file.extend_from_slice(&(at.as_secs() as u32).to_le_bytes());
        self.file.extend_from_slice(&at.subsec_micros().to_le_bytes());
        self.file.extend_from_slice(&length.to_le_bytes());
        self.file.extend_from_slice(&length.to_le_bytes());
        self.file.extend_from_slice(&ip);
        self.file.extend_from_slice(&tcp);
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self::new()
    }
}

/// The checksum of IP and TCP.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
