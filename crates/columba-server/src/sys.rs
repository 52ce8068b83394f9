//! The broker's figures as retained messages below `$SYS/broker`, named as mosquitto names them.

use std::time::{Duration, Instant};

use columba::{Broker, ClientError, Metrics, Publish};
use tokio::time::{MissedTickBehavior, interval};

/// Publishes the figures now and then, those that have changed, until the broker is gone.
pub(crate) async fn publish(broker: Broker, every: Duration) {
    // The broker is gone, which ends this, too.
    let _ = publish_all(&broker, every).await;
}

async fn publish_all(broker: &Broker, every: Duration) -> Result<(), ClientError> {
    let started = Instant::now();
    // An id that nobody can guess, so that nobody can take it over.
    let client = broker.client("").connect().await?;
    let version = concat!("columba version ", env!("CARGO_PKG_VERSION"));
    client.send(Publish::new("$SYS/broker/version", version).retain(true)).await?;
    let mut before: Vec<(&str, u64)> = Vec::new();
    let mut interval = interval(every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Ok(metrics) = broker.metrics().await else { return Ok(()) };
        let now = figures(&metrics);
        for (at, (topic, value)) in now.iter().enumerate() {
            if before.get(at).is_none_or(|(_, before)| before != value) {
                client
                    .send(Publish::new(format!("$SYS/broker/{topic}"), value.to_string()).retain(true))
                    .await?;
            }
        }
        before = now;
        let uptime = format!("{} seconds", started.elapsed().as_secs());
        client.send(Publish::new("$SYS/broker/uptime", uptime).retain(true)).await?;
    }
}

fn figures(metrics: &Metrics) -> Vec<(&'static str, u64)> {
    // This module's own client is none that anybody would count.
    let sessions = metrics.sessions.saturating_sub(1) as u64;
    let connected = metrics.connections.saturating_sub(1) as u64;
    let dropped = metrics.dropped_queue_full + metrics.dropped_expired + metrics.dropped_too_large;
    vec![
        ("clients/connected", connected),
        ("clients/disconnected", sessions.saturating_sub(connected)),
        ("clients/total", sessions),
        ("clients/expired", metrics.sessions_expired),
        ("messages/received", metrics.packets_received),
        ("messages/sent", metrics.packets_sent),
        ("bytes/received", metrics.bytes_received),
        ("bytes/sent", metrics.bytes_sent),
        ("publish/messages/received", metrics.publishes_received),
        ("publish/messages/sent", metrics.publishes_sent),
        ("publish/messages/dropped", dropped),
        ("publish/messages/refused", metrics.publishes_refused),
        ("subscriptions/count", metrics.subscriptions as u64),
        ("retained messages/count", metrics.retained as u64),
        ("store/messages/count", metrics.stored as u64),
        ("store/messages/bytes", metrics.stored_bytes as u64),
    ]
}
