//! Numbers and bytes of a snapshot. It knows nothing of what they stand for.

use super::RestoreError;

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7F {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_number(out, count as u64);
}

/// A number that may be negative: its sign goes into the lowest bit, so that small ones stay short.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, (number << 1 ^ number >> 63).cast_unsigned());
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Takes values off the front. It remembers where the last one began, for the error.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Where in the snapshot `rest` ends.
    end: usize,
    last: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which begin at `start` in the snapshot.
    pub(super) const fn new(bytes: &'a [u8], start: usize) -> Self {
        Self { rest: bytes, end: start + bytes.len(), last: start }
    }

    /// What is wrong with the value that was read last.
    pub(super) const fn damaged(&self, what: &'static str) -> RestoreError {
        RestoreError::Damaged { offset: self.last, what }
    }

    pub(super) fn u8(&mut self) -> Result<u8, RestoreError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Result<u64, RestoreError> {
        self.last = self.end - self.rest.len();
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(self.damaged(ENDS))?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.damaged("a number that is too large"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, RestoreError> {
        u32::try_from(self.number()?).map_err(|_| self.damaged("a number that is too large"))
    }

    pub(super) fn u16(&mut self) -> Result<u16, RestoreError> {
        u16::try_from(self.number()?).map_err(|_| self.damaged("a number that is too large"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, RestoreError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], RestoreError> {
        self.last = self.end - self.rest.len();
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(self.damaged(ENDS))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RestoreError> {
        let len = self.number()?;
        // What does not fit is certainly more than there is.
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, RestoreError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.damaged("a text that is not UTF-8"))
    }

    pub(super) fn finish(&mut self) -> Result<(), RestoreError> {
        self.last = self.end - self.rest.len();
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged("there is more than belongs here")) }
    }
}

const ENDS: &str = "it ends in the middle";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let edges = [0, 1, 0x7F, 0x80, 0x3FFF, 0x4000, u64::MAX >> 1, u64::MAX - 1, u64::MAX];
        for number in edges {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            put_signed(&mut bytes, number.cast_signed());
            let mut reader = Reader::new(&bytes, 3);
            assert_eq!(reader.number(), Ok(number));
            assert_eq!(reader.signed(), Ok(number.cast_signed()));
            assert_eq!(reader.finish(), Ok(()));
            assert_eq!(reader.number(), Err(RestoreError::Damaged { offset: 3 + bytes.len(), what: ENDS }));
        }
    }

    #[test]
    fn what_is_too_large_is_no_number() {
        for bytes in [&[0xFF; 10][..], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"] {
            let what = "a number that is too large";
            assert_eq!(Reader::new(bytes, 0).number(), Err(RestoreError::Damaged { offset: 0, what }));
        }
        let mut bytes = Vec::new();
        put_number(&mut bytes, 1 << 32);
        assert!(Reader::new(&bytes, 0).u32().is_err());
        assert!(Reader::new(b"\x80\x80\x04", 0).u16().is_err());
        assert!(Reader::new(b"\xff\xff\x03", 0).u16().is_ok());
    }

    #[test]
    fn a_length_beyond_the_end_takes_nothing() {
        let mut bytes = Vec::new();
        put_number(&mut bytes, u64::MAX);
        assert_eq!(Reader::new(&bytes, 0).bytes(), Err(RestoreError::Damaged { offset: 10, what: ENDS }));
    }
}
