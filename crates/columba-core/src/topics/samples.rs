//! Topics and filters for tests: few levels to choose from, so that much matches; empty ones, `$` and depth among
//! them, and one that is long.

use columba_codec::{TopicFilter, TopicName};
use proptest::prelude::*;

const LEVELS: [&str; 6] = ["", "a", "b", "$a", "ä", "temperature in the kitchen"];

fn levels(wildcards: bool) -> impl Strategy<Value = Vec<&'static str>> {
    let mut levels = LEVELS.to_vec();
    if wildcards {
        levels.extend(["+", "+"]);
    }
    prop::collection::vec(prop::sample::select(levels), 1..6)
}

/// Topic names.
pub(crate) fn topics() -> impl Strategy<Value = String> {
    let joined = levels(false).prop_map(|levels| levels.join("/"));
    joined.prop_filter("it is a topic", |topic| TopicName::parse(topic).is_ok())
}

/// Topic filters, shared ones among them if asked for.
pub(crate) fn filters(shared: bool) -> impl Strategy<Value = String> {
    let share = prop_oneof![3 => Just(""), 1 => Just("$share/g/"), 1 => Just("$share/h/")];
    (levels(true), any::<bool>(), share)
        .prop_map(move |(mut levels, hash, share)| {
            if hash {
                levels.pop();
                levels.push("#");
            }
            format!("{}{}", if shared { share } else { "" }, levels.join("/"))
        })
        .prop_filter("it is a filter", |filter| TopicFilter::parse(filter).is_ok())
}
