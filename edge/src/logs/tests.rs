use super::*;
use proptest::prelude::*;

fn cursor(position: u8) -> Cursor {
    Cursor { source: "/log".to_owned(), position: vec![position] }
}

fn lines_of(windows: &[(LogWindow, Vec<Cursor>)]) -> u64 {
    windows.iter().flat_map(|(window, _)| &window.counts).map(|(_, lines)| lines).sum()
}

#[test]
fn window_holds_exactly_the_lines_that_its_cursor_covers() {
    let (mut book, mut ledger) = (LogBook::new(10), Ledger::default());
    book.accept("/log", "app", b"one two three", &mut ledger);
    book.set_cursor(cursor(1));
    book.accept("/log", "app", b"one two three", &mut ledger);
    let windows = book.take_windows(WallTime::default(), 10_000);
    assert_eq!((lines_of(&windows), &windows[0].1), (1, &vec![cursor(1)]));
    assert_eq!(windows[0].0.templates.len(), 1);
    assert!(book.take_windows(WallTime::default(), 10_000).is_empty(), "the second line waits for its cursor");
    book.set_cursor(cursor(2));
    let windows = book.take_windows(WallTime::default(), 10_000);
    assert_eq!((lines_of(&windows), windows[0].0.templates.len()), (1, 0));
}

#[test]
fn hostile_lines_are_counted_and_have_a_template() {
    let (mut book, mut ledger) = (LogBook::new(10), Ledger::default());
    book.accept("/log", "", &[0; 100], &mut ledger);
    book.accept("/log", "", b"caf\xe9 closed", &mut ledger);
    book.accept("/log", "", &[b'x'; LINE_BYTES_MAX + 1], &mut ledger);
    book.accept("/log", "", b"", &mut ledger);
    assert_eq!((ledger.lines_binary, ledger.lines_not_utf8, ledger.lines_cut), (1, 1, 1));
    assert_eq!(lines_of(&book.take_windows(WallTime::default(), 1)), 4);
}

#[test]
fn secrets_reach_neither_template_nor_exemplar() {
    let (mut book, mut ledger) = (LogBook::new(10), Ledger::default());
    book.accept("/log", "", b"login failed password=hunter2", &mut ledger);
    let (_, _, template) = book.template(1).unwrap();
    assert_eq!((template.text.as_str(), ledger.masked), ("login failed password=<secret>", 1));
    assert_eq!(template.exemplar, template.text);
}

#[test]
fn ids_that_the_collector_knows_are_told_what_they_stand_for() {
    let (mut book, mut ledger) = (LogBook::new(10), Ledger::default());
    let mut line =
        |book: &mut LogBook, name: &str| book.accept("/log", "", format!("hi from {name}").as_bytes(), &mut ledger);
    ["ann", "bob"].iter().for_each(|name| line(&mut book, name));
    let first = book.take_windows(WallTime::default(), 1);
    line(&mut book, "eve");
    assert_eq!((book.len(), book.take_tick().collect::<Vec<_>>()), (3, vec![3, 1, 1, 1]));
    line(&mut book, "sue");
    assert_eq!((book.len(), book.take_tick().collect::<Vec<_>>()), (1, vec![1, 1, 0, 0]));
    assert_eq!(book.keys().count(), 2, "only the row of all lines and the survivor's are left");
    let second = book.take_windows(WallTime::default(), 1);
    assert_eq!(second[0].0.counts, [(first[0].0.counts[0].0, 2)], "the third went to the survivor before it was told");
    let known: Vec<_> = first[0].0.templates.iter().map(|template| template.id).collect();
    let told: Vec<_> = second[0].0.templates.iter().map(|template| (template.id, template.text.as_str())).collect();
    assert_eq!(told, [(known[0], "hi from <*>"), (known[1], "hi from <*>")]);
    line(&mut book, "zoe");
    assert!(book.take_windows(WallTime::default(), 1)[0].0.templates.is_empty(), "nothing is told twice");
    assert_eq!(ledger.templates_absorbed, 2);
}

#[test]
fn ids_that_stood_for_a_template_without_room_wait_no_longer() {
    let (mut book, mut ledger) = (LogBook::new(4), Ledger::default());
    ["ann", "bob"].iter().for_each(|name| book.accept("/log", "", format!("hi from {name}").as_bytes(), &mut ledger));
    book.take_windows(WallTime::default(), 1);
    ["eve", "sue"].iter().for_each(|name| book.accept("/log", "", format!("hi from {name}").as_bytes(), &mut ledger));
    assert_eq!(book.sources[0].aliases.len(), 1);
    ["one", "two two", "three three three", "four four four four", "five; five; five"]
        .iter()
        .for_each(|line| book.accept("/log", "", line.as_bytes(), &mut ledger));
    assert!((1..=4).filter_map(|row| book.template(row)).all(|(_, _, template)| template.text != "hi from <*>"));
    assert!(book.sources[0].aliases.is_empty(), "{:?}", book.sources[0].aliases);
}

