//! Installed packages: what their headers say of files, which versions are newer, and what became of them.

pub mod attribution;
pub mod file_list;
pub mod owners;
pub mod package;
pub mod upgrade;
pub mod version;
