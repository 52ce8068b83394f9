//! What the broker does most: `cargo bench -p columba-codec`.
#![allow(missing_docs)]

use std::num::NonZeroU16;

use columba_codec::packet::encode_ack;
use columba_codec::{
    Ack, Connect, FixedHeader, List, MessageProperties, Packet, PacketId, PacketType, PayloadFormat, Publish,
    PublishHead, QoS, ReasonCode, Subscribe, SubscribeItem, SubscriptionId, SubscriptionOptions, TopicFilter,
    TopicName, UserProperty, Version, Will,
};
use divan::{Bencher, black_box};

const TOPIC: &str = "sensors/building-7/floor-3/temperature";
const PAYLOAD: &[u8] = &[b'x'; 64];
const USER: &[UserProperty<'_>] = &[("trace", "4bf92f3577b34da6a3ce929d0e0e4736")];
const ID: PacketId = PacketId::new(4711).unwrap();

fn main() {
    divan::main();
}

mod decode {
    use super::{Ack, Bencher, FixedHeader, Packet, Publish, Version, black_box, encoded};

    fn publish(bencher: Bencher<'_, '_>, packet: &Packet<'_>, version: Version) {
        let bytes = encoded(packet, version);
        bencher.bench_local(|| {
            let bytes = black_box(bytes.as_slice());
            let header = FixedHeader::read(bytes, usize::MAX).unwrap().unwrap();
            let publish = Publish::decode(header.flags, &bytes[header.len..], version).unwrap();
            black_box(publish.payload.len())
        });
    }

    fn any(bencher: Bencher<'_, '_>, packet: &Packet<'_>, version: Version) {
        let bytes = encoded(packet, version);
        bencher.bench_local(|| {
            let bytes = black_box(bytes.as_slice());
            let header = FixedHeader::read(bytes, usize::MAX).unwrap().unwrap();
            black_box(Packet::decode(header, &bytes[header.len..], version).is_ok())
        });
    }

    #[divan::bench]
    fn publish_v311_qos0(bencher: Bencher<'_, '_>) {
        publish(bencher, &super::publish(0), Version::V3_1_1);
    }

    #[divan::bench]
    fn publish_v311_qos1(bencher: Bencher<'_, '_>) {
        publish(bencher, &super::publish(1), Version::V3_1_1);
    }

    #[divan::bench]
    fn publish_v5_bare(bencher: Bencher<'_, '_>) {
        publish(bencher, &super::publish(1), Version::V5);
    }

    #[divan::bench]
    fn publish_v5_properties(bencher: Bencher<'_, '_>) {
        publish(bencher, &super::publish_with_properties(), Version::V5);
    }

    #[divan::bench]
    fn puback_v311(bencher: Bencher<'_, '_>) {
        let bytes = encoded(&Packet::PubAck(Ack::new(super::ID)), Version::V3_1_1);
        bencher.bench_local(|| {
            let bytes = black_box(bytes.as_slice());
            let header = FixedHeader::read(bytes, usize::MAX).unwrap().unwrap();
            let body = &bytes[header.len..];
            let ack = Ack::decode(header.packet_type, header.flags, body, Version::V3_1_1).unwrap();
            black_box(ack.packet_id)
        });
    }

    #[divan::bench]
    fn connect_v311(bencher: Bencher<'_, '_>) {
        any(bencher, &super::connect(Version::V3_1_1), Version::V3_1_1);
    }

    #[divan::bench]
    fn connect_v5(bencher: Bencher<'_, '_>) {
        any(bencher, &super::connect(Version::V5), Version::V5);
    }

    #[divan::bench]
    fn subscribe_100_filters(bencher: Bencher<'_, '_>) {
        let texts = super::filters();
        any(bencher, &super::subscribe(&super::items(&texts)), Version::V5);
    }

    #[divan::bench]
    fn subscribe_100_filters_and_read_them(bencher: Bencher<'_, '_>) {
        let texts = super::filters();
        let items = super::items(&texts);
        let bytes = encoded(&super::subscribe(&items), Version::V5);
        bencher.bench_local(|| {
            let bytes = black_box(bytes.as_slice());
            let header = FixedHeader::read(bytes, usize::MAX).unwrap().unwrap();
            let packet = Packet::decode(header, &bytes[header.len..], Version::V5);
            let Ok(Packet::Subscribe(subscribe)) = packet else { unreachable!() };
            subscribe.filters.iter().map(|item| item.filter.filter().len()).sum::<usize>()
        });
    }
}

mod encode {
    use super::{Bencher, PacketType, PublishHead, QoS, ReasonCode, Version, black_box, encode_ack};

    fn head(bencher: Bencher<'_, '_>, head: PublishHead<'_>, version: Version) {
        let mut out = Vec::with_capacity(4096);
        bencher.bench_local(|| {
            out.clear();
            black_box(&head).encode(version, &mut out);
            black_box(out.len())
        });
    }

    fn any(bencher: Bencher<'_, '_>, packet: &super::Packet<'_>, version: Version) {
        let mut out = Vec::with_capacity(16 * 1024);
        bencher.bench_local(|| {
            out.clear();
            black_box(packet).encode(version, &mut out).unwrap();
            black_box(out.len())
        });
    }

    #[divan::bench]
    fn head_v311_qos0(bencher: Bencher<'_, '_>) {
        head(bencher, super::head(QoS::AtMostOnce), Version::V3_1_1);
    }

    #[divan::bench]
    fn head_v311_qos1(bencher: Bencher<'_, '_>) {
        head(bencher, super::head(QoS::AtLeastOnce), Version::V3_1_1);
    }

    #[divan::bench]
    fn head_v5_bare(bencher: Bencher<'_, '_>) {
        head(bencher, super::head(QoS::AtLeastOnce), Version::V5);
    }

    #[divan::bench]
    fn head_v5_properties(bencher: Bencher<'_, '_>) {
        let mut forwarded = Vec::new();
        super::properties().encode_forwarded(&mut forwarded);
        let ids = [super::SubscriptionId::new(7).unwrap()];
        let mut rich = super::head(QoS::AtLeastOnce);
        rich.message_expiry = Some(60);
        rich.subscription_ids = &ids;
        rich.forwarded = &forwarded;
        head(bencher, rich, Version::V5);
    }

    #[divan::bench]
    fn encoded_len_v311(bencher: Bencher<'_, '_>) {
        let head = super::head(QoS::AtLeastOnce);
        bencher.bench_local(|| black_box(&head).encoded_len(Version::V3_1_1));
    }

    #[divan::bench]
    fn publish_v311_qos1(bencher: Bencher<'_, '_>) {
        any(bencher, &super::publish(1), Version::V3_1_1);
    }

    #[divan::bench]
    fn publish_v5_properties(bencher: Bencher<'_, '_>) {
        any(bencher, &super::publish_with_properties(), Version::V5);
    }

    #[divan::bench]
    fn forwarded_properties(bencher: Bencher<'_, '_>) {
        let bytes = super::encoded(&super::publish_with_properties(), Version::V5);
        let header = super::FixedHeader::read(&bytes, usize::MAX).unwrap().unwrap();
        let body = &bytes[header.len..];
        let publish = super::Publish::decode(header.flags, body, Version::V5).unwrap();
        let mut out = Vec::with_capacity(4096);
        bencher.bench_local(|| {
            out.clear();
            black_box(&publish.properties).encode_forwarded(&mut out);
            black_box(out.len())
        });
    }

    #[divan::bench]
    fn puback(bencher: Bencher<'_, '_>) {
        let mut out = Vec::with_capacity(64);
        bencher.bench_local(|| {
            out.clear();
            let (id, reason) = black_box((super::ID, ReasonCode::Success));
            encode_ack(PacketType::PubAck, id, reason, Version::V5, &mut out);
            black_box(out.len())
        });
    }

    #[divan::bench]
    fn connect_v5(bencher: Bencher<'_, '_>) {
        any(bencher, &super::connect(Version::V5), Version::V5);
    }

    #[divan::bench]
    fn subscribe_100_filters(bencher: Bencher<'_, '_>) {
        let texts = super::filters();
        any(bencher, &super::subscribe(&super::items(&texts)), Version::V5);
    }
}

#[divan::bench]
fn filter_matches(bencher: Bencher<'_, '_>) {
    let filter = TopicFilter::parse("sensors/+/floor-3/#").unwrap();
    let topic = TopicName::parse(TOPIC).unwrap();
    bencher.bench_local(|| black_box(filter).matches(black_box(topic)));
}

fn encoded(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(version, &mut out).unwrap();
    out
}

fn publish(qos: u8) -> Packet<'static> {
    let mut publish = Publish::new(TopicName::parse(TOPIC).unwrap(), PAYLOAD);
    publish.qos = QoS::from_u8(qos).unwrap();
    publish.packet_id = (qos > 0).then_some(ID);
    Packet::Publish(publish)
}

