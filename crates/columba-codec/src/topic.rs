//! Topic names and topic filters (§ 4.7): checked once, here, and then carried as types. Which topics exist and who
//! may use them is never asked here.

use std::fmt;

use crate::wire::MAX_BINARY;

/// What a shared subscription begins with [MQTT-4.8.2-1].
const SHARE: &str = "$share/";

/// A topic name: not empty, no wildcard, no U+0000, at most 65,535 bytes
/// [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName<'a>(&'a str);

/// A topic name that owns its text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicBuf(String);

/// A topic filter, `$share/{name}/…` included where there is one [MQTT-4.8.2-1].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter<'a> {
    text: &'a str,
    /// Where the filter proper begins: after `$share/{name}/`, or 0.
    start: usize,
    wildcard: bool,
}

/// The levels of a topic name or filter, one after the other.
#[derive(Clone, Debug)]
pub struct Levels<'a> {
    rest: Option<&'a str>,
}

/// Why a text is no topic name or no topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicError {
    /// No character at all [MQTT-4.7.3-1].
    Empty,
    /// More than 65,535 bytes [MQTT-4.7.3-3].
    TooLong,
    /// U+0000 [MQTT-4.7.3-2].
    Null,
    /// `+` or `#` in a topic name [MQTT-4.7.0-1].
    WildcardInName,
    /// `#` anywhere but alone in the last level [MQTT-4.7.1-1].
    MisplacedHash,
    /// `+` beside other characters in its level [MQTT-4.7.1-2].
    MisplacedPlus,
    /// `$share` without a name, or with one that has a wildcard [MQTT-4.8.2-1] [MQTT-4.8.2-2].
    ShareName,
    /// `$share/{name}` without a filter behind it [MQTT-4.8.2-2].
    ShareFilter,
}

impl<'a> TopicName<'a> {
    /// Checks a topic name.
    ///
    /// # Errors
    /// Says what is wrong with `text`.
    #[inline]
    pub fn parse(text: &'a str) -> Result<Self, TopicError> {
        if text.len() > MAX_BINARY {
            // [MQTT-4.7.3-3]
            return Err(TopicError::TooLong);
        }
        if is_clean_name(text.as_bytes()) { Ok(Self(text)) } else { Err(name_error(text.as_bytes())) }
    }

    /// A topic name that has been checked.
    pub(crate) const fn from_checked(text: &'a str) -> Self {
        Self(text)
    }

    /// The text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels, without their separators; `a//b` has an empty one.
    #[inline]
    pub const fn levels(self) -> Levels<'a> {
        Levels { rest: Some(self.0) }
    }

    /// Whether there are more than `limit` levels.
    #[inline]
    pub fn is_deeper_than(self, limit: usize) -> bool {
        self.levels().are_more_than(limit)
    }
}

impl TopicBuf {
    /// Checks a topic name, as [`TopicName::parse`] does.
    ///
    /// # Errors
    /// Says what is wrong with `text`.
    #[inline]
    pub fn parse(text: String) -> Result<Self, TopicError> {
        TopicName::parse(&text)?;
        Ok(Self(text))
    }

    /// The topic name.
    pub const fn name(&self) -> TopicName<'_> {
        TopicName(self.0.as_str())
    }

    /// The text.
    pub const fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<TopicName<'_>> for TopicBuf {
    fn from(name: TopicName<'_>) -> Self {
        Self(name.0.to_owned())
    }
}

impl<'a> TopicFilter<'a> {
    /// Checks a topic filter.
    ///
    /// A text that begins with `$share/` is a shared subscription and must have the form of one [MQTT-4.8.2-1]:
    /// `$share/group` is an error. Any other text is an ordinary filter, `$share` alone and `$shared/x` too.
    ///
    /// # Errors
    /// Says what is wrong with `text`.
    pub fn parse(text: &'a str) -> Result<Self, TopicError> {
        if text.len() > MAX_BINARY {
            // [MQTT-4.7.3-3]
            return Err(TopicError::TooLong);
        }
        let start = check_share(text)?;
        let wildcard = check_filter(&text.as_bytes()[start..])?;
        Ok(Self { text, start, wildcard })
    }

