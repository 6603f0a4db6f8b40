//! Values of several commands, read from arguments: snapshots, paths inside a snapshot, and sides of a comparison.

use crate::model::names::SnapshotRef;
use crate::model::repository::Repository;
use crate::model::source::Source;
use crate::model::tree::path::EntryPath;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A path as the user gave it.
#[derive(Clone, Debug)]
pub(crate) struct EntryPathArg(EntryPath);

impl EntryPathArg {
    pub(crate) fn path(&self) -> EntryPath {
        self.0.clone()
    }
}

/// Reads the name of a snapshot. Fails for a text that is neither a number nor `SERIES[@STAGE][@{MOMENT}][~N]`.
pub(crate) fn parse_snapshot(text: &str) -> Result<SnapshotRef, String> {
    SnapshotRef::parse(text)
        .map_err(|_| "expected a number or SERIES[@STAGE][@{DAY}][~N]".to_owned())
}

/// Reads `docker://HOST/REPO`. Fails if the text has another form, or the repository is malformed.
pub(crate) fn parse_repository(text: &str) -> Result<Repository, String> {
    let name = text.strip_prefix("docker://");
    let name = name.ok_or_else(|| "expected docker://HOST/REPO".to_owned())?;
    Repository::parse(name).map_err(|e| e.in_one_line())
}

/// Paths are bytes, which clap's own parsers for text do not take.
#[derive(Clone)]
pub(crate) struct EntryPathParser;

impl TypedValueParser for EntryPathParser {
    type Value = EntryPathArg;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<EntryPathArg, clap::Error> {
        let path = EntryPath::from_slashed(value.as_bytes()).map(EntryPathArg);
        path.ok_or_else(|| {
            command.clone().error(
                ErrorKind::InvalidValue,
                "a path in a snapshot has no .. in it",
            )
        })
    }
}

/// Paths in a source are bytes, which clap's own parsers for text do not take.
#[derive(Clone)]
pub(crate) struct SourceParser;

impl TypedValueParser for SourceParser {
    type Value = Source;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Source, clap::Error> {
        Source::parse(value).map_err(|e| {
            let mut command = command.clone();
            command.error(ErrorKind::InvalidValue, e)
        })
    }
}
