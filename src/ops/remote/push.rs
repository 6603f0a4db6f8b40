//! Pushes images into a repository, each after the layers, and records of all.
//!
//! In the order blob, record of the layer, image, moving tag, so a push that dies leaves no tag of an image that lacks
//! something. The record of the push comes first: so whoever removes from the repository knows what is under way.

use crate::error::{Error, Result};
use crate::layer::side_blob::{PACKAGES_TYPE, compress};
use crate::model::digest::Digest;
use crate::model::labels::Labels;
use crate::model::names::SnapshotRef;
use crate::model::origin::Origin;
use crate::model::packages::installed_form::write_installed;
use crate::model::registry_tags::{fixed_tag, image_tag, is_record, moving_tag, run_tag};
use crate::model::repository::{ImageName, Reference};
use crate::oci::Blob;
use crate::oci::record::{ImageRecord, MANIFEST_TYPE, PushRecord};
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::remote::fetch_layers::{Wanted, fetch_layers};
use crate::ops::remote::layer_push::{Counts, LayerPusher, Trust};
use crate::ops::remote::pushed_image::{PushedImage, load, meant};
use crate::ops::remote::records::{lacks, put, put_bytes, put_empty};
use crate::registry::{Access, Client, Put, Right, Traffic};
use crate::store::{FileLists, Store};
use crate::threads;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The images to push, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    /// The snapshots, at least one.
    pub snapshots: Vec<SnapshotRef>,
    /// The repository; a tag, for a single snapshot, takes the place of the tag that moves with the stage.
    pub target: ImageName,
    /// How registries are reached.
    pub access: Access,
    /// How many blobs are sent at once.
    pub jobs: NonZeroUsize,
}

/// An image pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The number of the snapshot.
    pub snapshot_id: i64,
    /// The series.
    pub series: String,
    /// The stage.
    pub stage: String,
    /// The manifest.
    pub manifest_digest: Digest,
    /// The tags of the image: the one that moves, or was asked for, and the one that stays.
    pub tags: Vec<String>,
    /// The number of layers.
    pub layers: usize,
    /// Whether the repository had the image.
    pub was_there: bool,
}

/// What a push has done.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The repository, as `HOST/NAME`.
    pub repository: String,
    /// The images, in the order of the request.
    pub images: Vec<Pushed>,
    /// The number of layers sent, and the bytes.
    pub pushed: (u64, u64),
    /// The number of layers that the registry took from another repository, and the bytes.
    pub mounted: (u64, u64),
    /// The number of layers that were there, and the bytes.
    pub reused: (u64, u64),
    /// What went over the wire, of records as well.
    pub traffic: Traffic,
    /// The time of each phase.
    pub seconds: Vec<(Phase, Duration)>,
}

