//! Messages that a server before MQTT 5 sends back to the bridge that published them. It has no No Local, and nothing in the
//! message tells who published it.
//!
//! So the bridge counts: each message it publishes to a topic it is also subscribed to will come back once, and the first
//! message with the same topic and payload is taken for it. If somebody else published the same meanwhile, one of the two
//! equal messages is passed on and the other is not, and it does not matter which. What this cannot do: a server that does
//! not send a message back within 30 seconds (because the bridge may not read it, say) makes the bridge miss one equal message
//! of somebody else's in that time; and a QoS 1 message that is published twice because its PUBACK was lost may come back twice,
//! and is passed on once then.

use std::collections::VecDeque;
use std::time::Duration;

use columba_core::Time;

use crate::client::Token;

/// Messages published that have not come back.
#[derive(Debug, Default)]
pub(super) struct Echoes(VecDeque<Echo>);

#[derive(Debug)]
struct Echo {
    hash: u64,
    token: Token,
    /// When it was sent, at QoS 0, or acknowledged.
    published: Option<Time>,
    /// It comes back at QoS 0, so not over a broken connection.
    fragile: bool,
}

/// How long a published message may take to come back.
const LIFETIME: Duration = Duration::from_secs(30);
/// How many are remembered; the oldest gives way.
const MAX_ECHOES: usize = 4096;

impl Echoes {
    /// This is going to be published.
    pub(super) fn expect(&mut self, token: Token, topic: &str, payload: &[u8], fragile: bool) {
        if self.0.len() >= MAX_ECHOES {
            self.0.pop_front();
        }
        self.0.push_back(Echo { hash: hash(topic, payload), token, published: None, fragile });
    }

    /// It was published, or never will be.
    pub(super) fn published(&mut self, now: Time, token: Token, is_sent: bool) {
        // In the order in which they were given, or nearly.
        if let Some(at) = self.0.iter().position(|echo| echo.token == token) {
            if is_sent {
                self.0[at].published = Some(now);
            } else {
                self.0.remove(at);
            }
        }
    }

    /// Whether this message is one of them.
    pub(super) fn take(&mut self, now: Time, topic: &str, payload: &[u8]) -> bool {
        self.0.retain(|echo| echo.published.is_none_or(|at| now.since(at) < LIFETIME));
        let hash = hash(topic, payload);
        let at = self.0.iter().position(|echo| echo.hash == hash);
        at.and_then(|at| self.0.remove(at)).is_some()
    }

    /// The connection is over.
    pub(super) fn disconnected(&mut self) {
        self.0.retain(|echo| !echo.fragile || echo.published.is_none());
    }

    /// There is a new connection. Without the session what was published does not come back; with it, it begins to only now.
    pub(super) fn connected(&mut self, now: Time, session_present: bool) {
        self.0.retain(|echo| session_present || echo.published.is_none());
        for echo in &mut self.0 {
            echo.published = echo.published.map(|_| now);
        }
    }
}

/// FNV-1a. Who makes two messages with one hash on purpose harms only the second of them.
fn hash(topic: &str, payload: &[u8]) -> u64 {
    // A topic has no zero byte, so this is where it ends.
    let bytes = topic.bytes().chain([0]).chain(payload.iter().copied());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Time {
        Time::from_secs(seconds)
    }

    /// One published message, and another that is not published yet.
    fn two(fragile: bool) -> Echoes {
        let mut echoes = Echoes::default();
        echoes.expect(Token::new(1), "sent", b"x", fragile);
        echoes.expect(Token::new(2), "waits", b"x", fragile);
        echoes.published(at(10), Token::new(1), true);
        echoes
    }

    #[test]
    fn each_is_taken_once() {
        let mut echoes = two(false);
        assert!(!echoes.take(at(10), "sent", b"y"));
        assert!(!echoes.take(at(10), "sentx", b""));
        assert!(echoes.take(at(10), "sent", b"x"));
        assert!(!echoes.take(at(10), "sent", b"x"));
        echoes.published(at(10), Token::new(2), false);
        assert!(!echoes.take(at(10), "waits", b"x"), "it was never sent");
    }

    #[test]
    fn what_was_published_is_forgotten_after_a_while() {
        assert!(two(false).take(at(39), "sent", b"x"));
        assert!(!two(false).take(at(40), "sent", b"x"));
        assert!(two(false).take(at(1000), "waits", b"x"));
    }

    #[test]
    fn a_connection_takes_with_it_what_no_session_keeps() {
        for (fragile, session_present, expected) in
            [(false, true, true), (false, false, false), (true, true, false), (true, false, false)]
        {
            let mut echoes = two(fragile);
            echoes.disconnected();
            echoes.connected(at(1000), session_present);
            assert_eq!(echoes.take(at(1000), "sent", b"x"), expected);
            assert!(echoes.take(at(1000), "waits", b"x"), "it is still to be published");
        }
    }

    #[test]
    fn the_oldest_gives_way() {
        let mut echoes = Echoes::default();
        for number in 0..=MAX_ECHOES {
            echoes.expect(Token::new(1), &number.to_string(), b"", false);
        }
        assert!(!echoes.take(at(0), "0", b"") && echoes.take(at(0), "1", b""));
    }
}
