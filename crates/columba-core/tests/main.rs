//! What a client sees of the broker, for every version, without I/O and without waiting: scripted clients, one
//! broker, simulated time ([`world`]). One module for each theme.

mod world;

mod auth;
mod chaos;
mod damage;
mod errors;
mod events;
mod handshake;
mod lateness;
mod limits;
mod parcels;
mod properties;
mod qos;
mod replay;
mod retained;
mod session;
mod settings;
mod shards;
mod shared;
mod snapshot;
mod subscriptions;
mod versions;
mod will;
