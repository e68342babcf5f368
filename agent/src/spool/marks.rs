//! The small file beside the log: what is settled, and the books.
//!
//! Two places of [`PLACE_BYTES`] are written in turn, so one of them is always whole; the one with the higher turn counts.
//! Losing both costs no frame: everything is sent again, and the collector recognises it. Written in place into blocks that
//! are there already, because it also has to work on a full disk. A place, little-endian: magic `VDTMARK3`, turn `u64`,
//! queue epoch `u64`, boot (16 bytes), flags `u64`, last sequence and next series index `u64`, host (16 bytes, zero if none
//! has claimed it), for each class settled-through, frames that were never in the log and the five reasons for shedding as
//! `u64`, CRC32C of all that stands before. `VDTMARK2` had no host and four reasons; it is read as well.

use super::books::{Books, REASONS};
use vedette_protocol::ids::{BootId, HostId, QueueEpoch, Sequence};

/// Bytes of one place: a block of its own on any disk.
pub const PLACE_BYTES: usize = 4_096;

const CLEAN: u64 = 1;

/// What differs between versions of a place.
struct Layout {
    magic: [u8; 8],
    host_bytes: usize,
    reasons: usize,
}

const LAYOUT: Layout = Layout { magic: *b"VDTMARK3", host_bytes: 16, reasons: REASONS };
const LAYOUT_2: Layout = Layout { magic: *b"VDTMARK2", host_bytes: 0, reasons: 4 };
/// Where hosts begin.
const HEAD_BYTES: usize = 8 + 8 + 8 + 16 + 8 + 16;

impl Layout {
    /// Where the books of a class begin; of the fourth: where the content ends.
    const fn class_at(&self, nth: usize) -> usize {
        HEAD_BYTES + self.host_bytes + nth * (16 + 8 * self.reasons)
    }
}

/// What is never given out again in this life of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The highest sequence of a frame.
    pub last: Sequence,
    /// Series indices below this one.
    pub series_next: u32,
}

impl Given {
    /// Nothing.
    pub const NOTHING: Self = Self { last: Sequence(0), series_next: 0 };
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Grows with each writing.
    pub turn: u64,
    /// Life of the spool.
    pub epoch: QueueEpoch,
    /// Boot in which it was written.
    pub boot: BootId,
    /// The agent ended in good order: nothing was made after this.
    pub clean: bool,
    /// What was given out by then, in the log or not.
    pub given: Given,
    /// The host that batches are sent as.
    pub host: Option<HostId>,
    /// Every frame of the class up to this one is settled.
    pub through: [Sequence; 3],
    /// What became of the frames of each class.
    pub books: [Books; 3],
}

impl Marks {
    /// Which of the two places it belongs into, as an offset in bytes.
    pub fn offset(&self) -> u64 {
        (self.turn % 2) * PLACE_BYTES as u64
    }

    /// A whole place.
    pub fn encode(&self) -> [u8; PLACE_BYTES] {
        let flags = if self.clean { CLEAN } else { 0 };
        let mut content = Vec::with_capacity(LAYOUT.class_at(3));
        content.extend_from_slice(&LAYOUT.magic);
        content.extend_from_slice(&self.turn.to_le_bytes());
        content.extend_from_slice(&self.epoch.0.to_le_bytes());
        content.extend_from_slice(&self.boot.0);
        content.extend_from_slice(&flags.to_le_bytes());
        content.extend_from_slice(&self.given.last.0.to_le_bytes());
        content.extend_from_slice(&u64::from(self.given.series_next).to_le_bytes());
        content.extend_from_slice(&self.host.map_or([0; 16], |host| host.0));
        for (through, books) in self.through.iter().zip(&self.books) {
            content.extend_from_slice(&through.0.to_le_bytes());
            content.extend_from_slice(&books.unlogged.to_le_bytes());
            books.shed.iter().for_each(|count| content.extend_from_slice(&count.to_le_bytes()));
        }
        let mut place = [0; PLACE_BYTES];
        let end = content.len();
        place[..end].copy_from_slice(&content);
        place[end..end + 4].copy_from_slice(&crc32c::crc32c(&content).to_le_bytes());
        place
    }

