//! What arguments and file together come to.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use columba::Config;
use columba_net::{ClientCertificates, Tls};

use crate::access::Permissions;
use crate::arguments::Options;
use crate::config::{File, ListenerConfig, ListenerKind, Rules, Shards, TlsFile};
use crate::log::Level;
use crate::password::Hash;

/// Everything decided, certificates read.
pub(crate) struct Settings {
    pub(crate) listeners: Vec<ListenerConfig>,
    pub(crate) tls: Option<Tls>,
    /// There are certificates of clients to be named after.
    pub(crate) client_certificates: Option<ClientCertificates>,
    pub(crate) passwords: HashMap<Box<str>, Option<Hash>>,
    pub(crate) permissions: Permissions,
    /// `None` if nobody has said anything about it.
    pub(crate) allow_anonymous: Option<bool>,
    pub(crate) config: Config,
    pub(crate) sys_interval: Option<Duration>,
    pub(crate) shards: Shards,
    pub(crate) log_level: Level,
}

/// Where it listens if nothing else is said.
const DEFAULTS: [(ListenerKind, &str); 2] =
    [(ListenerKind::Tcp, "127.0.0.1:1883"), (ListenerKind::Ws, "127.0.0.1:8083")];
const SYS_INTERVAL: u16 = 10;

impl Settings {
    /// Reads what the options name. The error is a sentence.
    pub(crate) fn load(options: Options) -> Result<Self, String> {
        let file = options.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        Self::merge(options, file)
    }

    fn merge(options: Options, file: File) -> Result<Self, String> {
        let mut listeners = options.listeners;
        listeners.extend(file.listeners);
        if listeners.is_empty() {
            for (kind, address) in DEFAULTS {
                listeners.push(ListenerConfig::new(kind, address.to_owned())?);
            }
        }
        let tls = match (file.tls, options.certificate, options.key) {
            (tls, None, None) => tls,
            (Some(tls), certificate, key) => Some(TlsFile {
                certificate: certificate.unwrap_or(tls.certificate),
                key: key.unwrap_or(tls.key),
                ..tls
            }),
            (None, Some(certificate), Some(key)) => {
                Some(TlsFile { certificate, key, client_ca: None, require_client_certificate: false })
            }
            (None, ..) => return Err("--certificate and --key are needed together".to_owned()),
        };
        let client_certificates = tls.as_ref().map(client_certificates).transpose()?.flatten();
        let tls = tls.map(|files| read_tls(&files, client_certificates)).transpose()?;
        if tls.is_none() && listeners.iter().any(|listener| listener.kind.needs_tls()) {
            let how = "--certificate and --key, or [tls] in the configuration file";
            return Err(format!("listeners of the types tls and wss need a certificate: {how}"));
        }
        let mut passwords = HashMap::new();
        let mut users = HashMap::new();
        for (name, user) in file.users {
            users.insert(name.clone().into(), Rules { publish: user.publish, subscribe: user.subscribe });
            passwords.insert(name.into(), user.password);
        }
        let mut config = Config::default();
        file.limits.apply(&mut config.limits);
        file.policies.apply(&mut config);
        let sys_interval = file.sys_interval.unwrap_or(SYS_INTERVAL);
        Ok(Self {
            listeners,
            tls,
            client_certificates,
            passwords,
            permissions: Permissions { users, others: file.others },
            allow_anonymous: if options.allow_anonymous { Some(true) } else { file.allow_anonymous },
            config,
            sys_interval: (sys_interval > 0).then(|| Duration::from_secs(sys_interval.into())),
            shards: options.shards.or(file.shards).unwrap_or(Shards::ONE),
            log_level: options.log_level.or(file.log_level).unwrap_or_default(),
        })
    }

    /// Whether clients may come in that show neither name nor certificate.
    pub(crate) fn lets_anybody_in(&self) -> bool {
        self.allow_anonymous.unwrap_or(self.passwords.is_empty())
    }

