//! What holds for every source, and golden readings of whole hosts.

pub(crate) mod allocations;

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use vedette_edge::metric::MetricKind;

type Reading = (&'static MetricSpec, Vec<(String, String)>, f64);

/// Everything that a source handed over, by `name{attribute=value,…}`.
#[derive(Debug, Default)]
pub(super) struct Readings {
    values: Vec<Reading>,
    pub(super) dropped: Vec<(DropReason, u64)>,
}

impl Sink for Readings {
    fn reading(&mut self, metric: &'static MetricSpec, attributes: &[(&str, &str)], value: f64) {
        let owned = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.values.push((metric, owned, value));
    }

    fn dropped(&mut self, reason: DropReason, count: u64) {
        self.dropped.push((reason, count));
    }
}

impl Readings {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn get(&self, series: &str) -> Option<f64> {
        self.values.iter().find(|(metric, attributes, _)| key(metric, attributes) == series).map(|(_, _, value)| *value)
    }

    #[track_caller]
    pub(super) fn value(&self, series: &str) -> f64 {
        self.get(series).unwrap_or_else(|| panic!("no {series} in {self:#?}"))
    }

    pub(super) fn values<'a>(
        &'a self,
        metric: &'a str,
        filter: impl Fn(&[(String, String)]) -> bool + 'a,
    ) -> impl Iterator<Item = f64> + 'a {
        let fits = move |(spec, attributes, _): &&Reading| spec.name == metric && filter(attributes);
        self.values.iter().filter(fits).map(|(_, _, value)| *value)
    }
}

fn key(metric: &MetricSpec, attributes: &[(String, String)]) -> String {
    let attributes: Vec<_> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if attributes.is_empty() { metric.name.to_owned() } else { format!("{}{{{}}}", metric.name, attributes.join(",")) }
}

/// Hosts whose files are kept under `tests/fixtures`.
const HOSTS: [&str; 5] = ["small-vm", "database-server", "debian-12-hybrid", "kubernetes-node", "arm-128-core"];

fn fixture(host: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(host)
}

/// Writes over the files that are there, so that open ones show the new content.
fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else {
            std::fs::write(target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// A host at a moment, and a way to let ten seconds pass.
struct Host {
    directory: tempfile::TempDir,
    name: &'static str,
}

impl Host {
    fn new(name: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy_tree(&fixture(name).join("first"), directory.path());
        Self { directory, name }
    }

    fn root(&self) -> Root {
        Root::under(self.directory.path())
    }

    fn pass_time(&self) {
        copy_tree(&fixture(self.name).join("later"), self.directory.path());
    }

    /// Second reading of every source, so that what needs two is there.
    fn readings(&self) -> Vec<(&'static SourceSpec, Result<(), SourceError>, Readings)> {
        let mut sources: Vec<_> = ALL.iter().map(|spec| (*spec, (spec.open)(&self.root()))).collect();
        sources.iter_mut().for_each(|(_, source)| drop(source.read(&mut Readings::default())));
        self.pass_time();
        let read = |(spec, mut source): (_, Box<dyn Source>)| {
            let mut readings = Readings::default();
            let result = source.read(&mut readings);
            (spec, result, readings)
        };
        sources.into_iter().map(read).collect()
    }
}

/// Series in alphabetical order, since directories have none. Inodes are left out and space has no value: they are
/// those of the machine that runs the test.
fn golden(host: &Host) -> String {
    let mut text = String::new();
    for (spec, result, mut readings) in host.readings() {
        readings.values.sort_by_key(|(metric, attributes, _)| key(metric, attributes));
        let _ = writeln!(text, "# {}: {} series", spec.name, readings.len());
        if let Err(error) = result {
            let _ = writeln!(text, "{}", error.to_string().replace(&host.directory.path().display().to_string(), ""));
        }
        for (reason, count) in &readings.dropped {
            let _ = writeln!(text, "dropped: {reason:?} {count}");
        }
        for (metric, attributes, value) in &readings.values {
            match metric.name {
                "system.filesystem.inodes.utilization" => continue,
                name if name.starts_with("system.filesystem.") => {
                    let _ = writeln!(text, "{} * {}", key(metric, attributes), metric.unit);
                }
                _ => {
                    let _ = writeln!(text, "{} {value} {}", key(metric, attributes), metric.unit);
                }
            }
        }
        text.push('\n');
    }
    text
}

#[test]
fn hosts_read_as_before() {
    for name in HOSTS {
        let expected = expect_test::expect_file![fixture(name).join("expected.txt")];
        expected.assert_eq(&golden(&Host::new(name)));
    }
}

#[test]
fn sources_have_distinct_names_and_say_what_they_read() {
    let names: BTreeSet<_> = ALL.iter().map(|spec| spec.name).collect();
    assert_eq!(names.len(), ALL.len());
    // What a policy may name: both ends check it by that list.
    assert_eq!(names, vedette_protocol::policy::SOURCES.iter().copied().collect());
    for spec in ALL {
        assert!(spec.doc.ends_with('.') && !spec.doc.contains('\n'), "{}: {}", spec.name, spec.doc);
        assert!(spec.interval_ms >= 1_000 && spec.interval_ms.is_multiple_of(1_000), "{}", spec.name);
        assert!(!spec.metrics.is_empty(), "{}", spec.name);
        assert!(find(spec.name).is_some_and(|found| found.name == spec.name));
    }
}

#[test]
fn metrics_are_fully_described_and_mean_one_thing() {
    let mut known: BTreeMap<&str, (&str, MetricKind)> = BTreeMap::new();
    for metric in ALL.iter().flat_map(|spec| spec.metrics) {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte);
        assert!(metric.name.contains('.') && metric.name.bytes().all(is_name), "{}", metric.name);
        assert!(!metric.unit.is_empty() && metric.doc.ends_with('.'), "{}", metric.name);
        assert!(
            metric.resolution > 0.0 && (metric.lower == 0.0 || metric.unit == "Cel"),
            "{}: every one but a temperature counts or measures something",
            metric.name
        );
        assert!(metric.unit != "1" || metric.upper == 1.0, "{} is a share", metric.name);
        let meaning = (metric.unit, metric.kind);
        assert_eq!(*known.entry(metric.name).or_insert(meaning), meaning, "{}", metric.name);
    }
}

#[test]
fn every_source_reads_a_fixture_and_keeps_its_word() {
    let mut seen = BTreeSet::new();
    for (spec, _, readings) in HOSTS.map(Host::new).iter().flat_map(Host::readings) {
        let mut series = BTreeSet::new();
        for (metric, attributes, value) in &readings.values {
            let key = key(metric, attributes);
            assert!(spec.metrics.iter().any(|declared| std::ptr::eq(*declared, *metric)), "{key} is not declared");
            assert!(attributes.is_sorted(), "{key}");
            assert!(metric.lower.is_nan() || *value >= metric.lower, "{key} = {value}");
            let is_level = metric.kind == MetricKind::Gauge && !metric.upper.is_nan();
            assert!(!is_level || *value <= metric.upper, "{key} = {value}");
            assert!(series.insert(key), "twice in one reading");
            seen.insert((spec.name, metric.name));
        }
    }
    for spec in ALL.iter().filter(|spec| spec.name != "filesystem-remote") {
        for metric in spec.metrics {
            assert!(seen.contains(&(spec.name, metric.name)), "no fixture has {}", metric.name);
        }
    }
}

#[test]
fn a_host_with_nothing_to_read_says_so_without_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    for spec in ALL {
        let result = (spec.open)(&Root::under(directory.path())).read(&mut Readings::default());
        assert!(matches!(result, Err(SourceError::Absent(_))), "{}: {result:?}", spec.name);
    }
}

