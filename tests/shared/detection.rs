//! What counts as a change, where layered snapshots are known to miss one or to see one that is none. What the tests of both targets share.

pub(crate) const PLAIN: &str = "--profile plain";