#[test]
fn flood_of_odd_lines_is_counted_without_keeping_all_of_its_templates() {
    let (mut book, mut ledger) = (LogBook::new(4), Ledger::default());
    let word = |n: u32| n.to_string().bytes().map(|digit| char::from(digit + 49)).collect::<String>();
    (0..3_000).for_each(|n| book.accept("/log", "", word(n).as_bytes(), &mut ledger));
    book.set_cursor(cursor(1));
    let windows = book.take_windows(WallTime::default(), 1);
    assert_eq!((lines_of(&windows), ledger.lines_folded), (3_000, 3_000 - 4 - ORPHANS_MAX as u64));
    assert_eq!(windows[0].0.counts.len(), ORPHANS_MAX + 4 + 1);
    let named = |text: &str| windows[0].0.templates.iter().filter(|template| template.text == text).count();
    assert_eq!((named(REST), windows[0].0.templates.len()), (1, ORPHANS_MAX + 4 + 1));
    assert!(book.take_windows(WallTime::default(), 1).is_empty());
}

#[test]
fn too_many_sources_are_refused_and_counted() {
    let (mut book, mut ledger) = (LogBook::new(10), Ledger::default());
    (0..=LOG_SOURCES_MAX).for_each(|n| book.accept(&n.to_string(), "", b"line", &mut ledger));
    assert_eq!(ledger.lines_refused, 1);
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        "(hi from|session of user|see) [a-e] (at [a-c] )?(again|[0-9]{1,3})".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn sums_of_counts_equal_the_lines_whatever_is_evicted_or_becomes_one(
        room in 1usize..12,
        steps in proptest::collection::vec((0u8..20, 0usize..2, line()), 1..200)
    ) {
        let (mut book, mut ledger) = (LogBook::new(room), Ledger::default());
        let (mut shipped, mut ticked) = (0, 0);
        for (step, source, line) in &steps {
            match step {
                0 => book.set_cursor(cursor(1)),
                1 => shipped += lines_of(&book.take_windows(WallTime::default(), 1)),
                2 => {
                    let rows: Vec<_> = book.take_tick().collect();
                    ticked += u64::from(rows[0]);
                    prop_assert!(rows[1..].iter().sum::<u32>() <= rows[0]);
                }
                _ => book.accept(["/log", "/other"][*source], "", line, &mut ledger),
            }
        }
        for source in ["/log", "/other"] {
            book.set_cursor(Cursor { source: source.to_owned(), position: vec![2] });
        }
        shipped += lines_of(&book.take_windows(WallTime::default(), 1));
        ticked += u64::from(book.take_tick().next().unwrap());
        prop_assert_eq!((shipped, ticked), (ledger.lines, ledger.lines));
    }

    #[test]
    fn each_id_that_was_told_ends_with_the_text_of_its_lines(
        lines in proptest::collection::vec("(hi from|session of user|see) [a-e] (at [a-c] )?again", 1..60)
    ) {
        let (mut book, mut ledger) = (LogBook::new(100), Ledger::default());
        let mut known = std::collections::BTreeMap::new();
        for line in &lines {
            book.accept("/log", "", line.as_bytes(), &mut ledger);
            for (window, _) in book.take_windows(WallTime::default(), 1) {
                known.extend(window.templates.into_iter().map(|template| (template.id, template.text)));
            }
        }
        let now: std::collections::BTreeSet<_> = (1..200).filter_map(|row| book.template(row)).map(|(_, _, template)| template.text).collect();
        for text in known.values() {
            prop_assert!(now.contains(text), "{text} is no template any more");
        }
    }
}

#[test]
fn cursor_of_several_sources_goes_out_after_their_lines() {
    let (mut book, mut ledger) = (LogBook::new(10), Ledger::default());
    let cursor = |source: &str| Cursor { source: source.into(), position: vec![1] };
    book.set_cursor(cursor("journald"));
    for source in ["journald/a", "journald/b"] {
        book.accept(source, "", b"line", &mut ledger);
        book.set_cursor(cursor(source));
    }
    book.set_cursor(cursor("journald"));
    let windows = book.take_windows(WallTime::default(), 1);
    let sources: Vec<_> = windows.iter().map(|(window, cursors)| (window.source.as_str(), cursors.len())).collect();
    assert_eq!(sources, [("journald/a", 1), ("journald/b", 1), ("journald", 1)]);
}
