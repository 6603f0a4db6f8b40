//! Changesets as bytes: which members a layer's tar has, and how it is packed and compressed
//! (image-spec, layer.md).

pub mod codec;
mod files;
mod gzip;
mod members;
pub mod pack;
pub mod read;
pub mod seek;
mod stream;
mod unpack;
pub mod whole;
mod zstandard;
