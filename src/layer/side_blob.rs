//! Blobs that a registry keeps beside a layer or an image, so nobody needs the layer: items and packages, compressed.

use crate::model::plan::item::Item;
use crate::model::plan::items_form::write_items;
use std::io::{self, Read, Write};

/// The media type of the items of a layer.
pub(crate) const ITEMS_TYPE: &str = "application/vnd.rootstrata.items.v1+zstd";
/// The media type of the packages of an image.
pub(crate) const PACKAGES_TYPE: &str = "application/vnd.rootstrata.packages.v2+zstd";

/// No blob has more bytes.
pub const LARGEST_BLOB_BYTES: u64 = 256 << 20;
/// No blob unpacks to more bytes.
const LARGEST_BYTES: u64 = 1 << 30;

const LEVEL: i32 = 3;

/// Compresses the canonical bytes of items, in path order. Fails if zstd has no memory for the items.
pub(crate) fn compress_items<'a>(items: impl Iterator<Item = Item<'a>>) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    let mut written = Ok(());
    write_items(items, |bytes| {
        if written.is_ok() {
            written = encoder.write_all(bytes);
        }
    });
    written?;
    encoder.finish()
}

/// Compresses bytes. Fails if zstd has no memory for the bytes.
pub fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    zstd::encode_all(bytes, LEVEL)
}

/// Returns the bytes of a blob. Fails if the blob is not zstd, or unpacks to more than any such blob.
pub fn decompress(blob: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let decoder = zstd::Decoder::with_buffer(blob)?;
    let count = decoder.take(LARGEST_BYTES + 1).read_to_end(&mut bytes)?;
    if count as u64 > LARGEST_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::items_form::{key_of_bytes, read_items};
    use crate::model::plan::layer::LayerContent;
    use crate::model::policy::Policy;
    use crate::model::testing::{directory, file};
    use crate::model::tree::Tree;

    #[test]
    fn the_items_come_out_as_they_went_in() {
        let tree = Tree::new(vec![directory(""), file("a", 1)]);
        let content = LayerContent::whole(&tree);
        let bytes = decompress(&compress_items(content.items()).unwrap()).unwrap();
        let policy = Policy::plain();
        assert_eq!(key_of_bytes(&policy.key(), &bytes), content.key(&policy));
        assert_eq!(read_items(&bytes).unwrap().len(), 2);
        assert!(decompress(b"no zstd").is_err());
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        let mut bomb = zstd::Encoder::new(Vec::new(), 3).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..=LARGEST_BYTES >> 20 {
            bomb.write_all(&zeros).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() < 1 << 20);
        assert!(decompress(&bomb).is_err());
    }
}
