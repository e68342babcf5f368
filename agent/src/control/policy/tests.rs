use super::*;
use tempfile::TempDir;
use vedette_protocol::signature::SigningKey;

const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);

struct Bench {
    data_dir: TempDir,
    key: SigningKey,
}

impl Bench {
    fn new() -> Self {
        let key = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).expect("key");
        Self { data_dir: tempfile::tempdir().expect("temporary folder"), key }
    }

    fn keeper(&self) -> PolicyKeeper {
        PolicyKeeper::open(self.data_dir.path(), vec![self.key.public()]).expect("open")
    }

    fn policy(&self, version: u64, episodes: f64) -> Signed {
        self.key.sign(Domain::Policy, text(version, episodes, "2100-01-01T00:00:00Z").into_bytes())
    }

    fn current(&self) -> std::path::PathBuf {
        PolicyFolder::open(self.data_dir.path()).expect("folder").path(Slot::Current)
    }
}

fn text(version: u64, episodes: f64, expires: &str) -> String {
    format!("version = {version}\nexpires = \"{expires}\"\n[detect]\nepisodes-per-day = {episodes:?}\n")
}

fn confirm(keeper: &mut PolicyKeeper) {
    let last = (0..TRIAL_HEALTHY_TICKS).map(|_| keeper.handle_tick(true)).last();
    assert_eq!(last, Some(TrialStep::Confirmed));
}

fn refused(keeper: &PolicyKeeper) -> &str {
    keeper.last_refused().map_or("", |(_, reason)| reason)
}

#[test]
fn confirmed_policy_survives_a_restart() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    let applied = keeper.handle_signed(&bench.policy(3, 2.5), NOW).expect("applied");
    assert_eq!((applied.version, applied.episodes_per_day), (3, 2.5));
    confirm(&mut keeper);
    assert_eq!(*bench.keeper().in_effect(), applied);
}

#[test]
fn policy_of_another_key_is_refused_and_counted() {
    let (bench, stranger) = (Bench::new(), Bench::new());
    let mut keeper = bench.keeper();
    assert_eq!(keeper.handle_signed(&stranger.policy(3, 1.0), NOW), None);
    assert_eq!((keeper.refused_total(), keeper.in_effect().version), (1, 0));
    let (told, key) = (refused(&keeper), stranger.key.public().to_string());
    assert!(told.contains(&key) && told.contains("`trust.policy-keys` of agent.toml"), "{told}");
}

#[test]
fn expiry_is_told_once_for_each_policy_and_never_of_the_default() {
    let mut expiry = Expiry::default();
    let at = |ms| WallTime::from_unix_ms(ms);
    let policy = |version| Policy { version, expires: Some(at(1_000)), ..Policy::default() };
    let told: Vec<_> = [999, 1_000, 1_001].map(|ms| expiry.is_news(&policy(3), at(ms))).into();
    assert_eq!(told, [false, true, false]);
    assert!(!expiry.is_news(&policy(3), at(999)), "the clock was set back");
    assert!(expiry.is_news(&policy(4), at(2_000)) && !expiry.is_news(&Policy::default(), at(i64::MAX / 2_000_000)));
}

#[test]
fn signature_for_another_purpose_does_not_serve() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    let bytes = text(1, 1.0, "2100-01-01T00:00:00Z").into_bytes();
    assert_eq!(keeper.handle_signed(&bench.key.sign(Domain::Directive, bytes), NOW), None);
    assert!(refused(&keeper).contains("does not fit"));
}

#[test]
fn version_only_rises_even_over_restarts() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.handle_signed(&bench.policy(5, 1.0), NOW).expect("applied");
    confirm(&mut keeper);
    assert_eq!(keeper.handle_signed(&bench.policy(4, 9.0), NOW), None);
    let mut keeper = bench.keeper();
    assert_eq!(keeper.handle_signed(&bench.policy(5, 9.0), NOW), None, "other content under the same version");
    assert_eq!(keeper.refused_total(), 1);
    assert_eq!(keeper.handle_signed(&bench.policy(5, 1.0), NOW), None, "the same again");
    assert_eq!(keeper.refused_total(), 1, "is no refusal");
}

#[test]
fn unhealthy_policy_is_rolled_back_and_not_tried_again() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.handle_signed(&bench.policy(1, 1.0), NOW).expect("applied");
    confirm(&mut keeper);
    keeper.handle_signed(&bench.policy(2, 2.0), NOW).expect("applied");
    let steps: Vec<_> = (0..TRIAL_TICKS_MAX).map(|tick| keeper.handle_tick(tick % 3 != 0)).collect();
    let (last, before) = steps.split_last().expect("steps");
    assert!(before.iter().all(|step| *step == TrialStep::None));
    assert!(matches!(last, TrialStep::RolledBack(policy) if policy.version == 1));
    assert_eq!(bench.keeper().handle_signed(&bench.policy(2, 2.0), NOW), None);
}

