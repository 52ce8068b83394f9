//! Plays a workload in a simulated world, with the model looking on; in the end heals everything and asks for the
//! accounts. It never decides what is right.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use columba_testkit::codec::PacketType;
use columba_testkit::columba::FullQueue;
use columba_testkit::{ReasonCode, World, on_any};

use crate::agent::Agent;
use crate::op::{Answer, Fault, LONGEST_DELAY, Op, Script};
use crate::oracle::{Oracle, Outcome};

/// What came of a workload.
#[derive(Clone, Debug)]
pub struct Report {
    /// Steps taken.
    pub operations: u64,
    /// A digest of every byte and its time: the same each time the same script runs.
    pub digest: u64,
    /// What went wrong, if something did.
    pub failure: Option<Failure>,
}

/// What went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The number of the step after which it was noticed; the number of steps where it was noticed in the end.
    pub step: usize,
    /// The complaint of the model, or the panic.
    pub complaint: String,
    /// The end of the conversation, if there is a transcript.
    pub transcript: String,
}

struct Player {
    world: World,
    oracle: Oracle,
    agents: Vec<Agent>,
    /// Links opened.
    links: usize,
    /// Links whose client reads nothing.
    stalled: BTreeSet<usize>,
    /// How long something can be under way.
    latency: Duration,
    /// The same without faults.
    own_latency: Duration,
}

/// Rounds of reading and answering after which everything has come to rest; scripts are not long enough for more.
const MOST_ROUNDS: usize = 10_000;

/// Plays a script. With a transcript it is slower, and a failure shows the end of the conversation.
pub fn run(script: &Script, transcript: bool) -> Report {
    let step = RefCell::new(0);
    let digest = RefCell::new(0);
    let said = RefCell::new(String::new());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut player = Player::new(script, transcript);
        let outcome = player.play(script, &step).and_then(|()| {
            *step.borrow_mut() = script.ops.len();
            player.finish()
        });
        *digest.borrow_mut() = player.oracle.digest();
        if outcome.is_err() && transcript {
            *said.borrow_mut() = player.world.transcript().to_string();
        }
        outcome?;
        player.world.wind_down();
        Ok(())
    }));
    let complaint = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(complaint)) => Some(complaint),
        Err(panic) => Some(text_of(panic.as_ref())),
    };
    let failure =
        complaint.map(|complaint| Failure { step: step.take(), complaint, transcript: said.take() });
    Report { operations: script.ops.len() as u64, digest: digest.take(), failure }
}

fn is_answer(packet: PacketType) -> bool {
    matches!(packet, PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp)
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
    format!("panic: {}", text.unwrap_or_default())
}

impl Player {
    fn new(script: &Script, transcript: bool) -> Self {
        let setup = &script.setup;
        let (from, to) = setup.latency;
        let world = World::with_options(|options| {
            options.seed = script.seed;
            options.latency = (Duration::from_millis(from.into()), Duration::from_millis(to.into()));
            options.transcript = transcript;
            let (from, to) = setup.shard_latency;
            options.shards = setup.shards;
            options.shard_latency = (Duration::from_micros(from.into()), Duration::from_micros(to.into()));
            let config = &mut options.config;
            config.queue_qos0_offline = setup.queue_qos0_offline;
            config.full_queue = if setup.drop_oldest { FullQueue::DropOldest } else { FullQueue::DropNewest };
            config.limits.inflight = setup.inflight;
            config.limits.topic_aliases_out = setup.aliases_out;
            config.limits.transmit_budget = setup.transmit_budget;
            config.limits.queued_messages = setup.queued_messages;
        });
        world.watch_edges();
        let versions = setup.versions.iter().enumerate();
        Self {
            world,
            oracle: Oracle::new(setup),
            agents: versions.map(|(number, &version)| Agent::new(number, version)).collect(),
            links: 0,
            stalled: BTreeSet::new(),
            latency: Duration::from_millis(to.into()),
            own_latency: Duration::from_millis(to.into()),
        }
    }

    fn play(&mut self, script: &Script, step: &RefCell<usize>) -> Outcome {
        for (number, op) in script.ops.iter().enumerate() {
            *step.borrow_mut() = number;
            if op.client().is_some_and(|client| client >= self.agents.len()) {
                continue;
            }
            // No two steps at one instant: in which order things happen that fall due together, nobody says.
            self.world.advance(Duration::from_micros(1));
            self.step(op)?;
            self.settle()?;
        }
        Ok(())
    }