/// Pushes images of the store at `store_path`. Fails with [`Error::UnknownSnapshot`] without such a snapshot, with
/// [`Error::Damaged`] if a blob is missing or damaged, with [`Error::RegistryUnreachable`] if the registry does not answer for
/// all tries, and with [`Error::RegistryRefused`] if the registry wants other credentials.
pub fn push(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Outcome> {
    check(request)?;
    let before = request.access.counters.traffic();
    let images = loaded(store_path, request, monitor)?;
    if images.len() > 1 && request.target.reference.is_some() {
        return Err(unfit(request, SEVERAL));
    }
    let client = Client::open(&request.target.repository, &request.access, Right::Push)?;
    let phases = Phases::new(monitor);
    let pushing = Pushing {
        layers: LayerPusher {
            client: &client,
            store_path,
            access: &request.access,
            monitor,
            counts: Counts::default(),
        },
        request,
    };
    let layers = images.iter().flat_map(|image| &image.layers);
    let total = layers.map(|layer| layer.blob.size_bytes).sum();
    let images: Result<Vec<Pushed>> = phases.run(Phase::Push, Some(total), || {
        images.iter().map(|image| pushing.image(image)).collect()
    });
    let [pushed, mounted, reused] = pushing.layers.counts.totals();
    Ok(Outcome {
        repository: request.target.repository.to_string(),
        images: images?,
        pushed,
        mounted,
        reused,
        traffic: request.access.counters.traffic() - before,
        seconds: phases.spent(),
    })
}

/// Loads the images; layers that records alone have named are fetched, and so proven, before anybody is told.
fn loaded(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Vec<PushedImage>> {
    match load(store_path, &request.snapshots) {
        Err(Error::OnlyRemote { .. }) => {
            let registry = (&request.access, request.jobs);
            let wanted = Wanted {
                snapshots: meant(store_path, &request.snapshots)?,
                with_runs: false,
            };
            fetch_layers(store_path, &wanted, registry, monitor)?;
            load(store_path, &request.snapshots)
        }
        images => images,
    }
}

const SEVERAL: &str = "several snapshots have no tag in common: give none";

/// Refuses a digest, a tag for several images, and a tag of a record.
fn check(request: &Request) -> Result<()> {
    let what = match &request.target.reference {
        Some(Reference::Digest(_)) => "a digest is no place to push to: give a tag, or none",
        Some(Reference::Tag(_)) if request.snapshots.len() > 1 => SEVERAL,
        Some(Reference::Tag(tag)) if is_record(tag) => {
            "tags that begin so are of records: give another"
        }
        _ => return Ok(()),
    };
    Err(unfit(request, what))
}

fn unfit(request: &Request, what: &'static str) -> Error {
    Error::UnfitTarget {
        target: request.target.to_string(),
        what,
    }
}

struct Pushing<'p> {
    layers: LayerPusher<'p>,
    request: &'p Request,
}

impl Pushing<'_> {
    fn image(&self, image: &PushedImage) -> Result<Pushed> {
        let client = self.layers.client;
        let digest = image.digest();
        let fixed = fixed_tag(&image.origin.series, &image.origin.stage, &digest);
        let record = Reference::Tag(image_tag(&digest));
        let is_recorded = client.manifest_digest(&record)?.is_some();
        if !is_recorded {
            put_empty(client)?;
        }
        let (series, stage) = (&image.origin.series, &image.origin.stage);
        let moving = match &self.request.target.reference {
            Some(Reference::Tag(tag)) => tag.clone(),
            _ => moving_tag(series, stage),
        };
        let run = self.put_push(image, &moving)?;
        let was_there = is_recorded && self.put_image(image, &fixed)?;
        if !was_there {
            let trust = if is_recorded {
                Trust::Nothing
            } else {
                Trust::Records
            };
            self.put_whole(image, &fixed, trust)?;
            self.put_record(image, &record)?;
        } else {
            self.layers.skip(&image.layers);
        }
        self.put_tag(image, &moving)?;
        self.put_tags_again(image, [&fixed, &moving])?;
        // The record of the image stands for those of layers, but for those of an image that is new.
        let is_over = !was_there && client.manifest_digest(&run)?.is_none();
        if is_over {
            self.put_push(image, &moving)?;
        }
        self.put_records_again(image, &record, is_over)?;
        Ok(Pushed {
            snapshot_id: image.snapshot.id,
            series: series.clone(),
            stage: stage.clone(),
            manifest_digest: digest,
            tags: vec![moving, fixed],
            layers: image.layers.len(),
            was_there,
        })
    }

    /// Pushes the layers, the configuration and the image. A registry that lacks what records promise has collected garbage:
    /// then no record counts.
    fn put_whole(&self, image: &PushedImage, tag: &str, trust: Trust) -> Result<()> {
        self.layers(image, trust)?;
        put_bytes(self.layers.client, &image.config)?;
        if self.put_image(image, tag)? {
            return Ok(());
        }
        if trust == Trust::Records {
            return self.put_whole(image, tag, Trust::Nothing);
        }
        Err(self.lacks(image, tag))
    }

    fn layers(&self, image: &PushedImage, trust: Trust) -> Result<()> {
        let push = |layer: &_| self.layers.push(layer, trust);
        let pushed = threads::map(self.request.jobs, &image.layers, push);
        pushed.map(drop)
    }

    /// Puts the image under a tag; tells whether the repository has all blobs of the image.
    fn put_image(&self, image: &PushedImage, tag: &str) -> Result<bool> {
        let tag = Reference::Tag(tag.to_owned());
        let put = self
            .layers
            .client
            .put_manifest(&tag, MANIFEST_TYPE, &image.manifest)?;
        Ok(matches!(put, Put::Done))
    }

    /// Puts the image once more, if somebody has removed the image since.
    fn put_tags_again(&self, image: &PushedImage, [fixed, moving]: [&str; 2]) -> Result<()> {
        let client = self.layers.client;
        if client.manifest_digest(&Reference::Tag(fixed.to_owned()))? == Some(image.digest()) {
            return Ok(());
        }
        if !self.put_image(image, fixed)? {
            self.put_whole(image, fixed, Trust::Nothing)?;
        }
        if client
            .manifest_digest(&Reference::Tag(moving.to_owned()))?
            .is_none()
        {
            self.put_tag(image, moving)?;
        }
        Ok(())
    }

    /// Puts the records of the layers and of the image once more, if somebody has removed any since: the latter is gone, or the
    /// record of the push `is_over`.
    fn put_records_again(
        &self,
        image: &PushedImage,
        record: &Reference,
        is_over: bool,
    ) -> Result<()> {
        let is_gone = self.layers.client.manifest_digest(record)?.is_none();
        if is_gone || is_over {
            self.layers(image, Trust::Records)?;
        }
        if is_gone {
            self.put_record(image, record)?;
        }
        Ok(())
    }

    /// Puts the image, whose blobs are all there, under a tag. Whoever has removed some since is told of.
    fn put_tag(&self, image: &PushedImage, tag: &str) -> Result<()> {
        if self.put_image(image, tag)? {
            return Ok(());
        }
        Err(self.lacks(image, tag))
    }

    fn lacks(&self, image: &PushedImage, tag: &str) -> Error {
        let missing = image.layers.iter().map(|layer| layer.blob.digest);
        let missing: Vec<Digest> = missing.collect();
        let tag = Reference::Tag(tag.to_owned());
        lacks(self.layers.client, &tag, &missing)
    }

    /// Puts the record of the push, and returns the tag.
    fn put_push(&self, image: &PushedImage, tag: &str) -> Result<Reference> {
        let client = self.layers.client;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let push = PushRecord {
            image: image.digest(),
            series: image.origin.series.clone(),
            stage: image.origin.stage.clone(),
            tag: Some(tag.to_owned()),
            pushed_s: now.unwrap_or_default().as_secs().cast_signed(),
            layers: image.layers.iter().map(|layer| layer.key).collect(),
        };
        let tag = Reference::Tag(run_tag(push.pushed_s, &push.image));
        let bytes = push.to_bytes()?;
        if let Put::Unknown(_) = client.put_manifest(&tag, MANIFEST_TYPE, &bytes)? {
            put_empty(client)?;
            put(client, &tag, &bytes)?;
        }
        Ok(tag)
    }

    fn put_record(&self, image: &PushedImage, tag: &Reference) -> Result<()> {
        let client = self.layers.client;
        let packages = self.packages_of(image)?;
        if let Some(packages) = &packages {
            put_bytes(client, packages)?;
        }
        let packages = packages.map(|bytes| (Blob::of(&bytes), PACKAGES_TYPE.to_owned()));
        // Labels are of a run, and a registry has equal images of several runs once.
        let origin = Origin {
            labels: Labels::default(),
            ..image.origin.clone()
        };
        let record = ImageRecord {
            image: Some(image.digest()),
            origin,
            packages,
        };
        put(client, tag, &record.to_bytes()?)
    }

    /// Returns the packages, compressed; `None` where unknown.
    fn packages_of(&self, image: &PushedImage) -> Result<Option<Vec<u8>>> {
        let Some(set) = image.snapshot.package_set_id else {
            return Ok(None);
        };
        let path = self.layers.store_path;
        let store = Store::open_unchecked(path)?;
        let installed = store.installed(set, &mut FileLists::default())?;
        drop(store);
        let bytes = compress(&write_installed(&installed));
        bytes.map(Some).map_err(Error::io("compress", path))
    }
}
