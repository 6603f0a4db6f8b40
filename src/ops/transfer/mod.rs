//! Images on the way into a store and out.

pub mod export;
mod found_image;
pub(crate) mod image_blobs;
pub mod import;
mod joined_image;
pub(crate) mod opened;
mod record_image;
mod take_layers;
mod taken_layer;
