//! Who comes in, and who may do what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;

use blake2::Blake2bMac512;
use blake2::digest::{FixedOutput, KeyInit, Mac};
use columba::{
    Action, AuthRequest, AuthStage, Authenticate, Authorize, ClientIdentity, Grant, ReasonCode, Verdict,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::config::{Pattern, Rules};
use crate::password::Hash;

/// The users and their passwords. Hashing is slow on purpose, so it runs on other threads, and what was right once is
/// remembered: by a keyed hash that is fast and of no use outside of this process. Otherwise a thousand clients that come
/// back at once would wait half a minute.
pub(crate) struct Users {
    passwords: HashMap<Box<str>, Option<Hash>>,
    allow_anonymous: bool,
    /// Checked for names that nobody has, so that they take as long as others.
    nobody: Hash,
    key: [u8; 64],
    /// As many passwords are hashed at a time as there are processors, each of them in 19 MiB. Who waits and gives up is
    /// out of the queue, so nobody can make it grow without holding connections open, which are limited.
    turns: Arc<Semaphore>,
    /// It has the threads for that; the broker's own is none of its.
    runtime: Handle,
    /// The last right password of each user.
    known: Mutex<HashMap<Box<str>, [u8; 64]>>,
}

/// What the users may do.
pub(crate) struct Permissions {
    pub(crate) users: HashMap<Box<str>, Rules>,
    pub(crate) others: Rules,
}

impl Users {
    /// Users by name; those without a password come in by their certificate only. Passwords are hashed on threads of the
    /// current runtime.
    pub(crate) fn new(
        passwords: HashMap<Box<str>, Option<Hash>>,
        allow_anonymous: bool,
    ) -> Result<Arc<Self>, String> {
        let mut key = [0; 64];
        getrandom::fill(&mut key).map_err(|error| format!("the system gives no random numbers: {error}"))?;
        let nobody = Hash::new(&key)?;
        let turns = Arc::new(Semaphore::new(available_parallelism().map_or(1, Into::into)));
        Ok(Arc::new(Self {
            passwords,
            allow_anonymous,
            nobody,
            key,
            turns,
            runtime: Handle::current(),
            known: Mutex::default(),
        }))
    }

    async fn decide(self: Arc<Self>, request: AuthRequest) -> Verdict {
        if request.stage != AuthStage::Connect || request.method.is_some() {
            return Verdict::reject(ReasonCode::BadAuthenticationMethod);
        }
        match (request.username, request.password, request.peer.certificate_name) {
            (Some(name), Some(password), _) => {
                if self.verify(name, password.to_vec()).await {
                    Verdict::accept()
                } else {
                    Verdict::reject(ReasonCode::BadUserNameOrPassword)
                }
            }
            // A name alone proves nothing, unless it is the certificate's.
            (Some(name), None, certificate) if certificate.as_ref() != Some(&name) => {
                Verdict::reject(ReasonCode::BadUserNameOrPassword)
            }
            (_, _, Some(name)) => Verdict::Accept(Grant { username: Some(name), data: None }),
            _ if self.allow_anonymous => Verdict::accept(),
            _ => Verdict::reject(ReasonCode::NotAuthorized),
        }
    }

    async fn verify(self: Arc<Self>, name: Box<str>, password: Vec<u8>) -> bool {
        let digest = self.digest(&name, &password);
        // Neither side of the comparison can be chosen by who does not know the key, so its duration says nothing.
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&name) == Some(&digest) {
            return true;
        }
        // It is never closed.
        let turn = self.turns.clone().acquire_owned().await;
        let runtime = self.runtime.clone();
        let verify = move || {
            let _turn = turn;
            let hash = self.passwords.get(&name).and_then(Option::as_ref);
            let is_right = hash.unwrap_or(&self.nobody).verify(&password) && hash.is_some();
            if is_right {
                self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, digest);
            }
            is_right
        };
        runtime.spawn_blocking(verify).await.unwrap_or(false)
    }

    fn digest(&self, name: &str, password: &[u8]) -> [u8; 64] {
        let mut mac = Blake2bMac512::new_from_slice(&self.key).expect("a key of the right length");
        mac.update(&(name.len() as u64).to_be_bytes());
        mac.update(name.as_bytes());
        mac.update(password);
        mac.finalize_fixed().into()
    }
}

