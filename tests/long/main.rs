//! What takes long: power cuts, kills, faults at each system call and each request, damage to each byte, random histories, engines,
//! registries and the commands of all documents. `scripts/test --long` installs what these need, and runs this target.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

#[path = "../common/mod.rs"]
mod common;
#[path = "../shared/mod.rs"]
mod shared;

mod agreement;
mod bombs;
mod damage;
mod engines;
mod faults;
mod filesystems;
mod hostile;
mod life;
mod normalized;
mod pages;
mod power;
mod random;
mod registry;
mod registry_prune;
mod registry_readers;
