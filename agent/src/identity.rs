//! Who this host is: what enrolment left in `data-dir/identity`.
//!
//! All for the owner alone: `key.pem` (never leaves the host), `chain.pem` (our certificate first), `authorities.pem` (whom to trust as
//! collector) and `identity.json` (tenant, host id and the collector's online key), written last: it makes the rest valid.
//! A renewal adds `renewed.pem`: key and chain in one file, because they change together; it goes before the two.

use crate::durable::{self, SecretError};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use vedette_protocol::ids::{Digest, HostId, TenantId};
use vedette_protocol::signature::PublicKey;
use vedette_protocol::time::WallTime;

const FILE_BYTES_MAX: u64 = 256 << 10;
const CERTIFICATES_MAX: usize = 16;
const KEY_TAG: &str = "PRIVATE KEY";
const RENEWED: &str = "renewed.pem";
/// Nobody but its owner reads or writes a key.
const KEY_MODE_FORBIDDEN: u32 = 0o077;

/// Keys and names of an enrolled host.
#[derive(Clone)]
pub struct Identity {
    /// The fleet's owner.
    pub tenant: TenantId,
    /// The host's name by the collector.
    pub host: HostId,
    /// Signs directives.
    pub online_key: PublicKey,
    /// The machine that was enrolled ([`crate::host::machine`]); `None` where that is not known.
    pub machine: Option<Digest>,
    /// Our certificate and its issuers, DER, ours first.
    pub chain_der: Vec<Vec<u8>>,
    /// Our private key, PKCS #8 DER.
    pub key_der: Vec<u8>,
    /// Certificate authorities of the collector, DER.
    pub authorities_der: Vec<Vec<u8>>,
}

/// Why there is no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Enrolment has not happened.
    #[error("this host is not enrolled: {0} is not there")]
    Absent(PathBuf),
    /// The files are there but unusable.
    #[error("{file}: {reason}")]
    Broken {
        /// File.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key that others can get at.
    #[error("{}: {source}", file.display())]
    Open {
        /// File.
        file: PathBuf,
        /// How, and what to do.
        source: SecretError,
    },
    /// The file system refused.
    #[error("{file}: {source}")]
    Io {
        /// File.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Form of `identity.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Names {
    tenant: u32,
    host: String,
    online_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
}

impl Identity {
    /// Folder of the identity below the data directory.
    pub fn folder(data_dir: &Path) -> PathBuf {
        data_dir.join("identity")
    }

    /// Reads what [`Identity::store`] wrote.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Absent`] before enrolment; the others name the file that has to be mended.
    pub fn load(data_dir: &Path) -> Result<Self, IdentityError> {
        let folder = Self::folder(data_dir);
        let names_file = folder.join("identity.json");
        let names: Names = serde_json::from_slice(&read(&names_file)?).map_err(|error| broken(&names_file, &error))?;
        let (chain_der, key_der) = match renewed(&folder.join(RENEWED)) {
            Err(IdentityError::Absent(_)) => {
                (certificates(&folder.join("chain.pem"))?, private_key(&folder.join("key.pem"))?)
            }
            pair => pair?,
        };
        Ok(Self {
            tenant: TenantId(names.tenant),
            host: names.host.parse().map_err(|error| broken(&names_file, &error))?,
            online_key: names.online_key.parse().map_err(|error| broken(&names_file, &error))?,
            machine: names.machine.map(|id| id.parse()).transpose().map_err(|error| broken(&names_file, &error))?,
            chain_der,
            key_der,
            authorities_der: certificates(&folder.join("authorities.pem"))?,
        })
    }

    /// Writes the identity, `identity.json` last. One that was there is gone first: between the two there is none, and
    /// never the key of one with the certificate of the other.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Io`].
    pub fn store(&self, data_dir: &Path) -> Result<(), IdentityError> {
        let folder = Self::folder(data_dir);
        durable::make_private_folder(&folder).map_err(|source| IdentityError::Io { file: folder.clone(), source })?;
        for file in ["identity.json", RENEWED].map(|name| folder.join(name)) {
            match std::fs::remove_file(&file) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(IdentityError::Io { file, source });
                }
                _ => {}
            }
        }
        let names = Names {
            tenant: self.tenant.0,
            host: self.host.to_string(),
            online_key: self.online_key.to_string(),
            machine: self.machine.map(|id| id.to_string()),
        };
        let names = serde_json::to_vec_pretty(&names).expect("a number and texts are always JSON");
        let key = pem::encode(&pem::Pem::new(KEY_TAG, self.key_der.clone()));
        write(&folder.join("key.pem"), key.as_bytes())?;
        write(&folder.join("chain.pem"), encode(&self.chain_der).as_bytes())?;
        write(&folder.join("authorities.pem"), encode(&self.authorities_der).as_bytes())?;
        write(&folder.join("identity.json"), &names)
    }

    /// Writes key, chain and authorities of a renewal, so that they are read back from now on.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Io`]; what was there before is then still read.
    pub fn store_renewal(&self, data_dir: &Path) -> Result<(), IdentityError> {
        let folder = Self::folder(data_dir);
        let key = pem::encode(&pem::Pem::new(KEY_TAG, self.key_der.clone()));
        // First whom to trust: the certificates of before are among them until the collector says otherwise.
        write(&folder.join("authorities.pem"), encode(&self.authorities_der).as_bytes())?;
        write(&folder.join(RENEWED), (key + &encode(&self.chain_der)).as_bytes())
    }

    /// Whether another machine than `here` was enrolled: this one is a clone of its disk. Where either is not known, no.
    pub fn is_of_another_machine(&self, here: Option<Digest>) -> bool {
        self.machine.zip(here).is_some_and(|(enrolled, here)| enrolled != here)
    }

    /// When our certificate ends; `None` if it cannot be read.
    pub fn certificate_ends(&self) -> Option<WallTime> {
        self.certificate_life().map(|(_, ends)| ends)
    }

    /// Begin and end of our certificate's life; `None` if it cannot be read.
    pub fn certificate_life(&self) -> Option<(WallTime, WallTime)> {
        vedette_link::identity::life(self.chain_der.first()?)
    }
}