#[test]
fn policy_on_which_the_agent_died_is_barred_and_the_confirmed_one_runs() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.handle_signed(&bench.policy(1, 1.0), NOW).expect("applied");
    confirm(&mut keeper);
    keeper.handle_signed(&bench.policy(2, 2.0), NOW).expect("applied");
    drop(keeper);
    let mut keeper = bench.keeper();
    assert_eq!(keeper.in_effect().version, 1);
    assert!(refused(&keeper).contains("died"));
    assert_eq!(keeper.handle_signed(&bench.policy(2, 2.0), NOW), None);
    assert!(keeper.handle_signed(&bench.policy(3, 2.0), NOW).is_some());
}

#[test]
fn policy_whose_version_cannot_be_noted_is_confirmed_all_the_same() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.handle_signed(&bench.policy(4, 2.0), NOW).expect("applied");
    // In the place of the file that notes versions.
    std::fs::create_dir(bench.current().with_file_name("versions.json")).expect("folder");
    confirm(&mut keeper);
    assert_eq!((keeper.in_effect().version, keeper.on_trial()), (4, false));
    std::fs::remove_dir(bench.current().with_file_name("versions.json")).expect("folder");
    assert_eq!(bench.keeper().in_effect().version, 4, "what ran is what runs");
}

#[test]
fn policy_that_was_rolled_back_does_not_return_with_a_restart() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.handle_signed(&bench.policy(4, 2.0), NOW).expect("applied");
    confirm(&mut keeper);
    let versions = serde_json::to_vec(&Versions { confirmed: 0, failed: 4 }).expect("versions");
    std::fs::write(bench.current().with_file_name("versions.json"), versions).expect("file");
    let keeper = bench.keeper();
    assert_eq!((keeper.in_effect().version, keeper.refused_total()), (0, 1));
}

#[test]
fn orderly_stop_says_nothing_against_a_policy_on_trial() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.handle_signed(&bench.policy(2, 2.0), NOW).expect("applied");
    keeper.handle_shutdown();
    let mut keeper = bench.keeper();
    assert_eq!(keeper.in_effect().version, 0);
    assert!(keeper.handle_signed(&bench.policy(2, 2.0), NOW).is_some());
}

#[test]
fn tampered_file_is_refused_the_default_runs_and_the_genuine_one_may_return() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.handle_signed(&bench.policy(7, 1.0), NOW).expect("applied");
    confirm(&mut keeper);
    let genuine = std::fs::read_to_string(bench.current()).expect("file");
    std::fs::write(bench.current(), genuine.replace("= 1.0", "= 9.0")).expect("tamper");
    let mut keeper = bench.keeper();
    assert_eq!((keeper.in_effect().version, keeper.refused_total()), (0, 1));
    assert_eq!(keeper.handle_signed(&bench.policy(6, 1.0), NOW), None, "older than what was confirmed");
    assert_eq!(keeper.handle_signed(&bench.policy(7, 1.0), NOW).map(|policy| policy.version), Some(7));
}

#[test]
fn expired_policy_is_refused_on_arrival_and_stale_when_it_runs_out() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    let soon = NOW.offset_by(60_000_000_000);
    let signed = bench.key.sign(Domain::Policy, text(1, 1.0, &soon.to_string()).into_bytes());
    keeper.handle_signed(&signed, NOW).expect("applied");
    assert!(!stale(keeper.in_effect(), NOW));
    assert!(stale(keeper.in_effect(), soon));
    assert_eq!(keeper.in_effect().version, 1, "runs on");
    let late = bench.key.sign(Domain::Policy, text(2, 1.0, "2001-01-01T00:00:00Z").into_bytes());
    assert_eq!(keeper.handle_signed(&late, NOW), None);
    assert!(refused(&keeper).contains("expired at 2001-01-01"));
}

#[test]
fn document_with_mistakes_is_refused_with_the_first_one() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    let signed = bench.key.sign(Domain::Policy, b"version = 1\nexpiers = 3\n".to_vec());
    assert_eq!(keeper.handle_signed(&signed, NOW), None);
    assert!(refused(&keeper).contains("policy.toml:"), "{}", refused(&keeper));
}
