//! The spool's folder looked at, and put right, while no agent uses it.

use super::CLASSES;
use super::books::Reason;
use super::files::Files;
use super::log::{Listed, MARKS, class_index, listed, scan};
use super::marks::{Given, Marks, PLACE_BYTES};
use super::segment::{Header, RECORD_BYTES, class_number};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use vedette_protocol::envelope::{self, Kind};
use vedette_protocol::ids::{BootId, QueueEpoch, Sequence};

/// Name under which a mended segment is written before it takes the place of the old one.
const BESIDE: &str = "mended";

/// What the folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Life of the spool; `None` if there is nothing.
    pub queue_epoch: Option<u64>,
    /// An agent was writing meanwhile.
    pub in_use: bool,
    /// Good frames, by class: findings, features, logs.
    pub frames: [u64; 3],
    /// Part of them that are settled.
    pub settled: [u64; 3],
    /// Bytes of all segments.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
    /// What is wrong.
    pub problems: Vec<SpoolProblem>,
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpoolProblem {
    /// File in the spool's folder.
    pub file: String,
    /// What is wrong.
    pub problem: String,
    /// Frames that it costs.
    pub frames_lost: u64,
}

/// What was put right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// What was wrong, and is not any more.
    pub repaired: Vec<SpoolProblem>,
    /// Good frames that are kept.
    pub frames_kept: u64,
    /// Frames that are left out.
    pub frames_left_out: u64,
}

/// A segment as it should be.
struct Mended {
    name: String,
    content: Vec<u8>,
}

/// Whether there is anything in the folder that a spool has.
///
/// # Errors
///
/// Of the file system.
pub fn is_spool(files: &impl Files) -> io::Result<bool> {
    let all = files.list()?;
    Ok(all.iter().any(|(name, _)| name == MARKS) || !listed(&all, None).1.is_empty())
}

/// Looks at everything and changes nothing. What an agent is just writing is no problem if it is `in_use`.
///
/// # Errors
///
/// Of the file system.
pub fn verify(files: &impl Files, in_use: bool) -> io::Result<Inspection> {
    Ok(look(files, in_use)?.0)
}

/// Writes every segment anew that has something wrong in it, with all its good frames, and removes what can never be sent.
///
/// # Errors
///
/// Of the file system; what was not reached is as it was.
pub fn repair(files: &mut impl Files) -> io::Result<Repair> {
    let (found, mended, strangers) = look(files, false)?;
    let mut lost = [0; 3];
    for Mended { name, content } in &mended {
        let _ = files.remove(BESIDE);
        files.create(BESIDE)?;
        files.write(BESIDE, 0, content)?;
        files.sync(BESIDE)?;
        files.rename(BESIDE, name)?;
    }
    strangers.iter().try_for_each(|name| files.remove(name))?;
    for problem in &found.problems {
        if let Some(class) =
            CLASSES.into_iter().find(|class| problem.file.starts_with(&format!("{}-", class_number(*class))))
        {
            lost[class_index(class)] += problem.frames_lost;
        }
    }
    if let Some(epoch) = found.queue_epoch.filter(|_| !found.problems.is_empty()) {
        mend_marks(files, QueueEpoch(epoch), lost)?;
    }
    files.sync_folder()?;
    Ok(Repair {
        frames_kept: found.frames.iter().sum(),
        frames_left_out: found.problems.iter().map(|problem| problem.frames_lost).sum(),
        repaired: found.problems,
    })
}

fn look(files: &impl Files, in_use: bool) -> io::Result<(Inspection, Vec<Mended>, Vec<String>)> {
    let all = files.list()?;
    let marks = match all.iter().any(|(name, _)| name == MARKS) {
        true => Some(Marks::decode(&files.read(MARKS, 0, 2 * PLACE_BYTES)?)),
        false => None,
    };
    let (epoch, segments) = listed(&all, marks.flatten());
    let mut found = Inspection { queue_epoch: epoch.map(|epoch| epoch.0), in_use, ..Inspection::default() };
    let mut mended = Vec::new();
    let mut strangers = Vec::new();
    let mut rows: BTreeMap<u8, Vec<&Listed>> = BTreeMap::new();
    for segment in &segments {
        found.bytes += segment.bytes;
        found.segments += 1;
        if Some(segment.epoch) == epoch {
            rows.entry(class_number(segment.class)).or_default().push(segment);
        } else {
            let problem = "belongs to an earlier life of the spool: it can never be sent".to_owned();
            found.problems.push(SpoolProblem { file: segment.name.clone(), problem, frames_lost: 0 });
            strangers.push(segment.name.clone());
        }
    }
    if matches!(marks, Some(None)) || (marks.is_none() && epoch.is_some()) {
        let problem = "does not say what is settled: everything is sent again, and recognised".to_owned();
        found.problems.push(SpoolProblem { file: MARKS.to_owned(), problem, frames_lost: 0 });
    }
    for row in rows.values() {
        let through = marks.flatten().map_or([Sequence(0); 3], |marks| marks.through);
        look_at_row(files, row, through, in_use, &mut found, &mut mended)?;
    }
    Ok((found, mended, strangers))
}

