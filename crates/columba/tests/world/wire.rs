//! A client that is nothing but one end of a pipe and the packets a test writes.

use std::future::poll_fn;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::task::Poll;

use columba::codec::{
    Ack, ConnAck, Connect, Disconnect, FixedHeader, List, Packet, PacketId, Publish, SubAck, Subscribe,
    SubscribeItem,
};
use columba::memory::{self, Pipe};
use columba::{Broker, Peer, QoS, ReasonCode, SubscriptionOptions, TopicFilter, TopicName, Version};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The client's end of a connection.
pub(crate) struct Wire {
    pipe: Pipe,
    version: Version,
    unread: Vec<u8>,
    last_id: u16,
}

/// A packet as it came.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: Version,
}

impl Wire {
    pub(crate) const fn new(pipe: Pipe, version: Version) -> Self {
        Self { pipe, version, unread: Vec::new(), last_id: 0 }
    }

    /// A transport that is attached to the broker and has not sent anything.
    pub(crate) fn open(broker: &Broker, version: Version) -> Self {
        Self::open_sized(broker, version, 64 << 10)
    }

    pub(crate) fn open_sized(broker: &Broker, version: Version, capacity: usize) -> Self {
        let (theirs, ours) = memory::pipe(capacity);
        broker.attach(theirs, Peer { transport: "pipe", ..Peer::default() }).expect("the broker runs");
        Self::new(ours, version)
    }

    /// A client with a clean session that is online.
    pub(crate) async fn connect(broker: &Broker, id: &str, version: Version) -> Self {
        let mut wire = Self::open(broker, version);
        wire.greet(id).await;
        wire
    }

    /// CONNECT with a clean session, and CONNACK.
    pub(crate) async fn greet(&mut self, id: &str) {
        self.send(&Packet::Connect(Box::new(Connect::new(self.version, id)))).await;
        self.accepted().await;
    }

    pub(crate) async fn send(&mut self, packet: &Packet<'_>) {
        let bytes = encode(packet, self.version);
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.pipe.write_all(bytes).await.expect("the broker reads");
    }

