//! Changesets as bytes: the members of a layer's tar, packing and compression (image-spec, layer.md).

pub mod codec;
mod files;
mod gather;
mod gzip;
mod members;
pub mod pack;
pub mod partial;
pub mod read;
pub mod seek;
pub mod side_blob;
mod stream;
mod unpack;
pub mod whole;
mod zstandard;
