//! The way into the fleet: key and request are made on the host, the collector answers with a certificate.

use crate::authority::{belongs_to, request};
use crate::client::{Dialled, dial};
use crate::clock::Clock;
use crate::identity::{Identity, PeerIdentity};
use crate::meter::Meter;
use crate::outage::{Obstacle, Outage};
use crate::{tls, transport};
use quinn::Connection;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use vedette_protocol::envelope::{Kind, OVERHEAD_BYTES};
use vedette_protocol::ids::{HostId, TenantId};
use vedette_protocol::session::CloseCode;
use vedette_protocol::signature::PublicKey;
use vedette_protocol::v1::{EnrollReply, EnrollRequest, decode, encode};

/// Time for the collector to decide.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for the last packet to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// What a host got.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Certificate and key of this host.
    pub identity: Identity,
    /// Authorities to trust from now on, DER.
    pub authorities_der: Vec<Vec<u8>>,
    /// Key that signs directives.
    pub online_key: PublicKey,
    /// The fleet's owner.
    pub tenant: TenantId,
    /// This host's id.
    pub host: HostId,
}

/// Why a host is not in the fleet.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The pinned authority is not a PEM certificate, or the request could not be made.
    #[error("cannot ask: {0}")]
    Local(String),
    /// No connection, or it ended early.
    #[error("{0}")]
    Outage(Outage),
    /// The collector said no: ask for a new token.
    #[error("the collector refused: {0}")]
    Refused(String),
    /// The collector's answer is not usable.
    #[error("the collector's answer is not usable: {0}")]
    Answer(String),
}

/// Enrols this host: `address` is `host:port`, `authority_pem` the pinned certificate that the operator brought here.
///
/// # Errors
///
/// Any [`EnrollError`]; the token is used up only if the collector issued a certificate.
pub async fn enroll(
    address: &str,
    server_name: &str,
    authority_pem: &str,
    token: &str,
    host_name: &str,
    clock: Arc<dyn Clock>,
) -> Result<Enrolled, EnrollError> {
    let local = |error: &dyn std::fmt::Display| EnrollError::Local(error.to_string());
    let pinned = CertificateDer::from_pem_slice(authority_pem.as_bytes()).map_err(|error| local(&error))?;
    let quic = tls::client(None, &[pinned.to_vec()], clock).map_err(|error| local(&error))?;
    let (key, csr_der) = request(host_name).map_err(|error| local(&error))?;
    let request = EnrollRequest { token: token.to_owned(), csr_der, host_name: host_name.to_owned() };
    let frame = encode(&request).map_err(|error| local(&error))?;
    let Dialled { connection, endpoint } =
        dial(address, server_name, &quic, &Arc::new(Meter::default())).await.map_err(EnrollError::Outage)?;
    let asked = timeout(ANSWER_TIMEOUT, ask(&connection, &frame)).await;
    transport::close(&connection, CloseCode::Done);
    let _ = timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await;
    let late = || EnrollError::Outage(Outage::new(Obstacle::Lost, "no answer in time"));
    let answer = asked.map_err(|_| late())??;
    match decode(&answer).map_err(|error| EnrollError::Answer(error.to_string()))? {
        EnrollReply::Refused { reason } => Err(EnrollError::Refused(reason)),
        EnrollReply::Issued { chain_der, authorities_der, online_key } => {
            let leaf = CertificateDer::from(chain_der.first().cloned().unwrap_or_default());
            if !belongs_to(&leaf, &key) {
                return Err(EnrollError::Answer("the certificate is not for this host's key".to_owned()));
            }
            let PeerIdentity { tenant, host, .. } =
                PeerIdentity::of(&leaf).map_err(|error| EnrollError::Answer(error.to_string()))?;
            let identity = Identity { chain_der, key_der: key.serialize_der() };
            Ok(Enrolled { identity, authorities_der, online_key: PublicKey(online_key), tenant, host })
        }
    }
}

async fn ask(connection: &Connection, frame: &[u8]) -> Result<Vec<u8>, EnrollError> {
    let exchange = async {
        let (mut send, mut receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
        send.write_all(frame).await.map_err(|error| error.to_string())?;
        send.finish().map_err(|error| error.to_string())?;
        let most = Kind::EnrollReply.payload_bytes_max() + OVERHEAD_BYTES;
        receive.read_to_end(most).await.map_err(|error| error.to_string())
    };
    exchange.await.map_err(|why| {
        let outage = connection.close_reason().map(|error| Outage::of(&error));
        EnrollError::Outage(outage.unwrap_or_else(|| Outage::new(Obstacle::Lost, why)))
    })
}
