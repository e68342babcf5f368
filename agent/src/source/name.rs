//! A short name kept without the heap.

/// At most `N` bytes of UTF-8.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Name<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Name<N> {
    /// `None` if `bytes` are too many or not UTF-8.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok()?;
        let mut name = Self { bytes: [0; N], length: bytes.len() };
        name.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(name)
    }

    /// As bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// As text.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("it was checked when it was made")
    }
}

impl<const N: usize> std::fmt::Debug for Name<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(Name::<4>::new(b"sda1").unwrap().as_str(), "sda1");
        assert!(Name::<4>::new(b"sda12").is_none());
        assert!(Name::<4>::new(b"\xff").is_none());
    }
}
