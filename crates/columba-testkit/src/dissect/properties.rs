//! Property blocks of MQTT 5: which properties a packet may have, how their values are written, and what they mean.

use columba_codec::{PacketType, Property};

use super::packets::topic_name;
use super::scan::{Scan, shown};
use super::words::duration;

/// Whose properties they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Packet(PacketType),
    Will,
}

/// What was among them that other fields depend on.
#[derive(Default)]
pub(super) struct Found {
    pub(super) has_topic_alias: bool,
    /// One bit for each identifier that has occurred.
    seen: u64,
    /// Which field is the authentication data.
    authentication_data: Option<usize>,
}

/// How a value is written.
enum Kind {
    /// A byte that is 0 or 1.
    Flag,
    TwoByte,
    FourByte,
    Variable,
    Text,
    Binary,
    Pair,
}

/// A property block with its length. `None` if it is cut off.
pub(super) fn read(scan: &mut Scan<'_>, name: &'static str, holder: Holder) -> Option<Found> {
    let len = scan.varint(name)? as usize;
    let left = scan.left();
    let field = scan.last();
    field.note(match len {
        0 => "no properties".to_owned(),
        1 => "1 byte of properties".to_owned(),
        _ => format!("{len} bytes of properties"),
    });
    if left < len {
        field.wrong(format!("{len} bytes of properties are to follow, {left} are here"));
    }
    let outer = scan.enter(len);
    let mut found = Found::default();
    while !scan.is_empty() && scan.has_room() && property(scan, holder, &mut found).is_some() {}
    scan.leave(outer, "behind a property that is not understood nobody knows where the next begins");
    let needs_method =
        holder == Holder::Packet(PacketType::Connect) || holder == Holder::Packet(PacketType::ConnAck);
    if needs_method
        && !found.has(Property::AuthenticationMethod)
        && let Some(field) = found.authentication_data.and_then(|number| scan.field(number))
    {
        field.wrong("there is no authentication method that these data belong to");
    }
    (left >= len).then_some(found)
}

impl Found {
    const fn has(&self, property: Property) -> bool {
        self.seen & 1 << property.id() != 0
    }
}

fn property(scan: &mut Scan<'_>, holder: Holder, found: &mut Found) -> Option<()> {
    let Some(property) = scan.peek().and_then(Property::from_u8) else {
        let id = scan.varint("Property Identifier")?;
        let field = scan.last();
        field.value = format!("{id:#04x}");
        field.wrong("there is no such property");
        return None;
    };
    let number = scan.nested(property.name(), |scan| {
        let id = scan.u8("Property Identifier")?;
        scan.last().value = format!("{id:#04x}");
        scan.last().note(property.name());
        value(scan, property)
    })?;
    let is_repeated = found.has(property) && !may_repeat(property, holder);
    found.seen |= 1 << property.id();
    found.has_topic_alias |= property == Property::TopicAlias;
    if property == Property::AuthenticationData {
        found.authentication_data = Some(scan.len() - 1);
    }
    let field = scan.last();
    field.note(meaning(property, number, holder));
    if let Some(problem) = problem(property, number) {
        field.wrong(problem);
    }
    field.wrong_if(!has_place(property, holder), "this packet has no such property");
    field.wrong_if(is_repeated, "may come once, and has come before");
    Some(())
}

/// The value as a number, 0 where it is none, and in a form for people.
fn value(scan: &mut Scan<'_>, property: Property) -> Option<(u32, String)> {
    let number = match kind(property) {
        Kind::Flag => scan.u8("Value")?.into(),
        Kind::TwoByte => scan.number::<2>("Value")?,
        Kind::FourByte => scan.number::<4>("Value")?,
        Kind::Variable => scan.varint("Value")?,
        Kind::Text => {
            let text = scan.string("Value")?;
            let field = scan.last();
            if property == Property::ResponseTopic && !field.is_wrong {
                // [MQTT-3.3.2-14]
                topic_name(field, text);
            }
            return Some((0, field.value.clone()));
        }
        Kind::Binary => return scan.binary("Value", "Data").map(|bytes| (0, shown(bytes))),
        Kind::Pair => {
            scan.string("Name")?;
            let name = scan.last().value.clone();
            scan.string("Value")?;
            return Some((0, format!("{name}: {}", scan.last().value)));
        }
    };
    let is_time = matches!(
        property,
        Property::MessageExpiryInterval
            | Property::SessionExpiryInterval
            | Property::WillDelayInterval
            | Property::ServerKeepAlive
    );
    Some((number, if is_time { duration(number) } else { number.to_string() }))
}

