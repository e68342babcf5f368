//! Hosts become agents: a token is spent, a name is given, a certificate is signed.

use super::core::{Job, Reply};
use super::counters::{Counters, count};
use crate::store::{AgentWrite, TokenWrite, Write, Written};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};
use vedette_link::authority::Authority;
use vedette_link::clock::Clock;
use vedette_link::server::PeerIdentity;
use vedette_protocol::ids::{Digest, HostId, TenantId};
use vedette_protocol::v1::{EnrollReply, EnrollRequest, RenewReply, RenewRequest};

/// Life of a host's certificate, days.
const LIFE_DAYS: u32 = 30;
/// Longest life of a token.
pub(crate) const TOKEN_MS_MAX: u64 = 86_400_000;
/// Most uses of a token.
pub(crate) const TOKEN_USES_MAX: u32 = 10_000;

/// Requests answered at one time.
pub(crate) const SEATS: usize = 32;

/// Makes tokens and identities.
pub(crate) struct Enrolment {
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) online_key: [u8; 32],
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Requests being answered: anybody may send one, and each takes a signature and a transaction.
    pub(crate) seats: Semaphore,
}

impl Enrolment {
    /// A new token; it is told once and kept as a hash. `None` while the collector shuts down.
    pub(crate) async fn token(&self, uses: u32, ttl_ms: u64) -> Option<String> {
        let token = format!("vdt-{}", super::first_start::random_token());
        let created = self.clock.wall();
        let ttl_ns = i64::try_from(ttl_ms.min(TOKEN_MS_MAX)).unwrap_or(0) * 1_000_000;
        let hash = Digest::of(token.as_bytes()).0;
        let uses = uses.clamp(1, TOKEN_USES_MAX);
        self.ask(Write::Token(TokenWrite { hash, created, expires: created.offset_by(ttl_ns), uses })).await?;
        Some(token)
    }

    /// Answers a host. The request is checked by signing it before the token is spent, so a bad request costs no use.
    pub(crate) async fn answer(
        &self,
        address: SocketAddr,
        request: EnrollRequest,
        reply: oneshot::Sender<EnrollReply>,
    ) {
        let Ok(_seat) = self.seats.try_acquire() else {
            count(&self.counters.enrolments_busy);
            // A host that has gone in the meantime asks again.
            return drop(reply.send(refused("too many hosts enrol at this moment: try again")));
        };
        let host = random_host();
        let now = self.clock.wall();
        let signed = self.authority.sign_host(&request.csr_der, TenantId::default(), host, LIFE_DAYS, now);
        let answer = match signed {
            Err(error) => {
                count(&self.counters.enrolments_bad_request);
                tracing::warn!(%address, %error, "enrolment refused");
                refused("the certificate request was refused: make a new key and try again")
            }
            Ok(chain_der) => match self.spend(&request, host).await {
                Some(Written::Done) => {
                    count(&self.counters.enrolments);
                    tracing::info!(%address, host.id = %host, host.name = request.host_name, "host enrolled");
                    let authorities_der = vec![self.authority.certificate_der().to_vec()];
                    EnrollReply::Issued { chain_der, authorities_der, online_key: self.online_key }
                }
                Some(_) => {
                    count(&self.counters.enrolments_bad_token);
                    tracing::warn!(%address, host.name = request.host_name, "enrolment refused: bad token");
                    refused("the token is unknown, used up or over: ask for a new one (`vedette fleet token`)")
                }
                None => refused("the collector is going down: try again"),
            },
        };
        // A host that has gone in the meantime enrols again with another use.
        drop(reply.send(answer));
    }