    /// A topic filter that has been checked, with the length of its `$share/{name}/`.
    pub(crate) fn from_checked(text: &'a str, start: usize) -> Self {
        Self { text, start, wildcard: text[start..].contains(['+', '#']) }
    }

    /// The whole text, `$share/{name}/` included.
    pub const fn as_str(self) -> &'a str {
        self.text
    }

    /// The name of the group, if this is a shared subscription.
    pub fn share_name(self) -> Option<&'a str> {
        // Between the prefix and the separator before the filter proper.
        (self.start > 0).then(|| &self.text[SHARE.len()..self.start - 1])
    }

    /// The filter proper, without `$share/{name}/`.
    pub fn filter(self) -> &'a str {
        &self.text[self.start..]
    }

    /// Whether the filter proper has a `+` or `#`.
    pub const fn has_wildcard(self) -> bool {
        self.wildcard
    }

    /// The levels of the filter proper.
    pub fn levels(self) -> Levels<'a> {
        Levels { rest: Some(self.filter()) }
    }

    /// Whether the filter proper has more than `limit` levels.
    pub fn is_deeper_than(self, limit: usize) -> bool {
        self.levels().are_more_than(limit)
    }

    /// Whether `topic` matches the filter proper. This is the rule by the book; a broker's index must agree with it.
    /// Texts are compared byte by byte [MQTT-4.7.3-4].
    pub fn matches(self, topic: TopicName<'_>) -> bool {
        // [MQTT-4.7.2-1]
        if topic.as_str().starts_with('$') && self.filter().starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.levels();
        for level in self.levels() {
            match (level, names.next()) {
                // Also where nothing is left: `sport/#` matches `sport`.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

impl Levels<'_> {
    fn are_more_than(self, limit: usize) -> bool {
        // Each but one has a separator, so that nothing short has to be looked through.
        self.rest.is_some_and(|text| text.len() >= limit) && self.count() > limit
    }
}

impl<'a> Iterator for Levels<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        // Levels are short: searching in a more clever way takes longer to begin.
        let Some(end) = text.bytes().position(|byte| byte == b'/') else {
            return self.rest.take();
        };
        self.rest = Some(&text[end + 1..]);
        Some(&text[..end])
    }
}

impl std::iter::FusedIterator for Levels<'_> {}

impl fmt::Debug for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for TopicBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for TopicBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text, f)
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::TooLong => "has more than 65,535 bytes",
            Self::Null => "contains U+0000",
            Self::WildcardInName => "contains a wildcard, which only filters may have",
            Self::MisplacedHash => "has a '#' that is not alone in the last level",
            Self::MisplacedPlus => "has a '+' that is not alone in its level",
            Self::ShareName => "begins with '$share/' but has no valid group name",
            Self::ShareFilter => "begins with '$share/' but has no filter after the group name",
        })
    }
}

impl std::error::Error for TopicError {}

/// Whether a text is a topic name: the one check of the hot path. Eight bytes at a time, the last of which may have been
/// looked at before; no early exit, as names are short.
#[inline]
pub(crate) fn is_clean_name(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk() else {
        return !bytes.is_empty() && bytes.iter().all(|byte| !matches!(byte, 0 | b'+' | b'#'));
    };
    let (words, _) = bytes.as_chunks();
    words.iter().fold(special(*last), |found, &word| found | special(word)) == 0
}