    /// Sends bytes and takes what comes meanwhile, so that neither side has to wait for the other.
    pub(crate) async fn send_and_take(&mut self, mut bytes: &[u8], frames: &mut Vec<Frame>) {
        while !bytes.is_empty() {
            let mut buffer = [0; 4096];
            let step = poll_fn(|cx| {
                if let Poll::Ready(count) = AsyncWrite::poll_write(Pin::new(&mut self.pipe), cx, bytes) {
                    return Poll::Ready((count.expect("the broker reads"), 0));
                }
                AsyncRead::poll_read(Pin::new(&mut self.pipe), cx, &mut buffer)
                    .map(|count| (0, count.expect("a pipe does not fail")))
            });
            let (sent, came) = step.await;
            bytes = &bytes[sent..];
            self.unread.extend_from_slice(&buffer[..came]);
            while let Some(frame) = self.take_frame() {
                frames.push(frame);
            }
        }
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) {
        let filter = TopicFilter::parse(filter).expect("a topic filter");
        let items = [SubscribeItem { filter, options: SubscriptionOptions { qos, ..Default::default() } }];
        let packet_id = self.next_id();
        let user_properties = List::EMPTY;
        let packet =
            Subscribe { packet_id, subscription_id: None, user_properties, filters: (&items).into() };
        self.send(&Packet::Subscribe(packet)).await;
        let frame = self.next().await;
        let ack: SubAck<'_> = match frame.packet() {
            Packet::SubAck(ack) => ack,
            other => panic!("{other:?} instead of SUBACK"),
        };
        assert!(ack.reasons.iter().all(|reason| !reason.is_error()), "{ack:?}");
    }

    /// Sends a PUBLISH and waits for nothing.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS) -> Option<PacketId> {
        let mut packet = Publish::new(TopicName::parse(topic).expect("a topic name"), payload);
        packet.qos = qos;
        packet.packet_id = (qos > QoS::AtMostOnce).then(|| self.next_id());
        let id = packet.packet_id;
        self.send(&Packet::Publish(packet)).await;
        id
    }

    pub(crate) async fn disconnect(&mut self) {
        self.send(&Packet::Disconnect(Disconnect::new(ReasonCode::Success))).await;
    }

    /// The next packet, or `None` at the end of the stream.
    pub(crate) async fn try_next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            let mut buffer = [0; 4096];
            match self.pipe.read(&mut buffer).await.expect("a pipe does not fail") {
                0 => {
                    assert!(self.unread.is_empty(), "the stream ends in the middle of a packet");
                    return None;
                }
                count => self.unread.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// A packet that is there already.
    fn take_frame(&mut self) -> Option<Frame> {
        let header = FixedHeader::read(&self.unread, usize::MAX).expect("the broker sends packets")?;
        if self.unread.len() < header.total() {
            return None;
        }
        let rest = self.unread.split_off(header.total());
        let bytes = std::mem::replace(&mut self.unread, rest);
        Some(Frame { bytes, version: self.version })
    }

    /// The next packet, which must come.
    pub(crate) async fn next(&mut self) -> Frame {
        self.try_next().await.expect("the connection has ended")
    }

    /// Everything up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.try_next().await {
            frames.push(frame);
        }
        frames
    }

    /// The stream ends without another packet.
    pub(crate) async fn ended(&mut self) {
        let frame = self.try_next().await;
        assert!(frame.is_none(), "{frame:?}");
    }

    /// CONNACK with success.
    pub(crate) async fn accepted(&mut self) -> Frame {
        let frame = self.next().await;
        assert_eq!(frame.conn_ack().reason, ReasonCode::Success);
        frame
    }

    /// CONNACK with a refusal, and the end.
    pub(crate) async fn refused(&mut self) -> ReasonCode {
        let frame = self.next().await;
        let reason = frame.conn_ack().reason;
        assert!(reason.is_error(), "{frame:?}");
        self.ended().await;
        reason
    }

    /// The broker's DISCONNECT, and the end.
    pub(crate) async fn disconnected(&mut self) -> ReasonCode {
        let frame = self.next().await;
        let Packet::Disconnect(packet) = frame.packet() else {
            panic!("{frame:?} instead of DISCONNECT");
        };
        self.ended().await;
        packet.reason
    }

    /// Tells the broker that nothing more comes, and goes on reading.
    pub(crate) async fn close_write(&mut self) {
        self.pipe.close().await.expect("a pipe closes");
    }

    pub(crate) fn next_id(&mut self) -> PacketId {
        self.last_id += 1;
        NonZeroU16::new(self.last_id).expect("fewer packets than identifiers")
    }
}

impl Frame {
    pub(crate) fn packet(&self) -> Packet<'_> {
        let header = FixedHeader::read(&self.bytes, usize::MAX).expect("a packet").expect("a whole one");
        Packet::decode(header, &self.bytes[header.len..], self.version)
            .expect("the broker sends valid packets")
    }

    pub(crate) fn conn_ack(&self) -> ConnAck<'_> {
        match self.packet() {
            Packet::ConnAck(ack) => *ack,
            other => panic!("{other:?} instead of CONNACK"),
        }
    }

    pub(crate) fn publish(&self) -> Publish<'_> {
        match self.packet() {
            Packet::Publish(publish) => publish,
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }

    /// The acknowledgement's packet identifier.
    pub(crate) fn acknowledged(&self) -> PacketId {
        match self.packet() {
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
                let Ack { packet_id, reason, .. } = ack;
                assert!(!reason.is_error(), "{reason:?}");
                packet_id
            }
            other => panic!("{other:?} instead of an acknowledgement"),
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.packet().fmt(f)
    }
}

/// The bytes of a packet that is valid.
pub(crate) fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).expect("the tests' packets can be encoded");
    bytes
}
