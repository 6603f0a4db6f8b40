//! Why the layer of a package is new.

use crate::error::Result;
use crate::model::plan::label_stem;
use crate::model::plan::layer::Role;
use crate::model::tree::entry::Entry;
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::query::predecessor::NewLayer;
use crate::store::{LayerUse, Store};
use std::collections::BTreeMap;

/// Why the layer of a package is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageNovelty {
    /// The package had no layer before.
    New,
    /// The package with this label had a layer before.
    Upgraded(String),
    /// The same package had another layer: these paths differ, in path order.
    Touched(Vec<EntryPath>),
}

impl PackageNovelty {
    /// Compares a package layer with the package's layer in the series' last snapshot of the stage, else in the stage before.
    /// Fails if a row of either is not as recorded.
    pub(super) fn of(new: &NewLayer) -> Result<Self> {
        let label = new.layer().label.clone().unwrap_or_default();
        let Some(old) = earlier(new, &label)? else {
            return Ok(Self::New);
        };
        match old.label {
            Some(was) if was != label => Ok(Self::Upgraded(was)),
            _ => {
                let items = new.store.items(new.layer().layer.id)?;
                differing(new.store, old.layer.id, &items).map(Self::Touched)
            }
        }
    }
}

fn earlier(new: &NewLayer, label: &str) -> Result<Option<LayerUse>> {
    let parent = new.snapshot.parent_id;
    let ids = [new.before.map(|before| before.id), parent];
    for id in ids.into_iter().flatten() {
        if new.store.snapshot(id)?.is_none() {
            continue;
        }
        let of_package = |layer: &LayerUse| {
            let other = layer.label.as_deref().unwrap_or_default();
            layer.role == Role::Package && label_stem(other) == label_stem(label)
        };
        if let Some(found) = new.store.layers(id)?.into_iter().find(of_package) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Returns the paths at which a recorded layer is not as `items`.
fn differing(store: &Store, old: i64, items: &[LayerItem]) -> Result<Vec<EntryPath>> {
    let old = store.items(old)?;
    let mut entries: BTreeMap<&EntryPath, [Option<&Entry>; 2]> = BTreeMap::new();
    for (side, items) in [(0, old.as_slice()), (1, items)] {
        for entry in items.iter().filter_map(LayerItem::entry) {
            entries.entry(&entry.path).or_default()[side] = Some(entry);
        }
    }
    let differ = |sides: &[Option<&Entry>; 2]| match sides {
        [Some(old), Some(new)] => !new.same_but_group(old),
        _ => true,
    };
    let differing = entries.into_iter().filter(|(_, sides)| differ(sides));
    Ok(differing.map(|(path, _)| path.clone()).collect())
}
