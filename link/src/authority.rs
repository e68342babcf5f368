//! The fleet's certificate authority, made by the collector on its first start.

use crate::identity::{PeerIdentity, host_uri};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::time::Duration;
use vedette_protocol::ids::{Digest, HostId, TenantId};
use vedette_protocol::time::WallTime;

const DAY: Duration = Duration::from_secs(86_400);

/// Life of the authority's own certificate.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Life of the collector's certificate; a new one is made on every start and at two thirds of its life.
pub(crate) const SERVER_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// Certificates are valid from a little earlier, for hosts whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(300);

/// Shortest and longest life of a host's certificate.
pub const HOST_LIFE_DAYS: std::ops::RangeInclusive<u32> = 7..=30;

/// Why the authority could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The PEM texts are not a certificate and its private key.
    #[error("not the certificate authority's certificate and key: {0}")]
    Load(String),
    /// The request is not one, is not signed by its own key, or has a key of another type than ECDSA P-256.
    #[error("the certificate request was refused: {0}")]
    Request(String),
    /// A name or life that cannot be.
    #[error("cannot issue: {0}")]
    Issue(String),
}

/// A certificate with its key, for the collector's own endpoint.
#[derive(Debug)]
pub struct ServerCertificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// A certificate authority. Its key is never printed.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_der: CertificateDer<'static>,
    certificate_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority (ECDSA P-256), valid for ten years from `now`.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Issue`] if `now` is no date that a certificate can state.
    pub fn create(now: WallTime) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(issue)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = named(&format!("Vedette authority {}", &Digest(random()).to_string()[..8]));
        live(&mut params, now, AUTHORITY_LIFE);
        let certificate = params.self_signed(&key).map_err(issue)?;
        let certificate_pem = certificate.pem();
        let certificate_der = certificate.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate_der, certificate_pem })
    }

    /// An authority from what [`Authority::certificate_pem`] and [`Authority::key_pem`] gave.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Load`] if they are not PEM or do not belong together.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let load = |error: &dyn std::fmt::Display| AuthorityError::Load(error.to_string());
        let key = KeyPair::from_pem(key_pem).map_err(|error| load(&error))?;
        let certificate_der =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|error| load(&error))?;
        if public_key(&certificate_der).as_deref() != Some(key.public_key_raw()) {
            return Err(load(&"the key is not that of the certificate"));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate_der, key).map_err(|error| load(&error))?;
        Ok(Self { issuer, certificate_der, certificate_pem: certificate_pem.to_owned() })
    }

    /// The public certificate, PEM: what hosts pin when they enrol.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The public certificate, DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// The private key, PEM (PKCS #8): to be stored readable by the collector only.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.certificate_der)
    }

    /// A fresh certificate for the collector's endpoint under `names` (DNS names or IP addresses), for 90 days.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Issue`] if a name is neither.
    pub fn issue_server(&self, names: &[String], now: WallTime) -> Result<ServerCertificate, AuthorityError> {
        let key = KeyPair::generate().map_err(issue)?;
        let mut params = CertificateParams::new(names).map_err(issue)?;
        params.distinguished_name = named(names.first().map_or("", String::as_str));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf(&mut params);
        live(&mut params, now, SERVER_LIFE);
        let certificate = params.signed_by(&key, &self.issuer).map_err(issue)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(ServerCertificate { chain: vec![certificate.der().clone()], key })
    }

    /// Signs a host's request: the chain, leaf first, DER. The subject and extensions asked for are ignored.
    ///
    /// # Errors
    ///
    /// - [`AuthorityError::Request`] if it is not signed by the key it carries, or that is not ECDSA P-256.
    /// - [`AuthorityError::Issue`] if `life_days` is not in [`HOST_LIFE_DAYS`].
    pub fn sign_host(
        &self,
        csr_der: &[u8],
        tenant: TenantId,
        host: HostId,
        life_days: u32,
        now: WallTime,
    ) -> Result<Vec<Vec<u8>>, AuthorityError> {
        if !HOST_LIFE_DAYS.contains(&life_days) {
            return Err(AuthorityError::Issue(format!("a host's certificate lives {HOST_LIFE_DAYS:?} days")));
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))
            .map_err(|error| AuthorityError::Request(error.to_string()))?;
        if rcgen::PublicKeyData::algorithm(&request.public_key) != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(AuthorityError::Request("its key is not ECDSA P-256".to_owned()));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&host.to_string());
        let uri = host_uri(tenant, host).try_into().map_err(issue)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        leaf(&mut params);
        live(&mut params, now, DAY * life_days);
        let certificate = params.signed_by(&request.public_key, &self.issuer).map_err(issue)?;
        Ok(vec![certificate.der().to_vec()])
    }

    /// A secret derived from the authority's key for one purpose; the same after every start.
    pub(crate) fn derived_secret(&self, purpose: &str) -> [u8; 32] {
        Digest::of(&[purpose.as_bytes(), b"\0", self.issuer.key().serialized_der()].concat()).0
    }
}

/// A new key and a request for a certificate (PKCS #10, DER); the name in it is for people only.
///
/// # Errors
///
/// [`AuthorityError::Issue`] if the name cannot stand in a request.
pub fn request(host_name: &str) -> Result<(KeyPair, Vec<u8>), AuthorityError> {
    let key = KeyPair::generate().map_err(issue)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named(host_name);
    let csr = params.serialize_request(&key).map_err(issue)?;
    Ok((key, csr.der().to_vec()))
}

/// Whether `leaf` carries the public half of `key`.
pub(crate) fn belongs_to(leaf: &CertificateDer<'_>, key: &KeyPair) -> bool {
    public_key(leaf).as_deref() == Some(key.public_key_raw()) && PeerIdentity::of(leaf).is_ok()
}

fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.public_key().subject_public_key.data.to_vec())
}

fn issue(error: rcgen::Error) -> AuthorityError {
    AuthorityError::Issue(error.to_string())
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn leaf(params: &mut CertificateParams) {
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
}

fn live(params: &mut CertificateParams, now: WallTime, life: Duration) {
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now.unix_ms().max(0).unsigned_abs() / 1_000);
    params.not_before = now - BACKDATED;
    params.not_after = now + life;
    let serial: [u8; 16] = random();
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

#[cfg(test)]
mod tests;
