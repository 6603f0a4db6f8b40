//! Takes images into a store: exports of a store of ours, whole or thin, images of others, and the images of the
//! store's own layout after a loss of the database.

use crate::error::{Error, Result};
use crate::model::names::{check_name, check_series};
use crate::model::source::{ImageRef, Source};
use crate::oci::choose::Listing;
use crate::oci::read::{ListedImage, Opened};
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::remote::fetch::fetch_missing;
use crate::ops::root_view::package_files::PackageFiles;
use crate::ops::root_view::packages::read_packages;
use crate::ops::store_index::update_index;
use crate::ops::transfer::found_image::{Finder, Found, bad_image};
use crate::ops::transfer::opened::open_images;
pub use crate::ops::transfer::record_image::Imported;
use crate::ops::transfer::record_image::{Content, Purpose, Taken, record};
use crate::ops::transfer::take_layers::LayerTaker;
use crate::registry::Access;
use crate::store::Store;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

/// The images to import, and their names.
#[derive(Clone, Debug)]
pub struct Request {
    /// An archive or a layout; without an image's name, all images.
    pub source: Source,
    /// The series; by default as the image says.
    pub series: Option<String>,
    /// The stage, likewise.
    pub stage: Option<String>,
    /// How registries are reached.
    pub access: Access,
    /// How many blobs of a registry are fetched at once.
    pub jobs: NonZeroUsize,
}

/// The imported images.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The images, in the order of their numbers.
    pub images: Vec<Imported>,
    /// The damaged images of a store that is rebuilt, each with the reason: only the other images can be had.
    pub failed: Vec<String>,
    /// Bytes of blobs copied into the store.
    pub bytes_written: u64,
    /// The time of each phase.
    pub seconds: Vec<(Phase, Duration)>,
}

