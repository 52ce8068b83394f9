//! A broker that somebody else runs: it keeps its state from test to test, and its clock is not the tests'.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use columba_testkit::codec::{Packet, SubscriptionOptions};
use columba_testkit::{Client, ReasonCode, Transcript, Version};

use crate::stage::not_run;

/// How long a client waits for what it expects.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a test may really wait, in all.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// The broker, for the time of one test.
pub(crate) struct Foreign {
    home: Rc<Home>,
    /// The number of the test: what makes its client ids its own.
    test: u32,
    transcript: Transcript,
    waited: Cell<Duration>,
    ids: RefCell<BTreeSet<String>>,
}

/// Where the broker is, and what was there before the first test.
pub(crate) struct Home {
    reach: Reach,
    retained_before: BTreeSet<String>,
    tests: Cell<u32>,
}

/// How clients get to a broker.
pub(crate) enum Reach {
    Tcp(SocketAddr),
    WebSocket(String),
}

impl Reach {
    pub(crate) fn open(&self, name: &str, version: Version, transcript: &Transcript) -> io::Result<Client> {
        match self {
            Self::Tcp(address) => Client::tcp(*address, name, version, transcript),
            Self::WebSocket(url) => Client::ws(url, name, version, transcript),
        }
    }
}

impl Home {
    /// Finds the broker at `HOST:PORT` or `ws://HOST:PORT/PATH`.
    ///
    /// # Panics
    /// If it lets nobody in.
    pub(crate) fn find(place: &str) -> io::Result<Rc<Self>> {
        let reach = if place.starts_with("ws://") {
            Reach::WebSocket(place.to_owned())
        } else {
            let mut addresses = place.to_socket_addrs()?;
            Reach::Tcp(addresses.next().ok_or_else(|| io::Error::other("there is no such host"))?)
        };
        let mut home = Self { reach, retained_before: BTreeSet::new(), tests: Cell::new(0) };
        home.retained_before = retained(&home.visit("columbalook")?);
        Ok(Rc::new(home))
    }

    fn open(&self, name: &str, version: Version, transcript: &Transcript) -> io::Result<Client> {
        let client = self.reach.open(name, version, transcript)?;
        client.patience(PATIENCE);
        Ok(client)
    }

    /// Connects outside of the test.
    fn visit(&self, id: &str) -> io::Result<Client> {
        let client = self.open(id, Version::V3_1_1, &Transcript::default())?;
        client.connect(id, |_| ());
        client.accepted();
        Ok(client)
    }
}

impl Foreign {
    pub(crate) fn new(home: &Rc<Home>) -> Self {
        let test = home.tests.get();
        home.tests.set(test + 1);
        let (transcript, waited, ids) = Default::default();
        Self { home: home.clone(), test, transcript, waited, ids }
    }

    pub(crate) fn id(&self, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        let id = format!("c{}x{name}", self.test);
        self.ids.borrow_mut().insert(id.clone());
        id
    }

    #[track_caller]
    pub(crate) fn open(&self, name: &str, version: Version) -> Client {
        match self.home.open(name, version, &self.transcript) {
            Ok(client) => client,
            Err(error) => panic!("the broker takes no connection: {error}"),
        }
    }

    pub(crate) fn conversation(&self) -> String {
        self.transcript.tail()
    }

    pub(crate) fn wait(&self, duration: Duration) {
        let waited = self.waited.get() + duration;
        if waited > LONGEST_WAIT {
            not_run("needs the clock to jump");
        }
        self.waited.set(waited);
        thread::sleep(duration);
    }

    /// Ends the sessions of the test and clears what it left retained, for the next test.
    ///
    /// # Panics
    /// If the broker lets nobody in any more.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        for id in self.ids.borrow().iter() {
            self.home.visit(id)?.disconnect_with(ReasonCode::Success, None);
        }
        let visitor = self.home.visit("columbaclear")?;
        for topic in retained(&visitor).difference(&self.home.retained_before) {
            visitor.start(topic, 0, "", |publish| publish.retain = true);
        }
        visitor.drain();
        Ok(())
    }
}

/// The topics that have a retained message.
fn retained(visitor: &Client) -> BTreeSet<String> {
    visitor.start_subscribe(&[("#", SubscriptionOptions::default())], None);
    visitor.take_first("SUBACK");
    let topic = |packet: Packet<'_>| match packet {
        Packet::Publish(publish) if publish.retain => publish.topic.map(|topic| topic.to_string()),
        _ => None,
    };
    visitor.drain().iter().filter_map(|received| topic(received.packet())).collect()
}
