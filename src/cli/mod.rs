//! The command line: the only place that prints.

mod args;
mod args_keep;
mod args_query;
mod html;
mod json;
mod json_diff;
mod json_keep;
mod json_query;
mod own_output;
mod pager;
mod paint;
mod progress;
mod restore;
mod text;
mod text_diff;
mod text_keep;
mod text_query;

pub use args::Cli;

use crate::error::{Error, Result};
use crate::model::names::SnapshotRef;
use crate::model::tree::path::EntryPath;
use crate::ops::compare::diff;
use crate::ops::keep::prune;
use crate::ops::keep::squash;
use crate::ops::keep::usage;
use crate::ops::keep::verify;
use crate::ops::query::cat;
use crate::ops::query::explain;
use crate::ops::query::find;
use crate::ops::query::inspect;
use crate::ops::query::which;
use crate::ops::record as recording;
use crate::ops::restore as restoring;
use crate::ops::transfer::export;
use crate::ops::transfer::import;
use args::{Command, ExportArgs};
use args_query::DiffArgs;
use paint::Paint;
use progress::Progress;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a command has to say.
#[derive(Debug)]
pub struct Answer {
    text: String,
    may_page: bool,
    /// Whether a comparison found a difference, or a search nothing.
    pub is_negative: bool,
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self {
            text,
            may_page: false,
            is_negative: false,
        }
    }
}

impl Answer {
    /// Writes it to stdout, or to a pager.
    pub fn print(&self) -> std::io::Result<()> {
        pager::write(&self.text, self.may_page)
    }
}

/// Runs the command and returns what goes to stdout.
pub fn run(cli: &Cli) -> Result<Answer> {
    let store = cli.store.clone().unwrap_or_else(default_store);
    let show = Show {
        json: cli.json,
        quiet: cli.quiet,
    };
    let text = match &cli.command {
        Command::Snapshot { root, record } => {
            let progress = Progress::new(cli.quiet);
            let outcome = recording::snapshot(&store, root, &record.options(), &progress)?;
            print_stats(cli, &[&outcome.seconds], Some(&outcome));
            show.one(
                || json::snapshot(&outcome),
                || text::snapshot(&outcome, cli.verbose),
            )
        }
        Command::Export(args) => run_export(cli, &store, args, &show)?,
        Command::Diff(args) => return run_diff(cli, &store, args, &show),
        Command::Explain { snapshot } => {
            let explained = explain::explain(&store, snapshot)?;
            let text = || {
                text_query::explain(
                    &explained,
                    cli.verbose,
                    Paint::new(cli.color.unwrap_or_default()),
                )
            };
            let text = show.one(|| json_query::explain(&explained), text);
            return Ok(Answer {
                text,
                may_page: !cli.no_pager && !cli.json,
                is_negative: false,
            });
        }
        Command::Which { snapshot, path } => {
            let which = which::which(&store, snapshot, &path.path())?;
            show.one(|| json_query::which(&which), || text_query::which(&which))
        }
        Command::Find(args) => {
            let found = find::find(&store, &args.query())?;
            let text = show.one(|| json_query::find(&found), || text_query::find(&found));
            return Ok(Answer {
                text,
                may_page: !cli.no_pager && !cli.json,
                is_negative: found.is_empty(),
            });
        }
        Command::Cat { snapshot, path } => {
            pager::through(|out| cat::cat(&store, snapshot, &path.path(), out))?;
            String::new()
        }
        Command::Restore(args) => {
            let outcome = restoring::restore(&store, &args.request(), &Progress::new(cli.quiet))?;
            print_stats(cli, &[&outcome.seconds], None);
            let warning = restore::warning(&outcome);
            warning
                .iter()
                .for_each(|text| say(&format!("rootstrata: warning: {text}")));
            let text = show.one(
                || restore::json(&outcome),
                || restore::text(&outcome, args.dry_run),
            );
            return Ok(Answer {
                text,
                may_page: false,
                is_negative: !outcome.is_complete(),
            });
        }
        Command::Log { series } => {
            let logged = inspect::log(&store, series.as_deref())?;
            show.one(|| json::log(&logged), || text::log(&logged))
        }
        Command::Show { snapshot } => {
            let shown = inspect::show(&store, snapshot)?;
            show.one(|| json::show(&shown), || text::show(&shown, &store))
        }
        Command::Ls { snapshot, path } => {
            let path = path
                .as_ref()
                .map_or_else(EntryPath::root, args::EntryPathArg::path);
            let (id, entries) = inspect::ls(&store, snapshot, &path)?;
            show.one(|| json::ls(id, &entries), || text::ls(&entries))
        }
        Command::Verify(args) => {
            let found = verify::verify(&store, &args.request(), &Progress::new(cli.quiet))?;
            print_stats(cli, &[&found.seconds], None);
            let text = show.one(|| json_keep::verify(&found), || text_keep::verify(&found));
            return Ok(Answer {
                is_negative: !found.findings.is_empty(),
                ..text.into()
            });
        }
        Command::Prune(args) => {
            let pruned = prune::prune(&store, &args.request(), &Progress::new(cli.quiet))?;
            print_stats(cli, &[&pruned.seconds], None);
            let is_dry_run = args.is_dry_run();
            let text = || text_keep::prune(&pruned, is_dry_run, cli.verbose);
            show.one(|| json_keep::prune(&pruned, is_dry_run), text)
        }
        Command::Import(args) => {
            let taken = import::import(&store, &args.request(), &Progress::new(cli.quiet))?;
            print_stats(cli, &[&taken.seconds], None);
            taken
                .failed
                .iter()
                .for_each(|what| say(&format!("rootstrata: warning: left out: {what}")));
            let text = show.one(
                || json_keep::import(&taken),
                || text_keep::import(&taken, cli.verbose),
            );
            return Ok(Answer {
                is_negative: !taken.failed.is_empty(),
                ..text.into()
            });
        }
        Command::Squash(args) => {
            let made = squash::squash(&store, &args.request(), &Progress::new(cli.quiet))?;
            print_stats(cli, &[&made.seconds], None);
            show.one(
                || json_keep::squash(&made),
                || text_keep::squash(&made, cli.verbose),
            )
        }
        Command::Du { series } => {
            let used = usage::usage(&store, series.as_deref())?;
            show.one(
                || json_keep::usage(&used),
                || text_keep::usage(&used, cli.verbose),
            )
        }
    };
    Ok(text.into())
}

