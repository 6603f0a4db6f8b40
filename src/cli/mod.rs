//! The command line: the only place that prints.

mod args;
mod json;
mod progress;
mod text;

pub use args::Cli;

use crate::error::Result;
use crate::model::names::SnapshotRef;
use crate::model::path::EntryPath;
use crate::ops::{export, inspect, snapshot};
use args::{Command, ExportArgs};
use progress::Progress;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Runs the command and returns what goes to stdout.
pub fn run(cli: &Cli) -> Result<String> {
    let store = cli.store.clone().unwrap_or_else(default_store);
    let show = Show { json: cli.json, quiet: cli.quiet };
    match &cli.command {
        Command::Snapshot { root, record } => {
            let progress = Progress::new(cli.quiet);
            let outcome = snapshot::snapshot(&store, root, &record.options(), &progress)?;
            print_stats(cli, &[&outcome.seconds], Some(&outcome));
            Ok(show.one(|| json::snapshot(&outcome), || text::snapshot(&outcome, cli.verbose)))
        }
        Command::Export(args) => run_export(cli, &store, args, &show),
        Command::Log { series } => {
            let logged = inspect::log(&store, series.as_deref())?;
            Ok(show.one(|| json::log(&logged), || text::log(&logged)))
        }
        Command::Show { snapshot } => {
            let shown = inspect::show(&store, snapshot)?;
            Ok(show.one(|| json::show(&shown), || text::show(&shown, &store)))
        }
        Command::Ls { snapshot, path } => {
            let path = path.as_ref().map_or_else(EntryPath::root, args::EntryPathArg::path);
            let (id, entries) = inspect::ls(&store, snapshot, &path)?;
            Ok(show.one(|| json::ls(id, &entries), || text::ls(&entries)))
        }
    }
}

fn run_export(cli: &Cli, store: &Path, args: &ExportArgs, show: &Show) -> Result<String> {
    let progress = Progress::new(cli.quiet);
    let mut request = args.request();
    let recorded = match &args.root {
        None => None,
        Some(root) => {
            request.since = export::prepare(store, request.since.as_ref(), &request.path, request.format)?;
            let outcome = snapshot::snapshot(store, root, &args.record.options(), &progress)?;
            request.snapshot = SnapshotRef::Id(outcome.snapshot.id);
            Some(outcome)
        }
    };
    let exported = export::export(store, &request, &progress)?;
    let mut seconds = vec![&exported.seconds];
    seconds.extend(recorded.iter().map(|outcome| &outcome.seconds));
    print_stats(cli, &seconds, recorded.as_ref());
    let described = inspect::show(store, &SnapshotRef::Id(exported.snapshot_id))?;
    let (as_json, as_text) = match &recorded {
        Some(outcome) => (json::snapshot(outcome), text::snapshot(outcome, cli.verbose)),
        None => (json::described(&described), String::new()),
    };
    Ok(show.one(|| json::export(&exported, as_json), || as_text + &text::export(&exported)))
}

/// How results are shown.
struct Show {
    json: bool,
    quiet: bool,
}

impl Show {
    fn one(&self, json: impl FnOnce() -> serde_json::Value, text: impl FnOnce() -> String) -> String {
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
    recorded: Option<&snapshot::Outcome>,
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

/// For root the system's place, for others their own (XDG Base Directory Specification).
fn default_store() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/rootstrata");
    }
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    state.unwrap_or_else(|| PathBuf::from(".")).join("rootstrata")
}
