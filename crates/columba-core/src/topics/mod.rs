//! The two indices over topics: subscriptions, asked with a topic name, and retained messages, asked with a topic
//! filter. Neither knows what a session or a message is: they keep numbers.

mod filter;
mod level;
mod retained;
#[cfg(test)]
mod samples;
mod subscriptions;
mod table;
mod trie;

pub(crate) use retained::Retained;
pub(crate) use subscriptions::{Change, GroupKey, Hit, Member, Subscriptions};