fn run_diff(cli: &Cli, store: &Path, args: &DiffArgs, show: &Show) -> Result<Answer> {
    let target = args.html.as_deref().map(html::Target::new);
    target.map_or(Ok(()), |target| target.check(store))?;
    let difference = diff::diff(store, &args.request(), &Progress::new(cli.quiet))?;
    print_stats(cli, &[&difference.seconds], None);
    difference
        .notes
        .iter()
        .for_each(|note| say(&format!("rootstrata: note: {note}")));
    let paint = Paint::new(cli.color.unwrap_or_default());
    let layout = text_diff::Layout {
        lists_every_file: args.files,
        shows_contents: args.has_contents(),
        paint,
    };
    let is_negative = !difference.is_empty();
    match target {
        None => {}
        Some(html::Target::File(path)) => {
            html::write(path, &html::page(&difference, &args.scope()))?
        }
        Some(html::Target::Stdout) => {
            let text = html::page(&difference, &args.scope());
            return Ok(Answer {
                text,
                may_page: false,
                is_negative,
            });
        }
    }
    let text = show.one(
        || json_diff::diff(&difference),
        || text_diff::diff(&difference, layout),
    );
    Ok(Answer {
        text,
        may_page: !cli.no_pager && !cli.json,
        is_negative,
    })
}

fn run_export(cli: &Cli, store: &Path, args: &ExportArgs, show: &Show) -> Result<String> {
    let progress = Progress::new(cli.quiet);
    let mut request = args.request();
    let recorded = match &args.root {
        None => None,
        Some(root) => {
            request.since = export::prepare(store, &request)?;
            let outcome = recording::snapshot(store, root, &args.record.options(), &progress)?;
            request.snapshot = SnapshotRef::Id(outcome.snapshot.id);
            Some(outcome)
        }
    };
    let exported = match export::export(store, &request, &progress) {
        // Whoever stops reading has seen enough.
        Err(Error::Io { source, .. })
            if request.stream.is_some() && source.kind() == std::io::ErrorKind::BrokenPipe =>
        {
            return Ok(String::new());
        }
        exported => exported?,
    };
    let mut seconds = vec![&exported.seconds];
    seconds.extend(recorded.iter().map(|outcome| &outcome.seconds));
    print_stats(cli, &seconds, recorded.as_ref());
    let snapshot = match &recorded {
        _ if !cli.json => Value::Null, // so the store is not opened again
        Some(outcome) => json::snapshot(outcome),
        None => json::described(&inspect::show(
            store,
            &SnapshotRef::Id(exported.snapshot_id),
        )?),
    };
    let recorded = || {
        recorded
            .iter()
            .map(|outcome| text::snapshot(outcome, cli.verbose))
            .collect::<String>()
    };
    let text = show.one(
        || json::export(&exported, snapshot),
        || recorded() + &text::export(&exported),
    );
    if request.stream.is_none() {
        return Ok(text);
    }
    if !text.is_empty() {
        say(text.trim_end()); // stdout has the archive
    }
    Ok(String::new())
}

/// How results are shown.
struct Show {
    json: bool,
    quiet: bool,
}

impl Show {
    fn one(
        &self,
        json: impl FnOnce() -> serde_json::Value,
        text: impl FnOnce() -> String,
    ) -> String {
        match (self.json, self.quiet) {
            (true, _) => json::line(json()),
            (false, true) => String::new(),
            (false, false) => text(),
        }
    }
}

fn print_stats(
    cli: &Cli,
    seconds: &[&Vec<(crate::ops::monitor::Phase, std::time::Duration)>],
    recorded: Option<&recording::Outcome>,
) {
    let stats = text::stats(seconds, recorded);
    if cli.stats && !stats.is_empty() {
        say(stats.trim_end());
    }
}

/// Writes to stderr; nobody may be reading it.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// What the environment says, unless it is empty; else for root the system's place, for others their own (XDG Base Directory
/// Specification).
fn default_store() -> PathBuf {
    if let Some(store) = std::env::var_os("ROOTSTRATA_STORE").filter(|store| !store.is_empty()) {
        return PathBuf::from(store);
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/rootstrata");
    }
    let set = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    state
        .unwrap_or_else(|| PathBuf::from("."))
        .join("rootstrata")
}
