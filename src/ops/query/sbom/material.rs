//! What a bill of materials is made of.

use super::os_release::OsRelease;
use crate::model::digest::Digest;
use crate::model::packages::owners::Installed;
use serde_json::Value;

/// The material of a document.
pub(super) struct Material<'m> {
    /// `SERIES@STAGE`.
    pub name: String,
    pub manifest: Digest,
    pub created_s: i64,
    pub os: OsRelease,
    pub packages: &'m [Installed],
}

impl Material<'_> {
    /// Returns a UUID that follows from the image and the rest of the document (RFC 9562, version 8): another document has another.
    pub(super) fn uuid(&self, document: &Value) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.manifest.0);
        hasher.update(document.to_string().as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        parts.join("-")
    }
}

/// Returns text of one line: a validator takes no other.
pub(super) fn line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// What has made the document.
pub(super) const TOOL: &str = "rootstrata";
pub(super) const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");
