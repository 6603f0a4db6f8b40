//! The files of a store that are an image layout: blobs and the index of images.

pub(crate) mod index;
pub(crate) mod presence;
pub(crate) mod reading;
pub(crate) mod stamp;
pub(crate) mod writing;
