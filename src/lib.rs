//! Records a chroot at each stage of a build and keeps it as OCI layers.

pub mod apk;
pub mod blob;
pub mod cli;
mod dnf;
pub mod dpkg;
pub mod error;
pub mod fs;
pub mod layer;
pub mod lock;
pub mod model;
pub mod oci;
pub mod ops;
pub mod output;
pub mod printable;
pub mod registry;
pub mod rpm;
mod shadow;
mod sqlite;
pub mod store;
pub mod tarball;
mod threads;
