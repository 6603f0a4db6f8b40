//! What a package's header says of the package beside name and files. Pure.

/// The details of a package. Texts are empty where the header has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Length of all files in bytes (rpm tags 1009 and 5009).
    pub size_bytes: u64,
    /// The licence (tag 1014), an SPDX expression in packages of today.
    pub license: String,
    /// The vendor (tag 1011).
    pub vendor: String,
    /// The key that has signed the package: 16 hexadecimal digits (tags 267, 268, 259, 262 and 278).
    pub signature_key: String,
    /// The checksum of the header: `sha256:` or `sha1:` and hexadecimal digits (tags 273 and 269).
    pub header_checksum: String,
    /// MD5 of header and payload in hexadecimal digits (tag 261, `%{PKGID}`).
    pub md5: String,
}

impl Details {
    /// Returns the texts in the order of rows.
    pub(crate) fn texts(&self) -> [&str; 5] {
        [
            &self.license,
            &self.vendor,
            &self.signature_key,
            &self.header_checksum,
            &self.md5,
        ]
    }

    /// Returns the hash that names the details: of the size, and of each text after its length.
    pub(crate) fn key(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.size_bytes.to_le_bytes());
        for text in self.texts() {
            hasher
                .update(&(text.len() as u64).to_le_bytes())
                .update(text.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}
