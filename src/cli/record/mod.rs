//! `snapshot`: records a root, and pushes the snapshot.

pub(crate) mod args;
pub(crate) mod json;
pub(crate) mod text;

use crate::cli::context::{Answer, Context};
use crate::cli::record::args::{RecordArgs, SnapshotArgs};
use crate::cli::remote;
use crate::error::Result;
use crate::model::names::SnapshotRef;
use crate::model::repository::ImageName;
use crate::ops::monitor::Monitor;
use crate::ops::record::{name_of_series, snapshot};
use crate::ops::remote::push;
use serde_json::Value;
use std::path::Path;

/// Records `root`, and pushes the snapshot if that is asked for. Fails if nothing could be recorded, or the registry does not take
/// the snapshot and is not optional.
pub(crate) fn run(context: &Context, root: &Path, args: &SnapshotArgs) -> Result<Answer> {
    let progress = context.progress();
    let record = &with_defaults(context, args.record(), root)?;
    let options = args.options(record, &context.access, context.jobs);
    let mut outcome = snapshot(&context.store, root, &options, &progress)?;
    context.print_times(&outcome.seconds);
    context.print_stats(&text::cost(&outcome));
    outcome.in_use = None;
    let pushed = push(context, record, outcome.snapshot.id, &progress)?;
    let json = || with_push(json::snapshot(&outcome), pushed.as_ref());
    let text = context.show(json, || {
        let pushed = pushed.as_ref().map(remote::text::push);
        text::snapshot(&outcome, context.verbose) + &pushed.unwrap_or_default()
    });
    Ok(text.into())
}

/// Returns the options with the configured defaults for the series of `root`. Fails if the path gives no name for the series.
pub(crate) fn with_defaults(
    context: &Context,
    args: &RecordArgs,
    root: &Path,
) -> Result<RecordArgs> {
    let series = match args.series() {
        Some(series) => series.to_owned(),
        None => name_of_series(root)?,
    };
    let defaults = context.configuration.defaults(&series);
    Ok(args.clone().with_defaults(defaults.record))
}

/// Pushes a snapshot that was just recorded, if that is asked for; `None` also after trouble with an optional registry. Fails if the
/// registry does not take the snapshot and is not optional.
pub(crate) fn push(
    context: &Context,
    args: &RecordArgs,
    id: i64,
    monitor: &dyn Monitor,
) -> Result<Option<push::Outcome>> {
    let Some(repository) = args.to.clone() else {
        return Ok(None);
    };
    let request = push::Request {
        snapshots: vec![SnapshotRef::Id(id)],
        target: ImageName {
            repository,
            reference: None,
        },
        access: context.access.clone(),
        jobs: context.jobs,
    };
    match push::push(&context.store, &request, monitor) {
        Err(error) if args.registry_optional && error.is_of_registry() => {
            let text = error.in_one_line();
            monitor.note(&format!("{text}; the snapshot is recorded, and not pushed"));
            Ok(None)
        }
        Err(error) => {
            let push = "rootstrata push sends it";
            monitor.note(&format!(
                "snapshot {id} is recorded, and not pushed: {push}"
            ));
            Err(error)
        }
        Ok(pushed) => Ok(Some(pushed)),
    }
}

/// Adds what was pushed to the object of a snapshot.
pub(crate) fn with_push(mut snapshot: Value, pushed: Option<&push::Outcome>) -> Value {
    if let Some(pushed) = pushed {
        snapshot["push"] = remote::json::push(pushed);
    }
    snapshot
}
