//! The driver's part for clients in this process: what they hand over and are given never becomes bytes of a socket.

use std::collections::VecDeque;

use columba_core::codec::packet::encode_ack;
use columba_core::codec::{ReasonCode, Version};
use columba_core::{ConnectionKey, Flow, Intake, Parcel, Time};

use super::{Driver, Io, Link, Turn};
use crate::local::{self, Outgoing};

impl Driver {
    /// Takes what the client has handed over.
    pub(super) fn read_local(&mut self, at: usize, now: Time) {
        let Some(Link { key, io: Io::Local(local), .. }) = &self.links[at] else {
            return;
        };
        let (key, local) = (*key, local.clone());
        let mut taken = {
            let mut state = local.lock();
            std::mem::take(&mut state.outgoing)
        };
        let mut intake = Intake::Open;
        while intake == Intake::Open && !taken.is_empty() {
            intake = self.core.receive_parcels(now, key, std::iter::from_fn(|| next_parcel(&mut taken)));
            if intake == Intake::Open
                && let Some(packet) = taken.front()
            {
                intake = self.receive_encoded(key, packet, now);
                if intake != Intake::Paused {
                    taken.pop_front();
                }
            }
        }
        if intake == Intake::Closed {
            taken.clear();
        }
        let paused = !taken.is_empty();
        let mut state = local.lock();
        // What came meanwhile goes behind what was not taken.
        taken.append(&mut state.outgoing);
        let more = !paused && !taken.is_empty();
        state.outgoing = taken;
        let gone = state.closed.is_some();
        local::wake(state);
        if more {
            local.wake_driver();
        }
        if gone {
            return self.lost(at, now);
        }
        if let Some(link) = &mut self.links[at] {
            link.paused = paused;
        }
    }

    fn receive_encoded(&mut self, key: ConnectionKey, packet: &Outgoing, now: Time) -> Intake {
        self.input.clear();
        match packet {
            Outgoing::Publish(_) => return Intake::Open,
            Outgoing::Encoded(bytes) => self.input.extend_from_slice(bytes),
            Outgoing::Ack(packet, id) => {
                let mut bytes = Vec::with_capacity(4);
                encode_ack(*packet, *id, ReasonCode::Success, Version::V5, &mut bytes);
                self.input.extend_from_slice(&bytes);
            }
        }
        let intake = self.core.receive(now, key, &mut self.input);
        let taken = self.input.is_empty();
        self.input.clear();
        // The packet that makes the core pause is taken; it is the next one that waits.
        if taken && intake == Intake::Paused { Intake::Open } else { intake }
    }

    /// One turn of a client in this process: what it is sent is there at once.
    pub(super) fn transmit_local(&mut self, at: usize, now: Time) -> Turn {
        let Some(Link { key, io: Io::Local(local), more, .. }) = &mut self.links[at] else {
            return Turn::Over;
        };
        // Until it has taken some of its messages it is given answers only.
        *more = local.is_blocked();
        let flow = if *more {
            self.core.poll_transmit_control(now, *key, &mut self.output)
        } else {
            self.core.poll_transmit_parcels(now, *key, &mut self.output, &mut self.parcels)
        };
        if !self.output.is_empty() || !self.parcels.is_empty() {
            local.deliver(&mut self.output, &mut self.parcels);
        }
        match flow {
            Flow::Close => self.lost(at, now),
            Flow::Idle => self.resume(at),
            Flow::More => return Turn::More,
        }
        Turn::Over
    }
}

fn next_parcel(packets: &mut VecDeque<Outgoing>) -> Option<Parcel> {
    match packets.pop_front()? {
        Outgoing::Publish(parcel) => Some(parcel),
        packet => {
            packets.push_front(packet);
            None
        }
    }
}
