//! Images on the way into a store and out.

pub mod export;
pub(crate) mod found_image;
pub(crate) mod image_blobs;
pub mod import;
mod joined_image;
mod new_layers;
pub(crate) mod opened;
pub(crate) mod record_image;
mod take_layers;
pub(crate) mod taken_layer;
