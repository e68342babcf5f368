use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn mine(lines: &[&str]) -> Miner {
    let mut miner = Miner::new(100);
    lines.iter().for_each(|line| drop(miner.accept(0, line)));
    miner
}

fn texts(lines: &[&str]) -> Vec<String> {
    mine(lines).iter().map(|(_, mined)| mined.text.clone()).collect()
}

#[test]
fn what_varies_by_its_look_is_variable_in_the_first_line() {
    for (line, text) in [
        ("2026-01-02T03:04:05.678Z GET /item/17 from 10.0.0.1:8080 took=12ms", "<*> GET <*> from <*> took=<*>"),
        ("Jan  2 03:04:05 web1 sshd[123]: session abcd-12ef-beef closed", "<*> sshd[<*>]: session <*> closed"),
        ("id 123e4567-e89b-12d3-abcd-426614174000 x", "id <*> x"),
        ("read 4.5 KB in 3 ms, 12 left", "read <*> in <*> left"),
        ("connection from 10.0.0.1 () at Mon Jul 10 03:55:15 2005", "connection from <*> () at <*>"),
        (
            "status: done=yes name=\"a b\" size= 3 kind=Box{a=1,b} n = 5",
            "status: done=yes name=<*> size=<*> kind=<*> n = <*>",
        ),
        ("opened /var/log/x and C:\\a\\b", "opened <*> and <*>"),
        ("synchronized to LOCAL(0), stratum 10", "synchronized to <*>, stratum <*>"),
        ("isBluetoothA2dpOn called", "isBluetoothA2dpOn called"),
        ("GET /search?q=a&b=c HTTP/1.1", "GET <*>"),
        ("retry -1 of <*>", "retry <*> of <*>"),
    ] {
        assert_eq!(texts(&[line]), [text], "{line}");
    }
}

#[test]
fn mask_stays_readable_and_is_variable() {
    assert_eq!(
        texts(&["login password=<secret> by <email>", "login password=x by 17"]),
        ["login password=<secret> by <email>"]
    );
}

#[test]
fn argument_that_differs_becomes_variable_and_the_id_stays() {
    let mut miner = Miner::new(100);
    let first = miner.accept(0, "session opened for user bob by root");
    let id = miner.get(first.slot).unwrap().id;
    let second = miner.accept(0, "session opened for user amy by root");
    assert_eq!((second.slot, second.novelty), (first.slot, Novelty::Generalised));
    let mined = miner.get(first.slot).unwrap();
    assert_eq!((mined.text.as_str(), mined.id), ("session opened for user <*> by root", id));
    assert_eq!(id, TemplateId::of("session opened for user bob by root "));
    for name in ["bob", "amy", "eve"] {
        let line = format!("session opened for user {name} by root");
        assert_eq!(miner.accept(0, &line).novelty, Novelty::Known);
    }
}

#[test]
fn words_that_say_what_happens_need_much_evidence() {
    let states = ["Started", "Stopped", "Paused", "Resumed"];
    let lines: Vec<_> = states.iter().map(|state| format!("[x: 5] VM {state} (Lifecycle Event)")).collect();
    assert_eq!(texts(&lines.iter().map(String::as_str).collect::<Vec<_>>()).len(), 4);
    let services = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"];
    let lines: Vec<_> = services.iter().map(|name| format!("{name} startup succeeded")).collect();
    assert_eq!(texts(&lines.iter().map(String::as_str).collect::<Vec<_>>()).len(), 6);
    let lines: Vec<_> =
        services.iter().map(|name| format!("the {name} cache was refilled and is ready again now")).collect();
    assert_eq!(
        texts(&lines.iter().map(String::as_str).collect::<Vec<_>>()),
        ["the <*> cache was refilled and is ready again now"]
    );
}

#[test]
fn templates_that_become_one_are_told_with_the_slots_they_leave() {
    let mut miner = Miner::new(100);
    let slots: Vec<_> = ["ann", "bob", "eve"].map(|name| miner.accept(0, &format!("hello from {name}")).slot).into();
    let outcome = miner.accept(0, "hello from sue");
    assert_eq!((outcome.slot, outcome.novelty), (slots[0], Novelty::Generalised));
    let absorbed: Vec<_> = outcome.absorbed.iter().map(|(slot, mined)| (*slot, mined.ordinal)).collect();
    assert_eq!(absorbed, [(slots[1], 1), (slots[2], 2)]);
    assert_eq!((miner.len(), miner.get(slots[1]).is_none()), (1, true));
    assert_eq!(miner.accept(0, "hello from bob").slot, slots[0], "an old skeleton leads to the survivor");
    assert_eq!(miner.accept(0, "goodbye everyone").slot, slots[2], "an empty slot is used again");
}

