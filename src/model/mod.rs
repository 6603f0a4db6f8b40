//! The words of the project as types and pure functions. Nothing here touches a disk, a clock or a terminal.

pub mod account;
pub mod compare;
pub mod content_place;
pub mod diff;
pub mod digest;
pub mod entry;
pub mod globs;
pub mod keep;
pub mod layer;
pub mod limits;
pub mod names;
pub mod normalise;
pub mod origin;
pub mod overlay;
pub mod owned;
pub mod owners;
pub mod package;
pub mod path;
pub mod plan;
pub mod policy;
pub mod source;
pub mod stamp;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
pub mod time;
pub mod tree;
pub mod unread;
pub mod upgrade;
pub mod version;
pub mod vouch;
