//! Made-up control groups, version 2, of a busy host's services.

use super::about;
use crate::demo::service_log::Random;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What services have done before anybody looked: each has all series that a group can have.
const DONE_US: u64 = 10_000_000;
/// CPU time of a group in a second is below this and a tenth more.
const BUSY_US_MAX: u64 = 50_000;
const PAGE_BYTES: u64 = 4_096;
/// Files whose content stands still.
const STILL: [(&str, &str); 4] = [
    ("memory.max", "8589934592\n"),
    ("memory.stat", "inactive_file 4096\nactive_file 8192\n"),
    ("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n"),
    ("cgroup.procs", "1\n"),
];
/// Files whose content moves, as [`Group::texts`] gives it.
const MOVING: [&str; 7] =
    ["cpu.stat", "memory.current", "pids.current", "io.stat", "cpu.pressure", "io.pressure", "memory.pressure"];

/// Services below `system.slice`; of four one stands still.
pub(super) struct Groups {
    random: Random,
    groups: Vec<Group>,
}

struct Group {
    /// CPU time in a second, about; all else moves with it.
    busy_us: u64,
    done_us: u64,
    pages: u64,
    threads: u64,
    /// In the order of [`MOVING`]; written over in place.
    files: Vec<File>,
}

impl Groups {
    /// Makes the tree at `root`, which is not there yet.
    pub(super) fn create(root: &Path, count: usize, seed: u64) -> Result<Self> {
        let slice = root.join("system.slice");
        fs::create_dir_all(&slice).with_context(|| slice.display().to_string())?;
        fs::write(root.join("cgroup.controllers"), "cpu io memory pids\n")?;
        let mut random = Random::new(seed);
        let groups = (0..count).map(|at| {
            let busy_us = if at % 4 == 3 { 0 } else { BUSY_US_MAX / 10 + random.below(BUSY_US_MAX) };
            Group::create(&slice.join(format!("service-{at}.service")), busy_us)
        });
        let groups = groups.collect::<Result<_>>()?;
        Ok(Self { random, groups })
    }

    pub(super) fn pass_second(&mut self) {
        for group in self.groups.iter_mut().filter(|group| group.busy_us > 0) {
            group.done_us += about(&mut self.random, group.busy_us);
            group.pages = about(&mut self.random, 3 * group.busy_us);
            group.threads = 8 + self.random.below(4);
        }
    }

    pub(super) fn write(&self) -> std::io::Result<()> {
        self.groups.iter().try_for_each(Group::write)
    }
}

impl Group {
    fn create(dir: &Path, busy_us: u64) -> Result<Self> {
        fs::create_dir(dir).with_context(|| dir.display().to_string())?;
        STILL.into_iter().try_for_each(|(name, text)| fs::write(dir.join(name), text))?;
        let files = MOVING.into_iter().map(|name| File::create(dir.join(name))).collect::<Result<_, _>>()?;
        let group = Self { busy_us, done_us: DONE_US, pages: 10_000, threads: 8, files };
        group.write()?;
        Ok(group)
    }

    fn write(&self) -> std::io::Result<()> {
        let mut texts = self.texts().into_iter().zip(&self.files);
        texts.try_for_each(|(text, file)| file.write_all_at(text.as_bytes(), 0))
    }

    fn texts(&self) -> [String; MOVING.len()] {
        let Self { done_us, threads, .. } = self;
        let (throttled_us, waited_us) = (done_us / 50, done_us / 3);
        let (read_bytes, written_bytes) = (done_us / 8 * PAGE_BYTES, done_us / 4 * PAGE_BYTES);
        let pressure = format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={waited_us:015}\n");
        [
            format!("usage_usec {done_us:015}\nnr_periods 10\nnr_throttled 1\nthrottled_usec {throttled_us:015}\n"),
            format!("{:015}\n", self.pages * PAGE_BYTES),
            format!("{threads:03}\n"),
            format!("253:0 rbytes={read_bytes:015} wbytes={written_bytes:015} rios=1 wios=1 dbytes=0 dios=0\n"),
            pressure.clone(),
            pressure.clone(),
            pressure,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_move_in_files_that_keep_their_size_and_one_of_four_stands_still() {
        let root = std::env::temp_dir().join(format!("vedette-groups-{}", std::process::id()));
        let mut groups = Groups::create(&root, 4, 1).expect("a tree");
        let all = || {
            let read = |at: usize, name: &str| {
                fs::read_to_string(root.join(format!("system.slice/service-{at}.service")).join(name)).expect("a file")
            };
            (0..4).map(|at| MOVING.map(|name| read(at, name))).collect::<Vec<_>>()
        };
        let before = all();
        groups.pass_second();
        groups.write().expect("it is written");
        let now = all();
        fs::remove_dir_all(&root).expect("it was made");
        for (at, (before, now)) in before.iter().zip(&now).enumerate() {
            assert!(before.iter().zip(now).all(|(before, now)| before.len() == now.len()));
            assert_eq!(before[0] < now[0], at != 3, "{now:?}");
        }
    }
}
