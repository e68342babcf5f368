//! Writes journal files in their simplest regular form.

use super::super::format::Id;
use std::fs;
use std::path::Path;

const HEADER_BYTES: usize = 272;
const FIRST_CAPACITY: u64 = 4;

/// A file in memory, and the host's counters.
#[derive(Clone)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    run: Id,
    seqnum: u64,
    time_us: u64,
    array: usize,
    capacity: u64,
    index: u64,
    arrays: Vec<usize>,
    /// Times and fields of what was written.
    entries: Vec<(u64, Vec<String>)>,
}

impl Writer {
    pub(super) fn new(run: u8) -> Self {
        Self::with([run; 16], 0, 0)
    }

    fn with(run: Id, seqnum: u64, time_us: u64) -> Self {
        let mut writer = Self {
            bytes: vec![0; HEADER_BYTES],
            run,
            seqnum,
            time_us,
            array: 0,
            capacity: 0,
            index: 0,
            arrays: Vec::new(),
            entries: Vec::new(),
        };
        writer.bytes[..8].copy_from_slice(b"LPKSHHRH");
        writer.bytes[24..40].copy_from_slice(&u128::from(seqnum ^ time_us << 20 ^ 1).to_le_bytes());
        writer.bytes[72..88].copy_from_slice(&run);
        writer.put(88, HEADER_BYTES as u64);
        writer
    }

    /// The file that comes after this one.
    pub(super) fn rotated(&self) -> Self {
        Self::with(self.run, self.seqnum, self.time_us)
    }

    /// Another file with all entries under numbers that go on.
    pub(super) fn copied(&self) -> Self {
        let mut copy = self.rotated();
        for (time_us, fields) in &self.entries {
            copy.time_us = *time_us - 1;
            copy.push(&fields.iter().map(String::as_str).collect::<Vec<_>>());
        }
        copy
    }

    pub(super) fn seqnum(&self) -> u64 {
        self.seqnum
    }

    /// Goes on from the counters of another file of the host.
    pub(super) fn follow(&mut self, other: &Self) {
        (self.seqnum, self.time_us) = (other.seqnum, other.time_us);
    }

    pub(super) fn push(&mut self, fields: &[&str]) {
        self.seqnum += 1;
        self.time_us += 1;
        let data: Vec<u64> = fields.iter().map(|field| self.data(field)).collect();
        let entry = self.object(3, 64 + 16 * data.len());
        for (at, value) in [(16, self.seqnum), (24, self.time_us), (32, self.time_us)] {
            self.put(entry + at, value);
        }
        for (n, offset) in data.into_iter().enumerate() {
            self.put(entry + 64 + 16 * n, offset);
        }
        if self.index == self.capacity {
            self.add_array();
        }
        let item = self.array + 24 + 8 * usize::try_from(self.index).unwrap();
        self.put(item, entry as u64);
        self.index += 1;
        self.entries.push((self.time_us, fields.iter().map(|field| (*field).to_owned()).collect()));
        for (at, value) in [(152, self.entries.len() as u64), (160, self.seqnum), (192, self.time_us)] {
            self.put(at, value);
        }
    }

    pub(super) fn archive(&mut self) {
        self.bytes[16] = 2;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn store(&self, path: &Path) {
        fs::write(path, &self.bytes).unwrap();
    }

    pub(super) fn claim_entries(&mut self, entries: u64) {
        self.put(152, entries);
    }

    pub(super) fn link_last_array_to_first(&mut self) {
        self.put(self.arrays[self.arrays.len() - 1] + 16, self.arrays[0] as u64);
    }

    fn add_array(&mut self) {
        let capacity = if self.capacity == 0 { FIRST_CAPACITY } else { self.capacity * 2 };
        let array = self.object(6, 24 + 8 * usize::try_from(capacity).unwrap());
        let link = if self.capacity == 0 { 176 } else { self.array + 16 };
        self.put(link, array as u64);
        (self.array, self.capacity, self.index) = (array, capacity, 0);
        self.arrays.push(array);
    }

    fn data(&mut self, field: &str) -> u64 {
        let data = self.object(1, 64 + field.len());
        self.put(data + 56, 1);
        self.bytes[data + 64..data + 64 + field.len()].copy_from_slice(field.as_bytes());
        data as u64
    }

    fn object(&mut self, kind: u8, length: usize) -> usize {
        let at = self.bytes.len();
        self.bytes.resize((at + length).next_multiple_of(8), 0);
        self.bytes[at] = kind;
        self.put(at + 8, length as u64);
        at
    }

    fn put(&mut self, at: usize, value: u64) {
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
}