/// Reads the certificates of a PEM file, DER.
///
/// # Errors
///
/// [`IdentityError::Broken`] if there is none, too many, or something else in it.
pub fn certificates(file: &Path) -> Result<Vec<Vec<u8>>, IdentityError> {
    let blocks = pem::parse_many(read(file)?).map_err(|error| broken(file, &error))?;
    if blocks.is_empty() || blocks.len() > CERTIFICATES_MAX {
        return Err(broken(file, &format!("has {} certificates, 1 to {CERTIFICATES_MAX} are usable", blocks.len())));
    }
    if let Some(other) = blocks.iter().find(|block| block.tag() != "CERTIFICATE") {
        return Err(broken(file, &format!("has a block `{}`, only certificates belong here", other.tag())));
    }
    Ok(blocks.into_iter().map(pem::Pem::into_contents).collect())
}

fn private_key(file: &Path) -> Result<Vec<u8>, IdentityError> {
    let block = pem::parse(read_key(file)?).map_err(|error| broken(file, &error))?;
    if block.tag() != KEY_TAG {
        return Err(broken(file, &format!("has a block `{}`, a `{KEY_TAG}` is wanted", block.tag())));
    }
    Ok(block.into_contents())
}

/// Chain and key of a renewal.
fn renewed(file: &Path) -> Result<(Vec<Vec<u8>>, Vec<u8>), IdentityError> {
    let mut blocks = pem::parse_many(read_key(file)?).map_err(|error| broken(file, &error))?.into_iter();
    let key = blocks.next().filter(|block| block.tag() == KEY_TAG);
    let chain: Vec<_> = blocks.collect();
    match key {
        Some(key) if !chain.is_empty() && chain.iter().all(|block| block.tag() == "CERTIFICATE") => {
            Ok((chain.into_iter().map(pem::Pem::into_contents).collect(), key.into_contents()))
        }
        _ => Err(broken(file, &"a private key and then certificates belong here")),
    }
}

fn encode(certificates: &[Vec<u8>]) -> String {
    let blocks: Vec<_> = certificates.iter().map(|der| pem::Pem::new("CERTIFICATE", der.clone())).collect();
    pem::encode_many(&blocks)
}

fn read(file: &Path) -> Result<Vec<u8>, IdentityError> {
    durable::read_capped(file, FILE_BYTES_MAX).map_err(|source| unread(file, source))
}

fn read_key(file: &Path) -> Result<Vec<u8>, IdentityError> {
    durable::read_secret(file, FILE_BYTES_MAX, KEY_MODE_FORBIDDEN).map_err(|error| match error {
        SecretError::Io(source) => unread(file, source),
        source @ SecretError::Open { .. } => IdentityError::Open { file: file.to_owned(), source },
    })
}

fn unread(file: &Path, source: io::Error) -> IdentityError {
    match source.kind() {
        io::ErrorKind::NotFound => IdentityError::Absent(file.to_owned()),
        _ => IdentityError::Io { file: file.to_owned(), source },
    }
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    durable::replace(file, bytes).map_err(|source| IdentityError::Io { file: file.to_owned(), source })
}

