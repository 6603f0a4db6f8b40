//! What the command line and the environment say of registries. No secret is among it.

use crate::registry::traffic::Counters;
use std::path::PathBuf;
use std::time::Duration;

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The only file with credentials (`--authfile`, REGISTRY_AUTH_FILE).
    pub authfile: Option<PathBuf>,
    /// Files with credentials, the first to be asked first; not read where `authfile` is given. A missing file is none.
    pub authfiles: Vec<PathBuf>,
    /// The only directory with certificates (`--cert-dir`).
    pub cert_dir: Option<PathBuf>,
    /// Directories with a directory of certificates for each `HOST[:PORT]`; the first that is there counts.
    pub cert_dirs: Vec<PathBuf>,
    /// `Some(false)`: certificates are not checked, and HTTP will do. `Some(true)`: HTTP will not do for loopback either.
    pub tls_verify: Option<bool>,
    /// policy.json of containers-policy.json(5). A missing file is no policy.
    pub policy: Option<PathBuf>,
    /// For each connection, and each read and write; default 60 s.
    pub timeout: Option<Duration>,
    /// How often a request is tried; default 5.
    pub tries: Option<u32>,
    /// Waits before the next try, in the thread that asks; default: sleeps.
    pub pause: Option<fn(Duration)>,
    /// What all clients send and receive.
    pub counters: Counters,
}

/// What a client may be used for. A right has those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To read.
    Pull,
    /// To write.
    Push,
    /// To delete manifests.
    Delete,
}
