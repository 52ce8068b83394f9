//! Topic names, topic filters and which matches which.
#![allow(missing_docs)]

use columba_codec::{TopicError, TopicFilter, TopicName};
use proptest::prelude::*;

#[test]
fn names() {
    let name = |text| TopicName::parse(text).map(TopicName::as_str);
    for text in
        ["/", "a", "a/b", "a//b", "/a", "a/", " ", "$SYS/x", "$share/g/t", "ä/ö", "😄", "\u{FEFF}a", "\u{1}"]
    {
        assert_eq!(name(text), Ok(text));
    }
    for (text, error) in [
        ("", TopicError::Empty),
        ("+", TopicError::WildcardInName),
        ("#", TopicError::WildcardInName),
        ("a+b", TopicError::WildcardInName),
        ("a/b#", TopicError::WildcardInName),
        ("\0", TopicError::Null),
        ("a/\0/b", TopicError::Null),
    ] {
        assert_eq!(name(text), Err(error), "{text:?}");
    }
    // At the limit and one past it.
    assert!(TopicName::parse(&"t".repeat(65_535)).is_ok());
    assert_eq!(TopicName::parse(&"t".repeat(65_536)), Err(TopicError::TooLong));
}

#[test]
fn filters() {
    for (text, share, filter, wildcard) in [
        ("a", None, "a", false),
        ("#", None, "#", true),
        ("/#", None, "/#", true),
        ("+", None, "+", true),
        ("+/+", None, "+/+", true),
        ("/+/", None, "/+/", true),
        ("a/+/b/#", None, "a/+/b/#", true),
        ("$SYS/#", None, "$SYS/#", true),
        ("$shared/x", None, "$shared/x", false),
        ("$SHARE/x", None, "$SHARE/x", false),
        ("a/$share/b", None, "a/$share/b", false),
        ("$share/g/a", Some("g"), "a", false),
        ("$share/g/#", Some("g"), "#", true),
        ("$share/g//", Some("g"), "/", false),
        ("$share/ä 1/a/+", Some("ä 1"), "a/+", true),
        ("$share/g/$share/h/a", Some("g"), "$share/h/a", false),
    ] {
        let parsed = TopicFilter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parsed.as_str(), text);
        assert_eq!((parsed.share_name(), parsed.filter()), (share, filter), "{text}");
        assert_eq!(parsed.has_wildcard(), wildcard, "{text}");
        assert_eq!(parsed.levels().collect::<Vec<_>>().join("/"), filter);
    }
    for (text, error) in [
        ("", TopicError::Empty),
        ("a#", TopicError::MisplacedHash),
        ("##", TopicError::MisplacedHash),
        ("#/", TopicError::MisplacedHash),
        ("a/#/b", TopicError::MisplacedHash),
        ("+#", TopicError::MisplacedPlus),
        ("#+", TopicError::MisplacedHash),
        ("a+", TopicError::MisplacedPlus),
        ("+a", TopicError::MisplacedPlus),
        ("++", TopicError::MisplacedPlus),
        ("a/b+/c", TopicError::MisplacedPlus),
        ("a\0", TopicError::Null),
        ("$share/\0/a", TopicError::Null),
        ("$share/g/\0", TopicError::Null),
        ("$share/", TopicError::ShareName),
        ("$share//a", TopicError::ShareName),
        ("$share/+/a", TopicError::ShareName),
        ("$share/g#/a", TopicError::ShareName),
        ("$share/g", TopicError::ShareFilter),
        ("$share/g/", TopicError::ShareFilter),
        ("$share/g/a#", TopicError::MisplacedHash),
    ] {
        assert_eq!(TopicFilter::parse(text), Err(error), "{text:?}");
    }
    assert!(TopicFilter::parse(&"t".repeat(65_535)).is_ok());
    assert_eq!(TopicFilter::parse(&"t".repeat(65_536)), Err(TopicError::TooLong));
}

#[test]
fn errors_say_what_is_wrong() {
    let error = TopicFilter::parse("a#").unwrap_err();
    assert_eq!(error.to_string(), "has a '#' that is not alone in the last level");
}

