//! The store: one directory that is an OCI image layout and holds the database beside it.
//!
//! ```text
//! STORE/oci-layout  index.json  blobs/sha256/…   the image layout (image-spec, image-layout.md)
//!       rootstrata.sqlite                        records and stamps
//!       tmp/                                     files that are being written
//!       lock  tmp.lock                           see `files`
//!       reserve                                  see `files`
//! ```
//! No other module writes in the directory. Invariants: a blob is durable before a row names the blob; a snapshot is
//! recorded in one transaction; index.json is derived from the database. So a run killed at any point leaves
//! only files to which nothing refers.

mod blobs;
mod database;
mod directory;
mod files;
mod handle;
mod holders;
mod inside;
mod locks;
mod migrations;
mod needed;
mod open;
mod records;
mod release;
mod reserve;
mod stamps;

pub(crate) use blobs::index::Listed;
pub(crate) use blobs::presence::Presence;
pub use blobs::reading::Blobs;
pub(crate) use blobs::writing::NewBlob;
pub use handle::Store;
pub(crate) use holders::{Holder, holders};
pub(crate) use inside::is_in_store;
pub use locks::InUse;
pub(crate) use locks::Patience;
pub(crate) use records::joined::JoinedLayer;
pub(crate) use records::lookups::ItemsAlong;
pub(crate) use records::matches::Matches;
pub(crate) use records::packages::FileLists;
pub use records::remote::RemoteBlob;
pub use records::rows::{Blob, BlobRef, Layer, LayerUse, Snapshot};
pub use records::write::{NewLayer, NewSnapshot, PackagesOf, SnapshotLayer};
pub use stamps::StampState;
pub use stamps::rows::{Packed, Reader, Stamps};
