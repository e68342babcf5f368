//! What detectors have learnt, on disk: one file, replaced whole now and then, read once at start.
//!
//! Integers little-endian: `VDTL`, [`VERSION`] as `u8`, boot (16 bytes), monotonic (`u64`) and wall time (`i64`) of
//! writing, [`Learnt`] as postcard, CRC32C (`u32`) of everything before. Whatever is there, the agent starts: what cannot
//! be used costs a cold start.

use crate::durable;
use std::io;
use std::path::Path;
use std::time::Duration;
use vedette_edge::learnt::{Away, LEARNT_BYTES_MAX, Learnt};
use vedette_protocol::ids::BootId;
use vedette_protocol::time::{MonoTime, WallTime};

/// Name of the file in the agent's data directory.
pub const FILE: &str = "learnt";
/// Name of that of another host like this one, put there by who sets this one up: it stands in until there is an own one
/// with a state.
pub const PRIOR: &str = "prior";
/// What is older says too little of the host as it is now.
pub const AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// What is usual at which time is true for longer.
pub const PRIOR_AGE_MAX: Duration = Duration::from_secs(28 * 24 * 3_600);
/// States have a bound; what is known of their calibration and their wards is a part of that.
const FILE_BYTES_MAX: u64 = 2 * LEARNT_BYTES_MAX as u64;
const MAGIC: &[u8; 4] = b"VDTL";
const VERSION: u8 = 9;
const HEADER_BYTES: usize = 4 + 1 + 16 + 8 + 8;

/// When something was written, by all clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// This boot.
    pub boot: BootId,
    /// Its clock.
    pub mono: MonoTime,
    /// The host's wall clock.
    pub wall: WallTime,
}

/// Why what is there cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No such file, or damaged.
    #[error("it is damaged, or another file")]
    Damaged,
    /// Another version of the agent wrote it.
    #[error("its form is version {0}, not {VERSION}")]
    Version(u8),
    /// It says too little by now.
    #[error("it is {} hours old", .0.as_secs() / 3_600)]
    Old(Duration),
    /// By this host's clock it was written later than now: how old it is nobody knows.
    #[error("it was written {} s later than it is now: the clock was set", .0.as_secs())]
    Ahead(Duration),
}

