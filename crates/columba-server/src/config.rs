//! The configuration file. Whatever is wrong in it is found while it is read, and so has a line and a column.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use columba::{Config, FullQueue, Limits, MAX_SHARDS, QoS, TopicFilter};
use serde::Deserialize;

use crate::log::Level;
use crate::password::Hash;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) log_level: Option<Level>,
    pub(crate) allow_anonymous: Option<bool>,
    /// Seconds from one publication of `$SYS` to the next; 0 is never.
    pub(crate) sys_interval: Option<u16>,
    /// Cores of the machine to use.
    pub(crate) shards: Option<Shards>,
    pub(crate) listeners: Vec<ListenerConfig>,
    pub(crate) tls: Option<TlsFile>,
    pub(crate) users: BTreeMap<String, UserFile>,
    /// What clients may do that are none of the users.
    pub(crate) others: Rules,
    pub(crate) limits: LimitsFile,
    pub(crate) policies: PoliciesFile,
}

/// How many shards the broker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub(crate) struct Shards(usize);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ListenerFile")]
pub(crate) struct ListenerConfig {
    pub(crate) kind: ListenerKind,
    pub(crate) address: String,
    pub(crate) path: Option<String>,
    pub(crate) origins: Option<Vec<String>>,
    pub(crate) proxy_protocol: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ListenerKind {
    Tcp,
    Tls,
    Ws,
    Wss,
    Unix,
}

impl Shards {
    pub(crate) const ONE: Self = Self(1);

    pub(crate) const fn get(self) -> usize {
        self.0
    }
}

impl TryFrom<usize> for Shards {
    type Error = String;

    fn try_from(count: usize) -> Result<Self, String> {
        if (1..=MAX_SHARDS).contains(&count) {
            return Ok(Self(count));
        }
        Err(format!("the number of shards is from 1 to {MAX_SHARDS}"))
    }
}

impl FromStr for Shards {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.parse().unwrap_or(0))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListenerFile {
    #[serde(rename = "type")]
    kind: ListenerKind,
    address: String,
    path: Option<String>,
    origins: Option<Vec<String>>,
    #[serde(default)]
    proxy_protocol: bool,
}

/// Certificates, as paths relative to the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFile {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: Option<PathBuf>,
    #[serde(default)]
    pub(crate) require_client_certificate: bool,
}

/// One user. Without a password it is the name in a client's certificate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserFile {
    pub(crate) password: Option<Hash>,
    pub(crate) publish: Option<Vec<Pattern>>,
    pub(crate) subscribe: Option<Vec<Pattern>>,
}

/// What somebody may publish and subscribe to; without a list, everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rules {
    pub(crate) publish: Option<Vec<Pattern>>,
    pub(crate) subscribe: Option<Vec<Pattern>>,
}

/// A topic filter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pattern(pub(crate) String);

/// A table whose keys are fields of a structure, each of which it replaces if it is there.
macro_rules! replacing {
    ($name:ident, $target:ty, $($field:ident: $kind:ty),+ $(,)?) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name {
            $($field: Option<$kind>,)+
        }

        impl $name {
            pub(crate) fn apply(self, target: &mut $target) {
                $(if let Some(value) = self.$field {
                    target.$field = value.into();
                })+
            }
        }
    };
}

replacing! {
    LimitsFile, Limits,
    connections: usize,
    pending_handshakes: usize,
    connect_timeout: u16,
    close_timeout: u16,
    sessions: usize,
    client_id_len: usize,
    packet_size: u32,
    control_size: u32,
    connect_size: u32,
    receive_maximum: u16,
    inflight: u16,
    queued_messages: usize,
    queued_bytes: usize,
    stored_bytes: usize,
    subscriptions: usize,
    wildcard_levels: usize,
    topic_levels: usize,
    retained_messages: usize,
    retained_levels: usize,
    retained_bytes: usize,
    retained_payload: usize,
    topic_aliases_in: u16,
    topic_aliases_out: u16,
    output_backlog: usize,
    transmit_budget: usize,
}

