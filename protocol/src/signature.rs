//! Domain-separated Ed25519 signatures over exact bytes.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a signature is for; part of what is signed, so a signature serves one purpose only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Domain {
    /// A detector's manifest, by its author.
    Detector,
    /// A policy, by the targets role.
    Policy,
    /// A directive, by the collector's online key.
    Directive,
}

impl Domain {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Detector => b"vedette detector v1\0",
            Self::Policy => b"vedette policy v1\0",
            Self::Directive => b"vedette directive v1\0",
        }
    }
}

/// An Ed25519 public key. Text form: `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", crate::ids::Digest(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let hex = text.strip_prefix("ed25519:").ok_or(SignatureError::BadKey)?;
        let bytes: crate::ids::Digest = hex.parse().map_err(|_| SignatureError::BadKey)?;
        Ok(Self(bytes.0))
    }
}

/// Exact bytes with their signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// What was signed.
    pub bytes: Vec<u8>,
    /// Who signed.
    pub key: PublicKey,
    /// 64 bytes.
    pub signature: Vec<u8>,
}

/// Why a key or a signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a key.
    #[error("not an Ed25519 key: expected `ed25519:` and 64 hexadecimal digits, or a PKCS #8 private key")]
    BadKey,
    /// Signed by a key that is not trusted here.
    #[error("signed by {0}, which is not among the trusted keys")]
    UntrustedKey(PublicKey),
    /// Bytes or signature were altered, or it was signed for another purpose.
    #[error("the signature does not fit the bytes")]
    Mismatch,
}

/// A private key. Never printed.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// A new key as PKCS #8 (DER), from the operating system's randomness.
    pub fn generate_pkcs8() -> Vec<u8> {
        Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new())
            .expect("the operating system has randomness")
            .as_ref()
            .to_vec()
    }

    /// Reads PKCS #8 (DER).
    ///
    /// # Errors
    ///
    /// [`SignatureError::BadKey`] if it is not an Ed25519 key in PKCS #8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SignatureError> {
        Ed25519KeyPair::from_pkcs8(der).map(Self).map_err(|_| SignatureError::BadKey)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    /// Signs `bytes` for one purpose.
    pub fn sign(&self, domain: Domain, bytes: Vec<u8>) -> Signed {
        let signature = self.0.sign(&message(domain, &bytes)).as_ref().to_vec();
        Signed { bytes, key: self.public(), signature }
    }
}

impl Signed {
    /// The bytes, if one of `trusted` signed exactly them for `domain`.
    ///
    /// # Errors
    ///
    /// - [`SignatureError::UntrustedKey`] if the signer is not among `trusted`.
    /// - [`SignatureError::Mismatch`] if the signature does not fit.
    pub fn verify(&self, domain: Domain, trusted: &[PublicKey]) -> Result<&[u8], SignatureError> {
        if !trusted.contains(&self.key) {
            return Err(SignatureError::UntrustedKey(self.key));
        }
        UnparsedPublicKey::new(&ED25519, self.key.0)
            .verify(&message(domain, &self.bytes), &self.signature)
            .map_err(|_| SignatureError::Mismatch)?;
        Ok(&self.bytes)
    }
}

fn message(domain: Domain, bytes: &[u8]) -> Vec<u8> {
    [domain.prefix(), bytes].concat()
}
