//! Every call into the core as a value, so that a recorded list of them, with configuration and seed, replays a
//! broker exactly.

use bytes::{Bytes, BytesMut};
use columba_codec::{FixedHeader, Publish, ReasonCode, Version};

use crate::Time;
use crate::auth::{Peer, Verdict};
use crate::chunks::Chunks;
use crate::core::{CloseCause, Core, Flow, Intake};
use crate::event::EventMask;
use crate::keys::{ConnectionKey, Ticket};
use crate::parcel::Parcel;
use crate::shards::Batch;

/// One call. Each does what the method of the same name does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are the methods' arguments
pub enum Input {
    /// [`Core::open`]
    Open { now: Time, peer: Peer },
    /// [`Core::receive`]; `bytes` is the whole of the input, what the call before left included.
    Receive { now: Time, connection: ConnectionKey, bytes: Bytes },
    /// [`Core::receive_publish`], with the packet in its encoded form.
    ReceivePublish { now: Time, connection: ConnectionKey, version: Version, bytes: Bytes },
    /// [`Core::receive_parcels`]
    ReceiveParcels { now: Time, connection: ConnectionKey, parcels: Vec<Parcel> },
    /// [`Core::close`]
    Close { now: Time, connection: ConnectionKey, cause: CloseCause },
    /// [`Core::answer`]
    Answer { now: Time, ticket: Ticket, verdict: Verdict },
    /// [`Core::handle_timeout`]
    Timeout { now: Time },
    /// [`Core::poll_transmit`]: sending gives out packet identifiers, so when it happens matters.
    Transmit { now: Time, connection: ConnectionKey },
    /// [`Core::poll_transmit_parcels`]
    TransmitParcels { now: Time, connection: ConnectionKey },
    /// [`Core::poll_transmit_control`]
    TransmitControl { now: Time, connection: ConnectionKey },
    /// [`Core::enable_events`]
    EnableEvents { kinds: EventMask },
    /// [`Core::disconnect`]
    Disconnect { now: Time, client_id: Box<str>, reason: ReasonCode },
    /// [`Core::shut_down`]
    ShutDown { now: Time },
    /// [`Core::release`]
    Release { now: Time, connection: ConnectionKey },
    /// [`Core::poll_shard`]: when it happens decides when publishers have to wait.
    PollShard { to: usize },
    /// [`Core::receive_shard`]
    ReceiveShard { now: Time, from: usize, batch: Batch },
}

/// What a call returned.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Nothing.
    None,
    /// The key of a new connection.
    Opened(ConnectionKey),
    /// What to do with the input, and how many bytes of it were left.
    Intake(Intake, usize),
    /// What to do after sending.
    Flow(Flow),
    /// The same, and the messages that were handed out decoded.
    Parcels(Flow, Vec<Parcel>),
    /// Whether there was a connection to end.
    Found(bool),
    /// Where a released connection came from.
    Released(Option<Peer>),
    /// What there was for another shard.
    Batch(Option<Batch>),
}

impl Core {
    /// Makes the call that `input` stands for; bytes to send are appended to `out`.
    pub fn apply(&mut self, input: &Input, out: &mut Chunks) -> Output {
        match input {
            Input::Open { now, peer } => Output::Opened(self.open(*now, peer.clone())),
            Input::Receive { now, connection, bytes } => {
                let mut bytes = BytesMut::from(&bytes[..]);
                let intake = self.receive(*now, *connection, &mut bytes);
                Output::Intake(intake, bytes.len())
            }
            Input::ReceivePublish { now, connection, version, bytes } => {
                let Ok(Some(header)) = FixedHeader::read(bytes, usize::MAX) else {
                    return Output::None;
                };
                let body = bytes.slice(header.len.min(bytes.len())..);
                match Publish::decode(header.flags, &body, *version) {
                    Ok(packet) => {
                        let payload = body.slice(body.len() - packet.payload.len()..);
                        Output::Intake(self.receive_publish(*now, *connection, &packet, &payload), 0)
                    }
                    Err(_) => Output::None,
                }
            }
            Input::ReceiveParcels { now, connection, parcels } => {
                let mut parcels = parcels.iter().cloned();
                let intake = self.receive_parcels(*now, *connection, &mut parcels);
                Output::Intake(intake, parcels.len())
            }
            Input::Close { now, connection, cause } => {
                self.close(*now, *connection, *cause);
                Output::None
            }
            Input::Answer { now, ticket, verdict } => {
                self.answer(*now, *ticket, verdict.clone());
                Output::None
            }
            Input::Timeout { now } => {
                self.handle_timeout(*now);
                Output::None
            }
            Input::Transmit { now, connection } => Output::Flow(self.poll_transmit(*now, *connection, out)),
            Input::TransmitParcels { now, connection } => {
                let mut parcels = Vec::new();
                let flow = self.poll_transmit_parcels(*now, *connection, out, &mut parcels);
                Output::Parcels(flow, parcels)
            }
            Input::TransmitControl { now, connection } => {
                Output::Flow(self.poll_transmit_control(*now, *connection, out))
            }
            Input::EnableEvents { kinds } => {
                self.enable_events(*kinds);
                Output::None
            }
            Input::Disconnect { now, client_id, reason } => {
                Output::Found(self.disconnect(*now, client_id, *reason))
            }
            Input::ShutDown { now } => {
                self.shut_down(*now);
                Output::None
            }
            Input::Release { now, connection } => Output::Released(self.release(*now, *connection)),
            Input::PollShard { to } => Output::Batch(self.poll_shard(*to)),
            Input::ReceiveShard { now, from, batch } => {
                self.receive_shard(*now, *from, batch);
                Output::None
            }
        }
    }
}
