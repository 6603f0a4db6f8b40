//! What a question is about: a snapshot of the store, or an image of a registry.

use crate::cli::context::Context;
use crate::cli::parse::parse_snapshot;
use crate::cli::progress::Progress;
use crate::error::{Error, Result};
use crate::layer::partial::PartialBlobs;
use crate::model::names::SnapshotRef;
use crate::model::repository::ImageName;
use crate::model::tree::path::EntryPath;
use crate::ops::remote::fetch_layers::{Wanted, fetch_layers};
use crate::ops::remote::fetch_parts::fetch_parts;
use crate::ops::remote::scratch::Scratch;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The name of a snapshot or of an image in a registry.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Snapshot(SnapshotRef),
    Image(ImageName),
}

/// Reads a number, `SERIES[@STAGE][~N]` or `docker://HOST/REPO[:TAG|@DIGEST]`. Fails for any other text.
pub(crate) fn parse_subject(text: &str) -> std::result::Result<Subject, String> {
    match text.strip_prefix("docker://") {
        Some(name) => ImageName::parse(name)
            .map(Subject::Image)
            .map_err(|e| e.in_one_line()),
        None => parse_snapshot(text).map(Subject::Snapshot),
    }
}

/// A snapshot to ask about, and the store of the snapshot.
pub(crate) struct Asked<'c> {
    context: &'c Context,
    pub store: PathBuf,
    pub snapshot: SnapshotRef,
    /// The name of an image; `None` for a snapshot of the user's store.
    pub image: Option<String>,
    _scratch: Option<Scratch>,
}

impl<'c> Asked<'c> {
    /// Finds the store; an image gets a store apart. Fails if the registry does not give the image.
    pub(crate) fn open(
        context: &'c Context,
        subject: &Subject,
        progress: &Progress,
    ) -> Result<Self> {
        match subject {
            Subject::Snapshot(snapshot) => Ok(Self {
                context,
                store: context.store.clone(),
                snapshot: snapshot.clone(),
                image: None,
                _scratch: None,
            }),
            Subject::Image(name) => {
                let registry = (&context.access, context.jobs);
                let scratch = Scratch::pull(name, registry, &temporary(), progress)?;
                Ok(Self {
                    context,
                    store: scratch.store().to_owned(),
                    snapshot: scratch.snapshot.clone(),
                    image: Some(format!("docker://{name}")),
                    _scratch: Some(scratch),
                })
            }
        }
    }

    /// Runs `work` with the store; where it turns out to need layers that only a registry has, fetches the layers, and runs `work` again. Fails as `work` does, and if the registry
    /// does not give the layers.
    pub(crate) fn with_layers<T>(
        &self,
        progress: &Progress,
        mut work: impl FnMut(&Path) -> Result<T>,
    ) -> Result<T> {
        match work(&self.store) {
            Err(Error::OnlyRemote { .. }) => {
                self.fetch(progress)?;
                work(&self.store)
            }
            done => done,
        }
    }

    /// Fetches all layers that only a registry has. Fails if the registry does not give the layers.
    pub(crate) fn fetch(&self, progress: &Progress) -> Result<()> {
        let registry = (&self.context.access, self.context.jobs);
        fetch_layers(
            &self.store,
            &Wanted::one(&self.snapshot),
            registry,
            progress,
        )
        .map(drop)
    }

    /// Fetches the parts of layers with the contents at the chosen paths that only a registry has. Fails if the registry does not give
    /// them.
    pub(crate) fn fetch_parts(
        &self,
        chooses: &dyn Fn(&EntryPath) -> bool,
        progress: &Progress,
    ) -> Result<PartialBlobs> {
        let registry = (&self.context.access, self.context.jobs);
        fetch_parts(&self.store, &self.snapshot, chooses, registry, progress)
    }

    /// Names the image in JSON that speaks of a snapshot of no store.
    pub(crate) fn named(&self, mut json: Value) -> Value {
        if let Some(image) = &self.image {
            forget_numbers(&mut json);
            json["source"] = image.as_str().into();
        }
        json
    }
}

/// Returns where large files are for a while, as podman and skopeo have it.
fn temporary() -> PathBuf {
    let named = std::env::var_os("TMPDIR").filter(|path| !path.is_empty());
    named.map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

/// Takes away what a snapshot has from the store alone.
fn forget_numbers(json: &mut Value) {
    match json {
        Value::Object(object) => {
            for name in ["id", "run", "time", "parent"] {
                if let Some(value) = object.get_mut(name) {
                    *value = Value::Null;
                }
            }
            for name in ["since", "found"] {
                object.get_mut(name).into_iter().for_each(forget_numbers);
            }
        }
        Value::Array(all) => all.iter_mut().for_each(forget_numbers),
        _ => {}
    }
}