    /// The newer one of the whole places in `file`.
    pub fn decode(file: &[u8]) -> Option<Self> {
        file.chunks(PLACE_BYTES).take(2).filter_map(decode_place).max_by_key(|marks| marks.turn)
    }
}

fn decode_place(place: &[u8]) -> Option<Marks> {
    let layout = [LAYOUT, LAYOUT_2].into_iter().find(|layout| place.starts_with(&layout.magic))?;
    let end = layout.class_at(3);
    let content = place.get(..end)?;
    if *place.get(end..end + 4)? != crc32c::crc32c(content).to_le_bytes() {
        return None;
    }
    let number = |at: usize| u64::from_le_bytes(*content[at..].first_chunk().expect("within the content"));
    let flags = number(40);
    let books = |nth| Books {
        unlogged: number(layout.class_at(nth) + 8),
        shed: std::array::from_fn(|reason| match reason < layout.reasons {
            true => number(layout.class_at(nth) + 16 + 8 * reason),
            false => 0,
        }),
    };
    let host = content[HEAD_BYTES..].first_chunk().filter(|host| layout.host_bytes > 0 && **host != [0; 16]);
    let series_next = u32::try_from(number(56)).ok()?;
    (flags & !CLEAN == 0).then(|| Marks {
        turn: number(8),
        epoch: QueueEpoch(number(16)),
        boot: BootId(*content[24..].first_chunk().expect("within the content")),
        clean: flags & CLEAN != 0,
        given: Given { last: Sequence(number(48)), series_next },
        host: host.map(|host| HostId(*host)),
        through: std::array::from_fn(|nth| Sequence(number(layout.class_at(nth)))),
        books: std::array::from_fn(books),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: usize = LAYOUT.class_at(3);

    fn marks(turn: u64) -> Marks {
        let books = |unlogged| Books { unlogged, shed: [1, 2, 3, 4, 5] };
        Marks {
            turn,
            epoch: QueueEpoch(7),
            boot: BootId([9; 16]),
            clean: turn.is_multiple_of(2),
            given: Given { last: Sequence(30), series_next: u32::MAX },
            host: Some(HostId([8; 16])),
            through: [Sequence(10), Sequence(0), Sequence(u64::MAX)],
            books: [books(20), books(0), books(u64::MAX)],
        }
    }

    fn file(places: &[Marks]) -> Vec<u8> {
        let mut file = vec![0; 2 * PLACE_BYTES];
        for marks in places {
            let at = usize::try_from(marks.offset()).unwrap();
            file[at..at + PLACE_BYTES].copy_from_slice(&marks.encode());
        }
        file
    }

    #[test]
    fn newer_place_counts_and_a_torn_one_leaves_the_older() {
        assert_eq!(Marks::decode(&file(&[marks(4), marks(5)])), Some(marks(5)));
        for torn in 0..END + 4 {
            let mut file = file(&[marks(4), marks(5)]);
            file[PLACE_BYTES + torn] ^= 0x10;
            assert_eq!(Marks::decode(&file), Some(marks(4)), "byte {torn}");
        }
        for length in 0..END + 4 {
            assert_eq!(Marks::decode(&file(&[marks(4)])[..length]), None);
        }
    }

    #[test]
    fn place_of_the_version_before_is_read_and_names_no_host() {
        let mut place = marks(4).encode()[..HEAD_BYTES].to_vec();
        place[..8].copy_from_slice(b"VDTMARK2");
        (0..3 * (2 + 4)).for_each(|count: u64| place.extend(count.to_le_bytes()));
        place.extend(crc32c::crc32c(&place).to_le_bytes());
        place.resize(PLACE_BYTES, 0);
        let books = |n| Books { unlogged: n, shed: [n + 1, n + 2, n + 3, n + 4, 0] };
        let expected = Marks {
            host: None,
            through: [Sequence(0), Sequence(6), Sequence(12)],
            books: [books(1), books(7), books(13)],
            ..marks(4)
        };
        assert_eq!(Marks::decode(&place), Some(expected));
    }
}
