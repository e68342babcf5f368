//! Golden bytes: what one release writes, every later one reads. Files are only ever added;
//! `VEDETTE_BLESS=1 cargo test -p vedette-protocol` writes those that are missing.

use super::samples;
use std::collections::BTreeSet;
use std::path::PathBuf;
use vedette_protocol::policy::Directive;
use vedette_protocol::v1::{Message, decode, encode};

fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1"))
}

/// Debug text instead of equality, because NaN is in some of them.
fn check<M: Message + std::fmt::Debug>(seen: &mut BTreeSet<String>, name: &str, message: &M) {
    let path = directory().join(format!("{name}.bin"));
    let bytes = encode(message).unwrap();
    if !path.exists() && std::env::var_os("VEDETTE_BLESS").is_some() {
        std::fs::create_dir_all(directory()).unwrap();
        std::fs::write(&path, &bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(bytes, golden, "{name}: the encoding changed; that needs a new protocol version");
    assert_eq!(format!("{:?}", decode::<M>(&golden).unwrap()), format!("{message:?}"), "{name}");
    seen.insert(format!("{name}.bin"));
}

#[test]
fn golden_bytes_of_version_1_are_written_and_read() {
    let mut seen = BTreeSet::new();
    samples::batches().iter().for_each(|(name, message)| check(&mut seen, name, message));
    samples::from_agent().iter().for_each(|(name, message)| check(&mut seen, name, message));
    samples::from_collector().iter().for_each(|(name, message)| check(&mut seen, name, message));
    check(&mut seen, "enroll-request", &samples::enroll_request());
    check(&mut seen, "renew-request", &samples::renew_request());
    samples::renew_replies().iter().for_each(|(name, message)| check(&mut seen, name, message));
    check(&mut seen, "begin-anew", &samples::begin_anew());
    check(&mut seen, "health", &samples::health());
    samples::enroll_replies().iter().for_each(|(name, message)| check(&mut seen, name, message));
    let files: BTreeSet<_> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, seen, "a golden file without its sample");
}

/// What is signed and sent down has no version of its own around it, so its bytes are held apart.
#[test]
fn golden_bytes_of_a_directive_are_written_and_read() {
    let directive = samples::directive();
    let path = directory().with_file_name("documents").join("directive.bin");
    let bytes = postcard::to_allocvec(&directive).unwrap();
    if !path.exists() && std::env::var_os("VEDETTE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(bytes, golden, "the encoding changed: agents and collectors of other versions refuse it");
    assert_eq!(postcard::from_bytes::<Directive>(&golden).unwrap(), directive);
}