#[test]
fn matching() {
    for (filter, topic, expected) in [
        ("a", "a", true),
        ("a", "A", false),
        ("a", "/a", false),
        ("a", "a/", false),
        ("a/b/c", "a/b/c", true),
        ("a/b", "a/b/c", false),
        ("a/b/c", "a/b", false),
        ("sport/#", "sport", true),
        ("sport/#", "sport/", true),
        ("sport/#", "sport/tennis/player1", true),
        ("sport/#", "sports", false),
        ("sport/tennis/#", "sport", false),
        ("#", "a", true),
        ("#", "a/b/c", true),
        ("#", "/", true),
        ("/#", "/", true),
        ("/#", "/a", true),
        ("/#", "a", false),
        ("+", "a", true),
        ("+", "/a", false),
        ("+", "a/b", false),
        ("/+", "/a", true),
        ("/+", "/", true),
        ("+/+", "/a", true),
        ("+/+", "/", true),
        ("a/+", "a", false),
        ("a/+", "a/", true),
        ("a/+/c", "a/b/c", true),
        ("a/+/c", "a//c", true),
        ("a/+/c", "a/b/b/c", false),
        ("+/b/#", "a/b", true),
        ("+/b/#", "b", false),
        ("a//b", "a//b", true),
        ("a//b", "a/b", false),
        ("a/b", "a//b", false),
        // [MQTT-4.7.2-1]
        ("#", "$SYS/a", false),
        ("+/a", "$SYS/a", false),
        ("+", "$SYS", false),
        ("$SYS/#", "$SYS/a/b", true),
        ("$SYS/#", "$SYS", true),
        ("$SYS/+", "$SYS/a", true),
        ("$SYS/a", "$SYS/a", true),
        ("a/#", "a/$b", true),
        ("a/+", "a/$b", true),
        ("$share/g/#", "$SYS/a", false),
        ("$share/g/$SYS/#", "$SYS/a", true),
        ("$share/g/a/+", "a/b", true),
        ("$share/g/a", "$share/g/a", false),
        // [MQTT-4.7.3-4]: composed and decomposed are two texts.
        ("\u{E4}", "a\u{308}", false),
        ("ä/+", "ä/ö", true),
    ] {
        let parsed = TopicFilter::parse(filter).unwrap();
        assert_eq!(parsed.matches(TopicName::parse(topic).unwrap()), expected, "{filter} and {topic}");
    }
}

/// Character by character, without levels: another way to the same answer.
fn model(filter: &[u8], topic: &[u8]) -> bool {
    match (filter, topic) {
        ([b'#'], _) | ([] | [b'/', b'#'], []) => true,
        ([b'+', filter @ ..], topic) => {
            let level = topic.iter().position(|&byte| byte == b'/').unwrap_or(topic.len());
            model(filter, &topic[level..])
        }
        ([wanted, filter @ ..], [byte, topic @ ..]) if wanted == byte => model(filter, topic),
        _ => false,
    }
}

/// The rules of § 4.7.1 for one level each.
fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let has_wildcard = |level: &str| level.contains(['+', '#']);
    !text.is_empty()
        && levels.iter().enumerate().all(|(index, &level)| {
            level == "+" || !has_wildcard(level) || (level == "#" && index + 1 == levels.len())
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn matching_agrees_with_the_model(filter in "(\\$|)([ab+]?/){0,4}[ab+#]?", topic in "(\\$|)([ab]?/){0,4}[ab]?") {
        if let (Ok(parsed), Ok(name)) = (TopicFilter::parse(&filter), TopicName::parse(&topic)) {
            let is_hidden = topic.starts_with('$') && filter.starts_with(['+', '#']);
            let expected = !is_hidden && model(filter.as_bytes(), topic.as_bytes());
            prop_assert_eq!(parsed.matches(name), expected);
        }
    }

    #[test]
    fn parsing_agrees_with_the_rules(text in "[a+#/$]{0,8}") {
        prop_assert_eq!(TopicFilter::parse(&text).is_ok(), is_filter(&text));
        prop_assert_eq!(TopicName::parse(&text).is_ok(), !text.is_empty() && !text.contains(['+', '#']));
    }

    #[test]
    fn anything_can_be_parsed(text in "\\PC{0,12}|(\\$share/)?[\0-\u{7F}]{0,12}") {
        let is_name = !text.is_empty() && !text.contains(['+', '#', '\0']);
        prop_assert_eq!(TopicName::parse(&text).is_ok(), is_name);
        if let Ok(filter) = TopicFilter::parse(&text) {
            prop_assert!(text.ends_with(filter.filter()));
            prop_assert_eq!(filter.has_wildcard(), filter.filter().contains(['+', '#']));
            if let Some(name) = filter.share_name() {
                prop_assert_eq!(format!("$share/{name}/{}", filter.filter()), text);
            }
        }
    }

    #[test]
    fn a_name_matches_itself(text in "[^\0+#]{1,12}") {
        if let (Ok(filter), Ok(name)) = (TopicFilter::parse(&text), TopicName::parse(&text)) {
            prop_assert_eq!(filter.matches(name), filter.share_name().is_none());
        }
    }
}
