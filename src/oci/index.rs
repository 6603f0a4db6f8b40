//! index.json, the images of a layout (image-spec, image-index.md).

use super::image::{descriptor, unbuildable};
use super::{Blob, REF_NAME, to_sorted_json};
use crate::error::{Error, Result};
use crate::model::origin::Origin;
use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};
use std::collections::HashMap;
use std::path::Path;

/// An image of a layout.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest.
    pub manifest: Blob,
    /// The name, if any.
    pub name: Option<String>,
    /// The origin.
    pub origin: Option<Origin>,
}

/// Returns the bytes of an index of images, in order. Fails if the image-spec refuses a descriptor.
pub(crate) fn render(images: &[Image]) -> Result<Vec<u8>> {
    of_descriptors(
        images
            .iter()
            .map(descriptor_of)
            .collect::<oci_spec::Result<_>>()
            .map_err(unbuildable)?,
    )
}

/// Returns the bytes of an index that lists another index alone, whose reader chooses the image for its machine. Fails if the
/// image-spec refuses the descriptor.
pub(crate) fn of_index(listed: &Blob) -> Result<Vec<u8>> {
    let built = descriptor(listed, MediaType::ImageIndex).and_then(|descriptor| descriptor.build());
    of_descriptors(vec![built.map_err(unbuildable)?])
}

/// Returns the bytes of the index `there`, of the layout at `path`, with `images` replacing images of the same names. Fails
/// if `there` is no index.
pub fn merge(there: &[u8], images: &[Image], path: &Path) -> Result<Vec<u8>> {
    let there: ImageIndex =
        serde_json::from_slice(there).map_err(|e| Error::damaged(path, e.to_string()))?;
    let name_of = |descriptor: &Descriptor| {
        descriptor
            .annotations()
            .as_ref()
            .and_then(|all| all.get(REF_NAME).cloned())
    };
    let is_replaced = |other: &Descriptor| {
        let name = name_of(other);
        images
            .iter()
            .any(|image| image.name == name && name.is_some())
    };
    let mut all: Vec<Descriptor> = there
        .manifests()
        .iter()
        .filter(|other| !is_replaced(other))
        .cloned()
        .collect();
    for image in images {
        all.push(descriptor_of(image).map_err(unbuildable)?);
    }
    all.sort_by_key(name_of);
    of_descriptors(all)
}

/// Tells whether `bytes` are at most the beginning of an index, as after a power cut.
pub(crate) fn is_cut(bytes: &[u8]) -> bool {
    let written = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    serde_json::from_slice::<serde::de::IgnoredAny>(&bytes[..written]).is_err_and(|e| e.is_eof())
}

fn of_descriptors(descriptors: Vec<Descriptor>) -> Result<Vec<u8>> {
    let index = ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests(descriptors)
        .build();
    index
        .map(|index| to_sorted_json(&index))
        .map_err(unbuildable)
}

fn descriptor_of(image: &Image) -> oci_spec::Result<Descriptor> {
    let built = descriptor(&image.manifest, MediaType::ImageManifest)?;
    let mut annotations = HashMap::new();
    annotations.extend(image.name.clone().map(|name| (REF_NAME.to_owned(), name)));
    let origin = image.origin.iter().flat_map(Origin::annotations);
    annotations.extend(origin);
    if annotations.is_empty() {
        built.build()
    } else {
        built.annotations(annotations).build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    fn image(byte: u8, name: Option<&str>) -> Image {
        let manifest = Blob {
            digest: Digest([byte; 32]),
            size_bytes: 1,
        };
        Image {
            manifest,
            name: name.map(str::to_owned),
            origin: None,
        }
    }

    #[test]
    fn an_index_of_nothing_is_the_one_that_stores_begin_with() {
        assert_eq!(render(&[]).unwrap(), crate::model::names::EMPTY_INDEX);
    }

    #[test]
    fn an_image_replaces_the_one_of_its_name_and_leaves_the_others() {
        let there = render(&[image(1, Some("a")), image(2, Some("b")), image(3, None)]).unwrap();
        let merged = merge(&there, &[image(4, Some("b"))], Path::new("index.json")).unwrap();
        let expected = render(&[image(3, None), image(1, Some("a")), image(4, Some("b"))]).unwrap();
        assert_eq!(
            String::from_utf8(merged).unwrap(),
            String::from_utf8(expected).unwrap()
        );
        assert!(merge(b"{", &[], Path::new("index.json")).is_err());
    }

    #[test]
    fn an_index_that_was_cut_is_told_from_one_that_is_none() {
        let whole = render(&[image(1, Some("a"))]).unwrap();
        for length in 0..whole.len() {
            assert!(is_cut(&whole[..length]), "{length}");
            assert!(is_cut(&[&whole[..length], &[0; 100]].concat()), "{length}");
        }
        assert!(!is_cut(&whole) && !is_cut(b"{]") && !is_cut(b"no index"));
    }
}