#[test]
fn two_names_that_never_vary_alone_become_variable_together() {
    let pairs = ["ann on alpha", "bob on beta", "eve on gamma", "sue on delta", "tom on omega", "kim on sigma"];
    let lines: Vec<_> = pairs.iter().map(|pair| format!("session was opened at last for {pair} again")).collect();
    assert_eq!(
        texts(&lines.iter().map(String::as_str).collect::<Vec<_>>()),
        ["session was opened at last for <*> on <*> again"]
    );
}

#[test]
fn states_of_a_machine_become_variable_together_and_deprecated_names_stay() {
    let states = ["NEW", "LOCALIZING", "RUNNING", "DONE", "GONE"];
    let lines: Vec<_> =
        states.windows(2).map(|two| format!("job_17 transitioned from {} to {}", two[0], two[1])).collect();
    let lines: Vec<_> = lines.iter().map(|line| line.as_str().trim_end()).collect();
    assert_eq!(
        texts(&[&lines[..], &["job_9 of 3 failed"]].concat()).len(),
        5,
        "three constant words, four lines: too little"
    );
    let lines: Vec<_> =
        states.windows(2).map(|two| format!("task 17 was transitioned from {} to {}", two[0], two[1])).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    assert_eq!(texts(&lines), ["task <*> was transitioned from <*> to <*>"]);
    let names = ["a.x", "b.y", "c.z", "d.w"].map(|name| format!("INFO: {name} is deprecated, use new.{name}"));
    assert_eq!(texts(&names.each_ref().map(String::as_str)).len(), 4);
}

#[test]
fn error_line_never_joins_a_line_of_another_severity() {
    let lines = ["INFO", "ERROR", "WARN", "DEBUG", "FATAL", "TRACE"]
        .map(|level| format!("12:00 {level} cache refill done at last, all is well now"));
    assert_eq!(texts(&lines.each_ref().map(String::as_str)).len(), 6);
}

#[test]
fn true_and_false_are_two_statements() {
    assert_eq!(texts(&["probe done ok=true for all", "probe done ok=false for all"]).len(), 2);
}

#[test]
fn white_space_alone_makes_no_other_template() {
    let mut miner = Miner::new(10);
    let (one, two) = (miner.accept(0, "a  b: 1").slot, miner.accept(0, " a b :2 ").slot);
    assert_eq!((one, miner.get(one).unwrap().text.as_str()), (two, "a b: <*>"));
    let mut other = Miner::new(10);
    let slot = other.accept(0, " a b :2 ").slot;
    assert_eq!(other.get(slot).unwrap().id, miner.get(one).unwrap().id);
}