const fn kind(property: Property) -> Kind {
    match property {
        Property::PayloadFormatIndicator
        | Property::RequestProblemInformation
        | Property::RequestResponseInformation
        | Property::MaximumQoS
        | Property::RetainAvailable
        | Property::WildcardSubscriptionAvailable
        | Property::SubscriptionIdentifiersAvailable
        | Property::SharedSubscriptionAvailable => Kind::Flag,
        Property::ServerKeepAlive
        | Property::ReceiveMaximum
        | Property::TopicAliasMaximum
        | Property::TopicAlias => Kind::TwoByte,
        Property::MessageExpiryInterval
        | Property::SessionExpiryInterval
        | Property::WillDelayInterval
        | Property::MaximumPacketSize => Kind::FourByte,
        Property::SubscriptionIdentifier => Kind::Variable,
        Property::ContentType
        | Property::ResponseTopic
        | Property::AssignedClientIdentifier
        | Property::AuthenticationMethod
        | Property::ResponseInformation
        | Property::ServerReference
        | Property::ReasonString => Kind::Text,
        Property::CorrelationData | Property::AuthenticationData => Kind::Binary,
        Property::UserProperty => Kind::Pair,
    }
}

fn may_repeat(property: Property, holder: Holder) -> bool {
    property == Property::UserProperty
        || property == Property::SubscriptionIdentifier && holder == Holder::Packet(PacketType::Publish)
}

/// Whether a packet may have this property (table 2.4).
fn has_place(property: Property, holder: Holder) -> bool {
    use PacketType::{Auth, ConnAck, Connect, Disconnect, Publish, Subscribe};
    let packet = match holder {
        Holder::Packet(packet) => Some(packet),
        Holder::Will => None,
    };
    let is_one_of = |packets: &[PacketType]| packet.is_some_and(|packet| packets.contains(&packet));
    match property {
        Property::PayloadFormatIndicator
        | Property::MessageExpiryInterval
        | Property::ContentType
        | Property::ResponseTopic
        | Property::CorrelationData => holder == Holder::Will || is_one_of(&[Publish]),
        Property::WillDelayInterval => holder == Holder::Will,
        Property::SubscriptionIdentifier => is_one_of(&[Publish, Subscribe]),
        Property::SessionExpiryInterval => is_one_of(&[Connect, ConnAck, Disconnect]),
        Property::AuthenticationMethod | Property::AuthenticationData => is_one_of(&[Connect, ConnAck, Auth]),
        Property::RequestProblemInformation | Property::RequestResponseInformation => is_one_of(&[Connect]),
        Property::ReceiveMaximum | Property::TopicAliasMaximum | Property::MaximumPacketSize => {
            is_one_of(&[Connect, ConnAck])
        }
        Property::TopicAlias => is_one_of(&[Publish]),
        Property::ServerReference => is_one_of(&[ConnAck, Disconnect]),
        Property::ReasonString => packet.is_some_and(|packet| {
            use PacketType::{PubAck, PubComp, PubRec, PubRel, SubAck, UnsubAck};
            matches!(
                packet,
                ConnAck | PubAck | PubRec | PubRel | PubComp | SubAck | UnsubAck | Disconnect | Auth
            )
        }),
        Property::UserProperty => true,
        Property::AssignedClientIdentifier
        | Property::ServerKeepAlive
        | Property::ResponseInformation
        | Property::MaximumQoS
        | Property::RetainAvailable
        | Property::WildcardSubscriptionAvailable
        | Property::SubscriptionIdentifiersAvailable
        | Property::SharedSubscriptionAvailable => is_one_of(&[ConnAck]),
    }
}

