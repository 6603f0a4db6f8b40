//! Images of any maker, read from a layout or an archive: layers and blobs.
//!
//! Reads by offset, so the members of an archive may come in any order. Small blobs are compared with the digest here; the
//! blob of a layer is hashed by the reader.

use super::image::{LAYER_KEY, LAYER_ROLE};
use super::remote::{RemoteBlobs, RemoteImage};
use super::{Blob, blob_name};
use crate::error::{Error, Result, show};
use crate::model::digest::{DiffId, Digest, LayerKey};
use crate::model::origin::Origin;
use crate::model::plan::layer::Role;
use crate::tarball::defect::TarError;
use crate::tarball::read::{FoundKind, Reader};
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

/// Larger than any manifest or configuration; engines have the same limit.
const LARGEST_JSON_BYTES: u64 = 4 << 20;
/// The index of a store has the labels of all layers of each image, up to 5 kB.
const LARGEST_INDEX_BYTES: u64 = 32 << 20;
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
    Registry(RemoteImage),
}

/// The members of an archive.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Offset and length of each file.
    pub files: HashMap<String, (u64, u64)>,
    /// The targets of links.
    pub links: HashMap<String, String>,
    /// Contents made by us, by the names of members that the archive lacks.
    pub made: HashMap<String, Vec<u8>>,
}

/// An image of a layout or an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundImage {
    /// The manifest.
    pub manifest: Blob,
    /// The configuration.
    pub config: Blob,
    /// The layers, the lowest first.
    pub layers: Vec<FoundLayer>,
}

impl FoundImage {
    /// Returns the length of the blobs of all layers, as in the manifest.
    pub(crate) fn blobs_bytes(&self) -> u64 {
        self.layers
            .iter()
            .fold(0, |sum, layer| sum.saturating_add(layer.blob.size_bytes))
    }
}

/// An image as an index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedImage {
    /// The manifest.
    pub manifest: Blob,
    /// The name.
    pub name: Option<String>,
    /// The origin of an image of rootstrata.
    pub origin: Option<Origin>,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLayer {
    /// The blob.
    pub blob: Blob,
    /// The media type of the blob, as in the manifest.
    pub media_type: String,
    /// SHA-256 of the tar, as in the configuration.
    pub diff_id: DiffId,
    /// The role of a layer of rootstrata.
    pub role: Option<Role>,
    /// The key of a layer of rootstrata.
    pub key: Option<LayerKey>,
}

impl Opened {
    /// Opens the layout in a directory. Fails with [`Error::NotADirectory`] if `path` is a file.
    pub fn layout(path: &Path) -> Result<Self> {
        match std::fs::metadata(path) {
            Ok(there) if !there.is_dir() => Err(Error::NotADirectory(path.to_owned())),
            there => there.map_err(Error::io("open", path)).map(|_| Self {
                path: path.to_owned(),
                place: Place::Directory,
            }),
        }
    }

    /// Finds the members of an archive, without the contents. Fails with [`Error::BadImage`] if the file is no tar, or
    /// an archive of Docker's. `path` is for errors.
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

