//! Who a certificate speaks for: `spiffe://vedette/<tenant>/host/<host id>`.

use rustls::pki_types::CertificateDer;
use vedette_protocol::ids::{Digest, HostId, TenantId};
use vedette_protocol::time::WallTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

const PREFIX: &str = "spiffe://vedette/";

/// A host's identity as its certificate states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Owner of the fleet.
    pub tenant: TenantId,
    /// Host.
    pub host: HostId,
    /// SHA-256 of the certificate.
    pub certificate: Digest,
    /// End of the certificate's life.
    pub not_after: WallTime,
}

/// The certificate and key that a host shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Chain, leaf first, DER.
    pub chain_der: Vec<Vec<u8>>,
    /// Private key, PKCS #8, DER. Never printed.
    pub key_der: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain_der.len()).finish_non_exhaustive()
    }
}

/// A certificate does not name a host of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate does not name a host: expected one URI {PREFIX}<tenant>/host/<id>")]
pub struct BadName;

/// The URI that names a host in its certificate.
pub fn host_uri(tenant: TenantId, host: HostId) -> String {
    format!("{PREFIX}{}/host/{host}", tenant.0)
}

impl PeerIdentity {
    /// Reads a leaf certificate. Whether it is genuine and valid is another question.
    ///
    /// # Errors
    ///
    /// [`BadName`] unless it has exactly one URI name and that is a host's.
    pub fn of(leaf: &CertificateDer<'_>) -> Result<Self, BadName> {
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| BadName)?;
        let names = certificate.subject_alternative_name().ok().flatten().ok_or(BadName)?;
        let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return Err(BadName) };
        let (tenant, host) = parse_uri(uri).ok_or(BadName)?;
        let not_after = WallTime::from_unix_ms(certificate.validity().not_after.timestamp().saturating_mul(1_000));
        Ok(Self { tenant, host, certificate: Digest::of(leaf), not_after })
    }
}

/// Begin and end of a certificate's life; `None` if it cannot be read.
pub fn life(certificate_der: &[u8]) -> Option<(WallTime, WallTime)> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).ok()?;
    let validity = certificate.validity();
    let [begins, ends] = [validity.not_before, validity.not_after]
        .map(|time| WallTime::from_unix_ms(time.timestamp().saturating_mul(1_000)));
    Some((begins, ends))
}

fn parse_uri(uri: &str) -> Option<(TenantId, HostId)> {
    let (tenant, host) = uri.strip_prefix(PREFIX)?.split_once("/host/")?;
    let identity = (TenantId(tenant.parse().ok()?), host.parse().ok()?);
    (host_uri(identity.0, identity.1) == uri).then_some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_round_trip_and_have_one_spelling() {
        let uri = host_uri(TenantId(7), HostId([0xab; 16]));
        assert_eq!(uri, "spiffe://vedette/7/host/abababababababababababababababab");
        assert_eq!(parse_uri(&uri), Some((TenantId(7), HostId([0xab; 16]))));
        for bad in [
            "spiffe://vedette/07/host/abababababababababababababababab",
            "spiffe://vedette/+7/host/abababababababababababababababab",
            "spiffe://vedette/7/host/ABababababababababababababababab",
            "spiffe://vedette/7/host/abab",
            "spiffe://vedette/7/host/abababababababababababababababab/x",
            "spiffe://other/7/host/abababababababababababababababab",
            "",
        ] {
            assert_eq!(parse_uri(bad), None, "{bad}");
        }
    }
}