    fn step(&mut self, op: &Op) -> Outcome {
        let Self { world, agents, links, stalled, .. } = self;
        match op {
            Op::Connect(connect) => {
                let link = *links;
                *links += 1;
                agents[connect.client].connect(world, link, connect);
            }
            &Op::Cut { client } => agents[client].cut(),
            &Op::Vanish { client } => stalled.extend(agents[client].vanish()),
            &Op::Disconnect { client, with_will, session_expiry } => {
                agents[client].disconnect(with_will, session_expiry);
            }
            Op::Publish(publish) => agents[publish.client].publish(publish),
            Op::Subscribe { client, id, filters } => agents[*client].subscribe(*id, filters),
            &Op::Unsubscribe { client, filter } => agents[client].unsubscribe(filter),
            &Op::Answer { client, how } => agents[client].answer(how),
            &Op::Ack { client, count, latest } => agents[client].acknowledge(count, latest),
            &Op::Stall { client } => stalled.extend(agents[client].stall(true)),
            &Op::Resume { client } => {
                if let Some(link) = agents[client].stall(false) {
                    stalled.remove(&link);
                }
            }
            &Op::Ping { client } => agents[client].ping(),
            &Op::Kick { client } => return self.kick(client),
            &Op::Advance { ms } => return self.advance(Duration::from_millis(ms)),
            &Op::Fault { what, from_broker, every } => {
                let rule = if from_broker { on_any().from_broker() } else { on_any().from_client() };
                world.fault(match what {
                    Fault::LoseAnswers => {
                        rule.matching(|packet| is_answer(packet.packet_type())).every(every).lose()
                    }
                    Fault::LoseMessages => rule
                        .matching(|packet| packet.packet_type() == PacketType::Publish)
                        .every(every)
                        .lose(),
                    Fault::Delay(ms) => rule.every(every).delay(Duration::from_millis(ms)),
                    Fault::Split => rule.every(every).split(),
                });
                // From here on something may be under way for longer.
                self.latency = self.own_latency + Duration::from_millis(LONGEST_DELAY);
            }
            Op::ClearFaults => world.clear_faults(),
            Op::Compare => {
                self.look()?;
                return self.oracle.compare(&self.world);
            }
        }
        Ok(())
    }

    fn kick(&mut self, client: usize) -> Outcome {
        self.look()?;
        let reason = ReasonCode::AdministrativeAction;
        let expected = self.oracle.kick(client, reason);
        if self.world.disconnect(&self.agents[client].id, reason) == expected {
            Ok(())
        } else {
            Err(format!("c{client} is connected for one, and not for the other"))
        }
    }

    /// Clients read and answer while things are under way, and then nothing happens for the rest of the time.
    fn advance(&mut self, mut left: Duration) -> Outcome {
        while !self.latency.is_zero() && !left.is_zero() {
            let part = left.min(self.latency / 2);
            self.world.advance(part);
            left -= part;
            if !self.settle()? {
                break;
            }
        }
        self.world.advance(left);
        Ok(())
    }

    /// Everybody reads and answers until nothing happens any more at this instant. False if nothing has.
    fn settle(&mut self) -> Result<bool, String> {
        let mut busy = self.look()?;
        for _ in 0..MOST_ROUNDS {
            let mut again = false;
            for agent in &mut self.agents {
                // No two clients at one instant, either.
                again |= agent.read(|| self.world.advance(Duration::from_micros(1)));
            }
            busy |= again | self.look()?;
            if !again && self.world.settle_shards() {
                again = true;
                busy |= self.look()?;
            } else if !again {
                self.oracle.shards_settled();
            }
            if !again {
                self.oracle.settled(&self.stalled)?;
                return Ok(busy);
            }
        }
        Err("the broker and its clients do not come to rest".into())
    }

    /// Shows the model what has passed. False if nothing has.
    fn look(&mut self) -> Result<bool, String> {
        let events = self.world.edge_events();
        for event in &events {
            self.oracle.observe(event)?;
        }
        self.oracle.pass_time(u64::try_from(self.world.now().as_micros()).unwrap_or(u64::MAX));
        Ok(!events.is_empty())
    }

    /// Heals everything, lets everything come to rest and asks for the accounts.
    fn finish(&mut self) -> Outcome {
        self.world.clear_faults();
        for agent in &mut self.agents {
            agent.cut_forgotten();
            if let Some(link) = agent.stall(false) {
                self.stalled.remove(&link);
            }
        }
        self.rest()?;
        for client in 0..self.agents.len() {
            self.agents[client].answer(Answer::Promptly);
            self.return_home(client)?;
        }
        self.rest()?;
        self.oracle.drained()?;
        for agent in &self.agents {
            if agent.is_online() && agent.unacknowledged() > 0 {
                return Err(format!(
                    "{}: {} messages are not acknowledged",
                    agent.id,
                    agent.unacknowledged()
                ));
            }
        }
        self.oracle.compare(&self.world)
    }

    /// The client comes back to its session, if it has one, and takes whatever comes.
    fn return_home(&mut self, client: usize) -> Outcome {
        if !self.oracle.has_session(client) {
            return Ok(());
        }
        let connect = crate::op::Connect {
            client,
            clean: false,
            session_expiry: Some(u32::MAX),
            keep_alive: 0,
            receive_maximum: None,
            maximum_packet_size: None,
            alias_maximum: 0,
            will: None,
            chunk: 0,
        };
        self.step(&Op::Connect(connect))?;
        self.settle().map(drop)
    }

    /// Until nothing is under way.
    fn rest(&mut self) -> Outcome {
        self.settle()?;
        if self.latency.is_zero() {
            return Ok(());
        }
        for _ in 0..MOST_ROUNDS {
            self.world.advance(self.latency + Duration::from_millis(1));
            if !self.settle()? {
                return Ok(());
            }
        }
        Err("the broker and its clients do not come to rest".into())
    }
}