replacing! {
    PoliciesFile, Config,
    full_queue: FullQueueName,
    maximum_qos: MaximumQoS,
    retain_available: bool,
    wildcard_subscriptions: bool,
    subscription_ids: bool,
    shared_subscriptions: bool,
    assign_client_ids: bool,
    server_keep_alive: u16,
    maximum_session_expiry: u32,
    queue_qos0_offline: bool,
    response_information: Box<str>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FullQueueName {
    DropNewest,
    DropOldest,
    DisconnectConsumer,
    RefusePublisher,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u8")]
struct MaximumQoS(QoS);

impl File {
    /// Reads a file; the error is a sentence.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let mut file = Self::parse(&text).map_err(|error| format!("{}, {error}", path.display()))?;
        if let Some(tls) = &mut file.tls {
            let directory = path.parent().unwrap_or(Path::new(""));
            let files = [Some(&mut tls.certificate), Some(&mut tls.key), tls.client_ca.as_mut()];
            for file in files.into_iter().flatten() {
                *file = directory.join(&file);
            }
        }
        Ok(file)
    }

    /// The error says where, what and in which key.
    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|mut error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|&character| character != '\n').count() + 1;
            // Without the text it names the key, and does not draw a picture in several lines.
            error.set_input(None);
            let words = error.to_string().trim().replace('\n', " ");
            format!("line {line}, column {column}: {words}")
        })
    }
}

impl ListenerConfig {
    /// A listener with nothing special about it.
    pub(crate) fn new(kind: ListenerKind, address: String) -> Result<Self, String> {
        let file = ListenerFile { kind, address, path: None, origins: None, proxy_protocol: false };
        file.try_into()
    }
}

impl TryFrom<ListenerFile> for ListenerConfig {
    type Error = String;

    fn try_from(file: ListenerFile) -> Result<Self, String> {
        let ListenerFile { kind, address, path, origins, proxy_protocol } = file;
        let is_web = matches!(kind, ListenerKind::Ws | ListenerKind::Wss);
        if !is_web && (path.is_some() || origins.is_some()) {
            return Err("only listeners of the types ws and wss have a path and origins".to_owned());
        }
        if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            return Err("a path begins with a slash".to_owned());
        }
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if kind == ListenerKind::Unix {
            if proxy_protocol {
                return Err("nobody speaks the PROXY protocol on a Unix socket".to_owned());
            }
        } else if port.is_none() {
            return Err(format!("{address:?} is no address with a port, such as 127.0.0.1:1883"));
        }
        Ok(Self { kind, address, path, origins, proxy_protocol })
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match TopicFilter::parse(&text) {
            Ok(filter) if filter.share_name().is_some() => {
                Err(format!("{text:?}: shared subscriptions are allowed where their filter is"))
            }
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(format!("{text:?} is no topic filter: {error}")),
        }
    }
}

impl TryFrom<u8> for MaximumQoS {
    type Error = &'static str;

    fn try_from(value: u8) -> Result<Self, Self::Error> {
        QoS::from_u8(value).map(Self).ok_or("QoS is 0, 1 or 2")
    }
}

impl From<MaximumQoS> for QoS {
    fn from(maximum: MaximumQoS) -> Self {
        maximum.0
    }
}

