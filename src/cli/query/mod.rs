//! `log`, `show`, `ls`, `cat`, `explain`, `which` and `find`: questions about recorded snapshots.

pub(crate) mod args;
mod explain_text;
mod find_text;
mod growth;
mod json;
pub(crate) mod log_args;
mod log_text;
mod text;

use crate::cli::asked::{Asked, Subject};
use crate::cli::context::{Answer, Context};
use crate::cli::page::{self, Target};
use crate::cli::pager;
use crate::cli::parse::EntryPathArg;
use crate::cli::query::args::FindArgs;
use crate::cli::query::log_args::LogArgs;
use crate::error::{Error, Result};
use crate::layer::partial::PartialBlobs;
use crate::model::names::SnapshotRef;
use crate::model::tree::path::EntryPath;
use crate::ops::query::filter::Filter;
use crate::ops::query::sbom::{self as material, Format};
use crate::ops::query::which as asking;
use crate::ops::query::{
    cat as reading, explain as explaining, find as finding, history, inspect, log as logging,
};

/// Explains the layers of a snapshot. Fails if the store has no such snapshot.
pub(crate) fn explain(context: &Context, snapshot: &SnapshotRef) -> Result<Answer> {
    let explained = explaining::explain(&context.store, snapshot)?;
    let text = || explain_text::explain(&explained, context.verbose, context.paint());
    let text = context.show(|| json::explain(&explained), text);
    Ok(context.paged(text))
}

/// Tells which packages and which layer a path is of. Fails if the snapshot has no such path.
pub(crate) fn which(context: &Context, subject: &Subject, path: &EntryPathArg) -> Result<Answer> {
    let asked = Asked::open(context, subject, &context.progress())?;
    let which = asking::which(&asked.store, &asked.snapshot, &path.path())?;
    let text = context.show(
        || asked.named(json::which(&which)),
        || text::which(&which, asked.image.as_deref()),
    );
    Ok(text.into())
}

/// Searches all snapshots, or an image; to find nothing is a negative answer. Fails for a bad glob, and if a row or a layer is damaged.
pub(crate) fn find(context: &Context, args: &FindArgs) -> Result<Answer> {
    let progress = context.progress();
    let image = args.image.as_ref();
    let asked = image.map(|image| Asked::open(context, image, &progress));
    let (found, image) = match asked.transpose()? {
        None => {
            let found = finding::find(&context.store, &args.query(), &args.filter());
            (found?, None)
        }
        Some(asked) => {
            let all = Filter::default();
            let found =
                asked.with_layers(&progress, |store| finding::find(store, &args.query(), &all));
            (found?, Some(asked))
        }
    };
    let text = context.show(
        || match &image {
            Some(asked) => asked.named(json::find(&found)),
            None => json::find(&found),
        },
        || match &image {
            Some(_) => find_text::names(&found),
            None if context.verbose => find_text::each(&found),
            None => find_text::ranges(&found),
        },
    );
    Ok(context.found(text, found.is_empty()))
}

/// Writes a file's content to stdout. Fails if the path is no file, or its layer is damaged.
pub(crate) fn cat(context: &Context, subject: &Subject, path: &EntryPathArg) -> Result<Answer> {
    let progress = context.progress();
    let asked = Asked::open(context, subject, &progress)?;
    let path = path.path();
    let (store, snapshot) = (&asked.store, &asked.snapshot);
    let write = |parts: &PartialBlobs| {
        pager::through(|out| reading::cat(store, snapshot, &path, parts, out))
    };
    match write(&PartialBlobs::default()) {
        Err(Error::OnlyRemote { .. }) => {
            let file = reading::path_of(store, snapshot, &path)?;
            let parts = asked.fetch_parts(&|path| *path == file, &progress)?;
            write(&parts)?;
        }
        written => written?,
    }
    Ok(String::new().into())
}

/// Lists snapshots, or the changes of a path or a package in them; to find no change is a negative answer. Fails if the store has no series
/// of that name.
pub(crate) fn log(context: &Context, args: &LogArgs) -> Result<Answer> {
    let filter = args.filter();
    if let Some(path) = &args.html {
        Target::new(path).check(&context.store)?;
    }
    if let Some(path) = &args.path {
        let mut turns = history::of_path(&context.store, &filter, &path.path())?;
        turns.truncate(args.most_turns());
        let text = context.show(|| json::path_turns(&turns), || log_text::path_turns(&turns));
        return Ok(context.found(text, turns.is_empty()));
    }
    if let Some(name) = &args.package {
        let mut turns = history::of_package(&context.store, &filter, name)?;
        turns.truncate(args.most_turns());
        let text = context.show(
            || json::package_turns(&turns),
            || log_text::package_turns(&turns),
        );
        return Ok(context.found(text, turns.is_empty()));
    }
    let logged = logging::log(&context.store, &filter, context.verbose)?;
    if let Some(path) = &args.html {
        let page = growth::page(&context.store, &logged);
        match Target::new(path) {
            Target::Stdout => return Ok(page.into()),
            Target::File(path) => page::write(path, &page)?,
        }
    }
    let text = context.show(
        || {
            if context.stats {
                growth::json(&logged)
            } else {
                json::log(&logged)
            }
        },
        || {
            if context.stats {
                growth::text(&logged)
            } else if context.verbose {
                log_text::log_in_detail(&logged)
            } else {
                log_text::log(&logged)
            }
        },
    );
    Ok(context.paged(text))
}

/// Writes the packages of a snapshot as a bill of materials to stdout. Fails if the packages are unknown.
pub(crate) fn sbom(context: &Context, subject: &Subject, format: Format) -> Result<Answer> {
    let progress = context.progress();
    let asked = Asked::open(context, subject, &progress)?;
    let make = |parts: &PartialBlobs| material::sbom(&asked.store, &asked.snapshot, parts, format);
    let document = match make(&PartialBlobs::default()) {
        Err(Error::OnlyRemote { .. }) => {
            let parts = asked.fetch_parts(&material::is_needed, &progress)?;
            make(&parts)?
        }
        made => made?,
    };
    Ok(context.paged(format!("{document:#}\n")))
}

/// Shows a snapshot, or the packages alone. Fails if the store has none of that name or number, and if packages that were asked for
/// are unknown.
pub(crate) fn show(context: &Context, subject: &Subject, packages: bool) -> Result<Answer> {
    let asked = Asked::open(context, subject, &context.progress())?;
    let shown = inspect::show(&asked.store, &asked.snapshot)?;
    let Some(packages) = packages.then_some(&shown.packages) else {
        let text = || text::show(&shown, &asked.store, asked.image.as_deref());
        let text = context.show(|| asked.named(json::show(&shown)), text);
        return Ok(text.into());
    };
    let Some(packages) = packages else {
        let of = asked.snapshot.to_string();
        return Err(Error::UnknownPackages { of });
    };
    let text = context.show(
        || asked.named(json::packages_of(&shown.snapshot, packages)),
        || text::packages(packages),
    );
    Ok(context.paged(text))
}

/// Lists the entries of a snapshot at and beneath a path. Fails if nothing is recorded there.
pub(crate) fn ls(
    context: &Context,
    subject: &Subject,
    path: Option<&EntryPathArg>,
) -> Result<Answer> {
    let asked = Asked::open(context, subject, &context.progress())?;
    let path = path.map_or_else(EntryPath::root, EntryPathArg::path);
    let (id, entries) = inspect::ls(&asked.store, &asked.snapshot, &path)?;
    let text = context.show(
        || asked.named(json::ls(id, &entries)),
        || text::ls(&entries),
    );
    Ok(text.into())
}
