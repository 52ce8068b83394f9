//! What every byte of a packet means, for a person who looks at one: the names of its fields, their values, and what follows
//! from them here. It judges one packet alone and knows nothing of the connection that it came on but the version.
//!
//! ```
//! use columba_testkit::Version;
//! use columba_testkit::dissect::dissect;
//!
//! // PUBACK for packet 7: nobody had subscribed.
//! let fields = dissect(Version::V5, &[0x40, 3, 0, 7, 0x10]);
//! let rows: Vec<_> = fields.iter().map(|field| format!("{}: {}", field.name, field.value)).collect();
//! assert_eq!(
//!     rows,
//!     [
//!         "Packet Type: PUBACK",
//!         "Remaining Length: 3",
//!         "Packet Identifier: 7",
//!         "Reason Code: 0x10 No matching subscribers",
//!     ]
//! );
//! assert_eq!(fields[3].range, 4..5);
//! ```

mod header;
mod packets;
mod properties;
mod requests;
mod scan;
mod words;

use std::borrow::Cow;
use std::ops::Range;

use columba_codec::{FixedHeader, Packet, Version};

use self::scan::Scan;

/// One field of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Field {
    /// Its bytes. Empty for a field that should be there and is not.
    pub range: Range<usize>,
    /// What it is called.
    pub name: Cow<'static, str>,
    /// What is in it, in a form for people. Long texts and long binary data are shown in part.
    pub value: String,
    /// What that means; empty where the value says it all.
    pub note: String,
    /// It must not be so, and [`note`](field@Self::note) says why. What is inside may be wrong without this.
    pub is_wrong: bool,
    /// The bits of a byte that has some, from the highest; they are all of it.
    pub bits: Vec<Bits>,
    /// What it is made of, if it is made of fields: they are all of it.
    pub children: Vec<Field>,
}

/// Some bits of a byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Bits {
    /// Which bits.
    pub mask: u8,
    /// What they are called.
    pub name: Cow<'static, str>,
    /// What is in them, as a number: 0 or 1 for a single bit.
    pub value: u8,
    /// What that means.
    pub note: String,
    /// They must not be so.
    pub is_wrong: bool,
}

/// Explains one packet. `version` is that of its connection; a CONNECT says its own.
///
/// The fields follow each other from the first byte to the last. It takes any bytes: what is cut off, not allowed or not
/// understood is there as well, and [says so](Field::is_wrong), and something does wherever the codec would refuse the packet.
/// Its work is bounded by the number of bytes, and what it returns by some thousand fields: behind them everything is one.
pub fn dissect(version: Version, bytes: &[u8]) -> Vec<Field> {
    let mut scan = Scan::new(bytes);
    header::read(&mut scan, version);
    let mut fields = scan.finish();
    // What the fields do not know, the codec does.
    if let Err(problem) = judge(version, bytes)
        && !fields.iter().any(Field::has_problem)
        && let Some(first) = fields.first_mut()
    {
        first.is_wrong = true;
        first.note = problem;
    }
    fields
}

impl Field {
    /// It is wrong, or something inside is.
    pub fn has_problem(&self) -> bool {
        self.is_wrong
            || self.bits.iter().any(|bits| bits.is_wrong)
            || self.children.iter().any(Self::has_problem)
    }

    fn new(range: Range<usize>, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self {
            range,
            name: name.into(),
            value: value.into(),
            note: String::new(),
            is_wrong: false,
            bits: Vec::new(),
            children: Vec::new(),
        }
    }

    fn note(&mut self, note: impl Into<String>) {
        if !self.is_wrong {
            self.note = note.into();
        }
    }

    /// The first thing that is wrong counts.
    fn wrong(&mut self, note: impl Into<String>) {
        self.note(note);
        self.is_wrong = true;
    }

    fn wrong_if(&mut self, is_wrong: bool, note: &str) {
        if is_wrong {
            self.wrong(note);
        }
    }
}

impl Bits {
    fn new(byte: u8, mask: u8, name: &'static str, note: impl Into<String>) -> Self {
        let value = (byte & mask) >> mask.trailing_zeros();
        Self { mask, name: name.into(), value, note: note.into(), is_wrong: false }
    }

    /// Bits that have no meaning and must be so.
    fn reserved(byte: u8, mask: u8, expected: u8) -> Self {
        let bits = Self::new(byte, mask, "Reserved", "without meaning");
        bits.wrong_if(byte & mask != expected, &format!("must be {:b}", expected >> mask.trailing_zeros()))
    }

    fn wrong_if(self, is_wrong: bool, note: &str) -> Self {
        if is_wrong { Self { note: note.to_owned(), is_wrong, ..self } } else { self }
    }
}

fn judge(version: Version, bytes: &[u8]) -> Result<(), String> {
    let header = FixedHeader::read(bytes, usize::MAX).map_err(|error| error.to_string())?;
    let Some(header) = header.filter(|header| header.total() == bytes.len()) else {
        return Err("this is not one packet".to_owned());
    };
    Packet::decode(header, &bytes[header.len..], version).map(drop).map_err(|error| error.to_string())
}
