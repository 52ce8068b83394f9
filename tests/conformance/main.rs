//! Every numbered statement of MQTT 5.0 and 3.1.1, and what MQTT 3.1 does otherwise, as tests against a broker: in the
//! simulated world, over TCP and over WebSocket, and with `--against HOST:PORT` any other broker.

mod authenticator;
mod exchange;
mod stage;
mod steps;

mod auth;
mod disconnect;
mod errors;
mod example;
mod mistakes;
mod ping;
mod session;
mod shared;
mod subscribe;
mod topics;
mod unsubscribe;
mod websocket;
mod acks;
mod flow;
mod message_properties;
mod order;
mod overlapping;
mod publish;
mod qos;
mod resend;
mod retain;
mod topic_alias;

use stage::{Group, Place, Stage};

/// All tests, by module.
const TESTS: &[&[Group]] = &[
    example::TESTS,
    subscribe::TESTS,
    unsubscribe::TESTS,
    ping::TESTS,
    disconnect::TESTS,
    auth::TESTS,
    session::TESTS,
    topics::TESTS,
    shared::TESTS,
    errors::TESTS,
    websocket::TESTS,
    mistakes::TESTS,
    publish::TESTS,
    retain::TESTS,
    message_properties::TESTS,
    topic_alias::TESTS,
    overlapping::TESTS,
    acks::TESTS,
    qos::TESTS,
    resend::TESTS,
    order::TESTS,
    flow::TESTS,
];

fn main() {
    for group in TESTS.iter().copied().flatten() {
        for test in group.tests {
            for &version in group.versions {
                let stage = Stage::new(Place::simulated(group), version);
                (test.run)(&stage);
                println!("{} {version:?} ok", test.name);
            }
        }
    }
}