    /// Whether this listener is open to strangers without anybody having said so.
    pub(crate) fn is_open_by_accident(&self, kind: ListenerKind) -> bool {
        let asks_certificate =
            kind.needs_tls() && self.client_certificates == Some(ClientCertificates::Required);
        self.allow_anonymous.is_none() && self.lets_anybody_in() && !asks_certificate
    }
}

impl ListenerKind {
    pub(crate) const fn needs_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }
}

fn client_certificates(files: &TlsFile) -> Result<Option<ClientCertificates>, String> {
    match (&files.client_ca, files.require_client_certificate) {
        (None, true) => Err("require_client_certificate needs client_ca, who has signed them".to_owned()),
        (None, false) => Ok(None),
        (Some(_), false) => Ok(Some(ClientCertificates::Optional)),
        (Some(_), true) => Ok(Some(ClientCertificates::Required)),
    }
}

fn read_tls(files: &TlsFile, clients: Option<ClientCertificates>) -> Result<Tls, String> {
    let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
    let tls = match (&files.client_ca, clients) {
        (Some(authorities), Some(clients)) => {
            Tls::with_client_certificates(&certificate, &key, &read(authorities)?, clients)
        }
        _ => Tls::new(&certificate, &key),
    };
    let (certificate, key) = (files.certificate.display(), files.key.display());
    tls.map_err(|error| format!("TLS with {certificate} and {key} does not work: {error}"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(kind: ListenerKind, address: &str) -> ListenerConfig {
        ListenerConfig::new(kind, address.to_owned()).unwrap()
    }

    fn merge(options: Options, file: File) -> Settings {
        Settings::merge(options, file).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn defaults_are_for_when_nothing_is_said() {
        let settings = merge(Options::default(), File::default());
        let addresses: Vec<_> = settings.listeners.iter().map(|listener| listener.address.as_str()).collect();
        assert_eq!(addresses, ["127.0.0.1:1883", "127.0.0.1:8083"]);
        let one = listener(ListenerKind::Tcp, "127.0.0.1:0");
        let options = Options { listeners: vec![one.clone()], ..Options::default() };
        assert_eq!(merge(options, File::default()).listeners, vec![one.clone()]);
        let file = File { listeners: vec![one.clone()], ..File::default() };
        assert_eq!(merge(Options::default(), file).listeners, [one]);
    }

    #[test]
    fn nobody_opens_a_door_by_accident() {
        let check = |allow: bool, said: Option<bool>, with_user: bool| {
            let options = Options { allow_anonymous: allow, ..Options::default() };
            let mut file = File { allow_anonymous: said, ..File::default() };
            if with_user {
                let user = crate::config::UserFile { password: None, publish: None, subscribe: None };
                file.users.insert("ada".to_owned(), user);
            }
            let settings = merge(options, file);
            (settings.lets_anybody_in(), settings.is_open_by_accident(ListenerKind::Tcp))
        };
        assert_eq!(check(false, None, false), (true, true));
        assert_eq!(check(true, None, false), (true, false));
        assert_eq!(check(false, Some(true), false), (true, false));
        assert_eq!(check(false, Some(false), false), (false, false));
        assert_eq!(check(true, Some(false), true), (true, false));
        assert_eq!(check(false, None, true), (false, false));
    }

    #[test]
    fn what_belongs_together_is_asked_for() {
        let fails = |options, file| Settings::merge(options, file).err().unwrap();
        let options = Options { listeners: vec![listener(ListenerKind::Wss, "a:1")], ..Options::default() };
        assert!(fails(options, File::default()).contains("need a certificate"));
        let options = Options { key: Some("k".into()), ..Options::default() };
        assert_eq!(fails(options, File::default()), "--certificate and --key are needed together");
        let options =
            Options { certificate: Some("/no/c".into()), key: Some("/no/k".into()), ..Options::default() };
        assert!(fails(options, File::default()).starts_with("cannot read /no/c: "));
        let tls = TlsFile {
            certificate: "c".into(),
            key: "k".into(),
            client_ca: None,
            require_client_certificate: true,
        };
        let file = File { tls: Some(tls), ..File::default() };
        assert!(fails(Options::default(), file).contains("needs client_ca"));
    }
}