/// Not 0 if a byte is 0, `+` or `#`.
#[inline]
const fn special(word: [u8; 8]) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const PLUS: u64 = u64::from_ne_bytes([b'+'; 8]);
    const DIFFERENCE: u64 = u64::from_ne_bytes([b'+' ^ b'#'; 8]);
    // Below a byte of 0 nothing is borrowed, so the highest bit of the lowest such byte is right.
    const fn zero(word: u64) -> u64 {
        word.wrapping_sub(EACH) & !word & EACH << 7
    }
    let word = u64::from_ne_bytes(word);
    zero(word) | zero((word | DIFFERENCE) ^ PLUS)
}

/// The length of `$share/{name}/` in a checked filter, 0 if it is not shared.
pub(crate) fn share_prefix(text: &str) -> usize {
    let name = text.strip_prefix(SHARE).and_then(|rest| rest.find('/'));
    name.map_or(0, |len| SHARE.len() + len + 1)
}

/// The same for a filter that is not checked yet.
fn check_share(text: &str) -> Result<usize, TopicError> {
    let Some(rest) = text.strip_prefix(SHARE) else { return Ok(0) };
    let (name, filter) = rest.split_once('/').unwrap_or((rest, ""));
    if name.contains('\0') {
        return Err(TopicError::Null);
    }
    // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    if name.is_empty() || name.contains(['+', '#']) {
        return Err(TopicError::ShareName);
    }
    // [MQTT-4.8.2-2]
    if filter.is_empty() { Err(TopicError::ShareFilter) } else { Ok(text.len() - filter.len()) }
}

/// Whether wildcards stand where they may, and whether there are any.
fn check_filter(bytes: &[u8]) -> Result<bool, TopicError> {
    if bytes.is_empty() {
        // [MQTT-4.7.3-1]
        return Err(TopicError::Empty);
    }
    let mut before = b'/';
    let mut wildcard = false;
    for (index, &byte) in bytes.iter().enumerate() {
        let after = bytes.get(index + 1);
        match byte {
            // [MQTT-4.7.1-1], [MQTT-4.7.1-2 of 3.1.1]
            b'#' if before != b'/' || after.is_some() => return Err(TopicError::MisplacedHash),
            // [MQTT-4.7.1-2], [MQTT-4.7.1-3 of 3.1.1]
            b'+' if before != b'/' || after.is_some_and(|&after| after != b'/') => {
                return Err(TopicError::MisplacedPlus);
            }
            // [MQTT-4.7.3-2]
            0 => return Err(TopicError::Null),
            _ => {}
        }
        wildcard |= matches!(byte, b'#' | b'+');
        before = byte;
    }
    Ok(wildcard)
}

