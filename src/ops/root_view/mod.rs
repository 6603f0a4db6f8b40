//! The view of a root under a policy: of a live directory, a foreign image, or a recorded snapshot.
//!
//! Facts come from any root ([`facts::RootFacts`], [`facts::RootFiles`]); packages, users and entries are made of facts in
//! one way ([`packages::read_packages`], [`build_user::BuildUser`], [`normalise_as::normalise_as`]).

pub(crate) mod attempts;
pub(crate) mod build_user;
pub(crate) mod derived;
pub(crate) mod facts;
pub(crate) mod image;
pub(crate) mod image_settings;
pub(crate) mod live_root;
pub(crate) mod members;
pub(crate) mod normalise_as;
pub(crate) mod observation;
pub(crate) mod package_files;
pub(crate) mod packages;
pub(crate) mod places;
pub(crate) mod recorded;
mod rpm_database;
pub(crate) mod stamped_scan;
mod user_numbers;
