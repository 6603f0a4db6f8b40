//! An image of a registry in a store apart, for as long as somebody asks about the image.

use crate::error::{Error, Result};
use crate::model::names::{SnapshotRef, series_from};
use crate::model::repository::ImageName;
use crate::model::source::Source;
use crate::ops::monitor::Monitor;
use crate::ops::remote::image_source::open_registry;
use crate::ops::remote::lazy_pull::record_lazily;
use crate::ops::transfer::import::{Request, import};
use crate::registry::Access;
use std::num::NonZeroUsize;
use std::path::Path;
use tempfile::TempDir;

/// The stage of an image that is of none.
const STAGE: &str = "image";

/// A store with one snapshot, which goes when this value does.
pub(crate) struct Scratch {
    directory: TempDir,
    /// The snapshot.
    pub snapshot: SnapshotRef,
}

impl Scratch {
    /// Records an image in a store beneath `parent`: by records, or with all layers where there are no records, after a note. Fails if the registry does not give the image,
    /// or gives what no store takes.
    pub(crate) fn pull(
        name: &ImageName,
        (access, jobs): (&Access, NonZeroUsize),
        parent: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("rootstrata-")
            .tempdir_in(parent)
            .map_err(Error::io("make a directory in", parent))?;
        let image = open_registry(name, access)?;
        let is_named = image.record.is_some();
        let (_, last) = name.repository.name().rsplit_once('/').unwrap_or_default();
        let series = series_from(last).unwrap_or_else(|| STAGE.to_owned());
        let request = Request {
            source: Source::Registry(name.clone()),
            series: (!is_named).then_some(series),
            stage: (!is_named).then(|| STAGE.to_owned()),
            access: access.clone(),
            jobs,
        };
        let store = directory.path();
        let taken = match record_lazily(store, name, &image, &request, monitor)? {
            Ok(taken) => taken,
            Err(why) => {
                monitor.note(&format!("docker://{name}: {why}; its layers are read"));
                import(store, &request, monitor)?
            }
        };
        let snapshot = taken.images.first().map(|image| image.snapshot.id);
        Ok(Self {
            snapshot: SnapshotRef::Id(snapshot.unwrap_or_default()),
            directory,
        })
    }

    /// Returns the path of the store.
    pub(crate) fn store(&self) -> &Path {
        self.directory.path()
    }
}
