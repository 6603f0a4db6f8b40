//! One use case a file: each brings the rooms together, and returns what it did for someone else to print.

mod below;
mod compose;
mod describe;
pub mod export;
pub mod inspect;
mod late;
pub mod monitor;
mod observe;
mod packages;
pub mod snapshot;
