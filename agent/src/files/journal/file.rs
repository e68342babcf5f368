//! One journal file, read from where it stands.
//!
//! journald only ever appends: an entry comes after those before it, and so does an array of entries. Whatever refers
//! backwards is damaged, so that no chain can be endless. What a header counts is there in full.

use super::JournalCounts;
use super::compression::unpack;
use super::entry::{Entry, Field};
use super::format::{self, ARRAY_BYTES, Compression, ENTRY_BYTES, EntryHead, Form, HEADER_BYTES, Header, Refusal};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of a message that are handed over.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Items of an entry that are looked at; journald itself allows 1,024.
const ITEMS_MAX: usize = 1_024;
/// Bytes of a compressed payload that are read.
const PACKED_BYTES_MAX: usize = 128 << 10;
/// Bytes that are read at once of a data object.
const DATA_BYTES: usize = 256;
/// Arrays of one file: each of journald's holds twice as many entries as the one before.
const ARRAYS_MAX: u32 = 4_096;
/// Entries in a row that may be damaged in a file that is read on.
const DAMAGED_MAX: u32 = 256;
/// Fields that many entries share and that are remembered by their place.
const KNOWN_MAX: usize = 256;
/// Buffers of one file do not stay larger.
const KEEP_BYTES_MAX: usize = 4 << 10;
/// Bytes that an open file holds: fields that it remembers, and its buffers.
pub(super) const BYTES_MAX: usize = KNOWN_MAX * 160 + 4 * KEEP_BYTES_MAX + 2 * MESSAGE_BYTES_MAX;

/// What can be read at any place.
pub(super) trait ReadAt {
    /// Fills as much of `buffer` as there is at `offset`.
    fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut length = 0;
        while length < buffer.len() {
            match self.read_at(&mut buffer[length..], offset.saturating_add(length as u64)) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(length)
    }
}

/// An open file and the place in it.
pub(super) struct JournalFile<R> {
    source: R,
    header: Header,
    /// The array in which the next entry is named, and how many it can name.
    array: u64,
    capacity: u64,
    arrays: u32,
    /// Next item of the array.
    index: u64,
    /// Entries before the next one.
    done: u64,
    /// Where the last entry was.
    last: u64,
    next: Option<(u64, EntryHead)>,
    known: HashMap<u64, Field>,
    items: Vec<u8>,
    packed: Vec<u8>,
    payload: Vec<u8>,
}

