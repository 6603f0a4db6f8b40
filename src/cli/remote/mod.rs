//! `push`, and `prune` of a repository.

pub(crate) mod args;
pub(crate) mod json;
pub(crate) mod text;

use crate::cli::context::{Answer, Context};
use crate::cli::remote::args::PushArgs;
use crate::error::{Error, Result};
use crate::model::names::SnapshotRef;
use crate::model::repository::ImageName;
use crate::ops::query::inspect;
use crate::ops::remote::{prune, push};

/// Pushes snapshots. Fails if a snapshot or a blob is not there, and if the registry does not take them.
pub(crate) fn push(context: &Context, args: &PushArgs) -> Result<Answer> {
    let unfit = |what| Error::UnfitTarget {
        target: "push".to_owned(),
        what,
    };
    let (snapshots, target) = args.parts().map_err(unfit)?;
    let target = match target {
        Some(target) => target,
        None => configured(context, &snapshots)?.ok_or_else(|| {
            unfit("the last argument is docker://HOST/REPO[:TAG], unless the configuration has one registry for all")
        })?,
    };
    let request = push::Request {
        snapshots,
        target,
        access: context.access.clone(),
        jobs: context.jobs,
    };
    let outcome = push::push(&context.store, &request, &context.progress())?;
    context.print_times(&outcome.seconds);
    let text = context.show(|| json::push(&outcome), || text::push(&outcome));
    Ok(text.into())
}

/// Returns the configured repository for the series of all snapshots; `None` without a repository, and for several. Fails if a
/// snapshot is not there.
fn configured(context: &Context, snapshots: &[SnapshotRef]) -> Result<Option<ImageName>> {
    let mut found = None;
    for reference in snapshots {
        let shown = inspect::show(&context.store, reference)?;
        let registry = context
            .configuration
            .defaults(&shown.snapshot.series)
            .registry;
        if registry.is_none() || found.as_ref().is_some_and(|other| *other != registry) {
            return Ok(None);
        }
        found = Some(registry);
    }
    Ok(found.flatten().map(|repository| ImageName {
        repository,
        reference: None,
    }))
}

/// Prunes a repository. Fails if the registry does not answer, or does not delete.
pub(crate) fn prune(context: &Context, request: &prune::Request) -> Result<Answer> {
    let outcome = prune::prune(request, &context.progress())?;
    context.print_times(&outcome.seconds);
    let text = || text::prune(&outcome, request.dry_run, context.verbose);
    let text = context.show(|| json::prune(&outcome, request.dry_run), text);
    Ok(text.into())
}
