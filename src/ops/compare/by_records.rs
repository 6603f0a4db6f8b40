//! The images of registries among the sides of a comparison: known by records, without a layer, where the records say all.
//!
//! The images are asked for side by side, and a layer that both have is asked for once. An image that no records tell of
//! is read layer by layer, like that of an archive.

use crate::error::{Error, Result};
use crate::model::digest::{DiffId, LayerKey};
use crate::model::packages::owners::Installed;
use crate::model::repository::ImageName;
use crate::model::source::ImageRef;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::oci::read::{FoundImage, FoundLayer, Opened};
use crate::ops::remote::image_records::{RecordReader, Said, read_packages};
use crate::ops::remote::image_source::{RegistryImage, open_registry};
use crate::ops::root_view::image::{LayerTotals, keep_files, lay_items};
use crate::ops::root_view::package_files::PackageFiles;
use crate::ops::root_view::places::{
    database_files, tells_of_packages, tells_of_state, user_files,
};
use crate::registry::{Access, Client};
use crate::store::Store;
use crate::threads;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// An image compared.
pub(super) struct ImageSide {
    pub opened: Opened,
    pub image: FoundImage,
    /// A sentence on other items of an index.
    pub passed_over: Option<String>,
    /// What records say of the image, or why nothing; `None` for an image without records by kind.
    pub records: Option<Said<ByRecords>>,
}

/// What records say of an image.
pub(super) struct ByRecords {
    /// The items of the layers, the lowest first.
    layers: Vec<Arc<Vec<LayerItem>>>,
    /// The packages of rpm; `None` where the record does not know the packages.
    pub packages: Option<Vec<Installed>>,
}

/// What tells one layer from another: items, and the tar with the items.
type LayerId = (LayerKey, DiffId);

/// Opens images of registries, with what records say of each; `jobs` requests at once. Fails if there is no such image, and if a
/// registry cannot be reached, or refuses to answer.
pub(super) fn open_sides(
    names: &[&ImageName],
    store: Option<&Store>,
    (access, jobs): (&Access, NonZeroUsize),
) -> Result<Vec<ImageSide>> {
    let images = threads::map(jobs, names, |name| Asked::open(name, access))?;
    let mut layers = Layers::default();
    for image in images.iter().filter(|image| image.packages.is_ok()) {
        layers.take_known(store, &image.found)?;
    }
    let reader = RecordReader::new(images.len());
    loop {
        let wanted = layers.wanted(&images);
        if wanted.is_empty() {
            break;
        }
        let read = threads::map(jobs, &wanted, |wanted| {
            let read = reader.layer(wanted.client, wanted.layer)?;
            Ok::<_, Error>(read.map(|layer| Arc::new(layer.items)))
        })?;
        let ids = wanted.iter().map(|wanted| wanted.id);
        layers.read.extend(ids.zip(read));
    }
    let sides = images.into_iter().map(|image| image.side(&layers));
    Ok(sides.collect())
}

/// An image whose record was read.
struct Asked {
    image: RegistryImage,
    found: FoundImage,
    passed_over: Option<String>,
    packages: Said<Option<Vec<Installed>>>,
}

impl Asked {
    fn open(name: &ImageName, access: &Access) -> Result<Self> {
        let image = open_registry(name, access)?;
        let (found, passed_over) = image.opened.image(&ImageRef::Only)?;
        let foreign = found.layers.iter().find(|layer| layer.key.is_none());
        let packages = match (foreign, &image.record) {
            (Some(layer), _) => {
                let digest = layer.blob.digest;
                Err(format!("layer {digest} of it is not of rootstrata"))
            }
            (None, None) => Err("the registry has no record of it".to_owned()),
            (None, Some(_)) => read_packages(&image)?,
        };
        Ok(Self {
            image,
            found,
            passed_over,
            packages,
        })
    }

    fn side(self, layers: &Layers) -> ImageSide {
        let records = self.packages.and_then(|packages| {
            let layers = self.found.layers.iter().map(|layer| layers.of(layer));
            Ok(ByRecords {
                layers: layers.collect::<Said<_>>()?,
                packages,
            })
        });
        ImageSide {
            opened: self.image.opened,
            image: self.found,
            passed_over: self.passed_over,
            records: Some(records),
        }
    }
}

/// A layer that nobody has told of yet, and who is asked.
struct Wanted<'i> {
    id: LayerId,
    client: &'i Client,
    layer: &'i FoundLayer,
}

