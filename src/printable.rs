//! Untrusted bytes as text: every path, link target and package name for a terminal passes here.
//!
//! Never prints, never fails. Invariant: the result has no control character except the tabs of a line of text, so a name
//! can neither move the cursor nor forge a line; valid UTF-8 text is otherwise unchanged.

use std::fmt::Write as _;

/// Returns `bytes` as text in which control characters, backslashes and bytes that are not UTF-8 stand as
/// `\xNN`, `\n`, `\t` or `\\`.
pub fn printable(bytes: &[u8]) -> String {
    escaped(bytes, |c| match c {
        '\n' => Some("\\n"),
        '\t' => Some("\\t"),
        '\\' => Some("\\\\"),
        _ => None,
    })
}

/// Returns a line of a text with tabs and backslashes; other bytes that could drive a terminal are escaped as by
/// [`printable`].
pub(crate) fn printable_line(bytes: &[u8]) -> String {
    escaped(bytes, |c| match c {
        '\t' => Some("\t"),
        '\n' => Some("\\n"),
        _ => None,
    })
}

fn escaped(bytes: &[u8], instead: impl Fn(char) -> Option<&'static str>) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match instead(c) {
                Some(other) => text.push_str(other),
                None if c.is_control() || is_direction_mark(c) => push_escaped(&mut text, c),
                None => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn push_escaped(text: &mut String, c: char) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// Marks that turn the direction of the following text, and so can disguise a name.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{printable, printable_line};

    #[test]
    fn text_stays_as_it_is() {
        assert_eq!(
            printable("usr/lib/größe – x".as_bytes()),
            "usr/lib/größe – x"
        );
    }

    #[test]
    fn control_sequences_and_invalid_bytes_are_escaped() {
        assert_eq!(printable(b"a\x1b[2Jb\nc\\\xff"), "a\\x1b[2Jb\\nc\\\\\\xff");
        assert_eq!(printable_line(b"a\tb\\c\r\x1b\n"), "a\tb\\c\\x0d\\x1b\\n");
        assert_eq!(
            printable("\u{9b}\u{202e}".as_bytes()),
            "\\xc2\\x9b\\xe2\\x80\\xae"
        );
    }
}
