//! Output of one connection: small frames copied one after the other, larger payloads linked and never copied.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// Bytes to be sent, in order. The caller owns it, hands it to [`Core::poll_transmit`](crate::Core::poll_transmit),
/// and takes the front off with [`advance`](Self::advance) as its transport accepts bytes.
#[derive(Debug, Default)]
pub struct Chunks {
    copied: Vec<u8>,
    /// Bytes of `copied` that are sent already.
    sent: usize,
    links: VecDeque<Link>,
    /// Sum of the lengths of `links`.
    linked: usize,
}

#[derive(Debug)]
struct Link {
    /// Position in `copied` before which the bytes belong.
    at: usize,
    bytes: Bytes,
}

impl Chunks {
    /// No bytes and no allocation.
    pub const fn new() -> Self {
        Self { copied: Vec::new(), sent: 0, links: VecDeque::new(), linked: 0 }
    }

    /// Bytes that wait to be sent.
    pub fn len(&self) -> usize {
        self.copied.len() - self.sent + self.linked
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.copied.len() == self.sent && self.links.is_empty()
    }

    /// Appends a copy of `bytes`.
    pub fn put(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
    }

    /// Appends `bytes` without copying them.
    pub fn link(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.linked += bytes.len();
            self.links.push_back(Link { at: self.copied.len(), bytes });
        }
    }

    /// The buffer of copied bytes: an encoder may append to it, and must do nothing else.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// The first piece that is contiguous; empty only if nothing waits.
    pub fn chunk(&self) -> &[u8] {
        match self.links.front() {
            Some(link) if link.at == self.sent => &link.bytes,
            Some(link) => &self.copied[self.sent..link.at],
            None => &self.copied[self.sent..],
        }
    }

    /// Fills `slices` with the first pieces for a vectored write and returns how many it set.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        let mut from = self.sent;
        let mut push = |piece: &'a [u8]| {
            if piece.is_empty() {
                return true;
            }
            let Some(slot) = slices.get_mut(count) else {
                return false;
            };
            *slot = IoSlice::new(piece);
            count += 1;
            true
        };
        for link in &self.links {
            if !push(&self.copied[from..link.at]) || !push(&link.bytes) {
                return count;
            }
            from = link.at;
        }
        push(&self.copied[from..]);
        count
    }

    /// Takes `count` bytes off the front.
    ///
    /// # Panics
    /// If fewer bytes wait.
    pub fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len(), "advance past the end of the output");
        while count > 0 {
            let front = match self.links.front_mut() {
                Some(link) if link.at == self.sent => {
                    let part = count.min(link.bytes.len());
                    bytes::Buf::advance(&mut link.bytes, part);
                    self.linked -= part;
                    if link.bytes.is_empty() {
                        self.links.pop_front();
                    }
                    count -= part;
                    continue;
                }
                Some(link) => link.at,
                None => self.copied.len(),
            };
            let part = count.min(front - self.sent);
            self.sent += part;
            count -= part;
        }
        if self.is_empty() {
            self.clear();
        }
    }

    /// Takes the first contiguous piece: linked bytes as they are, copied ones as a new allocation.
    pub fn take_chunk(&mut self) -> Option<Bytes> {
        if self.is_empty() {
            return None;
        }
        let piece = match self.links.front() {
            Some(link) if link.at == self.sent => link.bytes.clone(),
            _ => Bytes::copy_from_slice(self.chunk()),
        };
        self.advance(piece.len());
        Some(piece)
    }

    /// Forgets everything, keeping the allocation.
    pub fn clear(&mut self) {
        self.copied.clear();
        self.sent = 0;
        self.links.clear();
        self.linked = 0;
    }

    /// Bytes of memory this holds on to for later use.
    pub fn capacity(&self) -> usize {
        self.copied.capacity()
    }

    /// All waiting bytes in one vector. For tests and tools.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        let mut from = self.sent;
        for link in &self.links {
            all.extend_from_slice(&self.copied[from..link.at]);
            all.extend_from_slice(&link.bytes);
            from = link.at;
        }
        all.extend_from_slice(&self.copied[from..]);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Chunks {
        let mut chunks = Chunks::new();
        chunks.put(b"ab");
        chunks.link(Bytes::from_static(b"CDE"));
        chunks.link(Bytes::from_static(b"FG"));
        chunks.put(b"hi");
        chunks.link(Bytes::new());
        chunks
    }

    #[test]
    fn pieces_come_in_order() {
        let chunks = sample();
        assert_eq!(chunks.len(), 9);
        assert_eq!(chunks.to_vec(), b"abCDEFGhi");
        let mut slices = [IoSlice::new(&[]); 8];
        let count = chunks.io_slices(&mut slices);
        let pieces: Vec<&[u8]> = slices[..count].iter().map(|slice| &**slice).collect();
        assert_eq!(pieces, [&b"ab"[..], b"CDE", b"FG", b"hi"]);
        assert_eq!(chunks.io_slices(&mut slices[..2]), 2);
    }

    #[test]
    fn any_partial_write_leaves_the_rest() {
        for first in 0..=9 {
            for second in 0..=9 - first {
                let mut chunks = sample();
                chunks.advance(first);
                chunks.advance(second);
                assert_eq!(chunks.to_vec(), b"abCDEFGhi"[first + second..]);
                assert_eq!(chunks.len(), 9 - first - second);
                assert_eq!(chunks.is_empty(), first + second == 9);
                assert_eq!(chunks.chunk().is_empty(), chunks.is_empty());
            }
        }
    }

    #[test]
    fn linked_pieces_are_taken_uncopied() {
        let payload = Bytes::from(vec![7; 100]);
        let mut chunks = Chunks::new();
        chunks.put(b"head");
        chunks.link(payload.clone());
        assert_eq!(chunks.take_chunk().unwrap(), "head");
        assert_eq!(chunks.take_chunk().unwrap().as_ptr(), payload.as_ptr());
        assert!(chunks.take_chunk().is_none());
    }
}
