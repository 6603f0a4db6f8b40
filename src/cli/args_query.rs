//! What can be asked of what is recorded, as clap reads it.

use crate::model::digest::ContentHash;
use crate::model::source::Source;
use crate::ops::compare::diff::{Digests, Files, Mtimes, Request};
use crate::ops::query::find::{Query, Within};
use crate::ops::record::Options;
use crate::printable::printable;
use clap::Args;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub(super) const DIFF_HELP: &str = "\
A and B are snapshots, or dir:PATH for a directory as it is now, or
oci-archive:PATH[:REF], oci:PATH[:REF] or docker-archive:PATH[:REF] for an
image. REF is its name, or @N for the Nth that is listed, from 0.

Exit status: 0 no difference, 1 a difference, 2 trouble.";

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// Old side
    #[arg(value_parser = SourceParser)]
    a: Source,
    /// New side
    #[arg(value_parser = SourceParser)]
    b: Source,
    /// Only these paths or globs, and what is beneath them
    #[arg(value_name = "PATHSPEC")]
    pathspec: Vec<OsString>,
    /// List packages alone
    #[arg(long)]
    pub(super) packages: bool,
    /// List every file that differs, also those that a package accounts for
    #[arg(long, conflicts_with = "packages")]
    pub(super) files: bool,
    /// Show what differs within the files at PATH, which may be a glob; may be
    /// given more than once
    #[arg(long, value_name = "PATH", conflicts_with_all = ["packages", "files", "pathspec"])]
    content: Vec<OsString>,
    /// Read the files that no package accounts for, and compare them with the
    /// digests of their packages
    #[arg(long, conflicts_with = "packages")]
    verify: bool,
    /// Leave modification times out of the comparison
    #[arg(long)]
    ignore_mtime: bool,
    /// Also write it to FILE as a page for a browser; - for stdout, instead of
    /// the text
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Work on N threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

impl DiffArgs {
    /// Returns what was left out of the comparison, as sentences.
    pub(super) fn scope(&self) -> Vec<String> {
        let all = |paths: &[OsString]| {
            paths
                .iter()
                .map(|path| printable(path.as_bytes()))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let mut scope = Vec::new();
        if !self.pathspec.is_empty() {
            scope.push(format!(
                "only this part is compared: {}",
                all(&self.pathspec)
            ));
        }
        if !self.content.is_empty() {
            scope.push(format!(
                "only these files are compared: {}",
                all(&self.content)
            ));
        }
        if self.packages {
            scope.push("packages alone are compared".to_owned());
        }
        if self.ignore_mtime {
            scope.push("modification times are left out of the comparison".to_owned());
        }
        scope
    }

    pub(super) fn has_contents(&self) -> bool {
        !self.content.is_empty()
    }

    pub(super) fn request(&self) -> Request {
        Request {
            a: self.a.clone(),
            b: self.b.clone(),
            pathspec: self.pathspec.clone(),
            files: if self.packages {
                Files::LeftOut
            } else {
                Files::Compared
            },
            mtimes: if self.ignore_mtime {
                Mtimes::Ignored
            } else {
                Mtimes::Compared
            },
            contents: self.content.clone(),
            digests: if self.verify {
                Digests::Verified
            } else {
                Digests::Unread
            },
            threads: self.threads.unwrap_or(Options::default().threads),
        }
    }
}

pub(super) const FIND_USAGE: &str = "\
rootstrata find [OPTIONS] --path <GLOB>
       rootstrata find [OPTIONS] --package <NAME>
       rootstrata find [OPTIONS] --blake3 <HASH>
       rootstrata find [OPTIONS] --sha256 <HASH> [--read-layers]";

pub(super) const FIND_HELP: &str = "\
No SHA-256 is recorded of a file, but packages name those of theirs. What no
package has is found with --read-layers alone, which takes a while.

Exit status: 0 something was found, 1 nothing, 2 trouble.";

#[derive(Debug, Args)]
pub(super) struct FindArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// With --sha256: read all layers, instead of asking the packages
    #[arg(long, conflicts_with_all = ["blake3", "path", "package"])]
    read_layers: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhatArgs {
    /// Files with this content
    #[arg(long, value_name = "HASH", value_parser = parse_blake3)]
    blake3: Option<ContentHash>,
    /// Files with this content, as far as packages tell
    #[arg(long, value_name = "HASH", value_parser = parse_sha256)]
    sha256: Option<[u8; 32]>,
    /// Paths that match GLOB
    #[arg(long, value_name = "GLOB")]
    path: Option<String>,
    /// Packages of this name, or that match this glob
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
}

impl FindArgs {
    pub(super) fn query(&self) -> Query {
        let within = if self.read_layers {
            Within::Layers
        } else {
            Within::Packages
        };
        let what = &self.what;
        let content = what.blake3.map(Query::Blake3);
        let digest = what.sha256.map(|digest| Query::Sha256 { digest, within });
        let path = what.path.clone().map(Query::Path);
        let package = || Query::Package(what.package.clone().unwrap_or_default());
        content.or(digest).or(path).unwrap_or_else(package)
    }
}

fn parse_blake3(text: &str) -> Result<ContentHash, String> {
    let text = text
        .strip_prefix("blake3:")
        .unwrap_or(text)
        .to_ascii_lowercase();
    ContentHash::parse(&text).ok_or_else(|| HASH_FORM.to_owned())
}

fn parse_sha256(text: &str) -> Result<[u8; 32], String> {
    let text = text
        .strip_prefix("sha256:")
        .unwrap_or(text)
        .to_ascii_lowercase();
    ContentHash::parse(&text)
        .map(|hash| hash.0)
        .ok_or_else(|| HASH_FORM.to_owned())
}

const HASH_FORM: &str = "expected 64 hexadecimal digits";

/// Paths in it are bytes, which clap's own parsers for text do not take.
#[derive(Clone)]
pub(super) struct SourceParser;

impl TypedValueParser for SourceParser {
    type Value = Source;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Source, clap::Error> {
        Source::parse(value).map_err(|e| command.clone().error(ErrorKind::InvalidValue, e))
    }
}
