//! The order of bytes in numbers that a machine has written as its own.

/// The byte order of a machine on which rpm has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    /// The lowest byte first.
    Little,
    /// The highest byte first.
    Big,
}

impl ByteOrder {
    /// Returns a number in this order.
    pub(super) fn bytes(self, number: u32) -> [u8; 4] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }

    /// Reads a number of four bytes.
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let four = bytes[at..].first_chunk().copied().unwrap_or_default();
        match self {
            Self::Little => u32::from_le_bytes(four),
            Self::Big => u32::from_be_bytes(four),
        }
    }

    /// Reads a number of two bytes.
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let two = bytes[at..].first_chunk().copied().unwrap_or_default();
        match self {
            Self::Little => u16::from_le_bytes(two),
            Self::Big => u16::from_be_bytes(two),
        }
    }
}