fn publish_with_properties() -> Packet<'static> {
    let mut publish = Publish::new(TopicName::parse(TOPIC).unwrap(), PAYLOAD);
    publish.topic_alias = NonZeroU16::new(3);
    publish.properties = properties();
    Packet::Publish(publish)
}

fn properties() -> MessageProperties<'static> {
    MessageProperties {
        payload_format: Some(PayloadFormat::Utf8),
        message_expiry: Some(3600),
        content_type: Some("application/json"),
        response_topic: Some("answers/client-17"),
        correlation_data: Some(&[1, 2, 3, 4, 5, 6, 7, 8]),
        user_properties: List::from_slice(USER),
    }
}

fn head(qos: QoS) -> PublishHead<'static> {
    PublishHead {
        dup: false,
        qos,
        retain: false,
        topic: TOPIC,
        packet_id: (qos > QoS::AtMostOnce).then_some(ID),
        topic_alias: None,
        message_expiry: None,
        subscription_ids: &[],
        forwarded: &[],
        payload_len: PAYLOAD.len(),
    }
}

fn connect(version: Version) -> Packet<'static> {
    let mut connect = Connect::new(version, "client-0123456789");
    connect.keep_alive = 60;
    connect.username = Some("user");
    connect.password = Some(b"a long enough password");
    connect.will = Some(Will {
        topic: TopicName::parse("clients/client-0123456789/status").unwrap(),
        payload: b"offline",
        qos: QoS::AtLeastOnce,
        retain: true,
        delay: Some(5),
        properties: MessageProperties::default(),
    });
    connect.properties.session_expiry = Some(3600);
    connect.properties.receive_maximum = NonZeroU16::new(100);
    Packet::Connect(Box::new(connect))
}

fn filters() -> Vec<String> {
    (0..100).map(|number| format!("sensors/building-{number}/+/temperature")).collect()
}

fn items(texts: &[String]) -> Vec<SubscribeItem<'_>> {
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    let filters = texts.iter().map(|text| TopicFilter::parse(text).unwrap());
    filters.map(|filter| SubscribeItem { filter, options }).collect()
}

fn subscribe<'a>(items: &'a [SubscribeItem<'a>]) -> Packet<'a> {
    Packet::Subscribe(Subscribe {
        packet_id: ID,
        subscription_id: SubscriptionId::new(1),
        user_properties: List::EMPTY,
        filters: items.into(),
    })
}
