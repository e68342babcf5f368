//! Which directives may run. The gate checks what only the shell knows (signature, host, clock); the ceilings of the
//! policy, and which of them are in effect, are `edge`'s.

use std::time::Duration;
use vedette_protocol::ids::{DirectiveId, HostId};
use vedette_protocol::policy::Directive;
use vedette_protocol::signature::{Domain, PublicKey, SignatureError, Signed};
use vedette_protocol::time::{MonoTime, WallTime};

/// Longest life of a directive, whatever the policy allows.
pub const LIFE_MAX: Duration = Duration::from_secs(15 * 60);

/// How far the corrected clock may still be off.
pub const CLOCK_SLACK: Duration = Duration::from_secs(5);

/// Largest encoded directive.
pub const BYTES_MAX: usize = 16 << 10;

/// Ids that are remembered so that a repetition is none.
const REMEMBERED_MAX: usize = 64;

/// Why a directive was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectiveRefused {
    /// Wrong key, or altered.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// Not a directive.
    #[error("not a directive that this version understands")]
    Malformed,
    /// Meant for somebody else.
    #[error("it is for host {0}")]
    OtherHost(HostId),
    /// Lives too long or ends before it begins.
    #[error("its life of {seconds} s is not within 0 to 900 s")]
    Life {
        /// Its life.
        seconds: i64,
    },
    /// Over, by the collector's clock.
    #[error("it has expired")]
    Expired,
    /// Issued in the future, by the collector's clock.
    #[error("it is not valid yet")]
    Early,
    /// The collector's clock is not known: no connection yet.
    #[error("the collector's clock is not known yet")]
    NoClock,
}

/// A directive that passed, with when it ends by our clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The directive.
    pub directive: Directive,
    /// Its end.
    pub ends: MonoTime,
}

/// Verifies directives and remembers those that were taken, so that none is taken twice.
pub struct DirectiveGate {
    host: HostId,
    online_key: PublicKey,
    /// Id and end, in order of arrival.
    admitted: Vec<(DirectiveId, MonoTime)>,
    refused_total: u64,
    last_refused: Option<(DirectiveId, String)>,
}

impl DirectiveGate {
    /// For one host and the online key that enrolment gave it.
    pub fn new(host: HostId, online_key: PublicKey) -> Self {
        Self { host, online_key, admitted: Vec::new(), refused_total: 0, last_refused: None }
    }

    /// A document came in. Returns what may go to the pipeline; a repetition is nothing.
    ///
    /// `collector_now` is the collector's wall clock as far as known: ours plus the measured offset.
    pub fn handle_signed(
        &mut self,
        signed: &Signed,
        now: MonoTime,
        collector_now: Option<WallTime>,
    ) -> Option<Admitted> {
        let directive = match self.verify(signed) {
            Ok(directive) => directive,
            Err(refused) => {
                self.refuse(DirectiveId([0; 16]), &refused.to_string());
                return None;
            }
        };
        if self.admitted.iter().any(|(id, _)| *id == directive.id) {
            return None;
        }
        match self.admit(&directive, collector_now) {
            Ok(left) => Some(Admitted { ends: now + left, directive }),
            Err(refused) => {
                self.refuse(directive.id, &refused.to_string());
                None
            }
        }
    }

    /// The pipeline took it.
    pub fn handle_taken(&mut self, id: DirectiveId, ends: MonoTime) {
        if self.admitted.len() >= REMEMBERED_MAX {
            self.admitted.remove(0);
        }
        self.admitted.push((id, ends));
    }

    /// Forgets what has ended. Returns whether anything did.
    pub fn handle_tick(&mut self, now: MonoTime) -> bool {
        let before = self.admitted.len();
        self.admitted.retain(|(_, ends)| *ends > now);
        self.admitted.len() < before
    }

    /// Refused here or by the pipeline, for `reason`.
    pub fn refuse(&mut self, id: DirectiveId, reason: &str) {
        tracing::warn!(directive.id = %id, reason, "directive refused");
        self.refused_total += 1;
        self.last_refused = Some((id, reason.to_owned()));
    }

    /// Directives refused since start.
    pub fn refused_total(&self) -> u64 {
        self.refused_total
    }

    /// The last one refused (id zero if it cannot be known) and why.
    pub fn last_refused(&self) -> Option<&(DirectiveId, String)> {
        self.last_refused.as_ref()
    }

    fn verify(&self, signed: &Signed) -> Result<Directive, DirectiveRefused> {
        if signed.bytes.len() > BYTES_MAX {
            return Err(DirectiveRefused::Malformed);
        }
        let bytes = signed.verify(Domain::Directive, &[self.online_key])?;
        match postcard::take_from_bytes(bytes) {
            Ok((directive, [])) => Ok(directive),
            _ => Err(DirectiveRefused::Malformed),
        }
    }

