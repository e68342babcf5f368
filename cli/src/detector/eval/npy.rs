//! NumPy's array files, as far as the data sets use them: one or two dimensions, row by row, little-endian numbers.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use super::super::keys::unusable;
use std::path::Path;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 30;
const MAGIC: &[u8] = b"\x93NUMPY";

/// Rows of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    /// Number of rows.
    pub(crate) rows: usize,
    /// Numbers in a row; 1 for a one-dimensional array.
    pub(crate) columns: usize,
    values: Vec<f64>,
}

impl Array {
    /// A row.
    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// A column.
    pub(crate) fn column(&self, column: usize) -> Vec<f64> {
        (0..self.rows).map(|row| self.values[row * self.columns + column]).collect()
    }

    /// All numbers, row by row.
    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }
}

/// Reads a file.
///
/// # Errors
///
/// `UnusableFile` if it is too large or not such an array.
pub(crate) fn read(path: &Path) -> anyhow::Result<Array> {
    let size = std::fs::metadata(path).map_err(|error| unusable(path, &error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unusable(path, &format!("{size} bytes are over the limit of {FILE_BYTES_MAX}")).into());
    }
    let bytes = std::fs::read(path).map_err(|error| unusable(path, &error))?;
    parse(&bytes).map_err(|reason| unusable(path, &reason).into())
}

fn parse(bytes: &[u8]) -> Result<Array, String> {
    let (version, rest) = bytes
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.split_at_checked(2))
        .ok_or("no array of NumPy: the first bytes are not its own")?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk::<2>().map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest)),
        2 | 3 => rest.split_first_chunk::<4>().map(|(length, rest)| (u32::from_le_bytes(*length) as usize, rest)),
        other => return Err(format!("version {other} of the format; 1 to 3 are read")),
    }
    .ok_or("the file ends within its header")?;
    let (header, data) = rest.split_at_checked(length).ok_or("the file ends within its header")?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is no text")?;
    let kind = entry(header, "descr").ok_or("the header names no type")?.trim_matches(['\'', '"']);
    if entry(header, "fortran_order") != Some("False") {
        return Err("the numbers stand column by column; save it with order=\"C\"".to_owned());
    }
    let (rows, columns) = shape(header).ok_or("one or two dimensions are read")?;
    let (width, number) = reader(kind).ok_or_else(|| format!("numbers of type {kind:?} are not read"))?;
    let wanted = rows.checked_mul(columns).and_then(|count| count.checked_mul(width));
    if wanted != Some(data.len()) {
        return Err(format!("{} bytes of numbers for {rows} rows of {columns}", data.len()));
    }
    Ok(Array { rows, columns, values: data.chunks_exact(width).map(number).collect() })
}

/// The text of an entry of the header's dictionary, up to its comma.
fn entry<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let rest = header.split_once(&format!("'{name}':"))?.1;
    rest.split([',', '}']).next().map(str::trim)
}

fn shape(header: &str) -> Option<(usize, usize)> {
    let inner = header.split_once("'shape':")?.1.split_once('(')?.1.split_once(')')?.0;
    let sizes: Result<Vec<usize>, _> =
        inner.split(',').map(str::trim).filter(|size| !size.is_empty()).map(str::parse).collect();
    match sizes.ok()?.as_slice() {
        [rows] => Some((*rows, 1)),
        [rows, columns] if *columns > 0 => Some((*rows, *columns)),
        _ => None,
    }
}

type Read = fn(&[u8]) -> f64;

/// Bytes of a number of this type, and how to read it.
#[expect(clippy::cast_precision_loss, reason = "labels and measurements, far below 2^53")]
fn reader(kind: &str) -> Option<(usize, Read)> {
    macro_rules! number {
        ($type:ty) => {
            (
                size_of::<$type>(),
                (|bytes| <$type>::from_le_bytes(bytes.try_into().expect("a chunk of its size")) as f64) as Read,
            )
        };
    }
    Some(match kind {
        "<f4" => number!(f32),
        "<f8" => number!(f64),
        "|u1" | "|b1" => number!(u8),
        "|i1" => number!(i8),
        "<u2" => number!(u16),
        "<i2" => number!(i16),
        "<u4" => number!(u32),
        "<i4" => number!(i32),
        "<u8" => number!(u64),
        "<i8" => number!(i64),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn rows_and_columns_are_where_they_belong() {
        let data: Vec<u8> = [1.5f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|number| number.to_le_bytes()).collect();
        let array = parse(&file("<f4", "False", "(3, 2)", &data)).unwrap();
        assert_eq!((array.rows, array.columns), (3, 2));
        assert_eq!((array.row(0), array.row(2)), (&[1.5, 2.0][..], &[5.0, 6.0][..]));
        assert_eq!(array.column(1), [2.0, 4.0, 6.0]);
        let labels = parse(&file("|u1", "False", "(3,)", &[0, 1, 0])).unwrap();
        assert_eq!((labels.rows, labels.columns, labels.values()), (3, 1, &[0.0, 1.0, 0.0][..]));
    }

    #[test]
    fn what_is_not_such_an_array_is_refused_with_the_reason() {
        let reason = |bytes: &[u8]| parse(bytes).unwrap_err();
        assert!(reason(b"PK\x03\x04").contains("NumPy"));
        assert!(reason(&file("<f4", "True", "(1, 1)", &[0; 4])).contains("column by column"));
        assert!(reason(&file("<c8", "False", "(1, 1)", &[0; 8])).contains("<c8"));
        assert!(reason(&file("<f4", "False", "(1, 2, 3)", &[0; 24])).contains("dimensions"));
        assert!(reason(&file("<f4", "False", "(9, 9)", &[0; 4])).contains("4 bytes"));
        assert!(reason(&file("<f4", "False", "(18446744073709551615, 2)", &[0; 4])).contains("4 bytes"));
        let whole = file("<f4", "False", "(1, 1)", &[0; 4]);
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "cut at {end}");
        }
    }
}
