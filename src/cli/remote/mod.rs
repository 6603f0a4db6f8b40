//! `push`, and `prune` of a repository.

pub(crate) mod args;
pub(crate) mod json;
pub(crate) mod text;

use crate::cli::context::{Answer, Context};
use crate::cli::remote::args::PushArgs;
use crate::error::{Error, Result};
use crate::ops::remote::{prune, push};

/// Pushes snapshots. Fails if a snapshot or a blob is not there, and if the registry does not take them.
pub(crate) fn push(context: &Context, args: &PushArgs) -> Result<Answer> {
    let (snapshots, target) = args.parts().map_err(|what| Error::UnfitTarget {
        target: "push".to_owned(),
        what,
    })?;
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

/// Prunes a repository. Fails if the registry does not answer, or does not delete.
pub(crate) fn prune(context: &Context, request: &prune::Request) -> Result<Answer> {
    let outcome = prune::prune(request, &context.progress())?;
    context.print_times(&outcome.seconds);
    let text = || text::prune(&outcome, request.dry_run, context.verbose);
    let text = context.show(|| json::prune(&outcome, request.dry_run), text);
    Ok(text.into())
}