fn look_at_row(
    files: &impl Files,
    row: &[&Listed],
    through: [Sequence; 3],
    in_use: bool,
    found: &mut Inspection,
    mended: &mut Vec<Mended>,
) -> io::Result<()> {
    let mut ordinal = 0;
    for (at, segment) in row.iter().enumerate() {
        let content = segment.read(files)?;
        let is_last = at + 1 == row.len();
        let scanned = scan(&content, segment.first);
        let header = scanned.header.filter(|header| header.class == segment.class && header.first == segment.first);
        let good = scanned.frames().filter(|(_, frame)| envelope::open(Kind::Batch, frame).is_ok()).count() as u64;
        let unsound = scanned.frames().count() as u64 - good;
        let written = match row.get(at + 1) {
            Some(next) => {
                next.read_header(files)?.filter(|next| next.previous == segment.first).map(|next| next.ordinal)
            }
            None => None,
        };
        let begins = header.map_or(ordinal, |header| header.ordinal);
        let missing = written.and_then(|ends| (ends - begins.min(ends)).checked_sub(good)).unwrap_or(unsound);
        let mut wrong = Vec::new();
        if header.is_none() {
            wrong.push("its header is damaged".to_owned());
        }
        for (from, to) in &scanned.bad {
            let is_end = is_last && *to == content.len();
            if is_end && in_use {
                continue;
            }
            let bytes = to - from;
            wrong.push(match is_end {
                true => format!("ends with {bytes} bytes of an unfinished record, as after a crash"),
                false => format!("{bytes} bytes from {from} on are damaged"),
            });
        }
        if unsound > 0 {
            wrong.push(format!("{unsound} frames hold no batch"));
        }
        if missing > 0 && wrong.is_empty() {
            wrong.push(format!("{missing} frames are missing"));
        }
        found.frames[class_index(segment.class)] += good;
        let settled = scanned.frames().filter(|(sequence, _)| *sequence <= through[class_index(segment.class)]);
        found.settled[class_index(segment.class)] += settled.count() as u64;
        ordinal = begins + good + missing;
        if !wrong.is_empty() {
            let is_damaged = scanned.bad.iter().any(|(_, to)| !is_last || *to < content.len());
            let frames_lost = missing.max(u64::from(is_damaged));
            found.problems.push(SpoolProblem { file: segment.name.clone(), problem: wrong.join("; "), frames_lost });
            mended.push(mend(segment, &content, begins + frames_lost));
        }
    }
    Ok(())
}

/// The good records behind a header that says so much, and that claims nothing of the segment before.
fn mend(segment: &Listed, content: &[u8], ordinal: u64) -> Mended {
    let Listed { epoch, class, first, .. } = *segment;
    let mut mended = Header { epoch, class, first, ordinal, previous: Sequence(0) }.encode().to_vec();
    for record in scan(content, first).records {
        let bytes = RECORD_BYTES + 4 + record.cursors.len() + record.frame.len();
        let is_sound = record.frame.is_empty() || envelope::open(Kind::Batch, record.frame).is_ok();
        if is_sound {
            mended.extend_from_slice(&content[record.end - bytes..record.end]);
        }
    }
    Mended { name: segment.name.clone(), content: mended }
}

/// Takes what is left out into the books. Nobody knows any more which sequences were used last.
fn mend_marks(files: &mut impl Files, epoch: QueueEpoch, lost: [u64; 3]) -> io::Result<()> {
    let known = files.read(MARKS, 0, 2 * PLACE_BYTES).ok().and_then(|file| Marks::decode(&file));
    let mut marks = known.unwrap_or(Marks {
        turn: 0,
        epoch,
        boot: BootId([0; 16]),
        clean: false,
        given: Given::NOTHING,
        host: None,
        through: [Sequence(0); 3],
        books: Default::default(),
    });
    marks.turn += 1;
    marks.clean = false;
    for (books, lost) in marks.books.iter_mut().zip(lost) {
        books.shed[Reason::Damaged as usize] += lost;
    }
    if known.is_none() {
        super::log::make_marks(files)?;
    }
    files.write(MARKS, marks.offset(), &marks.encode())?;
    files.sync(MARKS)
}

#[cfg(test)]
mod tests;