/// All files below `directory`, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let one = |path: PathBuf| {
        if path.is_dir() { files(&path) } else { Some(path).filter(|path| path.is_file()).into_iter().collect() }
    };
    entries.into_iter().flat_map(one).collect()
}

/// What stands in for a part of a file.
fn odd_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        Just(b"18446744073709551615".to_vec()),
        Just(b"-1 \n\n".to_vec()),
        Just(b"nan inf 1e400 ".to_vec()),
        Just(Vec::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn damaged_files_are_no_panic_and_no_odd_value(
        host in 0..HOSTS.len(),
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..40, odd_text()), 1..40),
    ) {
        let host = Host::new(HOSTS[host]);
        let files = files(host.directory.path());
        for (file, place, length, text) in damages {
            let path = &files[file.index(files.len())];
            let mut content = std::fs::read(path).unwrap();
            let begin = place.index(content.len() + 1);
            let end = (begin + length).min(content.len());
            content.splice(begin..end, text);
            std::fs::write(path, content).unwrap();
        }
        for (spec, _, readings) in host.readings() {
            for (metric, attributes, value) in &readings.values {
                let is_level = metric.kind == MetricKind::Gauge && metric.upper.is_finite();
                prop_assert!(value.is_finite() && (metric.lower.is_nan() || *value >= 0.0), "{}: {} {value}", spec.name, key(metric, attributes));
                prop_assert!(!is_level || *value <= metric.upper, "{}: {} {value}", spec.name, key(metric, attributes));
            }
        }
    }
}

#[test]
fn reading_again_allocates_nothing() {
    struct Sum(f64);
    impl Sink for Sum {
        fn reading(&mut self, _: &'static MetricSpec, _: &[(&str, &str)], value: f64) {
            self.0 += value;
        }
    }
    for host in HOSTS.map(Host::new) {
        for spec in ALL {
            let mut source = (spec.open)(&host.root());
            let mut sum = Sum(0.0);
            (0..3).for_each(|_| drop(source.read(&mut sum)));
            if source.read(&mut sum).is_err() {
                continue; // An error names its path.
            }
            let count = allocations::count(|| (0..10).for_each(|_| drop(source.read(&mut sum))));
            assert_eq!(count, 0, "{} on {}", spec.name, host.name);
        }
    }
}
