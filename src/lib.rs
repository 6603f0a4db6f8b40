//! Records a chroot at each stage of a build and keeps it as OCI layers.

pub mod error;
pub mod fs;
pub mod layer;
pub mod model;
pub mod printable;
pub mod tarball;