/// What was learnt as of `moment`, as the file's bytes.
pub fn encode(learnt: &Learnt<'_>, moment: Moment) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&moment.boot.0);
    bytes.extend_from_slice(&moment.mono.ns.to_le_bytes());
    bytes.extend_from_slice(&moment.wall.unix_ns.to_le_bytes());
    let mut bytes = postcard::to_extend(learnt, bytes).expect("numbers, texts and lists of a known length");
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// A file of `data_dir`; `None` if there is none.
///
/// # Errors
///
/// [`Unusable::Io`], also if it is larger than any that was written.
pub fn read(data_dir: &Path, file: &str) -> Result<Option<Vec<u8>>, Unusable> {
    match durable::read_capped(&data_dir.join(file), FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What an earlier life has learnt, and for how long nobody watched since: for so long at most.
///
/// # Errors
///
/// [`Unusable`].
pub fn decode(bytes: &[u8], now: Moment, age_max: Duration) -> Result<(Learnt<'_>, Away), Unusable> {
    let (content, sum) = bytes.split_last_chunk().ok_or(Unusable::Damaged)?;
    let (header, payload) = content.split_first_chunk::<HEADER_BYTES>().ok_or(Unusable::Damaged)?;
    if !header.starts_with(MAGIC) || crc32c::crc32c(content) != u32::from_le_bytes(*sum) {
        return Err(Unusable::Damaged);
    }
    if header[4] != VERSION {
        return Err(Unusable::Version(header[4]));
    }
    let away = away(moment(header), now)?;
    if away.time() > age_max {
        return Err(Unusable::Old(away.time()));
    }
    let (learnt, rest) = postcard::take_from_bytes(payload).map_err(|_| Unusable::Damaged)?;
    if rest.is_empty() { Ok((learnt, away)) } else { Err(Unusable::Damaged) }
}

fn moment(header: &[u8; HEADER_BYTES]) -> Moment {
    fn take<const N: usize>(header: &[u8], from: usize) -> [u8; N] {
        std::array::from_fn(|at| header[from + at])
    }
    Moment {
        boot: BootId(take(header, 5)),
        mono: MonoTime { ns: u64::from_le_bytes(take(header, 21)) },
        wall: WallTime { unix_ns: i64::from_le_bytes(take(header, 29)) },
    }
}

fn away(then: Moment, now: Moment) -> Result<Away, Unusable> {
    if then.boot == now.boot && then.mono <= now.mono {
        return Ok(Away::Agent(now.mono.since(then.mono)));
    }
    let elapsed_ns = now.wall.unix_ns.saturating_sub(then.wall.unix_ns);
    let elapsed = Duration::from_nanos(elapsed_ns.unsigned_abs());
    if elapsed_ns < 0 { Err(Unusable::Ahead(elapsed)) } else { Ok(Away::Host(elapsed)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vedette_edge::pipeline::{DetectorSlot, Pipeline, PipelineConfig};
    use vedette_protocol::ids::{Digest, HostId};
    use vedette_protocol::policy::Policy;
    use vedette_protocol::v1::DetectorRef;
    use vedette_protocol::worker::{DetectorDescription, DetectorInput};

    const THEN: Moment = Moment {
        boot: BootId([7; 16]),
        mono: MonoTime::from_ms(5_000_000),
        wall: WallTime::from_unix_ms(1_800_000_000_000),
    };

    fn later(seconds: u64) -> Moment {
        let mono = THEN.mono + Duration::from_secs(seconds);
        Moment { mono, wall: THEN.wall.offset_by(i64::try_from(seconds).expect("days") * 1_000_000_000), ..THEN }
    }

    fn booted(seconds: u64) -> Moment {
        Moment { boot: BootId([8; 16]), mono: MonoTime::from_ms(20_000), ..later(seconds) }
    }

    #[test]
    fn how_long_nobody_watched_is_told_by_the_clock_that_knows_it() {
        let bytes = encode(&Learnt::default(), THEN);
        let away = |now| decode(&bytes, now, AGE_MAX).map(|(_, away)| away);
        assert_eq!(away(later(3)).expect("fine"), Away::Agent(Duration::from_secs(3)));
        assert_eq!(away(booted(90)).expect("fine"), Away::Host(Duration::from_secs(90)));
        // The wall clock was set: within a boot nobody asks it.
        let set = Moment { wall: WallTime::from_unix_ms(0), ..later(3) };
        assert_eq!(away(set).expect("fine"), Away::Agent(Duration::from_secs(3)));
        assert!(matches!(away(Moment { wall: WallTime::from_unix_ms(0), ..booted(0) }), Err(Unusable::Ahead(_))));
        assert!(away(later(86_400)).is_ok());
        assert!(matches!(away(later(86_401)), Err(Unusable::Old(_))));
        assert!(matches!(away(booted(86_401)), Err(Unusable::Old(_))));
    }

    #[test]
    fn a_damaged_file_is_told_from_a_whole_one_wherever_the_damage_is() {
        let bytes = encode(&Learnt::default(), THEN);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x10;
            assert!(matches!(decode(&other, later(0), AGE_MAX), Err(Unusable::Damaged)), "byte {at}");
            assert!(matches!(decode(&bytes[..at], later(0), AGE_MAX), Err(Unusable::Damaged)), "cut at {at}");
        }
        let mut next = bytes.clone();
        next[4] = VERSION + 1;
        let content = next.len() - 4;
        let sum = crc32c::crc32c(&next[..content]).to_le_bytes();
        next[content..].copy_from_slice(&sum);
        assert!(matches!(decode(&next, later(0), AGE_MAX), Err(Unusable::Version(version)) if version == VERSION + 1));
    }

    #[test]
    fn no_file_is_a_first_start_and_an_oversized_one_is_not_read() {
        let folder = tempfile::tempdir().expect("temporary folder");
        assert!(matches!(read(folder.path(), FILE), Ok(None)));
        let file = std::fs::File::create(folder.path().join(FILE)).expect("file");
        file.set_len(FILE_BYTES_MAX + 1).expect("sparse");
        assert!(matches!(read(folder.path(), FILE), Err(Unusable::Io(_))));
    }

    /// What was learnt of the votes of this module alone.
    fn votes_of(digest: [u8; 32], parameter: f64) -> Pipeline {
        let config = PipelineConfig {
            host: HostId([0; 16]),
            policy: Policy::default(),
            series_max: 4,
            templates_max: 4,
            sources: Vec::new(),
        };
        let mut pipeline = Pipeline::new(config, THEN.mono, THEN.wall);
        let (name, version) = ("votes".to_owned(), "1".to_owned());
        let slot = DetectorSlot {
            detector: 0,
            reference: DetectorRef { name: name.clone(), version: version.clone(), digest: Digest(digest) },
            description: DetectorDescription {
                name,
                version,
                input: DetectorInput::Votes,
                warm_up_values: 1,
                state_bytes_max: 8,
                look_ms: 0,
                parameters: vec![("memory-s".to_owned(), parameter)],
            },
        };
        pipeline.set_detectors(THEN.mono, vec![slot]);
        pipeline
    }

    proptest! {
        #[test]
        fn what_was_learnt_of_votes_comes_back_with_whose_they_are(digest: [u8; 32], parameter in -1e9..1e9_f64) {
            let pipeline = votes_of(digest, parameter);
            let learnt = pipeline.learnt(THEN.mono);
            let bytes = encode(&learnt, THEN);
            prop_assert_eq!(&decode(&bytes, later(1), AGE_MAX).expect("whole").0, &learnt);
            let others = [votes_of(digest.map(|byte| !byte), parameter), votes_of(digest, parameter + 1.0)];
            for other in others {
                prop_assert_ne!(encode(&other.learnt(THEN.mono), THEN), &bytes[..]);
            }
        }

        #[test]
        fn any_bytes_under_a_right_sum_are_taken_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = encode(&Learnt::default(), THEN);
            bytes.truncate(HEADER_BYTES);
            bytes.extend(payload);
            bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
            let _ = decode(&bytes, later(1), AGE_MAX);
        }
    }
}
