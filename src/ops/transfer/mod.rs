//! Images on their way out of a store and into one.

pub mod export;
mod found_image;
pub(crate) mod import;
pub(crate) mod opened;
mod record_image;
mod take_layers;
mod taken_layer;
