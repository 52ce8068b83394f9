//! Columba behind a socket: a broker for each test, whose clock the test moves.

use std::future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use columba_net::{TcpListener, WsListener};
use columba_testkit::columba::AuthRequest;
use columba_testkit::{Client, TestBroker, Transcript, Version};
use tokio::runtime::Runtime;

use crate::foreign::Reach;
use crate::stage::Group;

/// The broker, for the time of one test.
pub(crate) struct Own {
    broker: TestBroker,
    reach: Reach,
    transcript: Transcript,
}

/// What the brokers of all tests need.
pub(crate) struct Site {
    protocol: Protocol,
    runtime: Runtime,
    /// Keeps the threads that brokers run on.
    _first: TestBroker,
}

/// What is under MQTT.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    Tcp,
    WebSocket,
}

impl Site {
    pub(crate) fn new(protocol: Protocol) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build()?;
        Ok(Self { protocol, runtime, _first: TestBroker::start() })
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::WebSocket => "WebSocket",
        }
    }

    /// The listener is the broker's own, with none of the test kit's lines in between.
    fn serve(&self, broker: &TestBroker) -> Reach {
        let bind = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = self.runtime.block_on(bind).expect("the loopback has a free port");
        let address = listener.local_addr();
        let (served, reach) = match self.protocol {
            Protocol::Tcp => (broker.broker().serve(listener), Reach::Tcp(address)),
            Protocol::WebSocket => (
                broker.broker().serve(WsListener::new(listener)),
                Reach::WebSocket(format!("ws://{address}/mqtt")),
            ),
        };
        served.expect("the broker has just been started");
        reach
    }
}

impl Own {
    pub(crate) fn new(site: &Site, group: &Group) -> Self {
        let mut builder = TestBroker::builder().manual_clock();
        if let Some(adjust) = group.config {
            builder = builder.configure(adjust);
        }
        if let Some(judge) = group.authenticate {
            builder = builder.authenticate(move |request: AuthRequest| future::ready(judge(&request)));
        }
        let broker = builder.start();
        let reach = site.serve(&broker);
        Self { broker, reach, transcript: Transcript::default() }
    }

    #[track_caller]
    pub(crate) fn open(&self, name: &str, version: Version) -> Client {
        match self.reach.open(name, version, &self.transcript) {
            Ok(client) => client,
            Err(error) => panic!("the broker takes no connection: {error}"),
        }
    }

    pub(crate) fn conversation(&self) -> String {
        self.transcript.tail()
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.broker.advance(duration);
    }
}
