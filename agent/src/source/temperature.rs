//! `/sys/class/hwmon`, or `/sys/class/thermal` where there is no such: how hot chips are.
//!
//! One series a chip, from its first sensor, which by custom is that of the whole (`Package`, `Tctl`, `Composite`): to
//! ask for each core would wake it. Reading a sensor may take a transfer over a slow bus, hence the lane.

use super::metric::level;
use super::text::number;
use super::{DropReason, Lane, Root, Sink, Source, SourceError, SourceSpec};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "temperature",
    doc: "Temperature of each chip that has a sensor.",
    interval_ms: 10_000,
    lane: Lane::Own,
    metrics: &[&TEMPERATURE],
    open: |root| Box::new(Temperature::new(root)),
};

/// Whole degrees: what sensors tell below that is noise.
static TEMPERATURE: MetricSpec = MetricSpec {
    lower: f64::NAN,
    ..level("hw.temperature", "Cel", 1.0, "Temperature of a chip, by its first sensor.")
};

/// Most chips that get series.
const CHIPS_MAX: usize = 32;
/// Most entries of a directory that are looked at.
const ENTRIES_MAX: usize = 256;
/// Longest name that is kept.
const NAME_BYTES_MAX: usize = 64;
/// Chips are searched anew after so many readings: an hour at the default interval.
const SEARCH_READINGS: u32 = 360;
/// Longer than any number of a sensor.
const TEXT_BYTES: usize = 32;
/// What is outside of this, in thousandths of a degree, is a sensor that is not connected.
const BELIEVED_M: std::ops::RangeInclusive<i64> = -100_000..=250_000;

struct Temperature {
    hwmon: PathBuf,
    thermal: PathBuf,
    chips: Vec<Chip>,
    left_out: u64,
    readings: u32,
}

struct Chip {
    id: String,
    kind: String,
    sensor: File,
}

impl Temperature {
    fn new(root: &Root) -> Self {
        let (hwmon, thermal) = (root.sys("class/hwmon"), root.sys("class/thermal"));
        Self { hwmon, thermal, chips: Vec::new(), left_out: 0, readings: 0 }
    }

    fn search(&mut self) {
        let mut chips: Vec<_> = entries(&self.hwmon).iter().filter_map(|chip| Chip::of_hwmon(chip)).collect();
        if chips.is_empty() {
            chips = entries(&self.thermal).iter().filter_map(|zone| Chip::of_zone(zone)).collect();
        }
        // Two of one name cannot be told apart from one boot to the next: the first stands for both.
        chips.sort_by(|a, b| a.id.cmp(&b.id));
        chips.dedup_by(|later, earlier| later.id == earlier.id);
        self.left_out = chips.len().saturating_sub(CHIPS_MAX) as u64;
        chips.truncate(CHIPS_MAX);
        self.chips = chips;
    }
}

impl Source for Temperature {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        if self.chips.is_empty() || self.readings == SEARCH_READINGS {
            self.search();
            self.readings = 0;
        }
        self.readings += 1;
        if self.chips.is_empty() {
            return Err(SourceError::Absent(self.hwmon.clone()));
        }
        let mut unread = 0;
        for chip in &self.chips {
            match chip.read_m() {
                Some(thousandths) => {
                    let attributes = [("hw.id", chip.id.as_str()), ("hw.name", chip.kind.as_str())];
                    sink.reading(&TEMPERATURE, &attributes, f64::from(thousandths) / 1e3);
                }
                None => unread += 1,
            }
        }
        if self.left_out > 0 {
            sink.dropped(DropReason::Cardinality, self.left_out);
        }
        if unread > 0 {
            // A disk that sleeps, or a card that was taken out.
            sink.dropped(DropReason::Unreadable, unread);
        }
        Ok(())
    }
}

impl Chip {
    /// A chip with the sensor of the lowest number. The device's name stays over boots, the chip's number does not.
    fn of_hwmon(path: &Path) -> Option<Self> {
        let kind = name(&path.join("name"))?;
        let input = |path: &PathBuf| {
            let name = path.file_name()?.to_str()?;
            number(name.strip_prefix("temp")?.strip_suffix("_input")?.as_bytes())
        };
        let inputs = entries(path).into_iter().filter_map(|path| Some((input(&path)?, path)));
        let (_, input) = inputs.min()?;
        let device = std::fs::read_link(path.join("device")).ok();
        let device = device.as_ref().and_then(|device| device.file_name()?.to_str()).filter(|device| fits(device));
        let id = device.unwrap_or(&kind).to_owned();
        Some(Self { id, kind, sensor: File::open(input).ok()? })
    }

    fn of_zone(path: &Path) -> Option<Self> {
        let id = path.file_name()?.to_str().filter(|name| name.starts_with("thermal_zone"))?.to_owned();
        Some(Self { id, kind: name(&path.join("type"))?, sensor: File::open(path.join("temp")).ok()? })
    }

    /// Thousandths of a degree.
    fn read_m(&self) -> Option<i32> {
        let mut text = [0; TEXT_BYTES];
        let length = self.sensor.read_at(&mut text, 0).ok()?;
        parse(&text[..length])
    }
}

fn parse(bytes: &[u8]) -> Option<i32> {
    let value: i64 = std::str::from_utf8(bytes.trim_ascii_end()).ok()?.parse().ok()?;
    i32::try_from(value).ok().filter(|_| BELIEVED_M.contains(&value))
}

/// Paths in a directory, which need not be there.
fn entries(path: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(path).into_iter().flatten().take(ENTRIES_MAX);
    found.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn name(path: &Path) -> Option<String> {
    let mut text = [0; NAME_BYTES_MAX + 1];
    let length = File::open(path).ok()?.read_at(&mut text, 0).ok()?;
    let name = std::str::from_utf8(text[..length].trim_ascii_end()).ok()?;
    fits(name).then(|| name.to_owned())
}

fn fits(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::Readings;

    fn write(directory: &Path, path: &str, text: &str) {
        let path = directory.join("sys/class").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_chip_is_its_first_sensor_and_named_by_its_device() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        write(root, "hwmon/hwmon3/name", "coretemp\n");
        write(root, "hwmon/hwmon3/temp10_input", "99000\n");
        write(root, "hwmon/hwmon3/temp1_input", "45500\n");
        std::os::unix::fs::symlink("../../../coretemp.0", root.join("sys/class/hwmon/hwmon3/device")).unwrap();
        write(root, "hwmon/hwmon1/name", "fan-only\n");
        write(root, "thermal/thermal_zone0/type", "acpitz\n");
        write(root, "thermal/thermal_zone0/temp", "27800\n");
        let mut readings = Readings::default();
        Temperature::new(&Root::under(root)).read(&mut readings).unwrap();
        assert_eq!(readings.value("hw.temperature{hw.id=coretemp.0,hw.name=coretemp}"), 45.5);
        assert_eq!(readings.len(), 1, "thermal zones only stand in");
    }

    #[test]
    fn a_sensor_that_does_not_answer_is_counted_and_hides_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (zone, value) in [(0, "-5000\n"), (1, "not now\n"), (2, "-274000\n")] {
            write(root, &format!("thermal/thermal_zone{zone}/type"), "soc\n");
            write(root, &format!("thermal/thermal_zone{zone}/temp"), value);
        }
        let mut readings = Readings::default();
        Temperature::new(&Root::under(root)).read(&mut readings).unwrap();
        assert_eq!(readings.value("hw.temperature{hw.id=thermal_zone0,hw.name=soc}"), -5.0);
        assert_eq!(readings.dropped, [(DropReason::Unreadable, 2)]);
    }
}
