//! Clients inside the program: sessions like any other, whose packets never become bytes of a socket.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use columba_core::Parcel;
use columba_core::codec::{
    Connect, ConnectProperties, Disconnect, List, Packet, PacketId, QoS, ReasonCode, Subscribe,
    SubscribeItem, SubscriptionId, SubscriptionOptions, TopicError, TopicFilter, TopicName, Unsubscribe,
    Version,
};
use futures::Stream;
use futures::channel::oneshot;

use crate::broker::Broker;
use crate::local::{Answer, Local, Outgoing};
use crate::message::{Message, Publish};

/// A client in the same process. Cloning gives another handle to the same client; the last one dropped disconnects
/// it. Messages go to whichever handle asks first.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    local: Arc<Local>,
    id: String,
    session_present: bool,
}

/// Options of a client that is about to connect.
#[derive(Debug)]
#[must_use]
pub struct ClientBuilder {
    broker: Broker,
    id: String,
    clean_start: bool,
    session_expiry: u32,
    receive_maximum: Option<std::num::NonZeroU16>,
    will: Option<(Publish, u32)>,
    username: Option<String>,
}

/// Why something did not work for an in-process client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The broker is gone or shutting down.
    Closed,
    /// CONNECT was refused with this reason.
    Refused(ReasonCode),
    /// The broker ended the connection with this reason.
    Disconnected(ReasonCode),
    /// The topic is no topic name, or the filter no topic filter.
    Topic(TopicError),
    /// The message was not taken, with this reason.
    NotPublished(ReasonCode),
    /// The subscription was not made, with this reason.
    NotSubscribed(ReasonCode),
    /// A value that does not fit into a packet.
    Encode(columba_core::codec::EncodeError),
    /// 65,535 requests wait for their answer already.
    TooManyInFlight,
}

impl ClientBuilder {
    pub(crate) fn new(broker: Broker, id: String) -> Self {
        Self {
            broker,
            id,
            clean_start: true,
            session_expiry: 0,
            receive_maximum: None,
            will: None,
            username: None,
        }
    }

    /// Goes on with the session of an earlier client of this id, if there is one. By default it is discarded.
    pub const fn resume(mut self) -> Self {
        self.clean_start = false;
        self
    }

    /// Seconds that the session is kept after the client is gone; `u32::MAX` is for ever. Default 0.
    pub const fn session_expiry(mut self, seconds: u32) -> Self {
        self.session_expiry = seconds;
        self
    }

    /// How many QoS 1 and 2 messages may be on their way to this client unacknowledged.
    pub const fn receive_maximum(mut self, maximum: std::num::NonZeroU16) -> Self {
        self.receive_maximum = Some(maximum);
        self
    }

    /// A message to be published when the client goes without [`Client::disconnect`], `delay` seconds later.
    pub fn will(mut self, message: Publish, delay: u32) -> Self {
        self.will = Some((message, delay));
        self
    }

    /// The name that authorisation knows this client by.
    pub fn username(mut self, name: impl Into<String>) -> Self {
        self.username = Some(name.into());
        self
    }

    /// Connects. In-process clients are trusted: they are not asked to authenticate.
    ///
    /// # Errors
    /// The broker is gone, or refuses the client for another reason (a limit, say).
    pub async fn connect(self) -> Result<Client, ClientError> {
        let packet = self.encode()?;
        let local = Arc::new(Local::default());
        let answer = {
            let mut state = local.lock();
            state.outgoing.push_back(Outgoing::Encoded(packet.into()));
            state.expect_connected()
        };
        if !self.broker.take_in(&self.id, local.clone()) {
            return Err(ClientError::Closed);
        }
        // From here on dropping this future ends the connection.
        let mut client = Inner { local, id: self.id, session_present: false };
        match answer.await {
            Ok(Answer::Connected { session_present, client_id }) => {
                client.session_present = session_present;
                if let Some(assigned) = client_id {
                    client.id = assigned;
                }
                Ok(Client { inner: Arc::new(client) })
            }
            _ => Err(client.why_closed()),
        }
    }