    /// Signs a new key of an agent that is connected: same tenant, same host, whatever the request says.
    pub(crate) fn renew(&self, identity: &PeerIdentity, request: &RenewRequest) -> RenewReply {
        let (tenant, host) = (identity.tenant, identity.host);
        match self.authority.sign_host(&request.csr_der, tenant, host, LIFE_DAYS, self.clock.wall()) {
            Ok(chain_der) => {
                count(&self.counters.renewals);
                tracing::info!(host.id = %host, "certificate renewed");
                RenewReply::Issued { chain_der, authorities_der: vec![self.authority.certificate_der().to_vec()] }
            }
            Err(error) => {
                count(&self.counters.renewals_bad_request);
                tracing::warn!(host.id = %host, %error, "certificate not renewed");
                RenewReply::Refused { reason: "the certificate request was refused".to_owned() }
            }
        }
    }

    async fn spend(&self, request: &EnrollRequest, host: HostId) -> Option<Written> {
        let at = self.clock.wall();
        let written = self.ask(Write::SpendToken { hash: Digest::of(request.token.as_bytes()).0, at }).await?;
        if written == Written::Done {
            let write = AgentWrite::Enrolled { host_name: request.host_name.clone() };
            self.ask(Write::Agent { host, at, write }).await?;
        }
        Some(written)
    }

    async fn ask(&self, write: Write) -> Option<Written> {
        ask(&self.jobs, write).await
    }
}

/// Commits a write and waits for it; `None` while the collector shuts down.
pub(crate) async fn ask(jobs: &mpsc::Sender<Job>, write: Write) -> Option<Written> {
    let (answer, written) = oneshot::channel();
    jobs.send(Job { write, reply: Reply::Answer(answer), room: None }).await.ok()?;
    written.await.ok()
}

fn refused(reason: &str) -> EnrollReply {
    EnrollReply::Refused { reason: reason.to_owned() }
}

fn random_host() -> HostId {
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).expect("the operating system has randomness");
    HostId(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use vedette_link::clock::SystemClock;
    use vedette_protocol::time::WallTime;

    fn desk() -> (Enrolment, mpsc::Receiver<Job>) {
        let clock = Arc::new(SystemClock);
        let authority = Arc::new(Authority::create(clock.wall()).expect("authority"));
        let (jobs, waiting) = mpsc::channel(1);
        let seats = Semaphore::new(SEATS);
        (Enrolment { jobs, authority, online_key: [0; 32], counters: Arc::default(), clock, seats }, waiting)
    }

    fn count(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    #[test]
    fn a_renewed_certificate_names_the_host_of_the_connection() {
        let (enrolment, _) = desk();
        let (host, tenant) = (HostId([7; 16]), TenantId(3));
        let present = PeerIdentity { tenant, host, certificate: Digest([0; 32]), not_after: WallTime::default() };

        let csr_der = vedette_link::authority::request("another-name").expect("request").1;
        let RenewReply::Issued { chain_der, .. } = enrolment.renew(&present, &RenewRequest { csr_der }) else {
            panic!("refused")
        };
        let issued = PeerIdentity::of(&chain_der[0].as_slice().into()).expect("a host");
        assert_eq!((issued.tenant, issued.host), (tenant, host));
        let refused = enrolment.renew(&present, &RenewRequest { csr_der: vec![1, 2, 3] });
        assert!(matches!(refused, RenewReply::Refused { .. }));
        assert_eq!((count(&enrolment.counters.renewals), count(&enrolment.counters.renewals_bad_request)), (1, 1));
    }

    #[tokio::test]
    async fn a_crowd_of_strangers_does_not_fill_the_writers_queue() {
        let (enrolment, mut waiting) = desk();
        let _crowd = enrolment.seats.try_acquire_many(u32::try_from(SEATS).unwrap()).unwrap();
        let (reply, answer) = oneshot::channel();
        let request = EnrollRequest { token: String::new(), host_name: String::new(), csr_der: Vec::new() };
        enrolment.answer(([127, 0, 0, 1], 1).into(), request, reply).await;
        assert!(matches!(answer.await, Ok(EnrollReply::Refused { .. })));
        assert_eq!(count(&enrolment.counters.enrolments_busy), 1);
        assert!(waiting.try_recv().is_err());
    }
}
