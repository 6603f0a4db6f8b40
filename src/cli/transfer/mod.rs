//! `export` and `import`.

pub(crate) mod args;
mod json;
mod text;

use crate::cli::context::{Answer, Context};
use crate::cli::progress::Progress;
use crate::cli::record;
use crate::cli::record::args::RecordArgs;
use crate::cli::remote;
use crate::cli::stderr::say;
use crate::cli::transfer::args::{ExportArgs, ImportArgs, PullArgs};
use crate::error::{Error, Result};
use crate::model::names::SnapshotRef;
use crate::model::source::Source;
use crate::ops::query::inspect;
use crate::ops::record::{Outcome, snapshot};
use crate::ops::remote::fetch_layers::Wanted;
use crate::ops::remote::lazy_pull::pull_lazily;
use crate::ops::transfer::export::{self as exporting, Outcome as Exported, Request};
use crate::ops::transfer::import as importing;
use serde_json::Value;
use std::io::ErrorKind;
use std::path::Path;

/// Exports a snapshot, which is recorded first if a root is given. Fails if the root cannot be recorded or the output not be
/// written; a reader of the stream that has seen enough is no failure.
pub(crate) fn export(context: &Context, args: &ExportArgs) -> Result<Answer> {
    let progress = context.progress();
    let mut request = args.request();
    let record = match &args.root {
        Some(root) => record::with_defaults(context, &args.record, root)?,
        None => args.record.clone(),
    };
    let recorded = match &args.root {
        Some(root) => {
            let outcome = record_first(context, &record, root, &mut request, &progress)?;
            Some(outcome)
        }
        None => None,
    };
    let is_stream = request.stream.is_some();
    let wanted = Wanted {
        with_runs: request.all_stages,
        ..Wanted::one(&request.snapshot)
    };
    // What was written to a stream cannot be taken back.
    if is_stream {
        context.fetch(&wanted, &progress)?;
    }
    let export = || exporting::export(&context.store, &request, &progress);
    let exported = match export() {
        Err(Error::OnlyRemote { .. }) => {
            context.fetch(&wanted, &progress)?;
            export()
        }
        exported => exported,
    };
    let exported = match exported {
        Err(error) if is_stream && is_broken_pipe(&error) => {
            return Ok(String::new().into());
        }
        exported => exported?,
    };
    context.print_times(&exported.seconds);
    if let Some(outcome) = &recorded {
        context.print_times(&outcome.seconds);
        context.print_stats(&record::text::cost(outcome));
    }
    let pushed = match &recorded {
        Some(outcome) => record::push(context, &record, outcome.snapshot.id, &progress)?,
        None => None,
    };
    let snapshot = describe(context, recorded.as_ref(), exported.snapshot_id)?;
    let snapshot = record::with_push(snapshot, pushed.as_ref());
    let text = context.show(
        || json::export(&exported, snapshot),
        || {
            let pushed = pushed.as_ref().map(remote::text::push);
            let text = export_text(recorded.as_ref(), &exported, context.verbose);
            text + &pushed.unwrap_or_default()
        },
    );
    if !is_stream {
        return Ok(text.into());
    }
    if !text.is_empty() {
        say(text.trim_end()); // stdout has the archive
    }
    Ok(String::new().into())
}

/// Records the root, and makes the new snapshot the one to export.
fn record_first(
    context: &Context,
    record: &RecordArgs,
    root: &Path,
    request: &mut Request,
    progress: &Progress,
) -> Result<Outcome> {
    let store = &context.store;
    request.since = exporting::prepare(store, request)?;
    let outcome = snapshot(
        store,
        root,
        &record.options(&context.access, context.jobs),
        progress,
    )?;
    request.snapshot = SnapshotRef::Id(outcome.snapshot.id);
    Ok(outcome)
}

fn export_text(recorded: Option<&Outcome>, exported: &Exported, verbose: bool) -> String {
    let mut text = String::new();
    if let Some(outcome) = recorded {
        text.push_str(&record::text::snapshot(outcome, verbose));
    }
    text.push_str(&text::export(exported));
    text
}

fn is_broken_pipe(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => source.kind() == ErrorKind::BrokenPipe,
        _ => false,
    }
}

/// Returns the JSON of the exported snapshot; without `--json`, null, so that the store is not opened again.
fn describe(context: &Context, recorded: Option<&Outcome>, id: i64) -> Result<Value> {
    if !context.json {
        return Ok(Value::Null);
    }
    match recorded {
        Some(outcome) => Ok(record::json::snapshot(outcome)),
        None => {
            let shown = inspect::show(&context.store, &SnapshotRef::Id(id))?;
            Ok(record::json::described(&shown))
        }
    }
}

/// Imports images. Fails if the source cannot be read or holds what no store takes.
pub(crate) fn import(context: &Context, args: &ImportArgs) -> Result<Answer> {
    let progress = context.progress();
    let request = args.request(context.access.clone(), context.jobs);
    let taken = importing::import(&context.store, &request, &progress)?;
    let traffic = matches!(request.source, Source::Registry(_));
    Ok(taken_answer(context, &taken, traffic))
}

/// Takes an image from a registry. Fails if the registry does not give it, or gives what no store takes.
pub(crate) fn pull(context: &Context, args: &PullArgs) -> Result<Answer> {
    let progress = context.progress();
    let request = args.request(context.access.clone(), context.jobs);
    let taken = if args.lazy {
        pull_lazily(&context.store, args.image(), &request, &progress)
    } else {
        importing::import(&context.store, &request, &progress)
    };
    Ok(taken_answer(context, &taken?, true))
}

fn taken_answer(context: &Context, taken: &importing::Outcome, of_registry: bool) -> Answer {
    let traffic = of_registry.then(|| context.access.counters.traffic());
    context.print_times(&taken.seconds);
    for image in &taken.failed {
        say(&format!("rootstrata: warning: left out: {image}"));
    }
    let text = context.show(
        || json::import(taken, traffic.as_ref()),
        || text::import(taken, traffic.as_ref(), context.verbose),
    );
    Answer {
        is_negative: !taken.failed.is_empty(),
        ..text.into()
    }
}
