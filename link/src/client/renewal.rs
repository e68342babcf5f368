//! When this host's certificate is to be renewed, and what becomes of the answer.
//!
//! Due at two thirds of the certificate's life by the collector's clock, and up to a twelfth later, so that hosts that
//! were enrolled together do not ask together. The key is a new one each time.

use crate::authority::{AuthorityError, belongs_to, request};
use crate::identity::{Identity, PeerIdentity, life};
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use std::time::Duration;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::RenewReply;

/// Time until the next request after one that did not succeed.
const AGAIN: Duration = Duration::from_secs(3_600);

/// A certificate of the same name for a new key.
#[derive(Debug)]
pub(super) struct Renewed {
    pub(super) identity: Identity,
    /// Empty: those of before.
    pub(super) authorities_der: Vec<Vec<u8>>,
}

/// The schedule of one certificate.
#[derive(Debug)]
pub(super) struct Renewal {
    /// By the collector's clock; `None` if the certificate cannot be read.
    from: Option<WallTime>,
    /// After a refusal.
    not_before: MonoTime,
    /// Of the request that is under way.
    key: Option<KeyPair>,
}

impl Renewal {
    /// For the certificate of `identity`; `spread` is any random number.
    pub(super) fn of(identity: &Identity, spread: u64) -> Self {
        let from = identity.chain_der.first().and_then(|leaf| life(leaf)).map(|(begins, ends)| {
            let life_ns = ends.unix_ns.saturating_sub(begins.unix_ns).max(0);
            let late_ns = i64::try_from(spread % u64::try_from(life_ns / 12 + 1).unwrap_or(1)).unwrap_or(0);
            begins.offset_by(life_ns / 3 * 2 + late_ns)
        });
        Self { from, not_before: MonoTime::default(), key: None }
    }

    /// When to ask on a connection that stands since `now`.
    pub(super) fn due(&self, now: MonoTime, collector_now: WallTime) -> Option<MonoTime> {
        let left_ns = self.from?.unix_ns.saturating_sub(collector_now.unix_ns);
        let due = now + Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0));
        Some(due.max(self.not_before))
    }

    /// Makes a key and a request for it.
    pub(super) fn ask(&mut self, host_name: &str) -> Result<Vec<u8>, AuthorityError> {
        let (key, csr_der) = request(host_name)?;
        self.key = Some(key);
        Ok(csr_der)
    }

    /// Judges the answer; the reason is for people.
    pub(super) fn judge(&mut self, reply: RenewReply, present: &Identity) -> Result<Renewed, String> {
        let key = self.key.take().ok_or("nobody asked for a certificate")?;
        let (chain_der, authorities_der) = match reply {
            RenewReply::Issued { chain_der, authorities_der } => (chain_der, authorities_der),
            RenewReply::Refused { reason } => return Err(reason),
        };
        let leaf = CertificateDer::from(chain_der.first().cloned().unwrap_or_default());
        if !belongs_to(&leaf, &key) {
            return Err("the certificate is not for this host's key".to_owned());
        }
        if name(&chain_der).is_none() || name(&chain_der) != name(&present.chain_der) {
            return Err("the certificate names another host".to_owned());
        }
        Ok(Renewed { identity: Identity { chain_der, key_der: key.serialize_der() }, authorities_der })
    }

    /// It did not work: when to ask again.
    pub(super) fn put_off(&mut self, now: MonoTime) -> MonoTime {
        self.key = None;
        self.not_before = now + AGAIN;
        self.not_before
    }
}

fn name(chain_der: &[Vec<u8>]) -> Option<(vedette_protocol::ids::TenantId, vedette_protocol::ids::HostId)> {
    let leaf = CertificateDer::from(chain_der.first()?.as_slice());
    PeerIdentity::of(&leaf).ok().map(|identity| (identity.tenant, identity.host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use vedette_protocol::ids::{HostId, TenantId};

    const BORN: WallTime = WallTime::from_unix_ms(1_800_000_000_000);
    const DAY_NS: i64 = 86_400_000_000_000;
    const HOST: HostId = HostId([1; 16]);

    fn issued(authority: &Authority, csr_der: &[u8], host: HostId) -> Vec<Vec<u8>> {
        authority.sign_host(csr_der, TenantId(0), host, 30, BORN).expect("signed")
    }

    fn host(authority: &Authority) -> Identity {
        let (key, csr_der) = request("web-1").expect("key");
        Identity { chain_der: issued(authority, &csr_der, HOST), key_der: key.serialize_der() }
    }

    fn authority() -> Authority {
        Authority::create(BORN).expect("authority")
    }

    #[test]
    fn due_at_two_thirds_of_the_life_and_spread_over_a_twelfth() {
        let identity = host(&authority());
        let now = MonoTime::from_ms(1_000);
        let in_days = |spread| {
            let due = Renewal::of(&identity, spread).due(now, BORN).expect("a certificate");
            due.since(now).as_secs_f64() / 86_400.0
        };
        assert!((19.9..20.1).contains(&in_days(0)), "{}", in_days(0));
        let days: Vec<_> = (0..100_u64).map(|n| in_days(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        assert!(days.iter().all(|days| (19.9..22.6).contains(days)), "{days:?}");
        assert!(days.iter().any(|days| *days < 20.7) && days.iter().any(|days| *days > 21.7), "{days:?}");
        let overdue = Renewal::of(&identity, 0).due(now, BORN.offset_by(25 * DAY_NS));
        assert_eq!(overdue, Some(now), "an agent that was off for long asks at once");
    }

    #[test]
    fn only_a_certificate_for_the_new_key_and_the_same_name_is_taken() {
        let authority = authority();
        let present = host(&authority);
        let mut renewal = Renewal::of(&present, 0);
        let reply = |chain_der| RenewReply::Issued { chain_der, authorities_der: vec![] };

        let csr_der = renewal.ask("web-1").expect("request");
        let renewed = renewal.judge(reply(issued(&authority, &csr_der, HOST)), &present).expect("a renewal");
        assert_ne!(renewed.identity.key_der, present.key_der);

        let foreign_key = reply(issued(&authority, &request("web-1").expect("key").1, HOST));
        renewal.ask("web-1").expect("request");
        assert!(renewal.judge(foreign_key, &present).expect_err("refused").contains("key"));

        let csr_der = renewal.ask("web-1").expect("request");
        let other_name = reply(issued(&authority, &csr_der, HostId([9; 16])));
        assert!(renewal.judge(other_name, &present).expect_err("refused").contains("another host"));

        assert!(renewal.judge(reply(vec![]), &present).is_err(), "nobody asked");
        renewal.ask("web-1").expect("request");
        assert!(renewal.judge(reply(vec![]), &present).is_err(), "no certificate at all");
    }

    #[test]
    fn after_a_refusal_an_hour_passes() {
        let mut renewal = Renewal::of(&host(&authority()), 0);
        let now = MonoTime::from_ms(5_000);
        renewal.put_off(now);
        assert_eq!(renewal.due(now, BORN.offset_by(29 * DAY_NS)), Some(now + AGAIN));
    }
}
