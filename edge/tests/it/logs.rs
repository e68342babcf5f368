//! Log lines as an agent meets them: known ones cost no allocation, hostile ones no memory, two hosts agree.

use super::allocation::allocations;
use std::collections::{BTreeMap, BTreeSet};
use vedette_edge::ledger::Ledger;
use vedette_edge::logs::{LINE_BYTES_MAX, LineReader, LogBook};
use vedette_edge::templates::{Miner, Novelty};
use vedette_protocol::ids::TemplateId;
use vedette_protocol::time::WallTime;

/// SplitMix64 (Steele et al., OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

fn lines(seed: u64) -> impl Iterator<Item = String> {
    let mut random = Random(seed);
    std::iter::repeat_with(move || {
        let (a, b) = (random.next() % 10_000, random.next() % 250);
        match random.next() % 6 {
            0 => format!("2026-01-02T03:04:05.{a:04}Z INFO request {a} from 10.0.0.{b} served in {b} ms"),
            1 => format!("Jan  2 03:04:05 web1 sshd[{a}]: Accepted publickey for port {b} ssh2"),
            2 => format!("cache refilled: hits={a} misses={b} password=hunter{a}"),
            3 => format!("read {b} KB from /var/lib/app/{a}.db"),
            4 => format!("ERROR upstream 10.1.{b}.1:{a} timed out after {b} ms"),
            _ => format!("block blk_-{a}{b} replicated, {b} left"),
        }
    })
}

#[test]
fn line_of_a_known_template_allocates_nothing() {
    let (mut book, mut ledger) = (LogBook::new(100), Ledger::default());
    lines(1).take(2_000).for_each(|line| book.accept("/log", "app", line.as_bytes(), &mut ledger));
    let more: Vec<String> = lines(2).take(2_000).collect();
    let before = allocations();
    more.iter().for_each(|line| book.accept("/log", "app", line.as_bytes(), &mut ledger));
    assert_eq!(allocations() - before, 0);
    assert_eq!((book.len(), ledger.lines), (6, 4_000));
}

#[test]
fn two_hosts_with_other_lines_in_another_order_have_the_same_ids() {
    let ids = |seed| {
        let (mut miner, mut reader, mut ledger) = (Miner::new(100), LineReader::default(), Ledger::default());
        lines(seed).take(500).for_each(|line| drop(miner.accept(0, reader.read(line.as_bytes(), &mut ledger))));
        miner.iter().map(|(_, mined)| mined.id).collect::<BTreeSet<TemplateId>>()
    };
    assert_eq!((ids(1), ids(1).len()), (ids(2), 6));
}

#[test]
fn random_bytes_and_endless_lines_stay_within_the_limits() {
    let (mut book, mut ledger, mut random) = (LogBook::new(50), Ledger::default(), Random(7));
    for n in 0..3_000u64 {
        let length = if n.is_multiple_of(100) { 3 * LINE_BYTES_MAX } else { (random.next() % 200) as usize };
        let mut line = random.bytes(length);
        if n.is_multiple_of(3) {
            line.iter_mut().for_each(|byte| *byte = b" abcde=()[]{}<>\"'.:-/0159"[*byte as usize % 25]);
        }
        book.accept("/log", "app", &line, &mut ledger);
    }
    assert!(book.len() <= 50);
    assert_eq!(ledger.lines_cut, 30);
    assert!(ledger.lines_not_utf8 > 500 && ledger.lines_binary > 0 && ledger.templates_evicted > 500);
    let shipped: u64 = book
        .take_windows(WallTime::default(), 1)
        .iter()
        .flat_map(|(window, _)| &window.counts)
        .map(|(_, lines)| lines)
        .sum();
    assert_eq!(shipped, 3_000);
}

#[test]
fn a_flood_of_names_becomes_one_template_and_no_count_is_lost() {
    let (mut book, mut ledger, mut random) = (LogBook::new(1_000), Ledger::default(), Random(3));
    let mut counts = BTreeMap::<TemplateId, u64>::new();
    let name = |n: u64| n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect::<String>();
    for n in 0..5_000u64 {
        let line =
            format!("session opened for user {} by service {}", name(random.next() % 800), name(random.next() % 3));
        book.accept("/log", "app", line.as_bytes(), &mut ledger);
        if n.is_multiple_of(50) {
            for (window, _) in book.take_windows(WallTime::default(), 1) {
                window.counts.iter().for_each(|(id, lines)| *counts.entry(*id).or_default() += lines);
            }
        }
    }
    for (window, _) in book.take_windows(WallTime::default(), 1) {
        window.counts.iter().for_each(|(id, lines)| *counts.entry(*id).or_default() += lines);
    }
    assert_eq!(counts.values().sum::<u64>(), 5_000);
    assert!(book.len() <= 3, "{} templates", book.len());
    assert!(ledger.templates_absorbed < 20, "the flood is one template early");
}

#[test]
fn exact_line_is_known_the_second_time() {
    let (mut miner, mut reader, mut ledger) = (Miner::new(10), LineReader::default(), Ledger::default());
    for line in lines(5).take(50) {
        miner.accept(0, reader.read(line.as_bytes(), &mut ledger));
        assert_eq!(miner.accept(0, reader.read(line.as_bytes(), &mut ledger)).novelty, Novelty::Known);
    }
}