    /// How long it still has to live.
    fn admit(&self, directive: &Directive, collector_now: Option<WallTime>) -> Result<Duration, DirectiveRefused> {
        if directive.host != self.host {
            return Err(DirectiveRefused::OtherHost(directive.host));
        }
        let life_ns = directive.expires.unix_ns.saturating_sub(directive.issued.unix_ns);
        if u64::try_from(life_ns).map_or(true, |ns| Duration::from_nanos(ns) > LIFE_MAX) {
            return Err(DirectiveRefused::Life { seconds: life_ns / 1_000_000_000 });
        }
        let now = collector_now.ok_or(DirectiveRefused::NoClock)?;
        let slack_ns = i64::try_from(CLOCK_SLACK.as_nanos()).expect("a few seconds");
        if now.offset_by(slack_ns) < directive.issued {
            return Err(DirectiveRefused::Early);
        }
        match u64::try_from(directive.expires.unix_ns.saturating_sub(now.unix_ns)) {
            Ok(left_ns) if left_ns > 0 => Ok(Duration::from_nanos(left_ns).min(LIFE_MAX)),
            _ => Err(DirectiveRefused::Expired),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::signature::SigningKey;

    const HOST: HostId = HostId([1; 16]);
    const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);
    const MONO: MonoTime = MonoTime::from_ms(5_000);

    fn key() -> SigningKey {
        SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).expect("key")
    }

    fn directive(issued_in_ms: i64, life_ms: i64) -> Directive {
        let issued = NOW.offset_by(issued_in_ms * 1_000_000);
        Directive {
            id: DirectiveId([2; 16]),
            host: HOST,
            issued,
            expires: issued.offset_by(life_ms * 1_000_000),
            incident: "INC-1".to_owned(),
            sources: vec![("process".to_owned(), 1_000)],
            raw_metrics: Vec::new(),
            look_back_ms: 0,
        }
    }

    fn sign(key: &SigningKey, directive: &Directive) -> Signed {
        key.sign(Domain::Directive, postcard::to_allocvec(directive).expect("encodes"))
    }

    /// What the gate says to `directive`: how long it may run, or why not.
    fn check(directive: &Directive) -> Result<Duration, String> {
        let key = key();
        let mut gate = DirectiveGate::new(HOST, key.public());
        let admitted = gate.handle_signed(&sign(&key, directive), MONO, Some(NOW));
        admitted
            .map(|admitted| admitted.ends.since(MONO))
            .ok_or_else(|| gate.last_refused().expect("a reason").1.clone())
    }

    #[test]
    fn directive_ends_by_the_collectors_clock() {
        assert_eq!(check(&directive(-10_000, 60_000)), Ok(Duration::from_secs(50)));
    }

    #[test]
    fn life_and_clock_are_bounded() {
        assert!(check(&directive(0, 900_001)).expect_err("too long").contains("life"));
        assert!(check(&directive(0, -1)).expect_err("backwards").contains("life"));
        assert!(check(&directive(-60_000, 60_000)).expect_err("over").contains("expired"));
        assert!(check(&directive(6_000, 60_000)).expect_err("future").contains("not valid yet"));
        assert!(check(&directive(4_000, 60_000)).is_ok(), "within the slack");
    }

    #[test]
    fn directive_for_another_host_is_refused() {
        let other = Directive { host: HostId([3; 16]), ..directive(0, 1_000) };
        assert!(check(&other).expect_err("refused").contains("for host 0303"));
    }

    #[test]
    fn altered_or_foreign_directive_is_refused_and_counted() {
        let (online, stranger) = (key(), key());
        let mut gate = DirectiveGate::new(HOST, online.public());
        let mut altered = sign(&online, &directive(0, 1_000));
        altered.bytes.push(0);
        assert_eq!(gate.handle_signed(&altered, MONO, Some(NOW)), None);
        assert_eq!(gate.handle_signed(&sign(&stranger, &directive(0, 1_000)), MONO, Some(NOW)), None);
        let padded = [postcard::to_allocvec(&directive(0, 1_000)).expect("encodes"), vec![0]].concat();
        assert_eq!(gate.handle_signed(&online.sign(Domain::Directive, padded), MONO, Some(NOW)), None);
        assert_eq!(gate.refused_total(), 3);
        assert_eq!(gate.admitted, []);
    }

    #[test]
    fn without_the_collectors_clock_nothing_is_believed() {
        let online = key();
        let mut gate = DirectiveGate::new(HOST, online.public());
        assert_eq!(gate.handle_signed(&sign(&online, &directive(0, 1_000)), MONO, None), None);
    }

    #[test]
    fn repetition_is_no_second_directive_and_the_end_is_the_end() {
        let online = key();
        let mut gate = DirectiveGate::new(HOST, online.public());
        let signed = sign(&online, &directive(0, 10_000));
        let admitted = gate.handle_signed(&signed, MONO, Some(NOW)).expect("admitted");
        gate.handle_taken(admitted.directive.id, admitted.ends);
        assert_eq!(gate.handle_signed(&signed, MONO, Some(NOW)), None);
        assert_eq!(gate.refused_total(), 0);
        assert!(!gate.handle_tick(MONO));
        assert!(gate.handle_tick(admitted.ends));
        assert_eq!(gate.admitted, []);
    }
}
