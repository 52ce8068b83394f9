//! The life of the broker's process.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::pin::pin;
use std::thread::JoinHandle;
use std::time::Duration;

use columba::{Broker, BrokerBuilder, Cause, Driver, Event, EventMask, Version};
use columba_net::reactor;
use futures::channel::oneshot;
use futures::future::{Either, select, select_all};

use crate::access::{AskUsers, Users};
use crate::config::ListenerKind;
use crate::listen::{self, Bound};
use crate::log::{self, Level};
use crate::settings::Settings;
use crate::sys;

/// What clients get to take their last messages when the broker ends.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a broker until a signal ends it. The error is a sentence.
pub(crate) fn run(settings: Settings) -> Result<(), String> {
    log::start(settings.log_level);
    raise_open_files();
    // A shard and its sockets have a thread of their own: they share everything, and nothing has to be handed over. This
    // one is for signals and figures, and passwords are checked on others.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let outcome = runtime.block_on(serve(settings));
    // Passwords that are being checked are of no interest any more.
    runtime.shutdown_background();
    outcome
}

async fn serve(settings: Settings) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let shards = settings.shards.get();
    let mut listeners = Vec::new();
    for config in &settings.listeners {
        let bound = listen::bind(config, settings.tls.as_ref(), shards).await?;
        if bound.is_public() && settings.is_open_by_accident(bound.kind) {
            let address = &config.address;
            return Err(format!(
                "{address} can be reached from other machines: configure users, or say --allow-anonymous"
            ));
        }
        listeners.push(bound);
    }
    let hint = hint(&listeners, settings.lets_anybody_in());
    let sys_interval = settings.sys_interval;
    let (broker, drivers) = builder(settings)?.build_shards(shards);
    let threads = drivers.into_iter().map(start).collect::<io::Result<Vec<_>>>();
    let (threads, ended): (Vec<_>, Vec<_>) =
        threads.map_err(|error| format!("cannot start: {error}"))?.into_iter().unzip();
    for bound in listeners {
        let name = bound.name();
        for listener in bound.listeners {
            broker.serve(listener).map_err(|error| error.to_string())?;
        }
        // Whoever reads this may have gone; that is no reason to end.
        let mut output = std::io::stdout().lock();
        let _ = writeln!(output, "listening {name}").and_then(|()| output.flush());
    }
    log::hint(hint);
    let sys = sys_interval.map(|interval| tokio::spawn(sys::publish(broker.clone(), interval)));

    match select(select_all(ended), pin!(signals.next())).await {
        Either::Left(_) => return Err(end_of(threads)),
        Either::Right(_) => log::line(Level::Info, "ending; a second signal ends at once"),
    }
    if let Some(sys) = sys {
        sys.abort();
    }
    match select(pin!(broker.shutdown(GRACE)), pin!(signals.next())).await {
        Either::Left(_) => Ok(()),
        Either::Right(_) => Err("ended at once".to_owned()),
    }
}

/// Runs the broker on its thread. The receiver is ready when it has ended, however it did.
fn start(driver: Driver) -> io::Result<(JoinHandle<io::Result<()>>, oneshot::Receiver<()>)> {
    let (sender, ended) = oneshot::channel();
    let thread = reactor::spawn(async move {
        // Dropped by a panic, too.
        let _sender = sender;
        driver.await;
    })?;
    Ok((thread, ended))
}

/// Why the broker has ended that nobody has asked to: when one shard fails, the others end.
fn end_of(threads: Vec<JoinHandle<io::Result<()>>>) -> String {
    let failures = threads.into_iter().filter_map(|thread| match thread.join() {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            Some(text.unwrap_or("it panicked").to_owned())
        }
    });
    let failures: Vec<_> = failures.collect();
    match &failures[..] {
        [] => "the broker has ended".to_owned(),
        failures => format!("the broker has failed: {}", failures.join(", ")),
    }
}

