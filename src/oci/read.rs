//! Images that anybody may have made, read from a layout or an archive: which layers one has, and their blobs.
//!
//! Reads by offset, so the members of an archive may stand in any order. What is small is compared with its digest here;
//! a layer's blob is hashed by whoever reads it.

use super::image::{LAYER_KEY, LAYER_ROLE};
use super::{Blob, blob_name};
use crate::error::{Error, Result, show};
use crate::model::digest::{DiffId, Digest, LayerKey};
use crate::model::origin::Origin;
use crate::model::plan::layer::Role;
use crate::tarball::read::{FoundKind, Reader, TarError};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
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

/// A layout or an archive that is open.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Directory,
    Archive(File, Members),
}

/// What is in an archive.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Offset and length of each file.
    pub(super) files: HashMap<String, (u64, u64)>,
    /// The targets of links.
    pub(super) links: HashMap<String, String>,
    /// What stands for files that are not there.
    pub(super) made: HashMap<String, Vec<u8>>,
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
    pub(crate) fn blobs_bytes(&self) -> u64 {
        self.layers
            .iter()
            .fold(0, |sum, layer| sum.saturating_add(layer.blob.size_bytes))
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
            there => there.map_err(Error::io("open", path)).map(|_| Self {
                path: path.to_owned(),
                place: Place::Directory,
            }),
        }
    }

    /// Finds the members of an archive, without reading what they hold. `path` is where it is, for errors.
    pub fn archive(file: File, path: &Path) -> Result<Self> {
        let members = Members::of(&file, path)?;
        if !members.files.contains_key("index.json") && members.files.contains_key("manifest.json")
        {
            let what = "it is a docker-archive: write docker-archive:PATH in the place of oci-archive:PATH";
            return Err(Error::BadImage {
                path: path.to_owned(),
                what: what.to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            place: Place::Archive(file, members),
        })
    }

    /// Takes an archive of Docker's for an OCI layout, with manifests and an index that say the same.
    pub fn docker_archive(file: File, path: &Path) -> Result<Self> {
        let members = Members::of(&file, path)?;
        if !members.files.contains_key("manifest.json") {
            let what = match members.files.contains_key("index.json") {
                true => {
                    "it is an oci-archive: write oci-archive:PATH in the place of docker-archive:PATH"
                }
                false => "it has no manifest.json",
            };
            return Err(Error::BadImage {
                path: path.to_owned(),
                what: what.to_owned(),
            });
        }
        let mut opened = Self {
            path: path.to_owned(),
            place: Place::Archive(file, members),
        };
        let found = opened.docker_images()?;
        if let Place::Archive(_, members) = &mut opened.place {
            members.files.extend(found.files);
            members.made = found.made;
        }
        Ok(opened)
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

    pub(super) fn index(&self) -> Result<ImageIndex> {
        self.parse("index.json", &self.read_small("index.json", None)?)
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
                let what = format!(
                    "blob {} has {found} bytes, not {}",
                    blob.digest, blob.size_bytes
                );
                Err(Error::damaged(&self.path, what))
            }
        }
    }

    pub(super) fn bad(&self, what: impl Into<String>) -> Error {
        Error::BadImage {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    /// Reads the image with this manifest.
    pub fn image_of(&self, blob: Blob) -> Result<FoundImage> {
        let manifest = self.manifest(&blob)?;
        if manifest.layers().len() > MOST_LAYERS {
            return Err(self.bad(format!(
                "it has {} layers, more than any image",
                manifest.layers().len()
            )));
        }
        let config = self.blob(manifest.config())?;
        let content: Value = self.parse("the configuration", &self.read_blob(&config)?)?; // of the rest, makers leave out much
        let diff_ids = content["rootfs"]["diff_ids"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        if diff_ids.len() != manifest.layers().len() {
            return Err(
                self.bad("its configuration names another number of layers than its manifest")
            );
        }
        let layers = manifest
            .layers()
            .iter()
            .zip(diff_ids)
            .map(|(layer, diff_id)| {
                let annotation =
                    |name: &str| layer.annotations().as_ref().and_then(|all| all.get(name));
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
        Ok(FoundImage {
            layers: layers.collect::<Result<_>>()?,
            manifest: blob,
            config,
        })
    }

    pub(super) fn manifest(&self, blob: &Blob) -> Result<ImageManifest> {
        self.parse("the manifest", &self.read_blob(blob)?)
    }

    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<Blob> {
        let digest = Digest::parse(descriptor.digest().as_ref());
        let digest = digest.ok_or_else(|| self.bad("a digest in it is no SHA-256"))?;
        Ok(Blob {
            digest,
            size_bytes: descriptor.size(),
        })
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, what: &str, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|e| self.bad(format!("{what}: {e}")))
    }

    pub(super) fn read_blob(&self, blob: &Blob) -> Result<Vec<u8>> {
        self.read_small(&blob_name(&blob.digest), Some(blob))
    }

    pub(super) fn read_small(&self, name: &str, blob: Option<&Blob>) -> Result<Vec<u8>> {
        let (input, size) = self.open_member(name)?;
        if size > LARGEST_JSON_BYTES {
            return Err(self.bad(format!("{name} is too large")));
        }
        let mut bytes = Vec::new();
        let limit = LARGEST_JSON_BYTES + 1;
        input
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &self.path))?;
        if let Some(blob) = blob
            && Digest(Sha256::digest(&bytes).into()) != blob.digest
        {
            return Err(Error::damaged(
                &self.path,
                format!("blob {} has another digest", blob.digest),
            ));
        }
        Ok(bytes)
    }

    pub(super) fn members(&self) -> Option<&Members> {
        match &self.place {
            Place::Archive(_, members) => Some(members),
            Place::Directory => None,
        }
    }

    /// The member with this name and its length.
    pub(super) fn open_member(&self, name: &str) -> Result<(Box<dyn Read + Send + '_>, u64)> {
        let missing = || match name {
            "index.json" => self.bad("it has no index.json"),
            name => Error::damaged(&self.path, format!("{name} is missing")),
        };
        match &self.place {
            Place::Archive(file, members) => {
                if let Some(bytes) = members.made.get(name) {
                    return Ok((Box::new(bytes.as_slice()), bytes.len() as u64));
                }
                let (offset, size) = *members.files.get(name).ok_or_else(missing)?;
                let slice = Slice {
                    file,
                    at: offset,
                    left: size,
                    path: &self.path,
                };
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

impl Members {
    fn of(file: &File, path: &Path) -> Result<Self> {
        let bad = |what: String| Error::BadImage {
            path: path.to_owned(),
            what,
        };
        let failed = |error: TarError| match error {
            TarError::Io(source) => Error::io("read", path)(source),
            TarError::Malformed { what, path } if path.is_empty() => bad(format!("it {what}")),
            error => bad(error.to_string()),
        };
        let mut members = Self::default();
        let mut reader = Reader::new(file);
        while let Some(found) = reader.next_member().map_err(failed)? {
            if members.files.len() + members.links.len() == MOST_MEMBERS {
                return Err(bad("it has more members than any image".to_owned()));
            }
            let Ok(name) = String::from_utf8(found.path) else {
                continue;
            };
            let name = name.trim_start_matches("./").to_owned();
            match found.kind {
                FoundKind::File(size) => {
                    members.files.insert(name, (reader.position(), size));
                    reader.seek_past_content().map_err(failed)?;
                }
                FoundKind::Symlink(target) | FoundKind::Link(target) => {
                    members
                        .links
                        .extend(String::from_utf8(target).ok().map(|target| (name, target)));
                }
                _ => {}
            }
        }
        Ok(members)
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
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 && most > 0 {
            return Err(io::Error::other(format!("{} is cut", show(self.path))));
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