impl From<FullQueueName> for FullQueue {
    fn from(name: FullQueueName) -> Self {
        match name {
            FullQueueName::DropNewest => Self::DropNewest,
            FullQueueName::DropOldest => Self::DropOldest,
            FullQueueName::DisconnectConsumer => Self::DisconnectConsumer,
            FullQueueName::RefusePublisher => Self::RefusePublisher,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// The example is also the test that everything in it is understood.
    const EXAMPLE: &str = include_str!("../columba.example.toml");

    #[test]
    fn the_example_is_right() {
        let file = File::parse(EXAMPLE).unwrap();
        assert_eq!(file.listeners.len(), 4);
        assert_eq!(file.listeners[2].path.as_deref(), Some("/mqtt"));
        assert!(file.tls.unwrap().require_client_certificate);
        assert!(file.users["ada"].password.is_some());
        assert_eq!(file.others.subscribe, Some(vec![Pattern("public/#".to_owned())]));
        let mut config = Config::default();
        file.policies.apply(&mut config);
        file.limits.apply(&mut config.limits);
        assert_eq!(config.full_queue, FullQueue::DropOldest);
        assert_eq!(config.maximum_qos, QoS::ExactlyOnce);
        assert_eq!(config.server_keep_alive, Some(60));
        assert_eq!(config.limits.connections, 10_000);
    }

    #[test]
    fn every_limit_has_its_key_and_no_value_changes_on_the_way() {
        let limits = format!("{:?}", Limits::default());
        let fields = limits.strip_prefix("Limits { ").and_then(|rest| rest.strip_suffix(" }"));
        let mut table = "[limits]\n".to_owned();
        for field in fields.unwrap().split(", ") {
            let (name, value) = field.split_once(": ").unwrap();
            // TOML has no larger numbers.
            let value = value.parse::<u64>().unwrap().min(i64::MAX as u64);
            writeln!(table, "{name} = {value}").unwrap();
        }
        let mut parsed = Limits::default();
        File::parse(&table).unwrap().limits.apply(&mut parsed);
        let expected = limits.replace(&usize::MAX.to_string(), &i64::MAX.to_string());
        assert_eq!(format!("{parsed:?}"), expected);
    }

    #[test]
    fn mistakes_have_a_place_and_a_name() {
        for (text, expected) in [
            ("[limits]\nconnections = \"many\"", "line 2, column 15: "),
            ("[limits]\nconnections = \"many\"", "`limits.connections`"),
            ("[limits]\nconections = 1", "line 2, column 1: unknown field `conections`"),
            ("[limits]\nreceive_maximum = 65536", "line 2, column 19: "),
            ("colour = \"blue\"", "line 1, column 1: unknown field `colour`"),
            ("[tls]\nkey = \"k\"", "missing field `certificate`"),
            ("log_level = \"loud\"", "line 1, column 13: unknown variant `loud`"),
            ("log_level = ", "line 1, column 13: "),
            ("[policies]\nfull_queue = \"explode\"", "unknown variant `explode`"),
            ("[policies]\nmaximum_qos = 3", "line 2, column 15: QoS is 0, 1 or 2"),
            (
                "[users.ada]\npassword = \"secret\"",
                "line 2, column 12: a password is written as an Argon2 hash",
            ),
            ("[users.ada]\npublish = [\"a/#/b\"]", "line 2, column 11: \"a/#/b\" is no topic filter"),
            (
                "[others]\nsubscribe = [\"$share/g/a\"]",
                "shared subscriptions are allowed where their filter is",
            ),
            ("[[listeners]]\ntype = \"udp\"\naddress = \"x:1\"", "unknown variant `udp`"),
            ("[[listeners]]\ntype = \"tcp\"", "missing field `address`"),
            (
                "[[listeners]]\ntype = \"tcp\"\naddress = \"1883\"",
                "line 1, column 1: \"1883\" is no address with a port",
            ),
            (
                "[[listeners]]\ntype = \"tcp\"\naddress = \"a:1\"\npath = \"/\"",
                "only listeners of the types ws and wss",
            ),
            ("[[listeners]]\ntype = \"ws\"\naddress = \"a:1\"\npath = \"m\"", "a path begins with a slash"),
            (
                "[[listeners]]\ntype = \"unix\"\naddress = \"s\"\nproxy_protocol = true",
                "nobody speaks the PROXY",
            ),
        ] {
            let error = File::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}\n{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn certificates_are_beside_the_file() {
        let directory = std::env::temp_dir().join(format!("columba-config-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("columba.toml");
        fs::write(&path, "[tls]\ncertificate = \"server.pem\"\nkey = \"/etc/key.pem\"").unwrap();
        let tls = File::read(&path).unwrap().tls.unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(tls.certificate, directory.join("server.pem"));
        assert_eq!(tls.key, Path::new("/etc/key.pem"));
        let error = File::read(&path).unwrap_err();
        assert!(error.starts_with("cannot read ") && error.contains("columba.toml"), "{error}");
    }
}
