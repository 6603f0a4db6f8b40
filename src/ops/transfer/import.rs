//! Takes images into a store: exports of a store of ours, whole or thin, images of others, and the images of the
//! store's own layout after a loss of the database.

use crate::error::{Error, Result};
use crate::model::names::{check_name, check_series};
use crate::model::source::{ImageRef, Source};
use crate::model::tree::content_bytes;
use crate::oci::choose::Listing;
use crate::oci::read::{ListedImage, Opened};
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::root_view::packages::read_packages;
use crate::ops::store_index::update_index;
use crate::ops::transfer::found_image::{Finder, Found, bad_image};
use crate::ops::transfer::new_layers::{NewLayers, bytes_of};
use crate::ops::transfer::opened::open_images;
pub use crate::ops::transfer::record_image::Imported;
use crate::ops::transfer::record_image::{Content, Purpose, Taken, known_image, record};
use crate::ops::transfer::take_layers::LayerTaker;
use crate::registry::Access;
use crate::store::Store;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

/// How often layers are looked for that somebody removes while others are fetched.
const MOST_FETCHES: u32 = 4;

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
    let (opened, reference) = open_images(&request.source, &request.access)?;
    let phases = Phases::new(monitor);
    let purpose = if is_same_directory(opened.path(), store_path) {
        Purpose::Rebuild
    } else {
        Purpose::Import
    };
    let finder = Finder {
        opened: &opened,
        series: request.series.as_deref(),
        stage: request.stage.as_deref(),
        takes_all: matches!(reference, ImageRef::Only),
        monitor,
    };
    let listed = listed(&opened, reference, purpose, request, monitor)?;
    let mut import = Import::new(&opened, purpose, request.jobs, &phases);
    let found = import.find_all(&finder, listed)?;
    let mut store = match (purpose, &request.source, &found[..]) {
        (Purpose::Rebuild, ..) => Store::open_to_rebuild(store_path)?,
        (Purpose::Import, Source::Registry(_), [found]) => import.fetch(store_path, found)?,
        (Purpose::Import, ..) => Store::open_or_create(store_path)?,
    };
    for found in found {
        import.take(&mut store, &found)?;
    }
    let mut outcome = import.outcome();
    phases.run(Phase::Record, None, || update_index(&store))?;
    outcome.seconds = phases.spent();
    Ok(outcome)
}

/// Fails with [`Error::BadName`] if the series or the stage asked for is malformed.
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
    opened: &'a Opened,
    purpose: Purpose,
    jobs: NonZeroUsize,
    /// The layers of an image of a registry.
    fetched: Option<NewLayers>,
    phases: &'a Phases<'a>,
    bytes_written: u64,
    taken: Vec<Taken>,
    /// The damaged images of a store that is rebuilt.
    failed: Vec<String>,
}

impl<'a> Import<'a> {
    fn new(
        opened: &'a Opened,
        purpose: Purpose,
        jobs: NonZeroUsize,
        phases: &'a Phases<'a>,
    ) -> Self {
        Self {
            opened,
            purpose,
            jobs,
            fetched: None,
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
    fn take(&mut self, store: &mut Store, found: &Found) -> Result<()> {
        match self.try_take(store, found) {
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

    /// Reads what the store lacks of the image of a registry, while the store is closed; what somebody has removed meanwhile as
    /// well. Returns the store.
    fn fetch(&mut self, store_path: &Path, found: &Found) -> Result<Store> {
        let mut tries = MOST_FETCHES;
        loop {
            let store = Store::open_or_create(store_path)?;
            let new = match self.fetched.take() {
                Some(new) => self.fetched.insert(new),
                None => self.fetched.insert(NewLayers::create(store.tmp())?),
            };
            let missing = new.missing(&store, self.opened, &found.image)?;
            tries -= 1;
            if missing.is_empty() || tries == 0 {
                return Ok(store);
            }
            drop(store);
            let (opened, monitor, jobs) = (self.opened, self.phases.monitor, self.jobs);
            let total = Some(bytes_of(&missing));
            self.phases.run(Phase::Fetch, total, || {
                new.read(opened, missing, jobs, monitor)
            })?;
        }
    }

    fn try_take(&mut self, store: &mut Store, found: &Found) -> Result<Imported> {
        if let Some(known) = known_image(store, found)? {
            self.fill(store, found)?;
            return Ok(known);
        }
        let content = self.take_content(store, found)?;
        record(
            store,
            self.opened,
            self.purpose,
            found,
            content,
            &self.taken,
        )
    }

    /// Keeps the layers of a recorded image that the store lacks and the source has: those that only a registry has, and lost ones.
    fn fill(&mut self, store: &Store, found: &Found) -> Result<()> {
        let phases = self.phases;
        let mut new = phases.run(Phase::Read, None, || self.new_layers(store, found))?;
        for layer in &found.image.layers {
            let path = self.opened.path_of(&layer.blob);
            if new.keep(store, layer, &path)?.is_some() {
                self.bytes_written += layer.blob.size_bytes;
            }
        }
        Ok(())
    }

    /// Returns the layers that the store lacks: those fetched, or else read now.
    fn new_layers(&mut self, store: &Store, found: &Found) -> Result<NewLayers> {
        if let Some(fetched) = self.fetched.take() {
            return Ok(fetched);
        }
        let mut new = NewLayers::create(store.tmp())?;
        let missing = new.missing(store, self.opened, &found.image)?;
        new.read(self.opened, missing, self.jobs, self.phases.monitor)?;
        Ok(new)
    }

    /// Takes the layers of an image into the store, and reads the packages.
    fn take_content(&mut self, store: &Store, found: &Found) -> Result<Content> {
        let (opened, monitor, phases) = (self.opened, self.phases.monitor, self.phases);
        let mut taker = LayerTaker {
            store,
            opened,
            monitor,
            bytes_written: 0,
        };
        let is_fetched = self.fetched.is_some();
        let total = (!is_fetched).then(|| found.image.blobs_bytes());
        let (files, taken) = phases.run(Phase::Read, total, || -> Result<_> {
            let mut new = self.new_layers(store, found)?;
            let taken = taker.take(found, &mut new)?;
            Ok((new.files, taken))
        })?;
        self.bytes_written += taker.bytes_written;
        let (layers, entries) = taken;
        let telling = files.of_tree(&entries, opened.path());
        let packages = read_packages(&telling, files.directory(), monitor)?;
        Ok(Content {
            packages,
            layers,
            entries: entries.len() as u64,
            content_bytes: content_bytes(&entries),
            remotes: Vec::new(),
        })
    }
}