    fn encode(&self) -> Result<Vec<u8>, ClientError> {
        let mut packet = Connect::new(Version::V5, &self.id);
        packet.clean_start = self.clean_start;
        packet.username = self.username.as_deref();
        packet.properties = ConnectProperties {
            session_expiry: Some(self.session_expiry),
            receive_maximum: self.receive_maximum,
            ..ConnectProperties::default()
        };
        let mut bytes = Vec::new();
        let encoded = match &self.will {
            None => Packet::Connect(Box::new(packet)).encode(Version::V5, &mut bytes),
            Some((will, delay)) => {
                TopicName::parse(&will.topic).map_err(ClientError::Topic)?;
                will.with_will(*delay, |will| {
                    let packet = Connect { will, ..packet };
                    Packet::Connect(Box::new(packet)).encode(Version::V5, &mut bytes)
                })
            }
        };
        encoded.map_err(ClientError::Encode)?;
        Ok(bytes)
    }
}

impl Client {
    /// The client id, assigned by the broker if none was given.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Whether connecting found a session and went on with it.
    pub fn session_present(&self) -> bool {
        self.inner.session_present
    }

    /// Publishes at QoS 0. Waits only while the broker has a thousand packets of this client still to take.
    ///
    /// # Errors
    /// The topic is none, or the connection has ended.
    pub async fn publish(
        &self,
        topic: impl Into<String>,
        payload: impl Into<bytes::Bytes>,
    ) -> Result<(), ClientError> {
        self.send(Publish::new(topic, payload)).await
    }

    /// Publishes a message. At QoS 1 and 2 this waits until the broker has taken responsibility for it.
    ///
    /// # Errors
    /// The topic is none, a property does not fit into a packet, the broker refused the message, or the connection
    /// has ended.
    pub async fn send(&self, message: Publish) -> Result<(), ClientError> {
        let Some(parcel) = self.send_at_once(message)? else {
            return Ok(());
        };
        let qos = parcel.qos();
        if qos == QoS::AtMostOnce {
            return self.enqueue(Outgoing::Publish(parcel)).await;
        }
        match self.request(|id| Ok(Outgoing::Publish(parcel.with_qos(qos, Some(id))))).await? {
            Answer::Acknowledged(reason) if reason.is_error() => Err(ClientError::NotPublished(reason)),
            _ => Ok(()),
        }
    }

    /// Hands a message over for which nothing has to be waited; any other is given back. What lives in a future is
    /// moved about, and most messages need not.
    fn send_at_once(&self, message: Publish) -> Result<Option<Parcel>, ClientError> {
        let parcel = message.into_parcel()?;
        if parcel.qos() > QoS::AtMostOnce {
            return Ok(Some(parcel));
        }
        self.inner.local.try_publish(parcel)
    }

    /// Subscribes with the default options; returns the QoS granted.
    ///
    /// # Errors
    /// The filter is none, the broker refused it, or the connection has ended.
    pub async fn subscribe(&self, filter: &str, qos: QoS) -> Result<QoS, ClientError> {
        self.subscribe_with(filter, SubscriptionOptions { qos, ..SubscriptionOptions::default() }, None).await
    }

