//! `restore`: the arguments, and the outcome as text and JSON.

use crate::cli::asked::{Asked, Subject, parse_subject};
use crate::cli::context::{Answer, Context};
use crate::cli::json::{VERSION, absolute, insert_bytes, seconds};
use crate::cli::stderr::say;
use crate::cli::text::{counted, size};
use crate::error::Result;
use crate::fs::attributes::Lack;
use crate::layer::partial::PartialBlobs;
use crate::model::names::SnapshotRef;
use crate::model::policy::globs::Pathspec;
use crate::ops::record::Options;
use crate::ops::restore::{Extra, Outcome, Request, Writes, restore};
use crate::printable::printable;
use clap::Args;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Snapshot to restore, or docker://HOST/REPO[:TAG]
    #[arg(value_parser = parse_subject)]
    snapshot: Subject,
    /// Directory to restore it to; made where it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Only these paths or globs, and what is beneath them
    #[arg(value_name = "PATHSPEC")]
    pathspec: Vec<OsString>,
    /// Remove what the snapshot does not have
    #[arg(long)]
    exact: bool,
    /// Write nothing, and say what would be done
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Work on N threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

impl RestoreArgs {
    fn request(&self, snapshot: &SnapshotRef, parts: PartialBlobs) -> Request {
        Request {
            snapshot: snapshot.clone(),
            parts,
            directory: self.directory.clone(),
            pathspec: self.pathspec.clone(),
            extra: if self.exact {
                Extra::Removed
            } else {
                Extra::Kept
            },
            writes: if self.dry_run {
                Writes::Planned
            } else {
                Writes::Done
            },
            threads: self.threads.unwrap_or(Options::default().threads),
        }
    }
}

/// Restores a snapshot. Fails if the snapshot cannot be read, or the directory not be written to.
pub(crate) fn run(context: &Context, args: &RestoreArgs) -> Result<Answer> {
    let progress = context.progress();
    let asked = Asked::open(context, &args.snapshot, &progress)?;
    let parts = if args.dry_run {
        PartialBlobs::default()
    } else {
        let spec = Pathspec::new(&args.pathspec)?;
        asked.fetch_parts(&|path| spec.chooses(path), &progress)?
    };
    let request = args.request(&asked.snapshot, parts);
    let outcome = asked.with_layers(&progress, |store| restore(store, &request, &progress))?;
    context.print_times(&outcome.seconds);
    if let Some(text) = warning(&outcome) {
        say(&format!("rootstrata: warning: {text}"));
    }
    let text = context.show(
        || asked.named(json(&outcome)),
        || text(&outcome, args.dry_run, asked.image.as_deref()),
    );
    Ok(Answer {
        is_negative: !outcome.is_complete(),
        ..text.into()
    })
}

fn lack_name(lack: Lack) -> &'static str {
    match lack {
        Lack::Device => "device",
        Lack::All => "entry",
        Lack::Names => "links",
        Lack::Owner => "owner",
        Lack::Mode => "mode",
        Lack::Xattr => "xattr",
        Lack::Time => "mtime",
    }
}

/// Returns a line about all that could not be restored; `None` for a complete restore.
pub(crate) fn warning(outcome: &Outcome) -> Option<String> {
    let mut parts: Vec<String> = outcome
        .lacks
        .iter()
        .map(|(lack, count, first)| {
            let what = match lack {
                Lack::Device => "device",
                Lack::All => "all",
                Lack::Names => "further names",
                Lack::Owner => "owner",
                Lack::Mode => "mode",
                Lack::Xattr => "extended attributes",
                Lack::Time => "time",
            };
            format!(
                "{what} of {count} ({first}{})",
                if *count > 1 { ", …" } else { "" }
            )
        })
        .collect();
    if outcome.hidden > 0 {
        parts.push(format!(
            "{} that mounts hide",
            counted(outcome.hidden, "entry", "entries")
        ));
    }
    (!parts.is_empty()).then(|| format!("could not be restored: {}", parts.join(", ")))
}

pub(crate) fn text(outcome: &Outcome, is_dry_run: bool, image: Option<&str>) -> String {
    let Outcome {
        snapshot,
        made,
        adjusted,
        removed,
        unchanged,
        extra,
        layers_read,
        ..
    } = outcome;
    let directory = outcome.directory.as_os_str();
    let directory = printable(directory.as_encoded_bytes());
    let verb = if is_dry_run { "would become" } else { "is" };
    let name = match image {
        Some(image) => image.to_owned(),
        None => format!(
            "{}@{}, snapshot {}",
            snapshot.series, snapshot.stage, snapshot.id
        ),
    };
    let mut text = format!(
        "{directory} {verb} {name}: {made} made, {adjusted} adjusted, {removed} removed, {unchanged} unchanged"
    );
    if *extra > 0 {
        text += &format!(", {extra} others kept");
    }
    if *layers_read > 0 {
        let layers = if *layers_read == 1 { "layer" } else { "layers" };
        text += &format!(
            "; {} written from {layers_read} {layers}",
            size(outcome.bytes_written)
        );
    }
    text + "\n"
}

pub(crate) fn json(outcome: &Outcome) -> Value {
    let lacks: Vec<Value> = outcome
        .lacks
        .iter()
        .map(|(lack, count, first)| {
            let mut value = json!({ "what": lack_name(*lack), "entries": count });
            if let Value::Object(object) = &mut value {
                insert_bytes(object, "first", &absolute(first));
            }
            value
        })
        .collect();
    json!({
        "version": VERSION,
        "id": outcome.snapshot.id,
        "series": outcome.snapshot.series,
        "stage": outcome.snapshot.stage,
        "run": outcome.snapshot.run,
        "directory": outcome.directory.to_string_lossy(),
        "complete": outcome.is_complete(),
        "made": outcome.made,
        "adjusted": outcome.adjusted,
        "removed": outcome.removed,
        "unchanged": outcome.unchanged,
        "extra": outcome.extra,
        "hidden": outcome.hidden,
        "files_written": outcome.files_written,
        "bytes_written": outcome.bytes_written,
        "layers_read": outcome.layers_read,
        "lacks": lacks,
        "seconds": seconds(&outcome.seconds),
    })
}
