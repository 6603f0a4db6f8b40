//! Compressions of layers, their names and media types (image-spec, layer.md, "`+gzip` Media Types").

use super::unframed::unframed;
use crate::error::{Error, Result};
use flate2::read::{GzEncoder, MultiGzDecoder};
use std::fmt;
use std::io::Read;
use std::path::Path;

/// The compression of a layer, with the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, read by every engine; 1 to 9.
    Gzip(u32),
    /// zstd, smaller and faster; 1 to 19.
    Zstd(i32),
}

/// A compression without the level, as a reader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Codec {
    None,
    Gzip,
    Zstd,
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd(3)
    }
}

impl Compression {
    /// Reads `none`, `gzip[:LEVEL]` or `zstd[:LEVEL]`; default levels are 6 and 3. Fails, with a hint for the user, if the
    /// name is unknown or the level out of range.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        match (name, text.contains(':')) {
            ("none", false) => Ok(Self::None),
            ("gzip", _) => parse_level(name, level, 6, 9).map(Self::Gzip),
            ("zstd", _) => parse_level(name, level, 3, 19).map(|level| Self::Zstd(level as i32)),
            _ => Err("expected zstd[:LEVEL], gzip[:LEVEL] or none".to_owned()),
        }
    }

    /// Returns a compression at its default level.
    pub(crate) fn usual(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip(6),
            Codec::Zstd => Self::default(),
        }
    }

    /// Returns the compression without the level.
    pub fn codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Gzip(_) => Codec::Gzip,
            Self::Zstd(_) => Codec::Zstd,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Gzip(level) => write!(f, "gzip:{level}"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl Codec {
    const ALL: [(Self, &str); 3] = [
        (Self::None, "application/vnd.oci.image.layer.v1.tar"),
        (Self::Gzip, "application/vnd.oci.image.layer.v1.tar+gzip"),
        (Self::Zstd, "application/vnd.oci.image.layer.v1.tar+zstd"),
    ];

    /// Returns the layer's media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => Self::ALL[0].1,
            Self::Gzip => Self::ALL[1].1,
            Self::Zstd => Self::ALL[2].1,
        }
    }

    /// Reads a layer's media type back.
    pub(crate) fn of_media_type(media_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find_map(|(codec, name)| (name == media_type).then_some(codec))
    }

    /// Recognises the compression of a blob by the first bytes (RFC 1952, RFC 8878); a blob of no known kind is plain.
    pub(crate) fn of_bytes(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, allowed before others.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Wraps `input` in a decompressor. Fails if zstd cannot allocate a context, in an error that names `path`.
    pub fn decoder<'r>(
        self,
        input: impl Read + Send + 'r,
        path: &Path,
    ) -> Result<Box<dyn Read + Send + 'r>> {
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(MultiGzDecoder::new(input)),
            Self::Zstd => Box::new(unframed(input).map_err(Error::io("decompress", path))?),
        })
    }
}

fn parse_level(name: &str, level: Option<&str>, default: u32, most: u32) -> Result<u32, String> {
    let Some(level) = level else {
        return Ok(default);
    };
    let number = level.parse().ok();
    number
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| format!("the level of {name} is a number from 1 to {most}"))
}

/// Returns `bytes` as a single gzip member (RFC 1952) without name and time.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    let mut encoder = GzEncoder::new(bytes, flate2::Compression::default());
    encoder
        .read_to_end(&mut compressed)
        .expect("reading from memory cannot fail");
    compressed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_read_back_and_have_defaults() {
        for text in ["none", "gzip:9", "zstd:1", "zstd:19"] {
            assert_eq!(Compression::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Compression::parse("gzip"), Ok(Compression::Gzip(6)));
        assert_eq!(Compression::parse("zstd"), Ok(Compression::default()));
        for text in [
            "", "xz", "gzip:", "gzip:0", "gzip:10", "zstd:20", "none:1", "zstd:x",
        ] {
            assert!(Compression::parse(text).is_err(), "{text}");
        }
    }
}
