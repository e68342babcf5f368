//! Exact, little-endian encoding of a series' state: the same bytes from every build.

use alloc::vec::Vec;

/// Bytes that are not a state of this detector and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// Appends numbers to a state.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Four bytes, all bits kept; every NaN is the one canonical NaN.
    pub fn f32(&mut self, value: f32) {
        self.u32(if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() });
    }

    /// Eight bytes, all bits kept; every NaN is the one canonical NaN.
    pub fn f64(&mut self, value: f64) {
        self.u64(if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() });
    }

    /// Several numbers in order.
    pub fn f64s(&mut self, values: &[f64]) {
        values.iter().for_each(|value| self.f64(*value));
    }

    /// Several numbers in order.
    pub fn f32s(&mut self, values: &[f32]) {
        values.iter().for_each(|value| self.f32(*value));
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes numbers off a state, in the order in which they were written.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or(Damaged)?;
        self.bytes = rest;
        Ok(*head)
    }

    /// A number of raw bytes.
    ///
    /// # Errors
    ///
    /// [`Damaged`] at the end of the bytes; so for all that follow.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (head, rest) = self.bytes.split_at_checked(count).ok_or(Damaged)?;
        self.bytes = rest;
        Ok(head)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.bytes)
    }

    /// One byte.
    ///
    /// # Errors
    ///
    /// [`Damaged`] at the end of the bytes.
    pub fn u8(&mut self) -> Result<u8, Damaged> {
        self.take::<1>().map(|bytes| bytes[0])
    }

    /// Four bytes.
    ///
    /// # Errors
    ///
    /// [`Damaged`] at the end of the bytes.
    pub fn u32(&mut self) -> Result<u32, Damaged> {
        self.take().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    ///
    /// [`Damaged`] at the end of the bytes.
    pub fn u64(&mut self) -> Result<u64, Damaged> {
        self.take().map(u64::from_le_bytes)
    }

    /// Four bytes, all bits kept.
    ///
    /// # Errors
    ///
    /// [`Damaged`] at the end of the bytes.
    pub fn f32(&mut self) -> Result<f32, Damaged> {
        self.u32().map(f32::from_bits)
    }

    /// Eight bytes, all bits kept.
    ///
    /// # Errors
    ///
    /// [`Damaged`] at the end of the bytes.
    pub fn f64(&mut self) -> Result<f64, Damaged> {
        self.u64().map(f64::from_bits)
    }

    /// A fixed number of numbers.
    ///
    /// # Errors
    ///
    /// [`Damaged`] at the end of the bytes.
    pub fn f64s<const N: usize>(&mut self) -> Result<[f64; N], Damaged> {
        let mut values = [0.0; N];
        values.iter_mut().try_for_each(|value| self.f64().map(|read| *value = read))?;
        Ok(values)
    }

    /// A fixed number of numbers.
    ///
    /// # Errors
    ///
    /// [`Damaged`] at the end of the bytes.
    pub fn f32s<const N: usize>(&mut self) -> Result<[f32; N], Damaged> {
        let mut values = [0.0; N];
        values.iter_mut().try_for_each(|value| self.f32().map(|read| *value = read))?;
        Ok(values)
    }

    /// Fails unless everything was read.
    ///
    /// # Errors
    ///
    /// [`Damaged`] if bytes are left over.
    pub fn finish(&self) -> Result<(), Damaged> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_bit_for_bit_and_nans_are_canonical() {
        let mut out = Writer::new();
        out.u8(7);
        out.f64s(&[-0.0, f64::MIN_POSITIVE / 2.0, -f64::NAN]);
        out.f32s(&[1.5, -f32::NAN]);
        let bytes = out.finish();
        let mut input = Reader::new(&bytes);
        assert_eq!(input.u8(), Ok(7));
        let [zero, tiny, nan] = input.f64s().unwrap();
        assert_eq!((zero.to_bits(), tiny), (1 << 63, f64::MIN_POSITIVE / 2.0));
        let [half, small_nan] = input.f32s().unwrap();
        assert_eq!((half, nan.to_bits(), small_nan.to_bits()), (1.5, 0x7ff8 << 48, 0x7fc0_0000));
        assert_eq!((input.finish(), input.u8()), (Ok(()), Err(Damaged)));
    }
}
