//! The collector's own counts. Names and labels are closed: nothing that comes from outside becomes one.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident: $metric:literal $(, $label:literal)?;)*) => {
        /// Counts since the start.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$meta])* pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            /// Metric, label (empty for none) and count, in a fixed order.
            pub(crate) fn entries(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$(($metric, concat!($($label)?), self.$name.load(Ordering::Relaxed))),*]
            }
        }
    };
}

counters! {
    /// Batches stored.
    batches_committed: "vedette_batches_total", "outcome=\"committed\"";
    /// Batches recognised as repeated.
    batches_duplicate: "vedette_batches_total", "outcome=\"duplicate\"";
    /// Frames kept aside.
    batches_quarantined: "vedette_batches_total", "outcome=\"quarantined\"";
    /// Batches kept aside because their sequence was another's.
    batches_reused: "vedette_batches_total", "outcome=\"reused\"";
    /// Frames so damaged that they have no key.
    frames_without_key: "vedette_frames_without_key_total";
    /// Transactions.
    commits: "vedette_commits_total";
    /// Time in transactions, ns.
    commit_ns: "vedette_commit_nanoseconds_total";
    /// The longest transaction, ns.
    commit_ns_max: "vedette_commit_nanoseconds_max";
    /// Transactions that failed and were tried again.
    commits_failed: "vedette_commits_failed_total";
    /// Events folded into the engine.
    events: "vedette_engine_events_total";
    /// Time in the engine, ns.
    engine_ns: "vedette_engine_nanoseconds_total";
    /// Policies stored.
    policies_stored: "vedette_policies_total", "outcome=\"stored\"";
    /// Policies refused: not a signed document.
    policies_malformed: "vedette_policies_total", "outcome=\"malformed\"";
    /// Policies refused: the signer is not trusted.
    policies_untrusted: "vedette_policies_total", "outcome=\"untrusted-key\"";
    /// Policies refused: altered, or signed for another purpose.
    policies_mismatch: "vedette_policies_total", "outcome=\"bad-signature\"";
    /// Policies refused: problems in the document.
    policies_invalid: "vedette_policies_total", "outcome=\"invalid\"";
    /// Policies refused: already over.
    policies_expired: "vedette_policies_total", "outcome=\"expired\"";
    /// Policies refused: not newer than what is stored.
    policies_not_newer: "vedette_policies_total", "outcome=\"not-newer\"";
    /// Identities issued.
    enrolments: "vedette_enrolments_total", "outcome=\"issued\"";
    /// Enrolments refused: token unknown, used up or over.
    enrolments_bad_token: "vedette_enrolments_total", "outcome=\"bad-token\"";
    /// Enrolments refused: the request cannot be signed.
    enrolments_bad_request: "vedette_enrolments_total", "outcome=\"bad-request\"";
    /// Enrolments refused: too many at one time.
    enrolments_busy: "vedette_enrolments_total", "outcome=\"busy\"";
    /// Certificates renewed.
    renewals: "vedette_certificate_renewals_total", "outcome=\"issued\"";
    /// Renewals refused: the request cannot be signed.
    renewals_bad_request: "vedette_certificate_renewals_total", "outcome=\"bad-request\"";
    /// Connections with which one of two agents of one identity took the other's place.
    identity_conflicts: "vedette_identity_conflicts_total";
    /// Directives signed and stored.
    directives_issued: "vedette_directives_issued_total";
    /// Directives that were not signed: by this clock they would live too long, or are over.
    directives_dropped: "vedette_directives_dropped_total";
    /// API calls without the right token.
    api_unauthorised: "vedette_api_requests_refused_total", "reason=\"unauthorised\"";
    /// API calls turned away because too many were under way.
    api_busy: "vedette_api_requests_refused_total", "reason=\"busy\"";
    /// API calls that took too long.
    api_timeout: "vedette_api_requests_refused_total", "reason=\"timeout\"";
    /// Connections to the API turned away because too many were open.
    api_no_seat: "vedette_api_requests_refused_total", "reason=\"connections\"";
    /// API calls let in.
    api_requests: "vedette_api_requests_total";
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// `amount` more.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
