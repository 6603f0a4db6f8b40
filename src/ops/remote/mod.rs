//! Images in registries. Nothing that is on the wire holds the store: rows are read and blobs opened before, and what arrives is
//! recorded after.

pub(crate) mod fetch_layers;
pub(crate) mod fetch_parts;
pub(crate) mod image_records;
pub(crate) mod image_source;
pub mod known_layers;
mod layer_push;
pub mod lazy_pull;
pub mod local_blobs;
pub mod prune;
pub mod push;
mod pushed_image;
pub(crate) mod ranged;
mod records;
pub(crate) mod scratch;
