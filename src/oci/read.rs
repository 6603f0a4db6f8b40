//! Images that anybody may have made, read from a layout or an archive: which layers one has, and their blobs.
//!
//! Reads by offset, so the members of an archive may stand in any order. What is small is compared with its digest here;
//! a layer's blob is hashed by whoever reads it.

use super::image::{LAYER_KEY, LAYER_ROLE, goarch};
use super::{Blob, REF_NAME, blob_name};
use crate::error::{Error, Result, show};
use crate::model::digest::{DiffId, Digest, LayerKey};
use crate::model::layer::Role;
use crate::model::origin::Origin;
use crate::model::source::ImageRef;
use crate::printable::printable;
use crate::tarball::read::{FoundKind, Reader, TarError};
use oci_spec::image::{Arch, Descriptor, ImageIndex, ImageManifest, MediaType, Os};
use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Larger than any index, manifest or configuration; engines have the same limit.
const LARGEST_JSON_BYTES: u64 = 4 << 20;
/// An archive has a member for each blob, and a few more.
const MOST_MEMBERS: usize = 1 << 16;
/// Engines stop at 128.
const MOST_LAYERS: usize = 1000;
/// An index may name others.
const MOST_INDEXES: usize = 8;

/// A layout or an archive that is open.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Directory,
    /// The file, and offset and length of each member.
    Archive(File, HashMap<String, (u64, u64)>),
}

/// An image of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundImage {
    /// Its manifest.
    pub manifest: Blob,
    /// Its configuration.
    pub config: Blob,
    /// Its layers, the lowest first.
    pub layers: Vec<FoundLayer>,
}

impl FoundImage {
    /// Returns the length of all of its layers' blobs, as its manifest says.
    pub fn blobs_bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.blob.size_bytes))
    }
}

/// An image as an index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedImage {
    /// Its manifest.
    pub manifest: Blob,
    /// Its name.
    pub name: Option<String>,
    /// Where it comes from, where rootstrata has made it.
    pub origin: Option<Origin>,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLayer {
    /// Its blob.
    pub blob: Blob,
    /// How that is compressed, as the manifest says.
    pub media_type: String,
    /// SHA-256 of its tar, as the configuration says.
    pub diff_id: DiffId,
    /// What it is for, where rootstrata has made it.
    pub role: Option<Role>,
    /// Its key, likewise.
    pub key: Option<LayerKey>,
}

impl Opened {
    /// Opens the layout in a directory.
    pub fn layout(path: &Path) -> Result<Self> {
        match std::fs::metadata(path) {
            Ok(there) if !there.is_dir() => Err(Error::NotADirectory(path.to_owned())),
            there => there
                .map_err(Error::io("open", path))
                .map(|_| Self { path: path.to_owned(), place: Place::Directory }),
        }
    }

