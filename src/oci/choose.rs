//! The images of an index, and the choice among them. An index also lists attestations, signatures and other attachments:
//! passed over, with a note.

use super::image::goarch;
use super::read::{FoundImage, ListedImage, Opened};
use super::{Blob, REF_NAME};
use crate::error::Result;
use crate::model::origin::Origin;
use crate::model::source::ImageRef;
use crate::printable::printable;
use oci_spec::image::{Arch, Descriptor, ImageIndex, ImageManifest, MediaType, Os};
use std::collections::HashMap;

/// An index may name further indexes.
const MOST_INDEXES: usize = 8;
/// The most images or other things in a line.
const MOST_NAMED: usize = 5;
/// The annotation of a manifest about an image (BuildKit, "Image attestation storage").
const ATTESTATION: &str = "vnd.docker.reference.type";
/// All names of an image from an archive of Docker's, a line each.
pub(super) const ALL_NAMES: &str = "org.rootstrata.names";

/// The chosen images of an index.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The images, in the order of the index.
    pub images: Vec<ListedImage>,
    /// A sentence on everything passed over.
    pub passed_over: Option<String>,
}

/// An image with the place in the index and the descriptor of the manifest.
type Placed = (usize, Descriptor, Blob);

/// An item of an index.
enum Listed {
    /// An image, with the manifest.
    Image(Blob),
    /// An attachment.
    Other(String),
}

impl Opened {
    /// Finds the image of `reference`, for the platform of this machine, with a sentence on everything passed over. Fails with
    /// `BadImage` if no image or several images match.
    pub fn image(&self, reference: &ImageRef) -> Result<(FoundImage, Option<String>)> {
        let index = self.index()?;
        let (images, passed_over) = self.sift(&index)?;
        let (_, _, manifest) = self.choose(&index, images, passed_over.as_deref(), reference)?;
        let passed_over = passed_over.filter(|_| *reference == ImageRef::Only);
        Ok((self.image_of(manifest)?, passed_over))
    }

    /// Returns the images of `reference`: all, without a name. Fails with `BadImage` if the index cannot be parsed, or no
    /// image has the name.
    pub fn images(&self, reference: &ImageRef) -> Result<Listing> {
        let index = self.index()?;
        let (images, passed_over) = self.sift(&index)?;
        let (chosen, passed_over) = match reference {
            ImageRef::Only => (images, passed_over),
            _ => (
                vec![self.choose(&index, images, passed_over.as_deref(), reference)?],
                None,
            ),
        };
        let listed = chosen.into_iter().map(|(_, descriptor, manifest)| {
            let annotations = descriptor.annotations().clone().unwrap_or_default();
            ListedImage {
                manifest,
                name: annotations.get(REF_NAME).cloned(),
                origin: Origin::of(&annotations),
            }
        });
        Ok(Listing {
            images: listed.collect(),
            passed_over,
        })
    }

    /// Returns the images of an index, each with the place, and a sentence on other items.
    fn sift(&self, index: &ImageIndex) -> Result<(Vec<Placed>, Option<String>)> {
        let (mut images, mut others) = (Vec::new(), Vec::new());
        let mut known: HashMap<String, Option<String>> = HashMap::new();
        for (place, descriptor) in index.manifests().iter().enumerate() {
            match self.listed(descriptor, &mut known)? {
                Listed::Image(manifest) => images.push((place, descriptor.clone(), manifest)),
                Listed::Other(what) => others.push(format!(":@{place} ({what})")),
            }
        }
        let list = named(&others);
        let passed_over = format!("what is no image for this machine is passed over: {list}");
        Ok((images, (!others.is_empty()).then_some(passed_over)))
    }

    /// Reads a descriptor, and follows indexes to a manifest.
    fn listed(
        &self,
        descriptor: &Descriptor,
        known: &mut HashMap<String, Option<String>>,
    ) -> Result<Listed> {
        let mut descriptor = descriptor.clone();
        for _ in 0..MOST_INDEXES {
            if let Some(what) = of_no_image(&descriptor) {
                return Ok(Listed::Other(what));
            }
            if !is_index(descriptor.media_type()) {
                let blob = self.blob(&descriptor)?;
                // An unreadable manifest is an error only for the caller that wants the image.
                let what = known.entry(blob.digest.hex()).or_insert_with(|| {
                    self.manifest(&blob)
                        .ok()
                        .and_then(|manifest| other_than_image(&manifest))
                });
                return Ok(what.clone().map_or(Listed::Image(blob), Listed::Other));
            }
            let index = self.parse("an index", &self.read_blob(&self.blob(&descriptor)?)?)?;
            match choose_platform(&index) {
                Some(chosen) => descriptor = chosen,
                None => return Ok(Listed::Other("for other machines".to_owned())),
            }
        }
        Err(self.bad("its indexes name one another without end"))
    }

    fn choose(
        &self,
        index: &ImageIndex,
        mut images: Vec<Placed>,
        passed_over: Option<&str>,
        reference: &ImageRef,
    ) -> Result<Placed> {
        let found = match reference {
            ImageRef::Only => (images.len() == 1).then_some(0),
            ImageRef::Place(place) => images.iter().position(|(at, ..)| at == place),
            ImageRef::Name(name) => images.iter().position(|(_, one, _)| is_named(one, name)),
        };
        if let Some(found) = found {
            return Ok(images.swap_remove(found));
        }
        Err(self.bad(why_none(index, &images, passed_over, reference)))
    }
}

