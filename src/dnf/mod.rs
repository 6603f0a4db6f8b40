//! The records of dnf that a normalised state keeps.

pub(crate) mod history;
mod sorted;

/// The file of dnf 4's history.
pub(crate) const HISTORY: &str = "history.sqlite";
/// The write-ahead log of the history; missing after the last writer has closed the history.
pub(crate) const HISTORY_WAL: &str = "history.sqlite-wal";

pub(crate) use sorted::sorted;