fn builder(settings: Settings) -> Result<BrokerBuilder, String> {
    let lets_anybody_in = settings.lets_anybody_in();
    let needs_no_users =
        lets_anybody_in && settings.passwords.is_empty() && settings.client_certificates.is_none();
    let mut config = settings.config;
    config.events = EventMask::NONE;
    let mut builder = Broker::builder().config(config).timers(reactor::Timer::new);
    if !needs_no_users {
        builder = builder.authenticate(AskUsers(Users::new(settings.passwords, lets_anybody_in)?));
    }
    if settings.permissions.restrict_anybody() {
        builder = builder.authorize(settings.permissions);
    }
    let mut kinds = EventMask::NONE;
    for (level, of_level) in [
        (Level::Warn, EventMask::PRESSURE),
        // Refusals are of this kind, too.
        (Level::Warn, EventMask::CLIENTS),
        (Level::Debug, EventMask::SUBSCRIPTIONS),
    ] {
        if log::is_on(level) {
            kinds = kinds | of_level;
        }
    }
    Ok(builder.observe(kinds, log_event))
}

fn log_event(event: &Event) {
    match event {
        Event::Connected { peer, .. } if peer.trusted => {}
        Event::Connected { client_id, version, session_present, peer, .. } => {
            let session = if *session_present { "with its session" } else { "with a new session" };
            log::line(
                Level::Info,
                format_args!("{client_id:?} connected {session}, {}, from {peer}", name(*version)),
            );
        }
        Event::Disconnected { client_id, cause, session_kept, .. } => {
            let level = if matches!(cause, Cause::Fault(_)) { Level::Warn } else { Level::Info };
            let session = if *session_kept { "; its session is kept" } else { "" };
            log::line(level, format_args!("{client_id:?} is gone: {cause}{session}"));
        }
        Event::Refused { peer, cause, .. } => {
            log::line(Level::Warn, format_args!("a connection from {peer} was refused: {cause}"));
        }
        Event::SessionEnded { client_id, expired: true } => {
            log::line(Level::Info, format_args!("the session of {client_id:?} has expired"));
        }
        Event::QueueFull { client_id, messages, bytes } => log::line(
            Level::Warn,
            format_args!("the queue of {client_id:?} is full with {messages} messages of {bytes} bytes"),
        ),
        Event::StoreFull { client_id } => log::line(
            Level::Warn,
            format_args!("the store is full; messages are refused, the first from {client_id:?}"),
        ),
        Event::Subscribed { client_id, filter, qos } => {
            log::line(
                Level::Debug,
                format_args!("{client_id:?} subscribed to {filter:?} at QoS {}", *qos as u8),
            );
        }
        Event::Unsubscribed { client_id, filter } => {
            log::line(Level::Debug, format_args!("{client_id:?} unsubscribed from {filter:?}"));
        }
        _ => {}
    }
}

const fn name(version: Version) -> &'static str {
    match version {
        Version::V3_1 => "MQTT 3.1",
        Version::V3_1_1 => "MQTT 3.1.1",
        Version::V5 => "MQTT 5.0",
    }
}

/// What listens where, and how to try it.
fn hint(listeners: &[Bound], lets_anybody_in: bool) -> String {
    let mut hint = format!("columba {} listens on", env!("CARGO_PKG_VERSION"));
    for bound in listeners {
        hint.push_str("\n  ");
        hint.push_str(&bound.name());
    }
    let plain = listeners.iter().find(|bound| bound.kind == ListenerKind::Tcp);
    if let Some(address) = plain.and_then(|bound| bound.address).filter(|_| lets_anybody_in) {
        let (host, port) = match address.ip() {
            ip if ip.is_unspecified() => ("127.0.0.1".to_owned(), address.port()),
            ip => (ip.to_string(), address.port()),
        };
        // Writing to a string does not fail.
        let _ = write!(
            hint,
            "\nTry it in two terminals:\n  mosquitto_sub -h {host} -p {port} -t 'hello/#' -v\n  \
             mosquitto_pub -h {host} -p {port} -t hello/world -m 'Hello!'"
        );
    }
    hint
}

/// Shells allow 1,024 open files, and every connection is one.
fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => log::line(Level::Debug, format_args!("{limit} files may be open")),
        Err(error) => log::line(Level::Warn, format_args!("the limit of open files stays as it is: {error}")),
    }
}

/// The signals that end the process.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        select(pin!(self.interrupt.recv()), pin!(self.terminate.recv())).await;
    }

    #[cfg(not(unix))]
    #[allow(clippy::unnecessary_wraps)] // elsewhere it can fail
    fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // No signal will ever come.
            std::future::pending::<()>().await;
        }
    }
}