/// The layers that were read.
#[derive(Default)]
struct Layers {
    read: HashMap<LayerId, Said<Arc<Vec<LayerItem>>>>,
    /// The layers asked for, each with the repository.
    asked: HashSet<(LayerId, String)>,
}

impl Layers {
    /// Takes the layers that the store has rows of.
    fn take_known(&mut self, store: Option<&Store>, image: &FoundImage) -> Result<()> {
        let Some(store) = store else {
            return Ok(());
        };
        for id in image.layers.iter().filter_map(id_of) {
            if self.read.contains_key(&id) {
                continue;
            }
            let known = store.layer_by_key(&id.0)?;
            if let Some(known) = known.filter(|known| known.diff_id == id.1) {
                let items = store.items(known.id)?;
                self.read.insert(id, Ok(Arc::new(items)));
            }
        }
        Ok(())
    }

    /// Returns the layers that are not known, each once, and each of a repository that was not asked for the layer before.
    fn wanted<'i>(&mut self, images: &'i [Asked]) -> Vec<Wanted<'i>> {
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut seen = HashSet::new();
        for Asked { image, found, .. } in images.iter().filter(|image| image.packages.is_ok()) {
            for layer in &found.layers {
                let Some(id) = id_of(layer) else {
                    continue;
                };
                let is_known = matches!(self.read.get(&id), Some(Ok(_))) || seen.contains(&id);
                let repository = image.client.repository().to_string();
                if is_known || !self.asked.insert((id, repository)) {
                    continue;
                }
                seen.insert(id);
                let client = &image.client;
                wanted.push(Wanted { id, client, layer });
            }
        }
        wanted
    }

    fn of(&self, layer: &FoundLayer) -> Said<Arc<Vec<LayerItem>>> {
        let read = id_of(layer).and_then(|id| self.read.get(&id));
        read.cloned()
            .unwrap_or_else(|| Err(format!("nothing is known of layer {}", layer.blob.digest)))
    }
}

fn id_of(layer: &FoundLayer) -> Option<LayerId> {
    Some((layer.key?, layer.diff_id))
}

/// The files that no record has, and that are read out of the layers.
#[derive(Clone, Copy)]
pub(super) struct WantedFiles {
    /// Whether passwd and group are wanted.
    pub users: bool,
    /// Whether the files that a normalised state is made of are wanted.
    pub state: bool,
    /// Whether the files of package managers are wanted.
    pub packages: bool,
}

impl ByRecords {
    /// Returns the entries and the totals of each layer, as the layers would give both, and keeps the files wanted. Leaves
    /// out packages that no file of the image tells of. Fails if such a file cannot be read.
    pub(super) fn read(
        &mut self,
        opened: &Opened,
        image: &FoundImage,
        wanted: WantedFiles,
        kept: &PackageFiles,
    ) -> Result<(Vec<Entry>, Vec<LayerTotals>)> {
        let items: Vec<&[LayerItem]> = self.layers.iter().map(|items| items.as_slice()).collect();
        let (entries, totals) = lay_items(&items, opened.path())?;
        let has_database = database_files().any(|at| size_of(&entries, &at).is_some());
        // Where rpm has no packages, another manager may have some.
        self.packages
            .take_if(|packages| packages.is_empty() || !has_database);
        let wanted = WantedFiles {
            packages: self.packages.is_none(),
            ..wanted
        };
        for (layer, items) in image.layers.iter().zip(&items) {
            keep_files(
                opened,
                layer,
                items,
                |at, size_bytes| {
                    wanted.has(at, size_bytes) && size_of(&entries, at) == Some(size_bytes)
                },
                kept,
            )?;
        }
        Ok((entries, totals))
    }
}

impl WantedFiles {
    /// Tells whether a file of this length is wanted.
    fn has(self, at: &EntryPath, size_bytes: u64) -> bool {
        if self.users && user_files().contains(at) {
            return true;
        }
        self.packages && tells_of_packages(at, size_bytes)
            || self.state && tells_of_state(at, size_bytes)
    }
}

/// Returns the length of a file; `None` without such a file.
fn size_of(entries: &[Entry], at: &EntryPath) -> Option<u64> {
    let found = entries.binary_search_by(|entry| entry.path.cmp(at));
    match entries[found.ok()?].kind {
        Kind::File { size_bytes, .. } => Some(size_bytes),
        _ => None,
    }
}
