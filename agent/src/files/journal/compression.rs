//! Compressed payloads: Zstandard and LZ4, as much of them as is wanted. XZ, which systemd wrote before 2014, is not read.

use super::format::Compression;
use ruzstd::decoding::StreamingDecoder;
use std::io::Read;

/// Memory that a Zstandard frame may ask for; journald's own ask for less than the payload.
const WINDOW_BYTES_MAX: u64 = 8 << 20;
/// Bytes that unpacking takes: the window, and what is on either side of it.
pub(super) const BYTES_MAX: usize = 10 << 20;

/// Appends at most `bytes_max` bytes of what `packed` holds to `out`. `None` if it cannot be read.
pub(super) fn unpack(compression: Compression, packed: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Option<()> {
    match compression {
        Compression::None => out.extend_from_slice(&packed[..packed.len().min(bytes_max)]),
        Compression::Xz => return None,
        Compression::Zstd => {
            let decoder = StreamingDecoder::new_with_max_window_size(packed, WINDOW_BYTES_MAX).ok()?;
            decoder.take(bytes_max as u64).read_to_end(out).ok()?;
        }
        // The length of the whole comes first; what is wanted may be less.
        Compression::Lz4 => lz4_block(packed.get(8..)?, bytes_max, out)?,
    }
    Some(())
}

/// One block of LZ4: literals and matches by turns (its block format description, version 1.6.3).
fn lz4_block(mut packed: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Option<()> {
    let begin = out.len();
    let full = |out: &Vec<u8>| out.len() - begin >= bytes_max;
    while !full(out) {
        let (&token, rest) = packed.split_first()?;
        packed = rest;
        let literals = length(token >> 4, &mut packed)?;
        let (text, rest) = packed.split_at_checked(literals)?;
        out.extend_from_slice(&text[..literals.min(bytes_max - (out.len() - begin))]);
        packed = rest;
        if packed.is_empty() {
            return Some(());
        }
        let (distance, rest) = packed.split_first_chunk()?;
        packed = rest;
        let count = length(token & 15, &mut packed)? + 4;
        let distance = usize::from(u16::from_le_bytes(*distance));
        if full(out) {
            break;
        }
        let from = out.len().checked_sub(distance).filter(|from| *from >= begin && distance > 0)?;
        // A match may run into what it makes.
        for at in (from..).take(count.min(bytes_max - (out.len() - begin))) {
            out.push(out[at]);
        }
    }
    Some(())
}

/// Four bits, and bytes to be added as long as all bits are set.
fn length(nibble: u8, packed: &mut &[u8]) -> Option<usize> {
    let mut length = usize::from(nibble);
    let mut goes_on = nibble == 15;
    while goes_on {
        let (&more, rest) = packed.split_first()?;
        *packed = rest;
        length += usize::from(more);
        goes_on = more == u8::MAX;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lz4(packed: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
        let mut out = b"kept".to_vec();
        unpack(Compression::Lz4, packed, bytes_max, &mut out)?;
        Some(out.split_off(4))
    }

    #[test]
    fn lz4_with_long_and_overlapping_matches_is_read() {
        // Three literals, a match of 19 bytes at distance 3, then one literal.
        let packed = [&[0; 8][..], &[0x3f, b'a', b'b', b'c', 3, 0, 0], &[0x10, b'!']].concat();
        assert_eq!(lz4(&packed, 100).unwrap(), b"abcabcabcabcabcabcabca!");
        assert_eq!(lz4(&packed, 5).unwrap(), b"abcab");
        let long = [&[0; 8][..], &[0xf0, 255, 1], &[b'x'; 271]].concat();
        assert_eq!(lz4(&long, 1_000).unwrap(), [b'x'; 271]);
    }

    #[test]
    fn lz4_that_reaches_before_its_start_is_refused() {
        for packed in [&[0x10, b'a', 2, 0][..], &[0x10, b'a', 0, 0], &[0x20, b'a'], &[0xf0, 255]] {
            assert_eq!(lz4(&[&[0; 8], packed].concat(), 100), None, "{packed:?}");
        }
        assert_eq!(lz4(&[0; 7], 100), None);
    }

    proptest! {
        #[test]
        fn any_bytes_unpack_to_no_more_than_wanted(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for compression in [Compression::None, Compression::Xz, Compression::Lz4, Compression::Zstd] {
                let mut out = Vec::new();
                let _ = unpack(compression, &bytes, 64, &mut out);
                prop_assert!(out.len() <= 64);
            }
        }
    }
}
