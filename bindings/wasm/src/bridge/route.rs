//! Which topics go over a bridge and what they are called on the other side. Never who sends them.

use std::fmt;

use columba_codec::{QoS, TopicError, TopicFilter, TopicName};

/// Topics that go over a bridge in one direction.
///
/// The rules are those of Mosquitto's `topic pattern direction qos local-prefix remote-prefix`. `filter` is relative to both
/// prefixes: the side that messages come from is asked for its own prefix and then the filter. Of a topic that matches, that
/// prefix is taken off and the other side's put in front. So with the filter `a/#`, the local prefix `x/` and the remote prefix
/// `y/`, `y/a/b` at the remote broker is `x/a/b` at the local one.
///
/// * Prefixes have no wildcards. A separator between prefix and filter is part of one of them.
/// * The filter may be empty if both prefixes are not: then one topic becomes one other.
/// * The filter `a/#` matches `a` too. A topic that is matched without having the whole prefix (`y` by `y/` and `#`) is not
///   passed on: there is nothing that it would be relative to the prefix.
/// * A message goes by the first route that matches it, at no more than the QoS of that route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Topic filter, relative to the prefixes. Not a shared one.
    pub filter: String,
    /// The highest QoS that messages are asked for and passed on with.
    pub qos: QoS,
    /// What topics begin with at the local broker, before what the filter is about.
    pub local_prefix: String,
    /// The same at the remote broker.
    pub remote_prefix: String,
}

/// Why a route is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// A prefix is no beginning of a topic name.
    Prefix(TopicError),
    /// Prefix and filter together are no topic filter.
    Filter(TopicError),
    /// A shared subscription: it cannot be kept from coming back.
    Shared,
}

/// A route as the side sees it that messages come from.
#[derive(Debug)]
pub(super) struct Path {
    /// What the broker there is asked for.
    pub(super) filter: String,
    pub(super) qos: QoS,
    /// To be taken off, and to be put in front.
    from: String,
    to: String,
}

impl Path {
    /// The route with its topics under `from` on the side that messages come from, and under `to` on the other.
    pub(super) fn new(route: &Route, from: &str, to: &str) -> Result<Self, RouteError> {
        for prefix in [from, to] {
            match TopicName::parse(prefix) {
                Ok(_) | Err(TopicError::Empty) => {}
                Err(error) => return Err(RouteError::Prefix(error)),
            }
            TopicFilter::parse(&[prefix, &route.filter].concat()).map_err(RouteError::Filter)?;
        }
        let filter = [from, &*route.filter].concat();
        // A filter that is shared only with its prefix, or only without, is neither on purpose.
        let is_shared = |text: &str| text.starts_with("$share/");
        if is_shared(&filter) || is_shared(&route.filter) {
            return Err(RouteError::Shared);
        }
        Ok(Self { filter, qos: route.qos, from: from.into(), to: to.into() })
    }

    pub(super) fn filter(&self) -> Option<TopicFilter<'_>> {
        TopicFilter::parse(&self.filter).ok()
    }

    pub(super) fn matches(&self, topic: TopicName<'_>) -> bool {
        self.filter().is_some_and(|filter| filter.matches(topic))
    }

    /// What a topic that matches is called on the other side.
    pub(super) fn map(&self, topic: TopicName<'_>) -> Option<String> {
        let rest = topic.as_str().strip_prefix(&*self.from)?;
        Some([&*self.to, rest].concat())
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(error) => write!(f, "a prefix {error}"),
            Self::Filter(error) => write!(f, "a filter with its prefix {error}"),
            Self::Shared => f.write_str("a shared subscription cannot be bridged"),
        }
    }
}

impl std::error::Error for RouteError {}