/// The hook that asks them.
pub(crate) struct AskUsers(pub(crate) Arc<Users>);

impl Authenticate for AskUsers {
    fn authenticate(&self, request: AuthRequest) -> BoxFuture<'static, Verdict> {
        self.0.clone().decide(request).boxed()
    }
}

impl Permissions {
    /// Whether anybody is forbidden anything.
    pub(crate) fn restrict_anybody(&self) -> bool {
        let restrict = |rules: &Rules| rules.publish.is_some() || rules.subscribe.is_some();
        restrict(&self.others) || self.users.values().any(restrict)
    }
}

impl Authorize for Permissions {
    fn authorize(&self, client: ClientIdentity<'_>, action: Action<'_>) -> bool {
        if client.peer.trusted {
            return true;
        }
        let rules = client.username.and_then(|name| self.users.get(name)).unwrap_or(&self.others);
        let (allowed, wanted) = match action {
            Action::Publish { topic, .. } => (&rules.publish, topic.as_str()),
            Action::Subscribe { filter, .. } => (&rules.subscribe, filter.filter()),
            // What is not known here was not configured here.
            _ => return false,
        };
        allowed.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.covers(wanted)))
    }
}

impl Pattern {
    /// Whether every topic that matches `wanted`, a topic or a filter, matches this filter, too.
    fn covers(&self, wanted: &str) -> bool {
        let (mut mine, mut theirs) = (self.0.split('/'), wanted.split('/'));
        // [MQTT-4.7.2-1]
        if wanted.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        loop {
            match (mine.next(), theirs.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(level)) if level != "#" => {}
                (Some(mine), Some(theirs)) if mine == theirs => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use columba::{Peer, QoS, TopicFilter, TopicName, Version};

    use super::*;

    #[test]
    fn covering() {
        for (pattern, wanted, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+", "a", false),
            ("a/b", "a/+", false),
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/#", "a/+/c", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("#", "#", true),
            ("+/#", "#", false),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("$SYS/#", "#", false),
            ("/+", "/", true),
            ("+", "", true),
        ] {
            assert_eq!(Pattern(pattern.to_owned()).covers(wanted), expected, "{pattern} covers {wanted}");
        }
    }

    /// Whatever the book's rule lets a filter match, a pattern that covers the filter matches.
    #[test]
    fn what_covers_matches() {
        let levels = ["a", "b", "+", "#", ""];
        let mut filters = Vec::new();
        for first in levels {
            filters.push(first.to_owned());
            for second in levels {
                filters.push(format!("{first}/{second}"));
                filters.extend(levels.map(|third| format!("{first}/{second}/{third}")));
            }
        }
        filters.retain(|filter| TopicFilter::parse(filter).is_ok());
        let topics: Vec<&String> = filters.iter().filter(|filter| TopicName::parse(filter).is_ok()).collect();
        let matches = |filter: &str, topic: &str| {
            TopicFilter::parse(filter).unwrap().matches(TopicName::parse(topic).unwrap())
        };
        for pattern in &filters {
            for wanted in &filters {
                let all =
                    topics.iter().filter(|topic| matches(wanted, topic)).all(|topic| matches(pattern, topic));
                let covers = Pattern(pattern.clone()).covers(wanted);
                assert!(!covers || all, "{pattern} does not cover {wanted}");
            }
            for topic in &topics {
                assert_eq!(
                    Pattern(pattern.clone()).covers(topic),
                    matches(pattern, topic),
                    "{pattern} {topic}"
                );
            }
        }
    }

    fn rules(publish: &[&str], subscribe: &[&str]) -> Rules {
        let list =
            |patterns: &[&str]| Some(patterns.iter().map(|pattern| Pattern((*pattern).to_owned())).collect());
        Rules { publish: list(publish), subscribe: list(subscribe) }
    }

    #[test]
    fn permissions_are_by_name() {
        let permissions = Permissions {
            users: HashMap::from([
                ("ada".into(), rules(&["ada/#"], &["#"])),
                ("root".into(), Rules::default()),
            ]),
            others: rules(&[], &["public/+"]),
        };
        assert!(permissions.restrict_anybody());
        let peer = Peer::default();
        let may = |username, action| {
            permissions.authorize(ClientIdentity { id: "c", username, peer: &peer }, action)
        };
        let publish = |topic| Action::Publish {
            topic: TopicName::parse(topic).unwrap(),
            qos: QoS::AtMostOnce,
            retain: false,
        };
        let subscribe =
            |filter| Action::Subscribe { filter: TopicFilter::parse(filter).unwrap(), qos: QoS::AtMostOnce };
        assert!(may(Some("ada"), publish("ada/x")));
        assert!(!may(Some("ada"), publish("x")));
        assert!(may(Some("ada"), subscribe("$share/g/x")));
        assert!(may(Some("root"), publish("x")));
        assert!(!may(None, publish("x")));
        assert!(may(None, subscribe("public/x")));
        assert!(may(Some("stranger"), subscribe("$share/g/public/+")));
        assert!(!may(Some("stranger"), subscribe("public/#")));
        assert!(!Permissions { users: HashMap::new(), others: Rules::default() }.restrict_anybody());
    }

    fn request(username: Option<&str>, password: Option<&str>, certificate: Option<&str>) -> AuthRequest {
        AuthRequest {
            stage: AuthStage::Connect,
            client_id: "c".into(),
            version: Version::V5,
            username: username.map(Into::into),
            password: password.map(|password| password.to_owned().into()),
            method: None,
            data: None,
            peer: Peer { certificate_name: certificate.map(Into::into), ..Peer::default() },
        }
    }

    /// The reason of a refusal, or the name somebody has inside.
    fn outcome(users: &Arc<Users>, request: AuthRequest) -> Result<Option<String>, ReasonCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sent = request.username.clone();
        match runtime.block_on(users.clone().decide(request)) {
            Verdict::Accept(grant) => Ok(grant.username.or(sent).map(Into::into)),
            Verdict::Reject { reason, .. } => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_comes_in() {
        use ReasonCode::{BadAuthenticationMethod, BadUserNameOrPassword, NotAuthorized};
        let passwords =
            HashMap::from([("ada".into(), Some(Hash::cheap(b"secret"))), ("device".into(), None)]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let with = |allow_anonymous| {
            let mut users = Arc::into_inner(Users::new(passwords.clone(), allow_anonymous).unwrap()).unwrap();
            users.nobody = Hash::cheap(b"nobody's");
            Arc::new(users)
        };
        let users = with(false);
        let named = |name: &str| Ok(Some(name.to_owned()));
        for (username, password, certificate, expected) in [
            (Some("ada"), Some("secret"), None, named("ada")),
            // Remembered, and no less strict for it.
            (Some("ada"), Some("secret"), None, named("ada")),
            (Some("ada"), Some("Secret"), None, Err(BadUserNameOrPassword)),
            (Some("ada"), Some(""), None, Err(BadUserNameOrPassword)),
            (Some("ada"), None, None, Err(BadUserNameOrPassword)),
            (Some("eve"), Some("secret"), None, Err(BadUserNameOrPassword)),
            (Some("device"), Some("secret"), None, Err(BadUserNameOrPassword)),
            (None, None, Some("device"), named("device")),
            (Some("device"), None, Some("device"), named("device")),
            (Some("ada"), None, Some("device"), Err(BadUserNameOrPassword)),
            (Some("ada"), Some("secret"), Some("device"), named("ada")),
            (None, Some("secret"), None, Err(NotAuthorized)),
            (None, None, None, Err(NotAuthorized)),
        ] {
            let outcome = outcome(&users, request(username, password, certificate));
            assert_eq!(outcome, expected, "{username:?} {password:?} {certificate:?}");
        }
        let open = with(true);
        assert_eq!(outcome(&open, request(None, None, None)), Ok(None));
        assert_eq!(outcome(&open, request(Some("ada"), None, None)), Err(BadUserNameOrPassword));
        let method = AuthRequest { method: Some("SCRAM".into()), ..request(None, None, None) };
        assert_eq!(outcome(&open, method), Err(BadAuthenticationMethod));
    }
}
