//! The rules for topic names and topic filters once more, level by level and as slow as they are simple.

/// A topic filter in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter<'a> {
    pub(crate) group: Option<&'a str>,
    pub(crate) filter: &'a str,
}

/// Whether `text` is a topic name [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2].
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['\0', '+', '#'])
}

/// The parts of `text`, if it is a topic filter [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.8.2-1] [MQTT-4.8.2-2].
pub(crate) fn filter(text: &str) -> Option<Filter<'_>> {
    let parts: Vec<&str> = text.splitn(3, '/').collect();
    let parsed = match parts[..] {
        ["$share"] => Filter { group: None, filter: text },
        ["$share", group, filter] if is_name(group) => Filter { group: Some(group), filter },
        ["$share", ..] => return None,
        _ => Filter { group: None, filter: text },
    };
    let levels: Vec<&str> = parsed.filter.split('/').collect();
    let last = levels.len() - 1;
    let is_fine = |(at, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => at == last,
        other => !other.contains(['\0', '+', '#']),
    };
    (!parsed.filter.is_empty() && levels.iter().enumerate().all(is_fine)).then_some(parsed)
}

/// Whether a topic name matches a filter without its `$share/{name}/`.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    // [MQTT-4.7.2-1]
    let is_hidden = topic[0].starts_with('$') && (filter[0] == "+" || filter[0] == "#");
    !is_hidden && levels_match(&filter, &topic)
}

fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => levels_match(filter, topic),
        ([level, filter @ ..], [name, topic @ ..]) => level == name && levels_match(filter, topic),
        _ => false,
    }
}
