//! The arguments of a comparison, as clap reads them.

use crate::cli::own_output;
use crate::cli::parse::SourceParser;
use crate::model::source::Source;
use crate::ops::compare::diff::{Digests, Files, Mtimes, Request, VolatileFiles};
use crate::ops::record::Options;
use crate::printable::printable;
use crate::registry::Access;
use clap::Args;
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Old side; a snapshot alone is compared with the one before of its stage
    #[arg(value_parser = SourceParser)]
    pub a: Source,
    /// New side
    #[arg(value_parser = SourceParser)]
    pub b: Option<Source>,
    /// Only these paths or globs, and what is beneath them; with ! in front, all
    /// but them
    #[arg(value_name = "PATHSPEC")]
    pathspec: Vec<OsString>,
    /// List packages alone
    #[arg(long)]
    pub packages: bool,
    /// List every file that differs, also those that a package accounts for
    #[arg(long, conflicts_with = "packages")]
    pub files: bool,
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
    /// Leave volatile files out, which no two installations have alike
    #[arg(long)]
    ignore_volatile: bool,
    /// Also write it to FILE as a page for a browser; - for stdout, instead of
    /// the text
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Work on N threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

impl DiffArgs {
    /// Returns the conflict between the options, if any: stdout takes the page or the JSON.
    pub(crate) fn conflict(&self, is_json: bool) -> Option<(ErrorKind, &'static str)> {
        let html = self.html.as_deref()?;
        if !is_json || !own_output::is_named_by(html) {
            return None;
        }
        let text = "stdout takes the page or the JSON, not both";
        Some((ErrorKind::ArgumentConflict, text))
    }

    /// Returns what was left out of the comparison, as sentences.
    pub(crate) fn scope(&self) -> Vec<String> {
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
        if self.ignore_volatile {
            scope.push("volatile files are left out of the comparison".to_owned());
        }
        if self.ignore_mtime {
            scope.push("modification times are left out of the comparison".to_owned());
        }
        scope
    }

    pub(crate) fn has_contents(&self) -> bool {
        !self.content.is_empty()
    }

    /// Returns the request to compare two sides.
    pub(crate) fn request(
        &self,
        [a, b]: [Source; 2],
        access: Access,
        jobs: NonZeroUsize,
    ) -> Request {
        Request {
            access,
            jobs,
            a,
            b,
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
            volatile_files: if self.ignore_volatile {
                VolatileFiles::Ignored
            } else {
                VolatileFiles::Compared
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
