//! The words of the project as types and pure functions. Nothing here touches a disk, a clock or a terminal.

pub mod digest;
pub mod frame_table;
pub mod keep;
pub mod labels;
pub mod limits;
pub mod moment;
pub mod names;
pub mod origin;
pub mod packages;
pub mod plan;
pub mod policy;
pub mod registry_keep;
pub mod registry_tags;
pub mod repository;
pub mod source;
pub mod stamp;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
pub mod time;
pub mod tree;