    /// Reads an archive of Docker's as an OCI layout, with equal manifests and index. Fails with [`Error::BadImage`] if the file
    /// has no manifest.json.
    pub fn docker_archive(file: File, path: &Path) -> Result<Self> {
        let members = Members::of(&file, path)?;
        if !members.files.contains_key("manifest.json") {
            let what = if members.files.contains_key("index.json") {
                "it is an oci-archive: write oci-archive:PATH in the place of docker-archive:PATH"
            } else {
                "it has no manifest.json"
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

    /// Takes an image of a registry: index.json with the image alone, its manifest, and the source of all other blobs. `path` is
    /// for errors.
    pub fn remote(
        path: PathBuf,
        index: Vec<u8>,
        manifest: Vec<u8>,
        blobs: Box<dyn RemoteBlobs>,
    ) -> Self {
        let image = RemoteImage::new(index, manifest, blobs);
        Self {
            path,
            place: Place::Registry(image),
        }
    }

    /// Returns the path of the layout or the archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file of a blob, or the archive, for errors.
    pub fn path_of(&self, blob: &Blob) -> PathBuf {
        match self.place {
            Place::Directory => self.path.join(blob_name(&blob.digest)),
            Place::Archive(..) | Place::Registry(_) => self.path.clone(),
        }
    }

    /// Reads the index. Fails with [`Error::BadImage`] if index.json is missing or malformed.
    pub(super) fn index(&self) -> Result<ImageIndex> {
        self.parse("index.json", &self.read_small("index.json", None)?)
    }

    /// Tells whether a blob exists. A registry is not asked: it says so when the blob is opened.
    pub fn has(&self, blob: &Blob) -> bool {
        matches!(self.place, Place::Registry(_))
            || self
                .open_member(&blob_name(&blob.digest), Some(blob))
                .is_ok()
    }

    /// Returns the bytes of a manifest or a configuration. Fails with [`Error::Damaged`] if the digest is another.
    pub fn bytes(&self, blob: &Blob) -> Result<Vec<u8>> {
        self.read_blob(blob)
    }

    /// Opens the blob of a layer; the reader compares the digest. Fails with [`Error::Damaged`] if the length is another.
    pub fn open(&self, blob: &Blob) -> Result<Box<dyn Read + Send + '_>> {
        let name = blob_name(&blob.digest);
        let (input, found) = self.open_member(&name, Some(blob))?;
        if found == blob.size_bytes {
            return Ok(input);
        }
        let Blob { digest, size_bytes } = blob;
        let what = format!("blob {digest} has {found} bytes, not {size_bytes}");
        Err(Error::damaged(&self.path, what))
    }

    pub(super) fn bad(&self, what: impl Into<String>) -> Error {
        Error::BadImage {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    /// Reads the image of a manifest. Fails with [`Error::BadImage`] if manifest and configuration do not fit.
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
        let layers = manifest.layers().iter().zip(diff_ids);
        let layers = layers.map(|(layer, diff_id)| self.found_layer(layer, diff_id));
        Ok(FoundImage {
            layers: layers.collect::<Result<_>>()?,
            manifest: blob,
            config,
        })
    }

    fn found_layer(&self, layer: &Descriptor, diff_id: &Value) -> Result<FoundLayer> {
        let annotation = |name: &str| layer.annotations().as_ref().and_then(|all| all.get(name));
        let blob = self.blob(layer)?;
        let diff_id = diff_id.as_str().and_then(DiffId::parse);
        Ok(FoundLayer {
            blob,
            media_type: layer.media_type().to_string(),
            diff_id: diff_id.ok_or_else(|| self.bad("a diff_id of it is no SHA-256"))?,
            role: annotation(LAYER_ROLE).and_then(|role| Role::parse(role)),
            key: annotation(LAYER_KEY).and_then(|key| LayerKey::parse(key)),
        })
    }

    /// Reads a manifest. Fails if the blob is damaged or no manifest.
    pub(super) fn manifest(&self, blob: &Blob) -> Result<ImageManifest> {
        self.parse("the manifest", &self.read_blob(blob)?)
    }

    /// Returns the blob of a descriptor. Fails if the digest is no SHA-256.
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<Blob> {
        let digest = Digest::parse(descriptor.digest().as_ref());
        let digest = digest.ok_or_else(|| self.bad("a digest in it is no SHA-256"))?;
        Ok(Blob {
            digest,
            size_bytes: descriptor.size(),
        })
    }

    /// Parses JSON, called `what` in errors. Fails with [`Error::BadImage`] if fields are missing or of another type.
    pub(super) fn parse<T: DeserializeOwned>(&self, what: &str, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|e| self.bad(format!("{what}: {e}")))
    }

    /// Reads a small blob. Fails if the blob is missing, too large, or has another digest.
    pub(super) fn read_blob(&self, blob: &Blob) -> Result<Vec<u8>> {
        let Place::Registry(image) = &self.place else {
            return self.read_small(&blob_name(&blob.digest), Some(blob));
        };
        if let Some(bytes) = image.small(&blob.digest) {
            return Ok(bytes);
        }
        let bytes = self.read_small(&blob_name(&blob.digest), Some(blob))?;
        image.keep_small(blob.digest, &bytes);
        Ok(bytes)
    }

    /// Reads a small member. Fails with [`Error::BadImage`] above the limit, and if `blob` has another digest.
    pub(super) fn read_small(&self, name: &str, blob: Option<&Blob>) -> Result<Vec<u8>> {
        let (input, size) = self.open_member(name, blob)?;
        let most_bytes = match name {
            "index.json" => LARGEST_INDEX_BYTES,
            _ => LARGEST_JSON_BYTES,
        };
        if size > most_bytes {
            return Err(self.bad(format!("{name} is too large")));
        }
        let mut bytes = Vec::new();
        input
            .take(most_bytes + 1)
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
            Place::Directory | Place::Registry(_) => None,
        }
    }

    /// Opens a member, which is `blob` unless it is index.json, and returns the length. Fails with [`Error::Damaged`] if the
    /// member is missing.
    pub(super) fn open_member(
        &self,
        name: &str,
        blob: Option<&Blob>,
    ) -> Result<(Box<dyn Read + Send + '_>, u64)> {
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
                let (file, size) = open_regular(self.path.join(name))?.ok_or_else(missing)?;
                Ok((Box::new(file), size))
            }
            Place::Registry(image) => image.open(name, blob, &self.path),
        }
    }
}

/// Opens a regular file, and returns the length; `None` without a file.
fn open_regular(path: PathBuf) -> Result<Option<(File, u64)>> {
    // Without waiting, in case of a FIFO.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = match File::options().read(true).custom_flags(flags).open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Error::io("open", &path))?,
    };
    let there = file.metadata().map_err(Error::io("stat", &path))?;
    if !there.is_file() {
        return Err(Error::NotAFile(path));
    }
    Ok(Some((file, there.len())))
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

/// A part of a file with a position of its own, so parts can be read side by side.
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
