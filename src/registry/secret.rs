//! Text shown to nobody, and its form in base64.

use std::fmt;

/// A password or a token. Its debug form is a mark.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns bytes as base64 with padding (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let byte = |at: usize| u32::from(part.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            let is_padding = at > part.len();
            text.push(if is_padding { '=' } else { char::from(letter) });
        }
    }
    text
}

/// Reads base64 back, padded or not; `None` for other letters.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().trim_end_matches('=').as_bytes();
    if text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    for part in text.chunks(4) {
        let mut bits = 0;
        for at in 0..4 {
            let value = match part.get(at) {
                Some(letter) => LETTERS.iter().position(|l| l == letter)?,
                None => 0,
            };
            bits = bits << 6 | value as u32;
        }
        let three = [bits >> 16, bits >> 8, bits].map(|b| b as u8);
        bytes.extend_from_slice(&three[..part.len() - 1]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{base64, from_base64};

    #[test]
    fn base64_reads_back() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff], "+/8="),
        ] {
            assert_eq!(base64(bytes), text);
            assert_eq!(from_base64(text).unwrap(), bytes);
        }
        assert_eq!(from_base64("Zm8\n").unwrap(), b"fo");
        for odd in ["Z", "Zm9vZ", "Z-_=", "Zm=v"] {
            assert_eq!(from_base64(odd), None, "{odd}");
        }
    }
}
