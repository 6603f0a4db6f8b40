//! Opens the images that a user has named, whatever they are in.

use crate::error::{Error, Result};
use crate::layer::whole::uncompressed;
use crate::model::source::{ImageRef, Source};
use crate::oci::read::Opened;
use std::fs::File;
use std::path::Path;

/// Opens where images are, and returns also which is meant. Fails where the source is none of images.
pub(crate) fn open_images(source: &Source) -> Result<(Opened, &ImageRef)> {
    Ok(match source {
        Source::Archive(path, reference) => (Opened::archive(open(path)?, path)?, reference),
        Source::DockerArchive(path, reference) => {
            (Opened::docker_archive(open(path)?, path)?, reference)
        }
        Source::Layout(path, reference) => (Opened::layout(path)?, reference),
        Source::Snapshot(_) | Source::Directory(_) => {
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
