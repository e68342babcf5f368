//! The small file beside the log: what is settled, and the books.
//!
//! Two places of [`PLACE_BYTES`] are written in turn, so one of them is always whole; the one with the higher turn counts.
//! Losing both costs no frame: everything is sent again, and the collector recognises it. Written in place into blocks that
//! are there already, because it also has to work on a full disk. A place, little-endian: magic `VDTMARK2`, turn `u64`,
//! queue epoch `u64`, boot (16 bytes), flags `u64`, last sequence and next series index `u64`, for each class settled-through, frames that were never in the log and
//! the four reasons for shedding as `u64`, CRC32C of all that stands before.

use super::books::{Books, REASONS};
use vedette_protocol::ids::{BootId, QueueEpoch, Sequence};

/// Bytes of one place: a block of its own on any disk.
pub const PLACE_BYTES: usize = 4_096;

const MAGIC: [u8; 8] = *b"VDTMARK2";
const CLEAN: u64 = 1;
const CONTENT_BYTES: usize = 8 + 8 + 8 + 16 + 8 + 16 + 3 * (8 + 8 + 8 * REASONS);

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
        let mut content = Vec::with_capacity(CONTENT_BYTES);
        content.extend_from_slice(&MAGIC);
        content.extend_from_slice(&self.turn.to_le_bytes());
        content.extend_from_slice(&self.epoch.0.to_le_bytes());
        content.extend_from_slice(&self.boot.0);
        content.extend_from_slice(&flags.to_le_bytes());
        content.extend_from_slice(&self.given.last.0.to_le_bytes());
        content.extend_from_slice(&u64::from(self.given.series_next).to_le_bytes());
        for (through, books) in self.through.iter().zip(&self.books) {
            content.extend_from_slice(&through.0.to_le_bytes());
            content.extend_from_slice(&books.unlogged.to_le_bytes());
            books.shed.iter().for_each(|count| content.extend_from_slice(&count.to_le_bytes()));
        }
        let mut place = [0; PLACE_BYTES];
        place[..CONTENT_BYTES].copy_from_slice(&content);
        place[CONTENT_BYTES..CONTENT_BYTES + 4].copy_from_slice(&crc32c::crc32c(&content).to_le_bytes());
        place
    }

    /// The newer one of the whole places in `file`.
    pub fn decode(file: &[u8]) -> Option<Self> {
        file.chunks(PLACE_BYTES).take(2).filter_map(decode_place).max_by_key(|marks| marks.turn)
    }
}

fn decode_place(place: &[u8]) -> Option<Marks> {
    let content = place.get(..CONTENT_BYTES)?;
    let checksum = place.get(CONTENT_BYTES..CONTENT_BYTES + 4)?;
    if content[..8] != MAGIC || *checksum != crc32c::crc32c(content).to_le_bytes() {
        return None;
    }
    let number = |at: usize| u64::from_le_bytes(*content[at..].first_chunk().expect("within the content"));
    let flags = number(40);
    let class = |nth: usize| 64 + nth * (16 + 8 * REASONS);
    let books = |nth| Books {
        unlogged: number(class(nth) + 8),
        shed: std::array::from_fn(|reason| number(class(nth) + 16 + 8 * reason)),
    };
    let series_next = u32::try_from(number(56)).ok()?;
    (flags & !CLEAN == 0).then(|| Marks {
        turn: number(8),
        epoch: QueueEpoch(number(16)),
        boot: BootId(*content[24..].first_chunk().expect("within the content")),
        clean: flags & CLEAN != 0,
        given: Given { last: Sequence(number(48)), series_next },
        through: std::array::from_fn(|nth| Sequence(number(class(nth)))),
        books: std::array::from_fn(books),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(turn: u64) -> Marks {
        let books = |unlogged| Books { unlogged, shed: [1, 2, 3, 4] };
        Marks {
            turn,
            epoch: QueueEpoch(7),
            boot: BootId([9; 16]),
            clean: turn.is_multiple_of(2),
            given: Given { last: Sequence(30), series_next: u32::MAX },
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
        for torn in 0..CONTENT_BYTES + 4 {
            let mut file = file(&[marks(4), marks(5)]);
            file[PLACE_BYTES + torn] ^= 0x10;
            assert_eq!(Marks::decode(&file), Some(marks(4)), "byte {torn}");
        }
        for length in 0..CONTENT_BYTES + 4 {
            assert_eq!(Marks::decode(&file(&[marks(4)])[..length]), None);
        }
    }
}