/// Tells why none of the images of an index is chosen.
fn why_none(
    index: &ImageIndex,
    images: &[Placed],
    passed_over: Option<&str>,
    reference: &ImageRef,
) -> String {
    let wanted = match reference {
        ImageRef::Only => None,
        ImageRef::Name(name) => index.manifests().iter().position(|one| is_named(one, name)),
        ImageRef::Place(place) => (*place < index.manifests().len()).then_some(*place),
    };
    if let (Some(place), Some(passed_over)) = (wanted, passed_over) {
        return format!("its :@{place} is none; {passed_over}");
    }
    if images.is_empty() {
        let others = passed_over.map_or(String::new(), |others| format!("; {others}"));
        return format!("it lists no image{others}");
    }
    let all: Vec<String> = images
        .iter()
        .map(|(place, one, _)| shown(*place, one))
        .collect();
    let wanted = match reference {
        ImageRef::Only => "name one of its".to_owned(),
        ImageRef::Name(name) => format!("no image {} among its", printable(name.as_bytes())),
        ImageRef::Place(place) => format!("no image :@{place} among its"),
    };
    format!("{wanted} {} images: {}", all.len(), named(&all))
}

fn shown(place: usize, descriptor: &Descriptor) -> String {
    match name(descriptor) {
        Some(name) => format!(":@{place} ({})", printable(name.as_bytes())),
        None => format!(":@{place}"),
    }
}

/// Returns the first names, and the number of further names.
fn named(all: &[String]) -> String {
    match all.len().saturating_sub(MOST_NAMED) {
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..MOST_NAMED].join(", ")),
    }
}

fn name(descriptor: &Descriptor) -> Option<&String> {
    descriptor
        .annotations()
        .as_ref()
        .and_then(|all| all.get(REF_NAME))
}

/// Tells whether an image has a name. Docker leaves out its own registry and the tag `latest`.
fn is_named(descriptor: &Descriptor, wanted: &str) -> bool {
    let all = descriptor
        .annotations()
        .as_ref()
        .and_then(|all| all.get(ALL_NAMES));
    let is = |name: &str| name == wanted;
    let is_docker = |name: &str| {
        let tagged = if wanted.contains(':') {
            wanted.to_owned()
        } else {
            format!("{wanted}:latest")
        };
        ["", "docker.io/", "docker.io/library/"]
            .iter()
            .any(|registry| name == format!("{registry}{tagged}"))
    };
    name(descriptor).is_some_and(|name| is(name))
        || all.is_some_and(|all| all.lines().any(|name| is(name) || is_docker(name)))
}

fn is_index(media_type: &MediaType) -> bool {
    *media_type == MediaType::ImageIndex
        || media_type.to_string() == "application/vnd.docker.distribution.manifest.list.v2+json"
}

/// Returns the kind of a descriptor that is no image.
fn of_no_image(descriptor: &Descriptor) -> Option<String> {
    if descriptor
        .annotations()
        .as_ref()
        .is_some_and(|all| all.contains_key(ATTESTATION))
    {
        return Some("an attestation".to_owned());
    }
    let is_unknown = |platform: &oci_spec::image::Platform| {
        platform.architecture().to_string() == "unknown" && platform.os().to_string() == "unknown"
    };
    if descriptor.platform().as_ref().is_some_and(is_unknown) {
        return Some("for no machine".to_owned());
    }
    let media_type = descriptor.media_type();
    let is_manifest = *media_type == MediaType::ImageManifest
        || media_type.to_string() == "application/vnd.docker.distribution.manifest.v2+json";
    (!is_manifest && !is_index(media_type)).then(|| printable(media_type.to_string().as_bytes()))
}

/// Returns the kind of a manifest that is no image (image-spec, manifest.md, "Guidelines for Artifact Usage").
fn other_than_image(manifest: &ImageManifest) -> Option<String> {
    if manifest
        .annotations()
        .as_ref()
        .is_some_and(|all| all.contains_key(ATTESTATION))
    {
        return Some("an attestation".to_owned());
    }
    let config = manifest.config().media_type().to_string();
    let is_image = *manifest.config().media_type() == MediaType::ImageConfig
        || config == "application/vnd.docker.container.image.v1+json";
    if !is_image {
        let kind = manifest
            .artifact_type()
            .as_ref()
            .map_or(config, ToString::to_string);
        return Some(format!(
            "an artifact of type {}",
            printable(kind.as_bytes())
        ));
    }
    let is_tar = |media_type: &str| {
        media_type.starts_with("application/vnd.oci.image.layer.")
            || media_type.starts_with("application/vnd.docker.image.rootfs.")
    };
    let layers = manifest
        .layers()
        .iter()
        .map(|layer| layer.media_type().to_string());
    let other = layers.into_iter().find(|media_type| !is_tar(media_type))?;
    Some(format!("its layers are {}", printable(other.as_bytes())))
}

/// Returns the image for this machine, or the only image.
fn choose_platform(index: &ImageIndex) -> Option<Descriptor> {
    let here = Arch::from(goarch(std::env::consts::ARCH));
    let is_here = |one: &&&Descriptor| {
        let platform = one.platform().as_ref();
        platform
            .is_some_and(|platform| *platform.architecture() == here && *platform.os() == Os::Linux)
    };
    let all: Vec<&Descriptor> = index
        .manifests()
        .iter()
        .filter(|one| of_no_image(one).is_none())
        .collect();
    let found = all.iter().find(is_here).copied();
    found
        .or_else(|| {
            if let [only] = all[..] {
                Some(only)
            } else {
                None
            }
        })
        .cloned()
}
