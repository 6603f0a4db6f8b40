//! `log`, `show`, `ls`, `cat`, `explain`, `which` and `find`: questions about recorded snapshots.

pub(crate) mod args;
mod explain_text;
mod json;
mod text;

use crate::cli::context::{Answer, Context};
use crate::cli::pager;
use crate::cli::parse::EntryPathArg;
use crate::cli::query::args::FindArgs;
use crate::error::{Error, Result};
use crate::model::names::SnapshotRef;
use crate::model::tree::path::EntryPath;
use crate::ops::query::which as asking;
use crate::ops::query::{cat as reading, explain as explaining, find as finding, inspect};
use crate::ops::remote::fetch_layers::Wanted;

/// Explains the layers of a snapshot. Fails if the store has no such snapshot.
pub(crate) fn explain(context: &Context, snapshot: &SnapshotRef) -> Result<Answer> {
    let explained = explaining::explain(&context.store, snapshot)?;
    let text = || explain_text::explain(&explained, context.verbose, context.paint());
    let text = context.show(|| json::explain(&explained), text);
    Ok(context.paged(text))
}

/// Tells which packages and which layer a path is of. Fails if the snapshot has no such path.
pub(crate) fn which(
    context: &Context,
    snapshot: &SnapshotRef,
    path: &EntryPathArg,
) -> Result<Answer> {
    let which = asking::which(&context.store, snapshot, &path.path())?;
    let text = context.show(|| json::which(&which), || text::which(&which));
    Ok(text.into())
}

/// Searches all snapshots; to find nothing is a negative answer. Fails for a bad glob, and if a row or a layer is damaged.
pub(crate) fn find(context: &Context, args: &FindArgs) -> Result<Answer> {
    let found = finding::find(&context.store, &args.query())?;
    let text = context.show(|| json::find(&found), || text::find(&found));
    Ok(Answer {
        is_negative: found.is_empty(),
        ..context.paged(text)
    })
}

/// Writes a file's content to stdout. Fails if the path is no file, or its layer is damaged.
pub(crate) fn cat(
    context: &Context,
    snapshot: &SnapshotRef,
    path: &EntryPathArg,
) -> Result<Answer> {
    let write = || pager::through(|out| reading::cat(&context.store, snapshot, &path.path(), out));
    match write() {
        Err(Error::OnlyRemote { .. }) => {
            context.fetch(&Wanted::one(snapshot), &context.progress())?;
            write()?;
        }
        written => written?,
    }
    Ok(String::new().into())
}

/// Lists snapshots. Fails if the store has no series of that name.
pub(crate) fn log(context: &Context, series: Option<&str>) -> Result<Answer> {
    let logged = inspect::log(&context.store, series)?;
    let text = context.show(
        || json::log(&logged),
        || text::log(&logged, context.verbose),
    );
    Ok(text.into())
}

/// Shows a snapshot. Fails if the store has none of that name or number.
pub(crate) fn show(context: &Context, snapshot: &SnapshotRef) -> Result<Answer> {
    let shown = inspect::show(&context.store, snapshot)?;
    let text = || text::show(&shown, &context.store);
    let text = context.show(|| json::show(&shown), text);
    Ok(text.into())
}

/// Lists the entries of a snapshot at and beneath a path. Fails if nothing is recorded there.
pub(crate) fn ls(
    context: &Context,
    snapshot: &SnapshotRef,
    path: Option<&EntryPathArg>,
) -> Result<Answer> {
    let path = path.map_or_else(EntryPath::root, EntryPathArg::path);
    let (id, entries) = inspect::ls(&context.store, snapshot, &path)?;
    let text = context.show(|| json::ls(id, &entries), || text::ls(&entries));
    Ok(text.into())
}
