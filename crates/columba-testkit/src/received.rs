//! A packet as a client got it.

use columba_codec::{FixedHeader, Packet, Version};

use crate::words::describe;

/// A packet as it came.
#[derive(Clone, Debug)]
pub struct Received {
    text: String,
    bytes: Vec<u8>,
    version: Version,
}

impl Received {
    /// Splits the first packet off `buffer`.
    ///
    /// # Errors
    /// What is there is no packet; says why.
    pub(crate) fn take(buffer: &mut bytes::BytesMut, version: Version) -> Result<Option<Self>, String> {
        let wrong = |error: &dyn std::fmt::Display, bytes: &[u8]| {
            format!(
                "the broker sent something that is no packet: {error}: {:02x?}",
                &bytes[..bytes.len().min(80)]
            )
        };
        let header = FixedHeader::read(buffer, usize::MAX).map_err(|error| wrong(&error, buffer))?;
        let Some(header) = header.filter(|header| header.total() <= buffer.len()) else {
            return Ok(None);
        };
        let bytes = buffer.split_to(header.total()).to_vec();
        let packet = Packet::decode(header, &bytes[header.len..], version);
        let text = packet.map(|packet| describe(&packet)).map_err(|error| wrong(&error, &bytes))?;
        Ok(Some(Self { text, bytes, version }))
    }

    /// The packet itself.
    pub fn packet(&self) -> Packet<'_> {
        let header = FixedHeader::read(&self.bytes, usize::MAX).ok().flatten();
        let packet =
            header.and_then(|header| Packet::decode(header, &self.bytes[header.len..], self.version).ok());
        packet.expect("it was decoded when it came")
    }

    /// The packet in short, as in `PUBLISH a/b=hello q1 #1`; the form that [`describe`] gives.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// As it was on the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