    /// Opens an archive and finds its members, without reading what they hold.
    pub fn archive(path: &Path) -> Result<Self> {
        match std::fs::metadata(path).map_err(Error::io("open", path))? {
            there if there.is_dir() => return Err(Error::IsADirectory(path.to_owned())),
            there if !there.is_file() => return Err(Error::NotAFile(path.to_owned())),
            _ => {}
        }
        let file = File::open(path).map_err(Error::io("open", path))?;
        let bad = |what: String| Error::BadImage { path: path.to_owned(), what };
        let failed = |error: TarError| match error {
            TarError::Io(source) => Error::io("read", path)(source),
            TarError::Malformed { what, path } if path.is_empty() => bad(format!("it {what}")),
            error => bad(error.to_string()),
        };
        let mut members = HashMap::new();
        let mut reader = Reader::new(&file);
        while let Some(found) = reader.next_member().map_err(failed)? {
            let FoundKind::File(size) = found.kind else { continue };
            if members.len() == MOST_MEMBERS {
                return Err(bad("it has more members than any image".to_owned()));
            }
            if let Ok(name) = String::from_utf8(found.path) {
                members.insert(name.trim_start_matches("./").to_owned(), (reader.position(), size));
            }
            reader.seek_past_content().map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), place: Place::Archive(file, members) })
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where a blob is, for errors: its file, or the archive.
    pub fn path_of(&self, blob: &Blob) -> PathBuf {
        match self.place {
            Place::Directory => self.path.join(blob_name(&blob.digest)),
            Place::Archive(..) => self.path.clone(),
        }
    }

    /// Finds the image that is meant. Of one for several platforms, that for this machine's is taken.
    pub fn image(&self, reference: &ImageRef) -> Result<FoundImage> {
        self.image_of(self.resolve(self.choose(&self.index()?, reference)?)?)
    }

    /// Returns the images that are meant, in the order of the index: all, where none is named.
    pub fn images(&self, reference: &ImageRef) -> Result<Vec<ListedImage>> {
        let index = self.index()?;
        let chosen = match reference {
            ImageRef::Only => index.manifests().clone(),
            reference => vec![self.choose(&index, reference)?],
        };
        let listed = chosen.into_iter().map(|descriptor| {
            let annotations = descriptor.annotations().clone().unwrap_or_default();
            let (name, origin) = (annotations.get(REF_NAME).cloned(), Origin::of(&annotations));
            Ok(ListedImage { manifest: self.resolve(descriptor)?, name, origin })
        });
        listed.collect()
    }

    fn index(&self) -> Result<ImageIndex> {
        self.parse("index.json", &self.read_small("index.json", None)?)
    }

    /// Follows indexes to a manifest.
    fn resolve(&self, mut descriptor: Descriptor) -> Result<Blob> {
        for _ in 0..MOST_INDEXES {
            if *descriptor.media_type() != MediaType::ImageIndex
                && descriptor.media_type().to_string()
                    != "application/vnd.docker.distribution.manifest.list.v2+json"
            {
                return self.blob(&descriptor);
            }
            let index = self.parse("an index", &self.read_blob(&self.blob(&descriptor)?)?)?;
            descriptor = self.choose_platform(&index)?;
        }
        Err(self.bad("its indexes name one another without end"))
    }

    /// Tells whether a blob is there.
    pub fn has(&self, blob: &Blob) -> bool {
        self.open_member(&blob_name(&blob.digest)).is_ok()
    }

    /// Returns the bytes of a manifest or a configuration, which are those of its digest.
    pub fn bytes(&self, blob: &Blob) -> Result<Vec<u8>> {
        self.read_blob(blob)
    }

    /// Opens the blob of a layer. Whoever reads it compares its digest.
    pub fn open(&self, blob: &Blob) -> Result<Box<dyn Read + Send + '_>> {
        let name = blob_name(&blob.digest);
        let (input, found) = self.open_member(&name)?;
        match found == blob.size_bytes {
            true => Ok(input),
            false => {
                let what = format!("blob {} has {found} bytes, not {}", blob.digest, blob.size_bytes);
                Err(Error::damaged(&self.path, what))
            }
        }
    }

    fn bad(&self, what: impl Into<String>) -> Error {
        Error::BadImage { path: self.path.clone(), what: what.into() }
    }

    fn choose(&self, index: &ImageIndex, reference: &ImageRef) -> Result<Descriptor> {
        let all = index.manifests();
        let name = |one: &Descriptor| one.annotations().as_ref().and_then(|all| all.get(REF_NAME).cloned());
        let found = match reference {
            ImageRef::Only if all.len() == 1 => all.first(),
            ImageRef::Only => None,
            ImageRef::Place(place) => all.get(*place),
            ImageRef::Name(wanted) => all.iter().find(|one| name(one).as_ref() == Some(wanted)),
        };
        found.cloned().ok_or_else(|| {
            let mut names: Vec<String> =
                all.iter().filter_map(name).map(|name| printable(name.as_bytes())).collect();
            names.sort();
            let more = names.len().saturating_sub(5);
            names.truncate(5);
            let list = match (names.is_empty(), more) {
                (true, _) => String::new(),
                (false, 0) => format!(": {}", names.join(", ")),
                (false, more) => format!(": {} and {more} more", names.join(", ")),
            };
            let wanted = match reference {
                ImageRef::Only => "name one of its".to_owned(),
                ImageRef::Name(name) => format!("no image {} among its", printable(name.as_bytes())),
                ImageRef::Place(place) => format!("no image @{place} among its"),
            };
            self.bad(format!("{wanted} {} images{list}", all.len()))
        })
    }

    fn choose_platform(&self, index: &ImageIndex) -> Result<Descriptor> {
        let here = Arch::from(goarch(std::env::consts::ARCH));
        let is_here = |one: &&Descriptor| {
            let platform = one.platform().as_ref();
            platform.is_some_and(|platform| *platform.architecture() == here && *platform.os() == Os::Linux)
        };
        let all = index.manifests();
        let found = all.iter().find(is_here).or_else(|| if all.len() == 1 { all.first() } else { None });
        found.cloned().ok_or_else(|| self.bad("it has no image for this machine"))
    }

    /// Reads the image with this manifest.
    pub fn image_of(&self, blob: Blob) -> Result<FoundImage> {
        let manifest: ImageManifest = self.parse("the manifest", &self.read_blob(&blob)?)?;
        if manifest.layers().len() > MOST_LAYERS {
            return Err(self.bad(format!("it has {} layers, more than any image", manifest.layers().len())));
        }
        let config = self.blob(manifest.config())?;
        let content: Value = self.parse("the configuration", &self.read_blob(&config)?)?; // of the rest, makers leave out much
        let diff_ids = content["rootfs"]["diff_ids"].as_array().map(Vec::as_slice).unwrap_or_default();
        if diff_ids.len() != manifest.layers().len() {
            return Err(self.bad("its configuration names another number of layers than its manifest"));
        }
        let layers = manifest.layers().iter().zip(diff_ids).map(|(layer, diff_id)| {
            let annotation = |name: &str| layer.annotations().as_ref().and_then(|all| all.get(name));
            Ok(FoundLayer {
                blob: self.blob(layer)?,
                media_type: layer.media_type().to_string(),
                diff_id: diff_id
                    .as_str()
                    .and_then(DiffId::parse)
                    .ok_or_else(|| self.bad("a diff_id of it is no SHA-256"))?,
                role: annotation(LAYER_ROLE).and_then(|role| Role::parse(role)),
                key: annotation(LAYER_KEY).and_then(|key| LayerKey::parse(key)),
            })
        });
        Ok(FoundImage { layers: layers.collect::<Result<_>>()?, manifest: blob, config })
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Blob> {
        let digest = Digest::parse(descriptor.digest().as_ref());
        let digest = digest.ok_or_else(|| self.bad("a digest in it is no SHA-256"))?;
        Ok(Blob { digest, size_bytes: descriptor.size() })
    }

    fn parse<T: DeserializeOwned>(&self, what: &str, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|e| self.bad(format!("{what}: {e}")))
    }

    fn read_blob(&self, blob: &Blob) -> Result<Vec<u8>> {
        self.read_small(&blob_name(&blob.digest), Some(blob))
    }

    fn read_small(&self, name: &str, blob: Option<&Blob>) -> Result<Vec<u8>> {
        let (input, size) = self.open_member(name)?;
        if size > LARGEST_JSON_BYTES {
            return Err(self.bad(format!("{name} is too large")));
        }
        let mut bytes = Vec::new();
        let limit = LARGEST_JSON_BYTES + 1;
        input.take(limit).read_to_end(&mut bytes).map_err(Error::io("read", &self.path))?;
        if let Some(blob) = blob
            && Digest(Sha256::digest(&bytes).into()) != blob.digest
        {
            return Err(Error::damaged(&self.path, format!("blob {} has another digest", blob.digest)));
        }
        Ok(bytes)
    }

    /// The member with this name and its length.
    fn open_member(&self, name: &str) -> Result<(Box<dyn Read + Send + '_>, u64)> {
        let missing = || match name {
            "index.json" => self.bad("it has no index.json"),
            name => Error::damaged(&self.path, format!("{name} is missing")),
        };
        match &self.place {
            Place::Archive(file, members) => {
                let (offset, size) = *members.get(name).ok_or_else(missing)?;
                let slice = Slice { file, at: offset, left: size, path: &self.path };
                Ok((Box::new(slice), size))
            }
            Place::Directory => {
                let path = self.path.join(name);
                // Without waiting: a FIFO may stand there.
                let flags = OFlags::NONBLOCK.bits().cast_signed();
                let file = match File::options().read(true).custom_flags(flags).open(&path) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing()),
                    file => file.map_err(Error::io("open", &path))?,
                };
                let there = file.metadata().map_err(Error::io("stat", &path))?;
                if !there.is_file() {
                    return Err(Error::NotAFile(path));
                }
                Ok((Box::new(file), there.len()))
            }
        }
    }
}

/// A part of a file; several may be read side by side, since each knows its own place.
struct Slice<'f> {
    file: &'f File,
    at: u64,
    left: u64,
    path: &'f Path,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 && most > 0 {
            return Err(io::Error::other(format!("{} is cut", show(self.path))));
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
