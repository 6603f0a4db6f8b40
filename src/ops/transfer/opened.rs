//! Opens the images of a source that a user has named.

use crate::error::{Error, Result};
use crate::layer::whole::uncompressed;
use crate::model::source::{ImageRef, Source};
use crate::oci::read::Opened;
use crate::ops::remote::image_source::open_registry;
use crate::registry::Access;
use std::fs::File;
use std::path::Path;

/// Opens a source of images, and returns also the reference to an image. Fails with [`Error::BadSource`] if the source
/// holds no images, and if its file cannot be opened or the registry does not give it.
pub(crate) fn open_images<'s>(
    source: &'s Source,
    access: &Access,
) -> Result<(Opened, &'s ImageRef)> {
    Ok(match source {
        Source::Registry(name) => (open_registry(name, access)?.opened, &ImageRef::Only),
        Source::Archive(path, reference) => (Opened::archive(open(path)?, path)?, reference),
        Source::DockerArchive(path, reference) => {
            (Opened::docker_archive(open(path)?, path)?, reference)
        }
        Source::Layout(path, reference) => (Opened::layout(path)?, reference),
        Source::Snapshot(_) | Source::Directory(_) | Source::Packages(_) => {
            return Err(Error::BadSource {
                text: source.to_string(),
            });
        }
    })
}

fn open(path: &Path) -> Result<File> {
    match std::fs::metadata(path).map_err(Error::io("open", path))? {
        there if there.is_dir() => return Err(Error::IsADirectory(path.to_owned())),
        there if !there.is_file() => return Err(Error::NotAFile(path.to_owned())),
        _ => {}
    }
    uncompressed(File::open(path).map_err(Error::io("open", path))?, path)
}
