//! The bytes of generated files: text, tables as of compiled code, and what does not compress.

use crate::random::Random;
use std::sync::LazyLock;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Text,
    Binary,
    Random,
}

impl Kind {
    pub(crate) fn draw(random: &mut Random) -> Self {
        [Self::Text, Self::Binary, Self::Random][random.weighted([64, 28, 8])]
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Binary => "so",
            Self::Random => "gz",
        }
    }
}

/// What text is made of: words and pairs of words, some at the end of a line. The same may be there twice.
static WORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut random = Random::new(1);
    let mut words = |at: usize| {
        let first = if at.is_multiple_of(2) {
            String::new()
        } else {
            random.word() + "_"
        };
        first + &random.word() + if at.is_multiple_of(8) { "\n" } else { " " }
    };
    (0..4096).map(&mut words).collect()
});

/// Replaces what is in `buffer` by `size` bytes.
pub(crate) fn fill(buffer: &mut Vec<u8>, size: usize, kind: Kind, random: &mut Random) {
    buffer.clear();
    while buffer.len() < size {
        let bits = random.next();
        match kind {
            Kind::Text => {
                // The first words are the most frequent ones by far.
                let skewed = ((bits & 0xfff) * (bits >> 12 & 0xfff)) >> 12;
                buffer.extend_from_slice(WORDS[skewed as usize].as_bytes());
            }
            Kind::Binary => {
                let (operation, operand) = (bits & bits >> 8 & 0x3f, bits >> 16 & 0x3f);
                let address = buffer.len() as u32 + (bits >> 24 & 0x3f0) as u32;
                buffer.extend_from_slice(&[operation as u8, 0, 0x48, operand as u8]);
                buffer.extend_from_slice(&address.to_le_bytes());
            }
            Kind::Random => buffer.extend_from_slice(&bits.to_le_bytes()),
        }
    }
    buffer.truncate(size);
}
