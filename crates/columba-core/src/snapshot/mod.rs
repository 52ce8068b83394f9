//! What outlives connections as bytes, and a broker made from such bytes. Where the bytes are kept and when they are
//! written is the shell's business.
//!
//! # Format
//!
//! `n` is a number of seven bits per byte, the lowest first, the last byte below 0x80; `t` a point in time as
//! microseconds from the snapshot's, the sign in its lowest bit; `s` a length and so many bytes.
//!
//! ```text
//! snapshot  "columba" version:u8 messages:n message… sessions:n session… traffic… checksum:u64
//! message   flags:u8 [expires:t] content
//! content   topic:s properties:s payload:s
//! session   client-id:s expiry:n [ends:t] will:u8 [due:t flags:u8 [expiry:n] content] subscriptions:n subscription…
//!           (ends where expiry is not that of "for ever")
//! subscription  options:u8 id:n filter:s
//! traffic   waiting:n delivery… last-id:n sent:n (id:n delivery)… incoming:n (id:n… or, from 17, a bit for each id)
//! delivery  flags:u8 [message:n] [ids:n id:n…] [group:n]
//! ```
//!
//! Messages and groups are referred to by their place: in the list of messages, and among the shared subscriptions in
//! the order in which sessions name them. There is one `traffic` for each session, in the same order. The checksum is
//! `SipHash` 1-3 without key over everything before it.

mod read;
mod wire;
mod write;

use std::fmt;
use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use self::read::Restorer;
use crate::Time;
use crate::config::Config;
use crate::core::Core;
use crate::ids::Seed;

/// What every snapshot begins with.
const MAGIC: &[u8] = b"columba";
/// The version that is written, and the only one there has been.
const VERSION: u8 = 1;
/// Bytes of the checksum.
const CHECKSUM: usize = 8;

/// Bits of a message's and a will's flags, above the two of the QoS.
mod message_flags {
    /// Published with RETAIN.
    pub(super) const RETAIN: u8 = 1 << 2;
    pub(super) const EXPIRES: u8 = 1 << 3;
    /// It is the retained message of its topic.
    pub(super) const RETAINED: u8 = 1 << 4;
}

/// Bits of a delivery's flags, above the two of the QoS.
mod delivery_flags {
    pub(super) const RETAIN: u8 = 1 << 2;
    /// It is a retained message that a SUBSCRIBE brought.
    pub(super) const REPLAY: u8 = 1 << 3;
    pub(super) const IDS: u8 = 1 << 4;
    pub(super) const GROUP: u8 = 1 << 5;
    /// PUBREL was sent; there is no message any more, and no other flag.
    pub(super) const RELEASED: u8 = 1 << 6;
}

/// The two bits of the QoS.
const QOS: u8 = 0b11;

/// Bits of a subscription's options, above the two of the QoS.
mod option_flags {
    pub(super) const NO_LOCAL: u8 = 1 << 2;
    pub(super) const RETAIN_AS_PUBLISHED: u8 = 1 << 3;
    /// Two bits, and how far they are from the lowest.
    pub(super) const RETAIN_HANDLING: u8 = 0b11 << 4;
    pub(super) const RETAIN_HANDLING_AT: u32 = 4;
}

/// Up to so many packet identifiers are listed; more are a map of bits. A few bytes must not become one in memory.
const FEW_IDS: usize = 16;
/// Bytes of such a map.
const ID_MAP: usize = 8192;

