//! The hashes of the model, each a type of its own so that none is taken for another.
//!
//! All are 32 bytes. The BLAKE3 ones but that of a tree are printed as plain hexadecimal, the others in the OCI form
//! `sha256:HEX` (image-spec, descriptor.md, "Digests").

use std::fmt;

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// Reads the printed form back; `None` where it is not 64 lower-case hexadecimal digits after the prefix.
            pub fn parse(text: &str) -> Option<Self> {
                parse_hex(text.strip_prefix($prefix)?).map(Self)
            }

            /// Returns the 64 lower-case hexadecimal digits, without a prefix.
            pub fn hex(&self) -> String {
                to_hex(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str(&to_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

hash_type!(
    /// The BLAKE3 hash of a file's content.
    ContentHash,
    ""
);
hash_type!(
    /// The BLAKE3 hash of a layer's entries, whiteouts and policy: known before anything is packed.
    LayerKey,
    ""
);
hash_type!(
    /// The BLAKE3 hash of a policy's canonical form.
    PolicyKey,
    ""
);
hash_type!(
    /// The BLAKE3 hash of a tree's entries and policy, however the tree is cut into layers.
    TreeDigest,
    "blake3:"
);
hash_type!(
    /// The SHA-256 of a layer's uncompressed tar (image-spec, config.md, "Layer DiffID").
    DiffId,
    "sha256:"
);
hash_type!(
    /// The SHA-256 of a blob's bytes as stored (image-spec, descriptor.md).
    Digest,
    "sha256:"
);

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Digest, LayerKey};

    #[test]
    fn the_printed_form_reads_back() {
        let digest = Digest(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(LayerKey::parse(&digest.hex()), Some(LayerKey(digest.0)));
    }

    #[test]
    fn other_forms_are_refused() {
        assert_eq!(Digest::parse("sha256:00"), None);
        assert_eq!(Digest::parse(&format!("sha512:{}", "0".repeat(64))), None);
        assert_eq!(Digest::parse(&format!("sha256:{}", "A".repeat(64))), None);
    }
}
