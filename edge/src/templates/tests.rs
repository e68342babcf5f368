use super::*;
use proptest::prelude::*;

fn texts(lines: &[&str]) -> Vec<String> {
    let mut miner = Miner::new(100);
    lines.iter().for_each(|line| drop(miner.accept(0, line)));
    miner.iter().map(|(_, mined)| mined.text.clone()).collect()
}

#[test]
fn numbers_addresses_times_and_identifiers_are_variable() {
    assert_eq!(
        texts(&["2026-01-02T03:04:05.678Z GET /item/17 from 10.0.0.1:8080 took=12ms"]),
        ["<*> GET /item/<*> from <*> took=<*>"]
    );
    assert_eq!(texts(&["Jan  2 03:04:05 web1 sshd[123]: session abcd-12ef-beef closed"]).len(), 1);
    assert_eq!(texts(&["Jan 2 up", "Feb 9 up"]), ["<*> <*> up"]);
    assert_eq!(
        texts(&["id 123e4567-e89b-12d3-abcd-426614174000 x", "id 00000000-dead-beef-cafe-aaaaaaaaaaaa x"]),
        ["id <*> x"]
    );
}

#[test]
fn differing_word_becomes_variable_and_the_id_stays() {
    let mut miner = Miner::new(100);
    let first = miner.accept(0, "user bob logged in");
    let id = miner.get(first.slot).unwrap().id;
    let second = miner.accept(0, "user amy logged in");
    assert_eq!((second.slot, second.novelty), (first.slot, Novelty::Generalised));
    let mined = miner.get(first.slot).unwrap();
    assert_eq!((mined.text.as_str(), mined.id), ("user <*> logged in", id));
    assert_eq!(id, TemplateId::of("user bob logged in"));
    assert_eq!(miner.accept(0, "user bob logged in").novelty, Novelty::Known);
    assert_eq!(miner.accept(0, "user eve logged in").novelty, Novelty::Known);
}

#[test]
fn error_line_never_joins_a_line_of_another_severity() {
    assert_eq!(texts(&["12:00 INFO cache refill done now", "12:01 ERROR cache refill done now"]).len(), 2);
    assert_eq!(texts(&["ERROR disk", "ERROR network"]).len(), 2, "one constant word is too little to join");
}

#[test]
fn compact_json_is_split_at_commas() {
    assert_eq!(
        texts(&[
            r#"{"ts":1700000000,"level":"info","msg":"done","user":"bob","n":3}"#,
            r#"{"ts":1700000001,"level":"info","msg":"done","user":"amy","n":4}"#
        ]),
        [r#"{"ts":<*>,"level":"info","msg":"done",<*>,"n":<*>}"#]
    );
}

#[test]
fn same_words_in_another_source_are_another_slot_with_the_same_id() {
    let mut miner = Miner::new(100);
    let (one, two) = (miner.accept(0, "hello world").slot, miner.accept(1, "hello world").slot);
    assert_ne!(one, two);
    assert_eq!(miner.get(one).unwrap().id, miner.get(two).unwrap().id);
}

#[test]
fn full_miner_forgets_the_template_seen_longest_ago() {
    let mut miner = Miner::new(2);
    let alpha = miner.accept(0, "alpha").slot;
    miner.accept(0, "beta");
    miner.accept(0, "alpha");
    let outcome = miner.accept(0, "gamma");
    assert_eq!(outcome.evicted.unwrap().text, "beta");
    assert_eq!(miner.accept(0, "alpha").slot, alpha);
    assert_eq!(miner.accept(0, "beta").novelty, Novelty::New);
    assert_eq!(miner.len(), 2);
}

#[test]
fn long_and_empty_lines_have_a_template() {
    let long = "word ".repeat(10_000);
    let mut miner = Miner::new(10);
    let slot = miner.accept(0, &long).slot;
    assert!(miner.get(slot).unwrap().text.len() <= 1_024 + WILDCARD.len());
    assert_eq!(miner.accept(0, &"x".repeat(9_000)).novelty, Novelty::New);
    let slot = miner.accept(0, "  ").slot;
    assert_eq!(miner.get(slot).unwrap().text, "<empty>");
}

proptest! {
    #[test]
    fn every_line_has_one_slot_within_the_limit_and_a_repeated_line_keeps_it(
        lines in proptest::collection::vec(r#"([a-e]{1,2}|[0-9.:-]{1,6}|ERROR|é,|<secret>| ){0,12}"#, 1..120)
    ) {
        let mut miner = Miner::new(16);
        for line in &lines {
            let slot = miner.accept(0, line).slot;
            prop_assert!(miner.len() <= 16 && (slot as usize) < miner.len());
            let again = miner.accept(0, line);
            prop_assert_eq!(again.slot, slot);
            prop_assert_eq!(again.novelty, Novelty::Known);
            let mined = miner.get(slot).unwrap();
            prop_assert_eq!(mined.words.last().map(|word| word.end as usize >= mined.text.len()), Some(true));
        }
    }
}