    /// Subscribes with options and, if given, a subscription identifier; returns the QoS granted.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_with(
        &self,
        filter: &str,
        options: SubscriptionOptions,
        subscription_id: Option<SubscriptionId>,
    ) -> Result<QoS, ClientError> {
        let filter = TopicFilter::parse(filter).map_err(ClientError::Topic)?;
        let request = self.request(|packet_id| {
            let items = [SubscribeItem { filter, options }];
            let user_properties = List::default();
            let packet = Subscribe { packet_id, subscription_id, user_properties, filters: (&items).into() };
            encode(&Packet::Subscribe(packet))
        });
        match first_reason(&request.await?) {
            reason if reason.is_error() => Err(ClientError::NotSubscribed(reason)),
            reason => Ok(QoS::from_u8(reason.code()).unwrap_or_default()),
        }
    }

    /// Ends a subscription; whether there was one.
    ///
    /// # Errors
    /// The filter is none, or the connection has ended.
    pub async fn unsubscribe(&self, filter: &str) -> Result<bool, ClientError> {
        let filters = [TopicFilter::parse(filter).map_err(ClientError::Topic)?];
        let request = self.request(|packet_id| {
            let packet =
                Unsubscribe { packet_id, user_properties: List::default(), filters: (&filters).into() };
            encode(&Packet::Unsubscribe(packet))
        });
        Ok(first_reason(&request.await?) == ReasonCode::Success)
    }

    /// The next message; `None` once the connection has ended and everything that came before is taken. At QoS 1
    /// and 2 the client has acknowledged it when it gets here.
    pub async fn recv(&self) -> Option<Message> {
        poll_fn(|cx| self.inner.local.poll_message(cx)).await
    }

    /// A message that is there already.
    pub fn try_recv(&self) -> Option<Message> {
        let cx = Context::from_waker(std::task::Waker::noop());
        match self.inner.local.poll_message(&cx) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
    }

    /// Leaves properly: the will is not published.
    ///
    /// # Errors
    /// The connection has ended already.
    pub async fn disconnect(self) -> Result<(), ClientError> {
        let packet = encode(&Packet::Disconnect(Disconnect::new(ReasonCode::Success)))?;
        self.enqueue(packet).await
    }

    async fn enqueue(&self, packet: Outgoing) -> Result<(), ClientError> {
        let mut packet = Some(packet);
        poll_fn(|cx| self.inner.local.poll_send(cx, &mut packet)).await
    }

    /// Sends the packet that `make` makes and waits for its answer.
    async fn request(
        &self,
        make: impl FnOnce(PacketId) -> Result<Outgoing, ClientError>,
    ) -> Result<Answer, ClientError> {
        let (unsent, answer) = self.expect()?;
        self.enqueue(make(unsent.id)?).await?;
        // From here on the answer comes, whether anybody still waits for it or not.
        std::mem::forget(unsent);
        answer.await.map_err(|_| self.inner.why_closed())
    }

    fn expect(&self) -> Result<(Unsent<'_>, oneshot::Receiver<Answer>), ClientError> {
        let local = &self.inner.local;
        let mut state = local.lock();
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        let (id, answer) = state.expect().ok_or(ClientError::TooManyInFlight)?;
        Ok((Unsent { local, id }, answer))
    }
}

/// The packet identifier of a request that has not been made. Dropping it gives the identifier back.
struct Unsent<'a> {
    local: &'a Local,
    id: PacketId,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        self.local.lock().forget(self.id);
    }
}

impl Inner {
    fn why_closed(&self) -> ClientError {
        self.local.lock().closed.clone().unwrap_or(ClientError::Closed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without a DISCONNECT, so that the will is published: whoever wants to leave quietly says so.
        self.local.lock().closed.get_or_insert(ClientError::Closed);
        self.local.wake_driver();
    }
}

impl Stream for Client {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.inner.local.poll_message(cx)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.inner.id).finish_non_exhaustive()
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection to the broker has ended"),
            Self::Refused(reason) => write!(f, "the broker refused the connection: {reason}"),
            Self::Disconnected(reason) => write!(f, "the broker ended the connection: {reason}"),
            Self::Topic(error) => write!(f, "bad topic: {error}"),
            Self::NotPublished(reason) => {
                write!(f, "the broker did not take the message: {reason}")
            }
            Self::NotSubscribed(reason) => {
                write!(f, "the broker did not make the subscription: {reason}")
            }
            Self::Encode(error) => write!(f, "the request is not possible: {error}"),
            Self::TooManyInFlight => f.write_str("65,535 requests wait for their answer already"),
        }
    }
}

impl std::error::Error for ClientError {}

fn first_reason(answer: &Answer) -> ReasonCode {
    match answer {
        Answer::Reasons(reasons) => reasons.first().copied().unwrap_or(ReasonCode::UnspecifiedError),
        Answer::Acknowledged(_) | Answer::Connected { .. } => ReasonCode::UnspecifiedError,
    }
}

fn encode(packet: &Packet<'_>) -> Result<Outgoing, ClientError> {
    let mut bytes = Vec::new();
    packet.encode(Version::V5, &mut bytes).map_err(ClientError::Encode)?;
    Ok(Outgoing::Encoded(bytes.into()))
}