/// Imports into the store at `store_path`, and makes a missing store. From the store's own layout, images missing in
/// the database are recorded again. Fails if the source holds no image, or an image is damaged, lies, or is of no
/// known series.
pub fn import(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Outcome> {
    check_names(request)?;
    let (mut opened, reference) = open_images(&request.source, &request.access)?;
    let phases = Phases::new(monitor);
    if matches!(request.source, Source::Registry(_)) {
        fetch_missing(store_path, &mut opened, request.jobs, &phases)?;
    }
    let (purpose, mut store) = open_store(store_path, &opened)?;
    let listed = listed(&opened, reference, purpose, request, monitor)?;
    let finder = Finder {
        opened: &opened,
        series: request.series.as_deref(),
        stage: request.stage.as_deref(),
        takes_all: matches!(reference, ImageRef::Only),
        monitor,
    };
    let mut import = Import::new(&mut store, &opened, purpose, &phases);
    import.take_all(&finder, listed)?;
    let mut outcome = import.outcome();
    phases.run(Phase::Record, None, || update_index(&store))?;
    outcome.seconds = phases.spent();
    Ok(outcome)
}

/// Opens the store, to rebuild the database if the images are the store's own.
fn open_store(store_path: &Path, opened: &Opened) -> Result<(Purpose, Store)> {
    if is_same_directory(opened.path(), store_path) {
        Ok((Purpose::Rebuild, Store::open_to_rebuild(store_path)?))
    } else {
        Ok((Purpose::Import, Store::open_or_create(store_path)?))
    }
}

/// Fails with [`Error::BadName`] if the series or the stage that was asked for is malformed.
pub(crate) fn check_names(request: &Request) -> Result<()> {
    if let Some(series) = &request.series {
        check_series(series)?;
    }
    if let Some(stage) = &request.stage {
        check_name("stage", stage)?;
    }
    Ok(())
}

fn is_same_directory(a: &Path, b: &Path) -> bool {
    match (std::fs::canonicalize(a), std::fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Returns the requested images, at least one. Fails if there is none, and if one stage is asked for and there are several.
pub(crate) fn listed(
    opened: &Opened,
    reference: &ImageRef,
    purpose: Purpose,
    request: &Request,
    monitor: &dyn Monitor,
) -> Result<Vec<ListedImage>> {
    let Listing {
        images,
        passed_over,
    } = opened.images(reference)?;
    if images.is_empty() && purpose == Purpose::Import {
        let others = passed_over.map_or(String::new(), |others| format!("; {others}"));
        return Err(bad_image(opened, format!("it lists no image{others}")));
    }
    if let Some(what) = passed_over {
        monitor.note(&format!("{}: {what}", request.source));
    }
    if images.len() > 1 && request.stage.is_some() {
        let count = images.len();
        let what = format!("it has {count} images: name the one that is of this stage");
        return Err(bad_image(opened, what));
    }
    Ok(images)
}

struct Import<'a> {
    store: &'a mut Store,
    opened: &'a Opened,
    purpose: Purpose,
    phases: &'a Phases<'a>,
    bytes_written: u64,
    taken: Vec<Taken>,
    /// The damaged images of a store that is rebuilt.
    failed: Vec<String>,
}

impl<'a> Import<'a> {
    fn new(
        store: &'a mut Store,
        opened: &'a Opened,
        purpose: Purpose,
        phases: &'a Phases<'a>,
    ) -> Self {
        Self {
            store,
            opened,
            purpose,
            phases,
            bytes_written: 0,
            taken: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Returns the outcome, without the times.
    fn outcome(self) -> Outcome {
        let taken = self.taken.into_iter();
        Outcome {
            images: taken.map(|taken| taken.image).collect(),
            failed: self.failed,
            bytes_written: self.bytes_written,
            seconds: Vec::new(),
        }
    }

    fn take_all(&mut self, finder: &Finder, listed: Vec<ListedImage>) -> Result<()> {
        for found in self.find_all(finder, listed)? {
            self.take(&found)?;
        }
        Ok(())
    }

    /// Identifies the images, and sorts them by the order of their recording; a later stage of a run has more layers.
    fn find_all(&mut self, finder: &Finder, listed: Vec<ListedImage>) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for one in listed {
            match finder.find(one) {
                Err(error) if self.goes_on_after(&error) => self.failed.push(error.in_one_line()),
                one => found.extend(one?),
            }
        }
        found.sort_by_key(|one| {
            let recorded = one.origin.recorded.as_ref();
            (recorded.map(|recorded| recorded.id), one.image.layers.len())
        });
        Ok(found)
    }

    /// Takes an image, or notes the damage.
    fn take(&mut self, found: &Found) -> Result<()> {
        match self.try_take(found) {
            Err(error) if self.goes_on_after(&error) => {
                let what = format!("{}: {}", found.shown(), error.in_one_line());
                self.failed.push(what);
            }
            image => self.taken.push(Taken {
                image: image?,
                claimed: found.origin.recorded.clone(),
            }),
        }
        Ok(())
    }

    fn goes_on_after(&self, error: &Error) -> bool {
        self.purpose == Purpose::Rebuild && error.is_damage()
    }

    fn try_take(&mut self, found: &Found) -> Result<Imported> {
        if let Some(known) = known_image(self.store, found)? {
            return Ok(known);
        }
        let content = self.take_content(found)?;
        record(
            self.store,
            self.opened,
            self.purpose,
            found,
            content,
            &self.taken,
        )
    }

    /// Takes the layers of an image into the store, and reads the packages.
    fn take_content(&mut self, found: &Found) -> Result<Content> {
        let mut kept = PackageFiles::create()?;
        let monitor = self.phases.monitor;
        let mut taker = LayerTaker {
            store: self.store,
            opened: self.opened,
            monitor,
            bytes_written: 0,
        };
        let total = Some(found.image.blobs_bytes());
        let taken = self
            .phases
            .run(Phase::Read, total, || taker.take(found, &mut kept));
        self.bytes_written += taker.bytes_written;
        let (layers, entries) = taken?;
        let files = kept.of_tree(&entries, self.opened.path());
        let packages = read_packages(&files, kept.directory(), monitor)?;
        Ok(Content {
            packages,
            layers,
            entries,
            remotes: Vec::new(),
        })
    }
}

/// Returns the snapshot with the same image as the same stage. Fails if the rows of snapshots cannot be read.
pub(crate) fn known_image(store: &Store, found: &Found) -> Result<Option<Imported>> {
    let (series, stage) = (&found.origin.series, &found.origin.stage);
    let mut snapshots = store.snapshots(None)?.into_iter();
    let known = snapshots.find(|one| {
        (&one.series, &one.stage) == (series, stage)
            && one.manifest.digest == found.image.manifest.digest
    });
    known
        .map(|known| {
            Ok(Imported {
                layers: store.layers(known.id)?,
                snapshot: known,
                was_there: true,
            })
        })
        .transpose()
}
