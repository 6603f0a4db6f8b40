//! What a root holds, seen under a policy: a live directory, an image of anybody, or a recorded snapshot.

pub(crate) mod build_user;
pub(crate) mod image;
pub(crate) mod live;
pub(crate) mod normalise_as;
pub(crate) mod observe;
pub(crate) mod package_files;
pub(crate) mod packages;
pub(crate) mod recorded;
