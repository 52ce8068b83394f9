//! Which filter matches which topic, level by level as § 4.7 says it. Never an index.

/// Whether this filter, without `$share/…`, matches.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    // [MQTT-4.7.2-1]
    if topic.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    for (at, &level) in filter.iter().enumerate() {
        match (level, topic.get(at)) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(&other)) if level == other => {}
            _ => return false,
        }
    }
    filter.len() == topic.len()
}

/// The filter inside `$share/group/filter`.
pub(super) fn shared(filter: &str) -> Option<&str> {
    filter.strip_prefix("$share/")?.split_once('/').map(|(_, filter)| filter)
}

#[cfg(test)]
mod tests {
    use super::{matches, shared};

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic, expected) in [
            ("#", "a/b", true),
            ("#", "$x", false),
            ("$x/#", "$x", true),
            ("+", "a", true),
            ("+", "a/b", false),
            ("a/#", "a", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("+/+/+", "a//b", true),
            ("a", "a/b", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
        assert_eq!((shared("$share/g/a/#"), shared("a")), (Some("a/#"), None));
    }
}
