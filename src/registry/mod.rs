//! A client of OCI registries (distribution-spec 1.1): one repository, asked by any number of threads.
//!
//! All of the network is here, and all waiting for it. Invariants: nothing goes on for ever, since each connection, read and
//! write has an end, and each request a number of tries; what comes from the wire is bounded, and compared with its digest;
//! secrets are in no error and in no debug form.

mod access;
mod blobs;
mod certificates;
mod challenge;
mod client;
mod credentials;
mod fault;
mod helper;
mod link;
mod pace;
mod policy;
mod reply;
mod retry;
mod secret;
mod source;
mod stream;
mod tokens;
mod traffic;
mod transport;
mod url;
mod wire;

pub use access::Access;
pub use access::Right;
pub use client::Client;
pub use client::Manifest;
pub use client::Put;
pub use source::Source;
pub use stream::BlobStream;
pub use traffic::{Counters, Traffic};
