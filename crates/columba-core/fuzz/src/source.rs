//! Choices, made by the bytes of a fuzzer.

/// What is left of the bytes. `None` everywhere means that there are none left, and ends the script.
pub(crate) struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    pub(crate) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        self.byte().map(|byte| choices[usize::from(byte) % choices.len()])
    }

    /// True for one byte in so many.
    pub(crate) fn one_in(&mut self, times: u8) -> Option<bool> {
        self.byte().map(|byte| byte % times == times - 1)
    }

    /// A length and so many bytes, or as many as there are.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(bytes)
    }

    /// The same as far as it is text.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let bytes = self.bytes()?;
        Some(match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        })
    }

    /// One of `texts`, or what stands in the bytes.
    pub(crate) fn text_or(&mut self, texts: &[&'a str]) -> Option<&'a str> {
        let choice = usize::from(self.byte()?) % (texts.len() + 1);
        texts.get(choice).copied().map_or_else(|| self.text(), Some)
    }
}
