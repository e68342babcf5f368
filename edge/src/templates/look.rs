//! Bytes by their part in a line, and words that vary by their very look.

pub(super) const SPACE: u8 = 1;
pub(super) const SEPARATOR: u8 = 2;
pub(super) const DIGIT: u8 = 4;
pub(super) const SLASH: u8 = 8;
const DOT: u8 = 16;
pub(super) const COLON: u8 = 32;
/// Neither a letter nor one of the above.
const OTHER: u8 = 64;
/// What each byte is; 0 for a letter.
pub(super) static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [OTHER; 256];
    let mut byte = 0;
    loop {
        table[byte as usize] = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => SPACE,
            b',' | b';' | b'|' | b'&' | b'=' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'"' | b'\'' | b'<' | b'>'
            | b'!' | b'?' | b'`' => SEPARATOR,
            b'0'..=b'9' => DIGIT,
            b'a'..=b'z' | b'A'..=b'Z' => 0,
            b'/' | b'\\' => SLASH,
            b'.' => DOT | OTHER,
            b':' => COLON | OTHER,
            _ => OTHER,
        };
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

/// Numbers, identifiers, addresses, times; paths. `flags` are the classes of the bytes of `text`.
pub(super) fn is_variable(text: &[u8], flags: u8) -> bool {
    if flags & DIGIT != 0 {
        return !is_name_with_digit(text);
    }
    if flags & SLASH == 0 {
        return false;
    }
    let slashes = text.iter().filter(|byte| matches!(byte, b'/' | b'\\')).count();
    text.len() > 1 && (slashes > 1 || flags & DOT != 0 || matches!(text[0], b'/' | b'\\'))
}

/// `isBluetoothA2dpOn`: letters that are no hexadecimal number, with few digits among them and a letter at the end.
fn is_name_with_digit(text: &[u8]) -> bool {
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphabetic);
    digits * 8 < text.len()
        && letter(text.first())
        && letter(text.last())
        && text.iter().all(u8::is_ascii_alphanumeric)
        && text.iter().any(|byte| byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit())
}
