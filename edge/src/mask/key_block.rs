//! A private key that is written line by line, each of them a text of its own.

use super::{PEM_BEGIN, PEM_KEY, PRIVATE_KEY};

/// Lines of a key that are waited for: twice those of RSA with 16,384 bits.
const LINES_MAX: u32 = 512;
/// A run of base64 this long is part of the key, wherever in the line it is.
const RUN_BYTES_MIN: usize = 16;
const PEM_END: &str = "-----END";

/// Whether a key is being written to one log.
///
/// Other writers may come between its lines: only what can be base64 is taken out of those, the last word always.
/// Whoever starts in the middle of a key knows nothing of it: then its lines fall to the look of random words, which
/// only a short last line escapes.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyBlock {
    lines_left: u32,
}

impl KeyBlock {
    /// Masks in `masked`, which [`super::mask_into`] made of `text`, what belongs to a key that began in an earlier
    /// text. Returns how many places.
    pub fn mask(&mut self, text: &str, masked: &mut String) -> u32 {
        if self.lines_left == 0 {
            self.begin(text, masked);
            return 0;
        }
        self.lines_left -= 1;
        if text.contains(PEM_END) {
            self.lines_left = 0;
            return 0;
        }
        let last = masked.trim_end().rsplit(' ').next().unwrap_or_default();
        let mut out = String::with_capacity(masked.len());
        let (mut places, mut rest) = (0, masked.as_str());
        while !rest.is_empty() {
            let length = rest.bytes().take_while(|byte| is_base64(*byte)).count();
            let (run, after) = rest.split_at(length);
            let is_last = !run.is_empty() && run == last && after.trim_end().is_empty();
            if length >= RUN_BYTES_MIN || is_last {
                out.push_str(PRIVATE_KEY);
                places += 1;
            } else {
                out.push_str(run);
            }
            let between = after.bytes().take_while(|byte| !is_base64(*byte)).count();
            out.push_str(&after[..between]);
            rest = &after[between..];
        }
        *masked = out;
        places
    }

    /// The end of a key that is all in one text is there as well.
    fn begin(&mut self, text: &str, masked: &str) {
        if !masked.ends_with(PRIVATE_KEY) {
            return;
        }
        let Some(at) = text.rfind(PEM_BEGIN) else { return };
        if text[at..].contains(PEM_KEY) && !text[at..].contains(PEM_END) {
            self.lines_left = LINES_MAX;
        }
    }
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::super::masked;
    use super::*;

    #[test]
    fn no_line_of_a_key_survives_and_others_between_them_do() {
        let lines = [
            ("app: -----BEGIN RSA PRIVATE KEY-----", "app: <private-key>"),
            ("app: MIIEpAIBAAKCAQEAsometimes/all+small", "app: <private-key>"),
            ("sshd[17]: session opened for bob from 10.0.0.1:", "sshd[17]: session opened for bob from 10.0.0.1:"),
            ("app: q8w=", "app: <private-key>"),
            ("app: -----END RSA PRIVATE KEY-----", "app: -----END RSA PRIVATE KEY-----"),
            ("app: q8w=", "app: q8w="),
        ];
        let mut block = KeyBlock::default();
        for (line, expected) in lines {
            let mut out = masked(line);
            block.mask(line, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn key_that_never_ends_is_waited_for_no_longer_than_its_limit() {
        let mut block = KeyBlock::default();
        let begin = "-----BEGIN PRIVATE KEY-----";
        block.mask(begin, &mut masked(begin));
        let masks: u32 = (0..LINES_MAX + 100).map(|_| block.mask("word", &mut "word".to_owned())).sum();
        assert_eq!(masks, LINES_MAX);
    }
}
