//! Talk for people, which goes to stderr.

use std::io::Write;

/// Writes a line to stderr; nobody may be reading.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