/// What is wrong with a number.
const fn problem(property: Property, number: u32) -> Option<&'static str> {
    match (kind(property), property) {
        (Kind::Flag, _) if number > 1 => Some("only 0 and 1 have a meaning"),
        (
            _,
            Property::ReceiveMaximum
            | Property::MaximumPacketSize
            | Property::TopicAlias
            | Property::SubscriptionIdentifier,
        ) if number == 0 => Some("must not be 0"),
        _ => None,
    }
}

/// What a property says where it is.
fn meaning(property: Property, number: u32, holder: Holder) -> String {
    let is_on = number != 0;
    let either = |yes: &str, no: &str| if is_on { yes.to_owned() } else { no.to_owned() };
    match property {
        Property::PayloadFormatIndicator => either("the payload is a text", "the payload is any bytes"),
        Property::MessageExpiryInterval => "later than this nobody is sent the message any more".into(),
        Property::ContentType => "what the payload is, in the application's words".into(),
        Property::ResponseTopic => "where an answer is expected".into(),
        Property::CorrelationData => "tells whoever asked which question an answer is for".into(),
        Property::SubscriptionIdentifier if holder == Holder::Packet(PacketType::Publish) => {
            "the number of a subscription that the message comes for".into()
        }
        Property::SubscriptionIdentifier => "messages for these filters will carry this number".into(),
        Property::SessionExpiryInterval => match number {
            0 => "the session ends with the connection".into(),
            u32::MAX => "the session does not end by itself".into(),
            _ => format!("the session outlives the connection by {}", duration(number)),
        },
        Property::AssignedClientIdentifier => "the broker has made up this client identifier".into(),
        Property::ServerKeepAlive => "holds in place of the keep alive that the client asked for".into(),
        Property::AuthenticationMethod => {
            "how client and broker prove who they are, by more than a password".into()
        }
        Property::AuthenticationData => "a step of the authentication method".into(),
        Property::RequestProblemInformation => either(
            "reasons in words and user properties are welcome",
            "the broker is to spare the client reasons in words and user properties where it can",
        ),
        Property::WillDelayInterval => {
            "the will waits so long after the connection, and is forgotten if the client is back by then"
                .into()
        }
        Property::RequestResponseInformation => {
            either("the broker is asked for Response Information", "no Response Information, please")
        }
        Property::ResponseInformation => "what the client may make response topics of".into(),
        Property::ServerReference => "which server to use instead".into(),
        Property::ReasonString => "the reason in words, for people".into(),
        Property::ReceiveMaximum => {
            format!("it takes {number} messages at QoS 1 and 2 before it acknowledges one")
        }
        Property::TopicAliasMaximum => match number {
            0 => "it takes no topic aliases".into(),
            _ => format!("it takes topic aliases from 1 to {number}"),
        },
        Property::TopicAlias => "stands for the topic; once both were sent, the number is enough".into(),
        Property::MaximumQoS => format!("the broker takes messages up to QoS {number}"),
        Property::RetainAvailable => {
            either("the broker retains messages", "the broker does not retain messages")
        }
        Property::UserProperty => "a pair that MQTT gives no meaning".into(),
        Property::MaximumPacketSize => format!("it takes no packet of more than {number} bytes"),
        Property::WildcardSubscriptionAvailable => {
            either("filters may have wildcards", "filters with wildcards are refused")
        }
        Property::SubscriptionIdentifiersAvailable => {
            either("subscriptions may have identifiers", "subscription identifiers are refused")
        }
        Property::SharedSubscriptionAvailable => {
            either("subscriptions may be shared", "shared subscriptions are refused")
        }
    }
}
