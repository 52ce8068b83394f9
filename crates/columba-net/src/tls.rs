//! TLS with rustls.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use columba::tokio::TokioIo;
use columba::{Listener, Peer, Transport};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoClientAuth, VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::acceptor::TcpStream;
use crate::tcp::TcpListener;

mod name;

/// The server's certificate, and what is asked of clients.
///
/// ```no_run
/// use columba_net::{TcpListener, Tls, TlsListener};
///
/// # async fn start(broker: columba::Broker) -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::new(&std::fs::read("server.pem")?, &std::fs::read("server.key")?)?;
/// broker.serve(TlsListener::new(TcpListener::bind("0.0.0.0:8883").await?, tls))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
}

/// What a server does about certificates of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// A client that shows one must show a valid one; others come in without a name.
    Optional,
    /// Who has no valid one stays out.
    Required,
}

/// Why certificates and keys cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificates, the key or the authorities (as named) are not in PEM, or there is none.
    Pem(&'static str, pem::Error),
    /// The authorities cannot vouch for clients.
    Authorities(Box<dyn std::error::Error + Send + Sync>),
    /// Key and certificate do not belong together, or are of a kind that is not supported.
    Certificate(rustls::Error),
}

/// Accepts connections over TLS.
///
/// The name in a client's valid certificate is [`Peer::certificate_name`]: its subject's common name, else the first DNS
/// name.
#[derive(Debug)]
pub struct TlsListener {
    tcp: TcpListener,
    tls: Tls,
}

impl Tls {
    /// From the server's certificate with what leads to its authority, and the key, both in PEM. TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// They are not in PEM, or do not belong together.
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::build(certificates, key, Arc::new(NoClientAuth))
    }

    /// The same, and clients show certificates that one of these authorities, in PEM, has signed.
    ///
    /// # Errors
    /// As for [`new`](Self::new), or the authorities cannot be used.
    pub fn with_client_certificates(
        certificates: &[u8],
        key: &[u8],
        authorities: &[u8],
        clients: ClientCertificates,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in read_certificates("authorities", authorities)? {
            roots.add(authority).map_err(|error| TlsError::Authorities(error.into()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = match clients {
            ClientCertificates::Optional => verifier.allow_unauthenticated(),
            ClientCertificates::Required => verifier,
        };
        let unusable = |error: VerifierBuilderError| TlsError::Authorities(error.into());
        Self::build(certificates, key, verifier.build().map_err(unusable)?)
    }

    /// Anything that rustls can do. The broker takes a client's certificate for verified, as `config` has it verified.
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { acceptor: config.into() }
    }

    fn build(
        certificates: &[u8],
        key: &[u8],
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Result<Self, TlsError> {
        let chain = read_certificates("certificates", certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem("key", error))?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_client_cert_verifier(clients).with_single_cert(chain, key))
            .map_err(TlsError::Certificate)?;
        Ok(Self::from_config(Arc::new(config)))
    }

    /// The handshake; the peer gets the name that its certificate says.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        peer: &mut Peer,
    ) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.acceptor.accept(stream).await?;
        let certificates = stream.get_ref().1.peer_certificates();
        peer.certificate_name = certificates.and_then(|chain| name::of(chain.first()?));
        Ok(stream)
    }
}

impl TlsListener {
    /// TLS over this listener's connections.
    pub const fn new(tcp: TcpListener, tls: Tls) -> Self {
        Self { tcp, tls }
    }

    /// The address it is bound to, with the port it really has.
    pub const fn local_addr(&self) -> SocketAddr {
        self.tcp.local_addr()
    }
}

impl Listener for TlsListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Transport>, Peer)>> {
        let tls = self.tls.clone();
        self.tcp.poll_upgraded(cx, "tls", async move |stream, mut peer| {
            let stream = tls.accept(stream, &mut peer).await?;
            let transport: Box<dyn Transport> = Box::new(TokioIo::new(stream));
            Ok(Some((transport, peer)))
        })
    }

    fn address(&self) -> String {
        format!("tls {}", self.local_addr())
    }
}

/// Chosen here and not for the whole process, which is the program's business.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read_certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::Pem(what, pem::Error::NoItemsFound)),
        certificates => certificates.map_err(|error| TlsError::Pem(what, error)),
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(what, pem::Error::NoItemsFound) => write!(f, "no PEM with {what}"),
            Self::Pem(what, error) => write!(f, "{what}: {error}"),
            Self::Authorities(error) => write!(f, "the authorities for client certificates: {error}"),
            Self::Certificate(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for TlsError {}
