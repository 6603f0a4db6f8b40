//! The sources of trees: a snapshot, a directory, or an image in the notation of containers-transports(5); and lists of packages.
//!
//! Pure. A name of a snapshot holds no colon, so the prefixes are unmistakable.

use crate::error::{Error, Result};
use crate::model::names::SnapshotRef;
use crate::model::repository::ImageName;
use crate::printable::printable;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// One side of a comparison, as a user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A recorded snapshot.
    Snapshot(SnapshotRef),
    /// `dir:PATH`: a directory as it is now.
    Directory(PathBuf),
    /// `oci-archive:PATH[:REF]`: an image in a tar file.
    Archive(PathBuf, ImageRef),
    /// `oci:PATH[:REF]`: an image in a layout.
    Layout(PathBuf, ImageRef),
    /// `docker-archive:PATH[:REF]`: an image in a tar file of Docker's.
    DockerArchive(PathBuf, ImageRef),
    /// `docker://HOST/NAME[:TAG|@DIGEST]`: an image in a registry.
    Registry(ImageName),
    /// `packages:FILE`: a list of packages; `-` for stdin.
    Packages(PathBuf),
}

/// The image of an archive or a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRef {
    /// The only image.
    Only,
    /// The image with this name.
    Name(String),
    /// `@N`: the image at this place in the index, from 0.
    Place(usize),
}

impl Source {
    /// Reads a source that a user named. Fails with [`Error::BadName`] if the name of an image in a registry is malformed, and
    /// with [`Error::BadSource`] if a path is empty, the name of an image is not UTF-8,
    /// or a text without a prefix names no snapshot.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        let name = bytes.strip_prefix(b"docker://");
        if let Some(name) = name.and_then(|name| std::str::from_utf8(name).ok()) {
            return ImageName::parse(name).map(Self::Registry);
        }
        parse_bytes(bytes).ok_or_else(|| Error::BadSource {
            text: printable(bytes),
        })
    }
}

fn parse_bytes(bytes: &[u8]) -> Option<Source> {
    if let Some(rest) = bytes.strip_prefix(b"dir:") {
        return Some(Source::Directory(parse_path(rest)?));
    }
    if let Some(rest) = bytes.strip_prefix(b"packages:") {
        return Some(Source::Packages(parse_path(rest)?));
    }
    if let Some(rest) = bytes.strip_prefix(b"oci-archive:") {
        let (path, image) = parse_image(rest)?;
        return Some(Source::Archive(path, image));
    }
    if let Some(rest) = bytes.strip_prefix(b"docker-archive:") {
        let (path, image) = parse_image(rest)?;
        return Some(Source::DockerArchive(path, image));
    }
    if let Some(rest) = bytes.strip_prefix(b"oci:") {
        let (path, image) = parse_image(rest)?;
        return Some(Source::Layout(path, image));
    }
    let text = std::str::from_utf8(bytes).ok()?;
    SnapshotRef::parse(text).ok().map(Source::Snapshot)
}

fn parse_path(bytes: &[u8]) -> Option<PathBuf> {
    if bytes.is_empty() {
        return None;
    }
    Some(PathBuf::from(OsString::from_vec(bytes.to_vec())))
}

/// Reads `PATH[:REF]` as engines do: the path ends at the first colon.
fn parse_image(rest: &[u8]) -> Option<(PathBuf, ImageRef)> {
    let Some(at) = rest.iter().position(|b| *b == b':') else {
        return Some((parse_path(rest)?, ImageRef::Only));
    };
    let name = std::str::from_utf8(&rest[at + 1..]).ok()?;
    let reference = match name.strip_prefix('@') {
        _ if name.is_empty() => ImageRef::Only,
        Some(place) => ImageRef::Place(place.parse().ok()?),
        None => ImageRef::Name(name.to_owned()),
    };
    Some((parse_path(&rest[..at])?, reference))
}

impl fmt::Display for Source {
    /// Writes the notation, escaped for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &PathBuf| printable(path.as_os_str().as_bytes());
        match self {
            Self::Snapshot(reference) => write!(f, "{reference}"),
            Self::Directory(path) => write!(f, "dir:{}", shown(path)),
            Self::Archive(path, image) => write!(f, "oci-archive:{}{image}", shown(path)),
            Self::Layout(path, image) => write!(f, "oci:{}{image}", shown(path)),
            Self::DockerArchive(path, image) => write!(f, "docker-archive:{}{image}", shown(path)),
            Self::Registry(name) => write!(f, "docker://{name}"),
            Self::Packages(path) => write!(f, "packages:{}", shown(path)),
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => Ok(()),
            Self::Name(name) => write!(f, ":{}", printable(name.as_bytes())),
            Self::Place(place) => write!(f, ":@{place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_as_they_are_shown() {
        for text in [
            "12",
            "f44@deps-installed~2",
            "dir:/var/lib/mock/f44/root",
            "dir:a:b",
            "oci-archive:x.tar",
            "oci-archive:x.tar:f44:deps-installed",
            "oci:/store:a--b:c",
            "oci:d:@1",
            "docker-archive:x.tar:docker.io/library/a:b",
            "docker://localhost:5000/a/b:c",
            "packages:result/installed_pkgs.log",
            "packages:-",
        ] {
            assert_eq!(Source::parse(OsStr::new(text)).unwrap().to_string(), text);
        }
        let (path, name) = (
            PathBuf::from("x.tar"),
            ImageRef::Name("f44:deps".to_owned()),
        );
        assert_eq!(
            Source::parse(OsStr::new("oci-archive:x.tar:f44:deps")).unwrap(),
            Source::Archive(path, name)
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "dir:",
            "packages:",
            "oci:",
            "oci-archive::x",
            "docker-archive:",
            "docker://x",
            "./x",
            "oci:x:@y",
            "a\n",
        ] {
            assert!(Source::parse(OsStr::new(text)).is_err(), "{text:?}");
        }
        assert!(Source::parse(OsStr::from_bytes(b"\xff")).is_err());
        assert!(Source::parse(OsStr::from_bytes(b"dir:\xff")).is_ok());
    }
}
