//! What a workload consists of: plain values, made up front, that print as they would be written. Nothing here does
//! anything.

use std::fmt::{self, Write};

use columba_testkit::Version;
use columba_testkit::codec::RetainHandling;

/// A whole workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The seed it was generated from; also the seed of latencies.
    pub(crate) seed: u64,
    /// What does not change while it runs.
    pub(crate) setup: Setup,
    /// What happens, in this order.
    pub(crate) ops: Vec<Op>,
}

/// The surroundings of a workload.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setup {
    /// The protocol version of each client.
    pub(crate) versions: Vec<Version>,
    /// Milliseconds, from and to, that everything is under way.
    pub(crate) latency: (u32, u32),
    /// Shards the broker has.
    pub(crate) shards: usize,
    /// Microseconds, from and to, that what they have for each other is under way.
    pub(crate) shard_latency: (u32, u32),
    /// The broker's limit of unacknowledged messages to one client.
    pub(crate) inflight: u16,
    /// The broker's limit of aliases towards a client.
    pub(crate) aliases_out: u16,
    /// The broker's budget for one portion of output.
    pub(crate) transmit_budget: usize,
    /// The broker's limit of messages that wait for one session.
    pub(crate) queued_messages: usize,
    /// What goes if there are more: the oldest ones instead of the new one.
    pub(crate) drop_oldest: bool,
    /// QoS 0 messages are kept for clients that are away.
    pub(crate) queue_qos0_offline: bool,
}

/// One step. Clients are named by their number. A step that cannot be taken, as the client is not connected, is
/// nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    /// Opens a connection and sends CONNECT. An older connection of the client stays open and is forgotten.
    Connect(Connect),
    /// The link fails at both ends.
    Cut { client: usize },
    /// The client is gone, and the broker is not told: nothing is read or sent any more.
    Vanish { client: usize },
    /// The client sends DISCONNECT and closes. Version 5 may ask for the will and for another session expiry.
    Disconnect { client: usize, with_will: bool, session_expiry: Option<u32> },
    /// The client publishes.
    Publish(Publish),
    /// The client subscribes.
    Subscribe { client: usize, id: Option<u32>, filters: Vec<Filter> },
    /// The client unsubscribes.
    Unsubscribe { client: usize, filter: &'static str },
    /// From here on the client acknowledges like this.
    Answer { client: usize, how: Answer },
    /// The client sends acknowledgements that it held back, so many, the latest first or not.
    Ack { client: usize, count: usize, latest: bool },
    /// The client reads nothing for now.
    Stall { client: usize },
    /// The client reads again.
    Resume { client: usize },
    /// The client sends a PINGREQ.
    Ping { client: usize },
    /// The broker's owner disconnects the client.
    Kick { client: usize },
    /// From here on this happens to packets on their way.
    Fault { what: Fault, from_broker: bool, every: u64 },
    /// Nothing happens to packets any more.
    ClearFaults,
    /// Time passes.
    Advance { ms: u64 },
    /// The retained messages and sessions of the broker are compared with those of the model.
    Compare,
}

/// A CONNECT.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Connect {
    pub(crate) client: usize,
    pub(crate) clean: bool,
    /// Version 5 only.
    pub(crate) session_expiry: Option<u32>,
    pub(crate) keep_alive: u16,
    /// Version 5 only.
    pub(crate) receive_maximum: Option<u16>,
    /// Version 5 only.
    pub(crate) maximum_packet_size: Option<u32>,
    /// Version 5 only.
    pub(crate) alias_maximum: u16,
    pub(crate) will: Option<Will>,
    /// The client sends in portions of so many bytes; 0 is whole packets.
    pub(crate) chunk: usize,
}

/// A will.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Will {
    pub(crate) message: u32,
    pub(crate) topic: &'static str,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Seconds. Version 5 only.
    pub(crate) delay: Option<u32>,
    /// Seconds. Version 5 only.
    pub(crate) expiry: Option<u32>,
}

/// A PUBLISH.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Publish {
    pub(crate) client: usize,
    /// What tells it from others; 0 is an empty payload.
    pub(crate) message: u32,
    pub(crate) topic: &'static str,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Seconds. Version 5 only.
    pub(crate) expiry: Option<u32>,
    /// Use a topic alias, if the version and the broker allow it.
    pub(crate) alias: bool,
    /// Bytes of payload beyond the number.
    pub(crate) padding: usize,
}

/// One filter of a SUBSCRIBE. Versions before 5 have the QoS only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Filter {
    pub(crate) text: &'static str,
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
}

/// What happens to packets on their way. What comes from clients is lost only where that leaves no gap in what they have said
/// of themselves: a PUBLISH may set an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// PUBACK, PUBREC, PUBREL and PUBCOMP do not come.
    LoseAnswers,
    /// PUBLISH does not come; from the broker only.
    LoseMessages,
    /// Packets come so many milliseconds late.
    Delay(u64),
    /// Packets come in single bytes.
    Split,
}

/// The longest delay of a fault, in milliseconds.
pub(crate) const LONGEST_DELAY: u64 = 2_000;

/// How a client acknowledges messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// At once.
    Promptly,
    /// When told to.
    Later,
    /// At once, with an error code where the version has one.
    WithError,
}

impl Op {
    /// The client it is about.
    pub(crate) const fn client(&self) -> Option<usize> {
        match self {
            Self::Connect(connect) => Some(connect.client),
            Self::Publish(publish) => Some(publish.client),
            Self::Cut { client }
            | Self::Vanish { client }
            | Self::Disconnect { client, .. }
            | Self::Subscribe { client, .. }
            | Self::Unsubscribe { client, .. }
            | Self::Answer { client, .. }
            | Self::Ack { client, .. }
            | Self::Stall { client }
            | Self::Resume { client }
            | Self::Ping { client }
            | Self::Kick { client } => Some(*client),
            Self::Fault { .. } | Self::ClearFaults | Self::Advance { .. } | Self::Compare => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(connect) => write!(f, "{connect:?}"),
            Self::Publish(publish) => write!(f, "{publish:?}"),
            Self::Subscribe { client, id, filters } => {
                let mut text = String::new();
                for filter in filters {
                    let handling = filter.retain_handling as u8;
                    write!(text, " {}:q{}", filter.text, filter.qos)?;
                    text.push_str(if filter.no_local { ",no_local" } else { "" });
                    text.push_str(if filter.retain_as_published { ",as_published" } else { "" });
                    text.push_str(["", ",retained_if_new", ",no_retained"][handling as usize]);
                }
                write!(f, "Subscribe {{ client: {client}, id: {id:?}, filters: [{}] }}", text.trim())
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:?}", self.seed, self.setup)?;
        for (number, op) in self.ops.iter().enumerate() {
            writeln!(f, "{number:>4}  {op}")?;
        }
        Ok(())
    }
}