fn broken(file: &Path, reason: &impl ToString) -> IdentityError {
    IdentityError::Broken { file: file.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// An identity whose certificate is good for so many years from 2000 on.
    pub(crate) fn certified(years: i32) -> Identity {
        let key = rcgen::KeyPair::generate().expect("key");
        let mut parameters = rcgen::CertificateParams::new(vec!["host".to_owned()]).expect("a name");
        parameters.not_before = rcgen::date_time_ymd(2000, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2000 + years, 1, 1);
        let certificate = parameters.self_signed(&key).expect("certificate");
        let der = vec![certificate.der().to_vec()];
        Identity { chain_der: der.clone(), key_der: key.serialize_der(), authorities_der: der, ..identity() }
    }

    fn identity() -> Identity {
        Identity {
            tenant: TenantId(0),
            host: HostId([7; 16]),
            online_key: PublicKey([9; 32]),
            machine: Some(Digest([3; 32])),
            chain_der: vec![vec![1, 2, 3], vec![4]],
            key_der: vec![5, 6],
            authorities_der: vec![vec![7]],
        }
    }

    #[test]
    fn stored_identity_reads_back_and_its_key_is_private() {
        let folder = tempfile::tempdir().expect("temporary folder");
        identity().store(folder.path()).expect("store");
        let read = Identity::load(folder.path()).expect("load");
        assert_eq!((read.host, read.online_key), (HostId([7; 16]), PublicKey([9; 32])));
        assert!(
            read.is_of_another_machine(Some(Digest([4; 32]))) && !read.is_of_another_machine(Some(Digest([3; 32])))
        );
        assert!(!read.is_of_another_machine(None), "not known is not another");
        assert_eq!(read.chain_der, [vec![1, 2, 3], vec![4]]);
        assert_eq!((read.key_der, read.authorities_der), (vec![5, 6], vec![vec![7]]));
        let key = std::fs::metadata(Identity::folder(folder.path()).join("key.pem")).expect("key");
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn key_that_others_can_read_is_no_identity() {
        let folder = tempfile::tempdir().expect("temporary folder");
        identity().store(folder.path()).expect("store");
        let key = Identity::folder(folder.path()).join("key.pem");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("permissions");
        let told = Identity::load(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.contains("0640") && told.contains("key.pem`"), "{told}");
    }

    #[test]
    fn host_that_is_not_enrolled_says_so() {
        let folder = tempfile::tempdir().expect("temporary folder");
        assert!(matches!(Identity::load(folder.path()), Err(IdentityError::Absent(_))));
    }

    #[test]
    fn renewed_key_and_certificate_replace_the_first_until_the_next_enrolment() {
        let folder = tempfile::tempdir().expect("temporary folder");
        identity().store(folder.path()).expect("store");
        let renewed = Identity {
            chain_der: vec![vec![8]],
            key_der: vec![9],
            authorities_der: vec![vec![7], vec![10]],
            ..identity()
        };
        renewed.store_renewal(folder.path()).expect("renewal");
        let read = Identity::load(folder.path()).expect("load");
        assert_eq!((read.chain_der, read.key_der, read.authorities_der.len()), (vec![vec![8]], vec![9], 2));
        let file = std::fs::metadata(Identity::folder(folder.path()).join(RENEWED)).expect("file");
        assert_eq!(file.permissions().mode() & 0o777, 0o600);

        identity().store(folder.path()).expect("enrolled anew");
        assert_eq!(Identity::load(folder.path()).expect("load").key_der, [5, 6]);
    }

    #[test]
    fn half_of_a_renewal_is_named_and_not_used() {
        let folder = tempfile::tempdir().expect("temporary folder");
        identity().store(folder.path()).expect("store");
        let file = Identity::folder(folder.path()).join(RENEWED);
        durable::replace(&file, pem::encode(&pem::Pem::new(KEY_TAG, vec![1])).as_bytes()).expect("file");
        assert!(
            matches!(Identity::load(folder.path()), Err(IdentityError::Broken { file: named, .. }) if named == file)
        );
    }

    #[test]
    fn half_written_enrolment_is_not_an_identity() {
        let folder = tempfile::tempdir().expect("temporary folder");
        identity().store(folder.path()).expect("store");
        std::fs::remove_file(Identity::folder(folder.path()).join("identity.json")).expect("remove");
        assert!(matches!(Identity::load(folder.path()), Err(IdentityError::Absent(_))));
    }

    #[test]
    fn key_in_the_place_of_a_certificate_is_named() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("chain.pem");
        std::fs::write(&file, pem::encode(&pem::Pem::new("PRIVATE KEY", vec![1]))).expect("file");
        let error = certificates(&file).expect_err("not a certificate").to_string();
        assert!(error.contains("PRIVATE KEY"), "{error}");
    }
}
