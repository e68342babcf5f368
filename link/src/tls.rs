//! TLS 1.3 with ring only, for both ends.

use crate::authority::{Authority, ServerCertificate};
use crate::clock::{Clock, TlsTime};
use crate::identity::Identity;
use crate::{ALPN, ALPN_ENROLL, transport};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;

/// Sessions that a client remembers: there is one collector.
const CLIENT_SESSIONS: usize = 4;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn roots<'a>(authorities_der: impl Iterator<Item = &'a [u8]>) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for der in authorities_der {
        roots.add(CertificateDer::from(der.to_vec()))?;
    }
    Ok(Arc::new(roots))
}

/// The agent's end; without an identity it can only enrol.
pub(crate) fn client(
    identity: Option<&Identity>,
    authorities_der: &[Vec<u8>],
    clock: Arc<dyn Clock>,
) -> Result<quinn::ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(TlsTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(authorities_der.iter().map(Vec::as_slice))?);
    let mut config = match identity {
        Some(Identity { chain_der, key_der }) => {
            let chain = chain_der.iter().cloned().map(CertificateDer::from).collect();
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_der.clone()));
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![if identity.is_some() { ALPN } else { ALPN_ENROLL }.to_vec()];
    config.resumption = Resumption::in_memory_sessions(CLIENT_SESSIONS);
    config.enable_early_data = false;
    let quic = QuicClientConfig::try_from(config).map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut client = quinn::ClientConfig::new(Arc::new(quic));
    client.transport_config(transport::client());
    Ok(client)
}

/// Verifies agents' certificates: by rustls in a full handshake, and by us after every one.
pub(crate) fn agent_verifier(authority: &Authority) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = roots(std::iter::once(authority.certificate_der())).map_err(|error| error.to_string())?;
    WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| error.to_string())
}

/// The collector's end. Tickets are sealed, not stored, so resumption costs no memory.
pub(crate) fn server(
    certificate: ServerCertificate,
    verifier: Arc<dyn ClientCertVerifier>,
    clock: Arc<dyn Clock>,
) -> Result<quinn::ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(TlsTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificate.chain, certificate.key)?;
    config.alpn_protocols = vec![ALPN.to_vec(), ALPN_ENROLL.to_vec()];
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    let quic = QuicServerConfig::try_from(config).map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(quic));
    server.transport_config(transport::server());
    Ok(server)
}