impl<R: ReadAt> JournalFile<R> {
    pub(super) fn open(source: R) -> Result<Self, Refusal> {
        let header = read_header(&source)?;
        Ok(Self {
            source,
            header,
            array: 0,
            capacity: 0,
            arrays: 0,
            index: 0,
            done: 0,
            last: 0,
            next: None,
            known: HashMap::new(),
            items: Vec::new(),
            packed: Vec::new(),
            payload: Vec::new(),
        })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Entries that are there and were not read.
    pub(super) fn left(&self) -> u64 {
        self.header.entries.saturating_sub(self.done)
    }

    /// Sees what was appended.
    pub(super) fn refresh(&mut self) -> Result<(), Refusal> {
        let header = read_header(&self.source)?;
        let same = (header.file_id, header.form) == (self.header.file_id, self.header.form);
        if !same || header.entries < self.done {
            return Err(Refusal::Damaged);
        }
        self.header = header;
        Ok(())
    }

    /// Goes on with the first entry after `seqnum`.
    pub(super) fn seek_after(&mut self, seqnum: u64) -> Result<(), Refusal> {
        if self.header.entries > 0 && self.header.tail_seqnum <= seqnum {
            return self.skip_all();
        }
        while self.left() > 0 {
            self.enter_array()?;
            let used = (self.capacity - self.index).min(self.left());
            if self.seqnum_at(self.index + used - 1)? <= seqnum {
                (self.index, self.done) = (self.index + used, self.done + used);
                continue;
            }
            let (mut low, mut high) = (self.index, self.index + used - 1);
            while low < high {
                let middle = low.midpoint(high);
                if self.seqnum_at(middle)? <= seqnum { low = middle + 1 } else { high = middle }
            }
            self.done += low - self.index;
            self.index = low;
            break;
        }
        Ok(())
    }

    /// All that is there was read, by whoever had the position.
    fn skip_all(&mut self) -> Result<(), Refusal> {
        while self.left() > 0 {
            self.enter_array()?;
            let used = (self.capacity - self.index).min(self.left());
            (self.index, self.done) = (self.index + used, self.done + used);
        }
        Ok(())
    }

    /// The next entry, which stays the next. Those that are damaged are left out and counted.
    pub(super) fn peek(&mut self, counts: &mut JournalCounts) -> Result<Option<&EntryHead>, Refusal> {
        let mut damaged = 0;
        while self.next.is_none() && self.left() > 0 {
            self.enter_array()?;
            let offset = self.reference_at(self.index)?;
            if offset <= self.last || damaged == DAMAGED_MAX {
                return Err(Refusal::Damaged);
            }
            self.last = offset;
            match self.entry_at(offset) {
                Ok(head) => self.next = Some((offset, head)),
                Err(_) => {
                    damaged += 1;
                    counts.entries_damaged += 1;
                    self.advance();
                }
            }
        }
        Ok(self.next.as_ref().map(|(_, head)| head))
    }

    /// Reads the entry that was peeked at into `entry` and goes on behind it.
    pub(super) fn take(&mut self, entry: &mut Entry, counts: &mut JournalCounts) {
        let Some((offset, head)) = self.next.take() else { return };
        self.advance();
        entry.begin(&head);
        let item = self.header.form.item_bytes();
        let count = usize::try_from((head.bytes - ENTRY_BYTES as u64) / item as u64).unwrap_or(usize::MAX);
        counts.fields_skipped += count.saturating_sub(ITEMS_MAX) as u64;
        let mut items = std::mem::take(&mut self.items);
        items.resize(count.min(ITEMS_MAX) * item, 0);
        if self.read(&mut items, offset + ENTRY_BYTES as u64).is_err() {
            counts.fields_skipped += 1;
            items.clear();
        }
        for bytes in items.chunks_exact(item) {
            if self.field(self.header.form.reference(bytes), entry, counts).is_err() {
                counts.fields_skipped += 1;
            }
        }
        items.clear();
        items.shrink_to(KEEP_BYTES_MAX);
        self.items = items;
    }

    fn advance(&mut self) {
        (self.index, self.done) = (self.index + 1, self.done + 1);
    }

    /// Makes sure that the array has an item at `index`.
    fn enter_array(&mut self) -> Result<(), Refusal> {
        while self.index >= self.capacity {
            let offset = match self.array {
                0 => self.header.entry_array,
                array => self.array_at(array)?.0,
            };
            self.arrays += 1;
            if offset <= self.array || self.arrays > ARRAYS_MAX {
                return Err(Refusal::Damaged);
            }
            (self.capacity, self.index) = (self.array_at(offset)?.1, 0);
            self.array = offset;
        }
        Ok(())
    }

    fn array_at(&self, offset: u64) -> Result<(u64, u64), Refusal> {
        let mut bytes = [0; ARRAY_BYTES];
        self.read(&mut bytes, offset)?;
        format::entry_array(&bytes, self.header.form).ok_or(Refusal::Damaged)
    }

    fn reference_at(&self, index: u64) -> Result<u64, Refusal> {
        let form = self.header.form;
        let mut bytes = [0; 8];
        let bytes = &mut bytes[..usize::from(form == Form::Regular) * 4 + 4];
        let within = index.checked_mul(form.reference_bytes()).ok_or(Refusal::Damaged)?;
        self.read(bytes, self.array.saturating_add(ARRAY_BYTES as u64).saturating_add(within))?;
        Ok(form.reference(bytes))
    }

    fn seqnum_at(&self, index: u64) -> Result<u64, Refusal> {
        Ok(self.entry_at(self.reference_at(index)?)?.seqnum)
    }

    fn entry_at(&self, offset: u64) -> Result<EntryHead, Refusal> {
        let mut bytes = [0; ENTRY_BYTES];
        self.read(&mut bytes, offset)?;
        format::entry(&bytes).ok_or(Refusal::Damaged)
    }

    /// Adds what a data object says to `entry`.
    fn field(&mut self, offset: u64, entry: &mut Entry, counts: &mut JournalCounts) -> Result<(), Refusal> {
        if let Some(field) = self.known.get(&offset) {
            entry.set(field);
            return Ok(());
        }
        let mut bytes = [0; DATA_BYTES];
        let length = self.source.read_full_at(&mut bytes, offset).map_err(|_| Refusal::Damaged)?;
        let begin = self.header.form.data_bytes();
        let Some(first) = bytes[..length].get(begin..) else { return Err(Refusal::Damaged) };
        let head = format::data(&bytes, self.header.form).ok_or(Refusal::Damaged)?;
        let payload_bytes = usize::try_from(head.payload_bytes).unwrap_or(usize::MAX);
        if head.compression == Compression::None && !Field::is_message(first) {
            // Whatever else is wanted is short.
            let field = Field::parse(&first[..first.len().min(payload_bytes)]);
            entry.set(&field);
            if head.entries > 1 {
                self.remember(offset, field);
            }
            return Ok(());
        }
        let wanted = match head.compression {
            Compression::None => payload_bytes.min(Field::MESSAGE.len() + MESSAGE_BYTES_MAX + 1),
            _ => payload_bytes.min(PACKED_BYTES_MAX),
        };
        let mut packed = std::mem::take(&mut self.packed);
        packed.resize(wanted, 0);
        let read = self.read(&mut packed, offset.saturating_add(begin as u64));
        self.payload.clear();
        let unpacked = read.ok().and_then(|()| {
            unpack(head.compression, &packed, Field::MESSAGE.len() + MESSAGE_BYTES_MAX + 1, &mut self.payload)
        });
        packed.clear();
        packed.shrink_to(KEEP_BYTES_MAX);
        self.packed = packed;
        unpacked.ok_or(Refusal::Damaged)?;
        match Field::is_message(&self.payload) {
            true => {
                let message = &self.payload[Field::MESSAGE.len()..];
                counts.messages_cut += u64::from(message.len() > MESSAGE_BYTES_MAX);
                entry.set_message(&message[..message.len().min(MESSAGE_BYTES_MAX)]);
            }
            false => entry.set(&Field::parse(&self.payload)),
        }
        Ok(())
    }

    fn remember(&mut self, offset: u64, field: Field) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(offset, field);
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), Refusal> {
        let aligned = offset >= self.header.header_bytes && offset.is_multiple_of(4);
        let length = if aligned { self.source.read_full_at(buffer, offset).ok() } else { None };
        if length == Some(buffer.len()) { Ok(()) } else { Err(Refusal::Damaged) }
    }
}

fn read_header(source: &impl ReadAt) -> Result<Header, Refusal> {
    let mut bytes = [0; HEADER_BYTES];
    match source.read_full_at(&mut bytes, 0) {
        Ok(HEADER_BYTES) => Header::parse(&bytes),
        _ => Err(Refusal::Foreign),
    }
}