#[cold]
fn name_error(bytes: &[u8]) -> TopicError {
    if bytes.is_empty() {
        // [MQTT-4.7.3-1]
        TopicError::Empty
    } else if bytes.contains(&0) {
        // [MQTT-4.7.3-2]
        TopicError::Null
    } else {
        // [MQTT-4.7.0-1], [MQTT-4.7.1-1 of 3.1.1]
        TopicError::WildcardInName
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_byte_is_found_wherever_it_is() {
        for len in 1..40 {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    for around in [b'a', 1, b'*', 0xff] {
                        let mut name = vec![around; len];
                        name[at] = byte;
                        let clean = !matches!(byte, 0 | b'+' | b'#');
                        assert_eq!(is_clean_name(&name), clean, "{name:?}");
                    }
                }
            }
        }
        assert!(!is_clean_name(&[]));
    }

    #[test]
    fn levels_are_what_is_between_separators() {
        for text in ["a", "/", "a/b", "/a//ä/", "///", "temperature/in/the/kitchen"] {
            let expected: Vec<&str> = text.split('/').collect();
            let (name, filter) = (TopicName::parse(text).unwrap(), TopicFilter::parse(text).unwrap());
            assert_eq!(name.levels().collect::<Vec<_>>(), expected);
            assert_eq!(filter.levels().collect::<Vec<_>>(), expected);
            for limit in 0..8 {
                assert_eq!(name.is_deeper_than(limit), expected.len() > limit, "{text} {limit}");
                assert_eq!(filter.is_deeper_than(limit), expected.len() > limit, "{text} {limit}");
            }
        }
        assert!(!TopicFilter::parse("$share/g/a/b").unwrap().is_deeper_than(2));
    }

    #[test]
    fn names() {
        for good in ["/", "a", "a/b", "a//b", " ", "$SYS/x", "\u{FEFF}", "ä/ö", "$share/x/y"] {
            assert_eq!(TopicName::parse(good).map(TopicName::as_str), Ok(good));
        }
        assert_eq!(TopicName::parse(""), Err(TopicError::Empty));
        assert_eq!(TopicName::parse("a/+"), Err(TopicError::WildcardInName));
        assert_eq!(TopicName::parse("a#"), Err(TopicError::WildcardInName));
        assert_eq!(TopicName::parse("a\0"), Err(TopicError::Null));
        assert!(TopicName::parse(&"x".repeat(65_535)).is_ok());
        assert_eq!(TopicName::parse(&"x".repeat(65_536)), Err(TopicError::TooLong));
    }

    #[test]
    fn owned_names() {
        let owned = TopicBuf::parse("a/b".into()).unwrap();
        assert_eq!((owned.as_str(), owned.name()), ("a/b", TopicName::parse("a/b").unwrap()));
        assert_eq!(TopicBuf::from(owned.name()), owned);
        assert_eq!(TopicBuf::parse("a/+".into()), Err(TopicError::WildcardInName));
    }

    #[test]
    fn filters() {
        for good in ["#", "+", "+/+", "a/+/b/#", "/#", "/", "$SYS/#", "$shared/+", "$share/g/#", "$share/g//"]
        {
            assert_eq!(TopicFilter::parse(good).map(TopicFilter::as_str), Ok(good));
        }
        for (bad, error) in [
            ("", TopicError::Empty),
            ("a#", TopicError::MisplacedHash),
            ("#/a", TopicError::MisplacedHash),
            ("a/##", TopicError::MisplacedHash),
            ("a+", TopicError::MisplacedPlus),
            ("++", TopicError::MisplacedPlus),
            ("\0", TopicError::Null),
            ("$share/", TopicError::ShareName),
            ("$share//a", TopicError::ShareName),
            ("$share/+/a", TopicError::ShareName),
            ("$share/g#/a", TopicError::ShareName),
            ("$share/g", TopicError::ShareFilter),
            ("$share/g/", TopicError::ShareFilter),
            ("$share/g/a#", TopicError::MisplacedHash),
        ] {
            assert_eq!(TopicFilter::parse(bad), Err(error), "{bad}");
        }
        let shared = TopicFilter::parse("$share/group/a/+").unwrap();
        assert_eq!(
            (shared.share_name(), shared.filter(), shared.has_wildcard()),
            (Some("group"), "a/+", true)
        );
        let plain = TopicFilter::parse("a/b").unwrap();
        assert_eq!((plain.share_name(), plain.filter(), plain.has_wildcard()), (None, "a/b", false));
    }

    #[test]
    fn matching() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/B", false),
            ("a/b", "a/b/", false),
            ("sport/#", "sport", true),
            ("sport/#", "sport/", true),
            ("sport/#", "sport/a/b", true),
            ("sport/#", "sports", false),
            ("#", "a", true),
            ("#", "/", true),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("$SYS/+", "$SYS/a", true),
            ("+", "a", true),
            ("+", "/a", false),
            ("/+", "/a", true),
            ("+/+", "/a", true),
            ("a/+", "a", false),
            ("a/+/c", "a//c", true),
            ("+/+/#", "a/b", true),
            ("$share/g/a/+", "a/b", true),
            ("$share/g/#", "$SYS/a", false),
        ] {
            let filter = TopicFilter::parse(filter).unwrap();
            assert_eq!(filter.matches(TopicName::parse(topic).unwrap()), expected, "{filter} and {topic}");
        }
    }
}
