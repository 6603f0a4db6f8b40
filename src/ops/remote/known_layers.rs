//! Layers that a registry has, found by the keys that a root gives: they need neither be packed nor fetched.
//!
//! A record is advice. A layer counts as found only if its diff_id, computed from the files of the root without compressing
//! them, is that of the record. So a blob that is not what its record says is refused by every reader of the image.

use crate::error::Result;
use crate::layer::pack::Contents;
use crate::model::digest::{DiffId, LayerKey};
use crate::model::plan::layer::LayerContent;
use crate::model::repository::Repository;
use crate::oci::record::LayerRecord;
use crate::ops::monitor::Monitor;
use crate::ops::packing::Packer;
use crate::ops::remote::records::layer_record;
use crate::registry::{Access, Client, Right};
use crate::store::{Blob, RemoteBlob};
use crate::threads;
use std::num::NonZeroUsize;

/// A registry with layers, as a caller asks for it.
#[derive(Clone, Debug)]
pub struct LayersFrom {
    /// The repository with the records.
    pub repository: Repository,
    /// How registries are reached.
    pub access: Access,
    /// How many requests are made at once.
    pub jobs: NonZeroUsize,
    /// Whether trouble with the registry is a note, and layers are packed then.
    pub is_optional: bool,
}

/// A registry with layers.
pub(crate) struct KnownLayers {
    client: Client,
    jobs: NonZeroUsize,
    is_optional: bool,
}

/// A layer that the registry has, with the diff_id of the root's files.
pub(crate) struct FoundLayer {
    pub diff_id: DiffId,
    pub tar_bytes: u64,
    pub blob: Blob,
    repository: String,
}

impl FoundLayer {
    /// Returns where the blob is.
    pub(crate) fn remote(&self) -> RemoteBlob {
        RemoteBlob {
            digest: self.blob.digest,
            repository: self.repository.clone(),
            is_proven: true,
        }
    }
}

/// A wanted layer: its key and what is to be packed otherwise; `None` for a layer that is not wanted.
pub(crate) type Wanted<'w> = Option<(LayerKey, &'w LayerContent<'w>)>;

impl KnownLayers {
    /// Opens the repository, without a request. Fails if credentials or certificates are malformed; `None` after a note, where
    /// the registry is optional.
    pub(crate) fn open(from: &LayersFrom, monitor: &dyn Monitor) -> Result<Option<Self>> {
        match Client::open(&from.repository, &from.access, Right::Pull) {
            Err(error) if from.is_optional => {
                monitor.note(&format!("{}; layers are packed", error.in_one_line()));
                Ok(None)
            }
            client => Ok(Some(Self {
                client: client?,
                jobs: from.jobs,
                is_optional: from.is_optional,
            })),
        }
    }

    /// Finds layers, each at the place of its wish. Fails if the registry does not answer and is not optional, and if a file of
    /// the root is not as it was hashed.
    pub(crate) fn find(
        &self,
        wanted: &[Wanted],
        packer: &Packer,
        contents: &(dyn Contents + Sync),
        monitor: &dyn Monitor,
    ) -> Result<Vec<Option<FoundLayer>>> {
        let media_type = packer.compression.codec().media_type();
        let ask = |wanted: &Wanted| match wanted {
            Some((key, _)) => self.record_of(key, media_type),
            None => Ok(None),
        };
        let records = match threads::map(self.jobs, wanted, ask) {
            Err(error) if self.is_optional && error.is_of_registry() => {
                monitor.note(&format!("{}; layers are packed", error.in_one_line()));
                return Ok(wanted.iter().map(|_| None).collect());
            }
            records => records?,
        };
        let claimed = wanted.iter().zip(&records);
        let claimed = claimed.map(|(wanted, record)| {
            let content = wanted.as_ref().map(|(_, content)| *content);
            content.filter(|_| record.is_some())
        });
        let claimed: Vec<_> = claimed.collect();
        let diff_ids = packer.diff_ids(&claimed, contents)?;
        let found = records.into_iter().zip(diff_ids);
        let found = found.map(|(record, diff_id)| self.proven(record?, diff_id?, monitor));
        Ok(found.collect())
    }

    /// Returns the record of a layer whose blob is there. A registry that has collected its garbage may have the record alone.
    fn record_of(&self, key: &LayerKey, media_type: &str) -> Result<Option<LayerRecord>> {
        let Some(record) = layer_record(&self.client, key, media_type)? else {
            return Ok(None);
        };
        let there = self.client.has_blob(&record.blob.digest)?;
        Ok(Some(record).filter(|record| there == Some(record.blob.size_bytes)))
    }

    /// Takes a layer whose record names the diff_id of the root's files.
    fn proven(
        &self,
        record: LayerRecord,
        (diff_id, tar_bytes): (DiffId, u64),
        monitor: &dyn Monitor,
    ) -> Option<FoundLayer> {
        let repository = self.client.repository().to_string();
        if (record.diff_id, record.tar_bytes) != (diff_id, tar_bytes) {
            monitor.note(&format!(
                "docker://{repository}: the record of layer {} names {}, and the root gives {diff_id}: the layer is packed",
                record.key, record.diff_id
            ));
            return None;
        }
        Some(FoundLayer {
            diff_id,
            tar_bytes,
            blob: Blob {
                digest: record.blob.digest,
                media_type: record.media_type,
                size_bytes: record.blob.size_bytes,
            },
            repository,
        })
    }
}
