//! What a bridge is told before it begins. Never what comes of it.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use bytes::Bytes;
use columba_codec::{EncodeError, Version};

use super::Side;
use super::route::{Path, Route, RouteError};
use crate::client::{ClientLimits, ClientOptions};

/// Settings of a bridge.
#[derive(Clone, Debug)]
pub struct BridgeOptions {
    /// Client id at the remote broker. Empty: that assigns one, and there is no session to come back to before it has.
    pub client_id: String,
    /// Client id at the local broker. Default `local.` and the other.
    pub local_client_id: String,
    /// Version spoken with the remote broker. With the local one it is 5.0. Default 5.0.
    pub version: Version,
    /// User name at the remote broker.
    pub username: Option<String>,
    /// Password at the remote broker.
    pub password: Option<Bytes>,
    /// Begins without what the sessions have from before, and leaves none behind when the bridge is closed. Before MQTT 5 it
    /// means that the remote session ends with each connection. Default false.
    pub clean_start: bool,
    /// Seconds. Default 60.
    pub keep_alive: u16,
    /// Seconds that both sessions outlive their connections; before MQTT 5 the remote broker decides. Default a day.
    pub session_expiry: u32,
    /// The largest packet from the remote broker, in bytes; a server before MQTT 5 cannot be told, and a larger one from it ends
    /// the connection. Default none.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// From the remote broker to the local one.
    pub routes_in: Vec<Route>,
    /// From the local broker to the remote one.
    pub routes_out: Vec<Route>,
    /// The first wait before connecting again, doubled each time, and the longest. Default 1 s and 60 s.
    pub backoff: (Duration, Duration),
    /// Messages above QoS 0 on their way over the bridge in each direction: the Receive Maximum of both clients. A server
    /// before MQTT 5 cannot be told and has its own. Default 64.
    pub window: NonZeroU16,
    /// How much each of its two clients holds.
    pub limits: ClientLimits,
}

/// Why a bridge cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeError {
    /// A route is none.
    Route {
        /// Its filter.
        filter: String,
        /// Why.
        error: RouteError,
    },
    /// More than 1,000 routes in one direction.
    TooManyRoutes,
    /// The options make no CONNECT.
    Connect(EncodeError),
}

/// The longest list of routes.
const MAX_ROUTES: usize = 1000;

impl BridgeOptions {
    /// The defaults, without routes.
    pub fn new(client_id: impl Into<String>) -> Self {
        let client_id = client_id.into();
        Self {
            local_client_id: ["local.", &*client_id].concat(),
            client_id,
            version: Version::V5,
            username: None,
            password: None,
            clean_start: false,
            keep_alive: 60,
            session_expiry: 24 * 3600,
            maximum_packet_size: None,
            routes_in: Vec::new(),
            routes_out: Vec::new(),
            backoff: (Duration::from_secs(1), Duration::from_mins(1)),
            window: NonZeroU16::MIN.saturating_add(63),
            limits: ClientLimits::default(),
        }
    }

    /// What the client towards `side` is told.
    pub(super) fn client(&self, side: Side) -> ClientOptions {
        let (version, id) = match side {
            Side::Local => (Version::V5, &self.local_client_id),
            Side::Remote => (self.version, &self.client_id),
        };
        let mut options = ClientOptions::new(version, id.clone());
        options.clean_start = self.clean_start;
        options.receive_maximum = Some(self.window);
        options.manual_acks = true;
        options.adapt = true;
        options.limits = self.limits.clone();
        // One for each route and no other.
        options.limits.requests = MAX_ROUTES;
        options.session_expiry = Some(self.session_expiry);
        // What is in this program does not go silently.
        options.keep_alive = 0;
        if side == Side::Remote {
            options.keep_alive = self.keep_alive;
            options.username.clone_from(&self.username);
            options.password.clone_from(&self.password);
            options.maximum_packet_size = self.maximum_packet_size;
        }
        options
    }
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route { filter, error } => write!(f, "the route {filter:?}: {error}"),
            Self::TooManyRoutes => write!(f, "more than {MAX_ROUTES} routes in one direction"),
            Self::Connect(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for BridgeError {}

/// The routes of messages that come from `side`.
pub(super) fn paths(side: Side, routes: &[Route]) -> Result<Vec<Path>, BridgeError> {
    if routes.len() > MAX_ROUTES {
        return Err(BridgeError::TooManyRoutes);
    }
    let path = |route: &Route| {
        let (from, to) = match side {
            Side::Local => (&route.local_prefix, &route.remote_prefix),
            Side::Remote => (&route.remote_prefix, &route.local_prefix),
        };
        Path::new(route, from, to).map_err(|error| BridgeError::Route { filter: route.filter.clone(), error })
    };
    routes.iter().map(path).collect()
}
