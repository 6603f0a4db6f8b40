//! Changesets as bytes: the members of a layer's tar, packing and compression (image-spec, layer.md).

mod alone;
mod buffers;
pub mod codec;
mod files;
mod gather;
mod gzip;
mod members;
pub mod pack;
mod packed;
pub mod partial;
pub mod read;
pub mod seek;
pub mod side_blob;
mod side_by_side;
mod stream;
mod unframed;
mod unpack;
pub mod whole;
mod zstandard;
