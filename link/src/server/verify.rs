//! Who is at the other end: decided after every handshake, because rustls runs no verifier when a session is resumed.

use super::{Counters, Gate, PeerIdentity, count};
use crate::clock::unix_time;
use quinn::Connection;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;
use vedette_protocol::session::CloseCode;
use vedette_protocol::time::WallTime;

/// Judges the chain that a handshake left, restored from a ticket or not.
///
/// # Errors
///
/// The code to close with.
pub(super) fn identify(
    connection: &Connection,
    verifier: &dyn ClientCertVerifier,
    gate: &dyn Gate,
    now: WallTime,
) -> Result<PeerIdentity, CloseCode> {
    let chain =
        connection.peer_identity().and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let chain = chain.ok_or(CloseCode::NoCertificate)?;
    let (leaf, intermediates) = chain.split_first().ok_or(CloseCode::NoCertificate)?;
    verifier.verify_client_cert(leaf, intermediates, unix_time(now)).map_err(|error| refusal(&error))?;
    let identity = PeerIdentity::of(leaf).map_err(|_| CloseCode::BadName)?;
    gate.admit(&identity).map_err(|_| CloseCode::Denied)?;
    Ok(identity)
}

fn refusal(error: &Error) -> CloseCode {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    match error {
        Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }) => {
            CloseCode::Expired
        }
        _ => CloseCode::Untrusted,
    }
}

pub(super) fn count_refusal(counters: &Counters, code: CloseCode) {
    count(match code {
        CloseCode::NoCertificate => &counters.refused_no_certificate,
        CloseCode::Untrusted => &counters.refused_untrusted,
        CloseCode::Expired => &counters.refused_expired,
        CloseCode::BadName => &counters.refused_name,
        CloseCode::Denied => &counters.refused_denied,
        _ => &counters.protocol_errors,
    });
}

/// The verifier that rustls calls: counts the handshakes in which it does, the others were resumptions.
#[derive(Debug)]
pub(super) struct CountingVerifier {
    pub(super) inner: Arc<dyn ClientCertVerifier>,
    pub(super) counters: Arc<Counters>,
}

impl ClientCertVerifier for CountingVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        count(&self.counters.certificates_verified);
        let verified = self.inner.verify_client_cert(leaf, intermediates, now);
        if let Err(error) = &verified {
            count_refusal(&self.counters, refusal(error));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
