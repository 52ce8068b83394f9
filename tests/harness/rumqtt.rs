//! rumqttc, each client on a thread and runtime of its own.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use rumqttc::v5;
use tokio::sync::oneshot;

use crate::client::{Event, Wire};
use crate::{Broker, Kind, Message, Open, Properties, Transport, Version};

/// More than the largest packet of any test; rumqttc's own limit is 10 KB.
const MAX_PACKET: u32 = 64 << 20;

/// Room for requests that wait for the event loop; the tests have one under way at a time.
const REQUESTS: usize = 8;

enum Handle {
    V4(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

struct Rumqttc {
    handle: Handle,
    /// Dropping it ends the event loop, and with that the connection.
    cut: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) fn open(kind: Kind, broker: &Broker, open: &Open<'_>) -> (Box<dyn Wire>, Receiver<Event>) {
    let (events, receiver) = channel();
    let (cut, is_cut) = oneshot::channel();
    let subscribe: Vec<_> = open.subscribe.iter().map(|&(filter, qos)| (filter.to_owned(), qos)).collect();
    let (handle, thread) = match kind.version {
        Version::V5 => {
            let (client, event_loop) = v5::AsyncClient::new(options_v5(kind, broker, open), REQUESTS);
            let own = client.clone();
            (Handle::V5(client), thread::spawn(move || run_v5(event_loop, &own, &subscribe, is_cut, &events)))
        }
        Version::V31 | Version::V311 => {
            let (client, event_loop) = rumqttc::AsyncClient::new(options_v4(kind, broker, open), REQUESTS);
            let own = client.clone();
            (Handle::V4(client), thread::spawn(move || run_v4(event_loop, &own, &subscribe, is_cut, &events)))
        }
    };
    (Box::new(Rumqttc { handle, cut: Some(cut), thread: Some(thread) }), receiver)
}

/// Over a Unix socket the path stands for the host.
fn address(kind: Kind, broker: &Broker) -> (String, u16, rumqttc::Transport) {
    match kind.transport {
        Transport::Tcp => {
            let socket = broker.tcp();
            (socket.ip().to_string(), socket.port(), rumqttc::Transport::tcp())
        }
        Transport::Unix => (broker.address(Transport::Unix).to_owned(), 0, rumqttc::Transport::unix()),
        other => panic!("rumqttc is built without {other:?}"),
    }
}

fn options_v4(kind: Kind, broker: &Broker, open: &Open<'_>) -> rumqttc::MqttOptions {
    let (host, port, transport) = address(kind, broker);
    let mut options = rumqttc::MqttOptions::new(open.id, host, port);
    options.set_transport(transport);
    options.set_max_packet_size(MAX_PACKET as usize, MAX_PACKET as usize);
    options.set_clean_session(!open.keep_session);
    if let Some(will) = &open.will {
        let payload = will.payload.clone();
        options.set_last_will(rumqttc::LastWill::new(&will.topic, payload, qos_v4(will.qos), will.retain));
    }
    options
}

fn options_v5(kind: Kind, broker: &Broker, open: &Open<'_>) -> v5::MqttOptions {
    let (host, port, transport) = address(kind, broker);
    let mut options = v5::MqttOptions::new(open.id, host, port);
    options.set_transport(transport);
    options.set_max_packet_size(Some(MAX_PACKET));
    options.set_clean_start(!open.keep_session);
    if open.keep_session {
        options.set_session_expiry_interval(Some(3600));
    }
    if let Some(will) = &open.will {
        let (topic, payload) = (&will.topic, will.payload.clone());
        options.set_last_will(v5::mqttbytes::v5::LastWill::new(
            topic,
            payload,
            qos_v5(will.qos),
            will.retain,
            None,
        ));
    }
    options
}

fn qos_v4(qos: u8) -> rumqttc::QoS {
    rumqttc::qos(qos).expect("a QoS from 0 to 2")
}

fn qos_v5(qos: u8) -> v5::mqttbytes::QoS {
    v5::mqttbytes::qos(qos).expect("a QoS from 0 to 2")
}

fn message_v4(publish: rumqttc::Publish) -> Message {
    Message {
        payload: publish.payload.to_vec(),
        topic: publish.topic,
        qos: publish.qos as u8,
        retain: publish.retain,
        properties: Properties::default(),
    }
}

fn message_v5(publish: v5::mqttbytes::v5::Publish) -> Message {
    let properties = publish.properties.unwrap_or_default();
    Message {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload.to_vec(),
        qos: publish.qos as u8,
        retain: publish.retain,
        properties: Properties {
            user: properties.user_properties,
            content_type: properties.content_type,
            response_topic: properties.response_topic,
            correlation: properties.correlation_data.map(Into::into),
        },
    }
}

/// rumqttc's two versions have the same shape and no type in common.
macro_rules! run {
    ($name:ident, $client:ty, $event_loop:ty, $event:path, $packet:path, $filter:expr, $message:ident) => {
        fn $name(
            mut event_loop: $event_loop,
            client: &$client,
            subscribe: &[(String, u8)],
            mut cut: oneshot::Receiver<()>,
            events: &Sender<Event>,
        ) {
            use rumqttc::Outgoing;
            use $event as Polled;
            use $packet as Packet;
            let mut session_present = None;
            let work = async {
                loop {
                    let polled = tokio::select! {
                        polled = event_loop.poll() => polled,
                        // Returning drops the event loop, which closes the connection without a word.
                        _ = &mut cut => return,
                    };
                    let event = match polled {
                        Ok(Polled::Incoming(Packet::ConnAck(connack))) => {
                            session_present = Some(connack.session_present);
                            if !subscribe.is_empty() {
                                let filters = subscribe.iter().map($filter);
                                client.try_subscribe_many(filters).expect("room for a request");
                                continue;
                            }
                            Event::Ready { session_present }
                        }
                        Ok(Polled::Incoming(Packet::SubAck(_))) => Event::Ready { session_present },
                        Ok(Polled::Incoming(Packet::Publish(publish))) => Event::Message($message(publish)),
                        Ok(
                            Polled::Incoming(Packet::PubAck(_) | Packet::PubComp(_))
                            | Polled::Outgoing(Outgoing::Publish(0)),
                        ) => Event::Published,
                        Ok(_) => continue,
                        Err(error) => Event::Failed(error.to_string()),
                    };
                    // rumqttc would connect again after an error.
                    let is_over = matches!(event, Event::Failed(_));
                    if events.send(event).is_err() || is_over {
                        return;
                    }
                }
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(work);
        }
    };
}

run!(
    run_v4,
    rumqttc::AsyncClient,
    rumqttc::EventLoop,
    rumqttc::Event,
    rumqttc::Packet,
    |(filter, qos)| rumqttc::SubscribeFilter::new(filter.clone(), qos_v4(*qos)),
    message_v4
);

run!(
    run_v5,
    v5::AsyncClient,
    v5::EventLoop,
    v5::Event,
    v5::mqttbytes::v5::Packet,
    |(filter, qos)| v5::mqttbytes::v5::Filter::new(filter.clone(), qos_v5(*qos)),
    message_v5
);

impl Wire for Rumqttc {
    fn publish(&mut self, message: &Message) {
        let Message { topic, payload, qos, retain, properties } = message;
        match &self.handle {
            Handle::V4(client) => {
                client
                    .try_publish(topic, qos_v4(*qos), *retain, payload.clone())
                    .expect("room for a request");
            }
            Handle::V5(client) => {
                let properties = v5::mqttbytes::v5::PublishProperties {
                    user_properties: properties.user.clone(),
                    content_type: properties.content_type.clone(),
                    response_topic: properties.response_topic.clone(),
                    correlation_data: properties.correlation.clone().map(Into::into),
                    ..Default::default()
                };
                client
                    .try_publish_with_properties(topic, qos_v5(*qos), *retain, payload.clone(), properties)
                    .expect("room for a request");
            }
        }
    }

    fn leave(mut self: Box<Self>) {
        match &self.handle {
            Handle::V4(client) => client.try_disconnect().expect("room for a request"),
            Handle::V5(client) => client.try_disconnect().expect("room for a request"),
        }
        // The event loop ends when the broker has read the DISCONNECT and closes the connection.
        self.join();
    }

    fn kill(mut self: Box<Self>) {
        self.cut = None;
        self.join();
    }
}

impl Rumqttc {
    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was noticed by the events it did not send.
            let _ = thread.join();
        }
    }
}