#[test]
fn compact_json_is_split_at_its_quotes() {
    assert_eq!(
        texts(&[
            r#"{"ts":1700000000,"level":"info","msg":"done","user":"bob","n":3}"#,
            r#"{"ts":1700000001,"level":"info","msg":"done","user":"amy","n":4}"#
        ]),
        [r#"{"ts":<*>,"level":"info","msg":"done","user":"<*>","n":<*>}"#]
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
    let mut miner = Miner::new(10);
    let long = "word, ".repeat(10_000);
    let slot = miner.accept(0, &long).slot;
    assert!(miner.get(slot).unwrap().text.len() <= 1_024 + WILDCARD.len());
    assert!(miner.get(slot).unwrap().words.len() <= TOKENS_MAX);
    let slot = miner.accept(0, &"x".repeat(9_000)).slot;
    assert_eq!(miner.get(slot).unwrap().text, WILDCARD);
    let slot = miner.accept(0, "  ").slot;
    assert_eq!(miner.get(slot).unwrap().text, "<empty>");
}

#[test]
fn restart_and_other_hosts_name_templates_alike() {
    let lines =
        ["job 17 done in 3 ms", "job 9 failed: timeout", "GET /x/1 200", "GET /y/z 404 3 KB", "[-] up", "[a1] up"];
    let ids = |lines: &[&str]| mine(lines).iter().map(|(_, mined)| mined.id).collect::<BTreeSet<_>>();
    let mut reversed = lines;
    reversed.reverse();
    assert_eq!(ids(&lines), ids(&reversed));
    assert_eq!(ids(&lines).len(), 4);
}

/// Lines of words, values and signs of which many share a shape.
fn line() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        6 => "[a-d]{1,2}",
        2 => "(from|user|for|to the) [a-d]{1,2}",
        2 => "[0-9.:-]{1,6}",
        1 => "(ERROR|INFO|Jan|é,|<secret>|==|\\(\\)|true)",
        1 => "k=([a-c\"{}]{0,3})",
    ];
    proptest::collection::vec(token, 0..9).prop_map(|tokens| tokens.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_line_has_one_slot_within_the_limit_and_a_repeated_line_keeps_it(
        lines in proptest::collection::vec(line(), 1..120)
    ) {
        let mut miner = Miner::new(16);
        for line in &lines {
            let slot = miner.accept(0, line).slot;
            let again = miner.accept(0, line);
            prop_assert_eq!((again.slot, again.novelty), (slot, Novelty::Known));
            prop_assert!(miner.len() <= 16 && miner.slots.len() <= 17 && miner.leaves.len() <= 16 * LEAVES_PER_TEMPLATE);
            let (slots, kept) = (miner.by_shape.values().map(Vec::len).sum::<usize>(), miner.len());
            prop_assert_eq!(slots, kept, "each template is in one bucket");
            prop_assert_eq!(miner.iter().count(), kept);
        }
    }

    #[test]
    fn no_line_is_lost_when_templates_become_one(lines in proptest::collection::vec(line(), 1..120)) {
        let mut miner = Miner::new(8);
        let (mut counts, mut gone) = (BTreeMap::<u64, u64>::new(), 0);
        for line in &lines {
            let outcome = miner.accept(0, line);
            let ordinal = miner.get(outcome.slot).unwrap().ordinal;
            for (_, mined) in &outcome.absorbed {
                let moved = counts.remove(&mined.ordinal);
                prop_assert!(moved.is_some());
                prop_assert!(mined.ordinal > ordinal, "the oldest survives");
                *counts.entry(ordinal).or_default() += moved.unwrap();
            }
            gone += outcome.evicted.map_or(0, |mined| counts.remove(&mined.ordinal).unwrap());
            *counts.entry(ordinal).or_default() += 1;
        }
        prop_assert_eq!(counts.values().sum::<u64>() + gone, lines.len() as u64);
        let kept: BTreeSet<_> = miner.iter().map(|(_, mined)| mined.ordinal).collect();
        prop_assert_eq!(counts.keys().copied().collect::<BTreeSet<_>>(), kept);
    }

    #[test]
    fn where_only_looks_vary_ids_agree_whatever_the_order(
        values in proptest::collection::vec((0usize..6, 0u32..1_000_000, any::<u16>()), 1..60), turn in 0usize..60
    ) {
        let shapes = ["took # ms", "user # from #", "[#] ready", "x=# y=#", "at # # #, again", "#: no such #"];
        let mut lines: Vec<_> = values
            .iter()
            .map(|(shape, one, two)| shapes[*shape].replacen('#', &one.to_string(), 1).replace('#', &two.to_string()))
            .collect();
        let ids = |lines: &[String]| {
            let mut miner = Miner::new(100);
            lines.iter().for_each(|line| drop(miner.accept(0, line)));
            miner.iter().map(|(_, mined)| (mined.id, mined.text.clone())).collect::<BTreeSet<_>>()
        };
        let one = ids(&lines);
        let at = turn % lines.len();
        lines.rotate_left(at);
        lines.reverse();
        prop_assert_eq!(one, ids(&lines));
    }

    #[test]
    fn any_text_is_read_within_the_limits(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut miner = Miner::new(4);
        let odd = String::from_utf8_lossy(&bytes);
        let signs: String = bytes.iter().map(|byte| char::from(b"=([{<\"'->)]}?. a1:/"[*byte as usize % 19])).collect();
        for line in [text.as_str(), &odd, &signs, &signs.repeat(9)] {
            let slot = miner.accept(0, line).slot;
            let mined = miner.get(slot).unwrap();
            prop_assert!(mined.words.len() <= TOKENS_MAX && mined.text.len() <= 1_100 && mined.exemplar.len() <= 512);
            prop_assert_eq!(miner.accept(0, line).novelty, Novelty::Known);
        }
    }
}
