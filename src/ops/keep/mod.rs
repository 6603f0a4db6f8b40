//! Keeping a store: room, soundness, and fewer layers.

pub(crate) mod change;
mod check;
mod finding;
pub(crate) mod package_usage;
pub(crate) mod prune;
mod repair;
pub(crate) mod squash;
pub(crate) mod usage;
pub(crate) mod verify;
