//! Installed packages: lists of files, the order of versions, and changes between two sets.

pub mod attribution;
pub mod details;
pub mod file_list;
pub mod installed_form;
pub mod listing;
pub mod owners;
pub mod package;
pub mod upgrade;
pub mod version;