/// Why [`Core::restore`] made no broker. Its text says what a person can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are something else, or nothing.
    NotASnapshot,
    /// A later release wrote it.
    NewerVersion {
        /// The version of its format.
        found: u8,
        /// The highest that this release reads.
        known: u8,
    },
    /// It was a snapshot once: bytes are missing, altered, or too many.
    Damaged {
        /// Where in the snapshot that shows.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

impl Core {
    /// Everything that outlives connections, for [`restore`](Self::restore): retained messages with what remains of
    /// their expiry; sessions with subscriptions, with what waits and what is in flight both ways, and with wills.
    /// A message is in it once, whoever waits for it. Takes time and room in proportion to what the broker holds.
    ///
    /// It is what would be left if the broker died at `now`. For each client that is online that is: its connection
    /// is lost, and so its session's expiry [MQTT-3.1.2-23] and its will's delay [MQTT-3.1.2-8] begin. What goes with
    /// a connection is not in the snapshot: connections themselves, sessions that were not to outlive them but for
    /// their wills, messages at QoS 0 unless [`Config::queue_qos0_offline`] is set, topic aliases. Nor are messages
    /// that have expired in a queue, counters, events that nobody has taken, and whose turn it is in a shared
    /// subscription.
    ///
    /// What a shared subscription brought a session stays with it, acknowledged or not: nobody who could take it is
    /// online when all connections are lost at once. If the session was not to outlive its connection, the other
    /// members get it, as at any session's end.
    ///
    /// The broker goes on as if nothing had happened, and of what happens from here on the snapshot knows nothing: if
    /// it does die later, messages accepted since are lost, and those acknowledged since are sent again, at QoS 2 too.
    /// For an end in order, call [`shut_down`](Self::shut_down) and send what that leaves to be sent before.
    pub fn snapshot(&self, now: Time) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        write::write(self, now.max(self.now), &mut out);
        let checksum = checksum(&out);
        out.extend_from_slice(&checksum);
        out
    }

    /// A broker that goes on where `snapshot` was taken, `away` ago. It has no connections and no authoriser yet
    /// ([`set_authorize`](Self::set_authorize)). Clients that come back find their sessions [MQTT-3.1.2-5]
    /// [MQTT-4.1.0-1]: what they have not acknowledged is sent again with its packet identifier [MQTT-4.4.0-1], and
    /// what they send again is recognised [MQTT-4.3.3-10].
    ///
    /// Expiry of messages and sessions and the delay of wills have gone on meanwhile. What fell due is done at once,
    /// in the order of its deadlines, as [`handle_timeout`](Self::handle_timeout) would do it so late: wills are
    /// published, sessions end, and there are events of it. A will that is published here finds every subscriber
    /// away, so that at QoS 0 nobody gets it unless it is retained. A session that was not to outlive its connection,
    /// and is in the snapshot for what it leaves, ends here like one that has expired.
    ///
    /// `config` need not be the one from before. Whatever the snapshot has is kept, beyond limits and switches too;
    /// they hold for what comes from then on, so that a queue beyond its limit is full, say, and that a retained
    /// message is served though no new one would be taken. A will that is published comes from then on. `seed` should
    /// be new: with the old one, client ids that the broker assigns repeat. `now` counts from a start of its own and
    /// owes nothing to the time of the snapshot.
    ///
    /// The bytes may come from anywhere: nothing in them makes this panic, and what is made of them takes memory in
    /// proportion to their length, but for what wills become that are due, which is bounded as ever by `config`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use columba_core::{Config, Core, Seed, Time};
    ///
    /// let core = Core::new(Config::default(), Seed::from(1));
    /// let snapshot = core.snapshot(Time::from_secs(500));
    ///
    /// // An hour later, in another process:
    /// let away = Duration::from_secs(3600);
    /// let core = Core::restore(Config::default(), Seed::from(2), Time::ZERO, &snapshot, away)?;
    /// assert_eq!(core.metrics().sessions, 0);
    /// # Ok::<(), columba_core::RestoreError>(())
    /// ```
    ///
    /// # Errors
    /// [`RestoreError`] says what is wrong with `snapshot`.
    pub fn restore(
        config: Config,
        seed: Seed,
        now: Time,
        snapshot: &[u8],
        away: Duration,
    ) -> Result<Self, RestoreError> {
        let body = open(snapshot)?;
        let core = Self { now, ..Self::new(config, seed) };
        Restorer::new(core, body, MAGIC.len() + 1, away).restore()
    }
}

/// What lies between the header and the checksum.
fn open(snapshot: &[u8]) -> Result<&[u8], RestoreError> {
    let (&found, rest) =
        snapshot.strip_prefix(MAGIC).and_then(<[u8]>::split_first).ok_or(RestoreError::NotASnapshot)?;
    match found {
        0 => return Err(RestoreError::NotASnapshot),
        VERSION => {}
        _ => return Err(RestoreError::NewerVersion { found, known: VERSION }),
    }
    let damaged = |what| RestoreError::Damaged { offset: snapshot.len().saturating_sub(CHECKSUM), what };
    let (body, stored) = rest.split_last_chunk::<CHECKSUM>().ok_or(damaged("it is cut off"))?;
    if checksum(&snapshot[..snapshot.len() - CHECKSUM]) != *stored {
        return Err(damaged("the checksum is that of other bytes"));
    }
    Ok(body)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish().to_le_bytes()
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASnapshot => f.write_str(
                "this is no snapshot of a Columba broker: look for the right one, or begin without",
            ),
            Self::NewerVersion { found, known } => write!(
                f,
                "the snapshot has version {found} and this release reads up to {known}: \
                 use the release that wrote it, or a later one"
            ),
            Self::Damaged { offset, what } => write!(
                f,
                "the snapshot is damaged at byte {offset} ({what}): use an earlier one, or begin without"
            ),
        }
    }
}

impl std::error::Error for RestoreError {}
