//! The arguments of exports and imports, as clap reads them.

use crate::cli::own_output;
use crate::cli::parse::{SourceParser, parse_snapshot};
use crate::cli::record::args::RecordArgs;
use crate::model::names::SnapshotRef;
use crate::model::repository::ImageName;
use crate::model::source::Source;
use crate::ops::transfer::export::{self, Format};
use crate::ops::transfer::import;
use crate::registry::Access;
use clap::builder::{OsStringValueParser, PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Snapshot to export
    #[arg(value_parser = parse_snapshot, required_unless_present = "root")]
    snapshot: Option<SnapshotRef>,
    /// Record ROOT first, with the options of `rootstrata snapshot`
    #[arg(long, value_name = "ROOT", conflicts_with = "snapshot")]
    pub root: Option<PathBuf>,
    /// File or directory to write; - for an archive on stdout
    #[arg(short, long, value_name = "PATH", value_parser = OsStringValueParser::new().try_map(output_path))]
    output: PathBuf,
    /// Form of the image: oci-archive, one tar file, or oci-dir, a layout
    /// [default: oci-archive]
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    format: Option<Format>,
    /// Add an image for each other stage of the run
    #[arg(long)]
    all_stages: bool,
    /// Leave out the blobs that SNAPSHOT has, for a place that has them
    #[arg(long, value_name = "SNAPSHOT", value_parser = parse_snapshot)]
    since: Option<SnapshotRef>,
    /// Join layers, where the image would have more than N; the store keeps
    /// joined layers for the next export
    #[arg(long, value_name = "N", value_parser = parse_most)]
    max_layers: Option<NonZeroUsize>,
    #[command(flatten, next_help_heading = "Options with --root")]
    pub record: RecordArgs,
}

impl ExportArgs {
    /// Returns the conflict between the options, if any: the options of `snapshot` need a root, and stdout takes the archive
    /// alone.
    pub(crate) fn conflict(&self, is_json: bool) -> Option<(ErrorKind, &'static str)> {
        let conflict = |text| Some((ErrorKind::ArgumentConflict, text));
        if self.root.is_none() && self.record != RecordArgs::default() {
            return conflict(
                "options that say how to record need --root; a snapshot is exported as it was recorded",
            );
        }
        if own_output::is_named_by(&self.output) {
            if self.format == Some(Format::OciDir) {
                return conflict("stdout takes an oci-archive; an oci-dir is a directory");
            }
            if is_json {
                return conflict("stdout takes the archive or the JSON, not both");
            }
        }
        self.root.as_ref().and_then(|_| self.record.conflict())
    }

    /// Returns the request; with a root, the snapshot is still to be made, and has no number yet.
    pub(crate) fn request(&self) -> export::Request {
        export::Request {
            snapshot: self.snapshot.clone().unwrap_or(SnapshotRef::Id(0)),
            path: self.output.clone(),
            stream: own_output::is_named_by(&self.output)
                .then(own_output::file)
                .flatten()
                .map(Arc::new),
            format: self.format.unwrap_or_default(),
            all_stages: self.all_stages,
            since: self.since.clone(),
            most_layers: self.max_layers,
            threads: self.record.threads(),
        }
    }
}

/// Takes the path of an output. Fails for the name of an image, as skopeo and podman would write it.
fn output_path(path: OsString) -> Result<PathBuf, String> {
    const TRANSPORTS: [&str; 5] = [
        "oci-archive:",
        "docker-archive:",
        "oci:",
        "dir:",
        "docker://",
    ];
    let bytes = path.as_encoded_bytes();
    let mut transports = TRANSPORTS.into_iter();
    match transports.find(|transport| bytes.starts_with(transport.as_bytes())) {
        Some("docker://") => Err("expected a path; rootstrata push sends to a registry".to_owned()),
        Some(transport) => Err(format!(
            "expected a path; --format says which form it has, and ./{transport}... is such a file"
        )),
        None => Ok(path.into()),
    }
}

/// Reads the most layers of an image.
fn parse_most(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok();
    number.ok_or_else(|| "expected a number from 1 up".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Archive or layout to take images from
    #[arg(value_parser = SourceParser.try_map(image_source))]
    source: Source,
    /// Series to record them as [default: as the image says, or its name]
    #[arg(long, value_name = "NAME")]
    series: Option<String>,
    /// Stage to record the image as [default: as the image says, or its name]
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
}

/// Takes an image as the source, and no snapshot or directory.
fn image_source(source: Source) -> Result<Source, String> {
    match source {
        Source::Archive(..) => Ok(source),
        Source::Layout(..) => Ok(source),
        Source::DockerArchive(..) => Ok(source),
        Source::Registry(_) => Ok(source),
        Source::Snapshot(_) | Source::Directory(_) | Source::Packages(_) => Err(
            "expected oci-archive:PATH[:REF], oci:PATH[:REF], docker-archive:PATH[:REF] or docker://HOST/REPO[:TAG]"
                .to_owned(),
        ),
    }
}

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Image to fetch, docker://HOST/REPO[:TAG|@DIGEST] [default tag: latest]
    #[arg(value_name = "IMAGE", value_parser = registry_source)]
    source: ImageName,
    /// Series to record it as [default: as it was pushed]
    #[arg(long, value_name = "NAME")]
    series: Option<String>,
    /// Stage to record it as [default: as it was pushed]
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// Record it by its records, and fetch each layer when it is wanted
    #[arg(long)]
    pub lazy: bool,
}

/// Takes an image of a registry as the source.
fn registry_source(text: &str) -> Result<ImageName, String> {
    let is_of_registry = text.starts_with("docker://");
    match is_of_registry.then(|| Source::parse(text.as_ref())) {
        Some(Ok(Source::Registry(name))) => Ok(name),
        Some(Err(error)) => Err(error.in_one_line()),
        _ => Err("expected docker://HOST/REPO[:TAG|@DIGEST]".to_owned()),
    }
}

impl PullArgs {
    pub(crate) fn image(&self) -> &ImageName {
        &self.source
    }

    pub(crate) fn request(&self, access: Access, jobs: NonZeroUsize) -> import::Request {
        import::Request {
            source: Source::Registry(self.source.clone()),
            series: self.series.clone(),
            stage: self.stage.clone(),
            access,
            jobs,
        }
    }
}

impl ImportArgs {
    pub(crate) fn request(&self, access: Access, jobs: NonZeroUsize) -> import::Request {
        import::Request {
            source: self.source.clone(),
            series: self.series.clone(),
            stage: self.stage.clone(),
            access,
            jobs,
        }
    }
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::OciArchive, Self::OciDir]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::OciArchive => "oci-archive",
            Self::OciDir => "oci-dir",
        }))
    }
}
