//! SUBSCRIBE and UNSUBSCRIBE: what is asked, waits for an answer, or is answered without the server because it said in CONNACK
//! that it would refuse.

use columba_codec::{
    EncodeError, List, PacketId, ReasonCode, Subscribe, SubscribeItem, SubscriptionId, TopicFilter,
    Unsubscribe, UserProperty, Version,
};
use columba_core::Time;

use super::event::{ClientEvent, RequestError, Token};
use super::server::Server;
use super::{Client, State};

/// A SUBSCRIBE or UNSUBSCRIBE that is not answered.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) token: Token,
    pub(super) id: PacketId,
    pub(super) kind: Kind,
    /// How many filters it has.
    pub(super) filters: usize,
    /// The encoded packet; empty once it is sent.
    packet: Vec<u8>,
    needs: Needs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Subscribe,
    Unsubscribe,
}

/// What a server has to have for it.
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    wildcards: bool,
    shared: bool,
    ids: bool,
}

impl Client {
    /// Asks for subscriptions. Made without a connection, it is sent on the next one; if it was sent and the connection ends
    /// before the answer, it is not sent again ([`ClientEvent::Unanswered`]).
    ///
    /// # Errors
    /// Too many requests are unanswered, or this one cannot be encoded.
    pub fn subscribe(
        &mut self,
        now: Time,
        filters: &[SubscribeItem<'_>],
        subscription_id: Option<SubscriptionId>,
        user_properties: &[UserProperty<'_>],
    ) -> Result<Token, RequestError> {
        self.note(now);
        let v5 = self.options.version == Version::V5;
        let needs = Needs {
            wildcards: v5 && filters.iter().any(|item| item.filter.has_wildcard()),
            shared: v5 && filters.iter().any(|item| item.filter.share_name().is_some()),
            ids: v5 && subscription_id.is_some(),
        };
        self.request(Kind::Subscribe, filters.len(), needs, |packet_id, version, out| {
            let user_properties = List::from_slice(user_properties);
            let filters = List::from_slice(filters);
            Subscribe { packet_id, subscription_id, user_properties, filters }.encode(version, out)
        })
    }

    /// Ends subscriptions. Like [`subscribe`](Self::subscribe) otherwise.
    ///
    /// # Errors
    /// As with [`subscribe`](Self::subscribe).
    pub fn unsubscribe(
        &mut self,
        now: Time,
        filters: &[TopicFilter<'_>],
        user_properties: &[UserProperty<'_>],
    ) -> Result<Token, RequestError> {
        self.note(now);
        self.request(Kind::Unsubscribe, filters.len(), Needs::default(), |packet_id, version, out| {
            let user_properties = List::from_slice(user_properties);
            Unsubscribe { packet_id, user_properties, filters: List::from_slice(filters) }
                .encode(version, out)
        })
    }

    fn request(
        &mut self,
        kind: Kind,
        filters: usize,
        needs: Needs,
        encode: impl Fn(PacketId, Version, &mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<Token, RequestError> {
        if self.requests.len() >= self.options.limits.requests {
            return Err(RequestError::TooMany);
        }
        let id = self.outgoing.ids.take().ok_or(RequestError::TooMany)?;
        let mut packet = Vec::new();
        if let Err(error) = encode(id, self.options.version, &mut packet) {
            self.outgoing.ids.release(id);
            return Err(RequestError::Encode(error));
        }
        let token = self.token();
        self.requests.push_back(Request { token, id, kind, filters, packet, needs });
        // Those before it have been sent, if there is a connection.
        self.send_requests(self.requests.len() - 1);
        Ok(token)
    }

    /// Sends the requests that are not sent, from this one on.
    pub(super) fn send_requests(&mut self, from: usize) {
        if self.state != State::Online {
            return;
        }
        let mut at = from;
        while let Some(request) = self.requests.get_mut(at) {
            if request.packet.is_empty() {
                at += 1;
            } else if let Some(reason) = refusal(&self.server, request) {
                let codes = vec![reason; request.filters];
                self.answer(at, codes);
            } else {
                self.out.append(&mut request.packet);
                at += 1;
            }
        }
    }

    /// SUBACK or UNSUBACK came; false if it answers nothing that was asked.
    pub(super) fn answered(&mut self, kind: Kind, id: PacketId, codes: Option<Vec<ReasonCode>>) -> bool {
        let is_meant = |request: &Request| {
            let count = codes.as_ref().map_or(request.filters, Vec::len);
            // [MQTT-3.8.4-6] [MQTT-3.10.4-6]: one code for each filter.
            (request.id, request.kind, request.filters) == (id, kind, count) && request.packet.is_empty()
        };
        let Some(at) = self.requests.iter().position(is_meant) else {
            return false;
        };
        let filters = self.requests[at].filters;
        self.answer(at, codes.unwrap_or_else(|| vec![ReasonCode::Success; filters]));
        true
    }

    fn answer(&mut self, at: usize, codes: Vec<ReasonCode>) {
        if let Some(Request { id, token, kind, .. }) = self.requests.remove(at) {
            self.outgoing.ids.release(id);
            self.events.push_back(match kind {
                Kind::Subscribe => ClientEvent::Subscribed { token, codes },
                Kind::Unsubscribe => ClientEvent::Unsubscribed { token, codes },
            });
        }
    }

    /// The connection is over: what was asked on it is not answered any more.
    pub(super) fn forget_requests(&mut self) {
        let Self { requests, outgoing, events, .. } = self;
        requests.retain(|request| {
            let is_sent = request.packet.is_empty();
            if is_sent {
                outgoing.ids.release(request.id);
                events.push_back(ClientEvent::Unanswered { token: request.token });
            }
            !is_sent
        });
    }
}

/// Why the server would refuse, if it would: sent all the same, some of these would end the connection.
fn refusal(server: &Server, request: &Request) -> Option<ReasonCode> {
    let needs = request.needs;
    if request.packet.len() > server.maximum_packet_size {
        // [MQTT-3.2.2-15]
        return Some(ReasonCode::PacketTooLarge);
    }
    if needs.wildcards && !server.wildcards {
        return Some(ReasonCode::WildcardSubscriptionsNotSupported);
    }
    if needs.shared && !server.shared {
        return Some(ReasonCode::SharedSubscriptionsNotSupported);
    }
    (needs.ids && !server.subscription_ids).then_some(ReasonCode::SubscriptionIdentifiersNotSupported)
}
