//! The arguments of the commands that speak with registries, as clap reads them.

use crate::cli::parse::parse_snapshot;
use crate::model::names::SnapshotRef;
use crate::model::repository::ImageName;
use clap::Args;

pub(crate) const PUSH_USAGE: &str =
    "rootstrata push [OPTIONS] [SNAPSHOT]... [docker://HOST/REPO[:TAG]]";

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Snapshots to push, and where to [default: the registry that the
    /// configuration has for their series]
    #[arg(required = true, value_name = "SNAPSHOT... docker://HOST/REPO[:TAG]", value_parser = parse_word)]
    words: Vec<Word>,
}

/// A word of the command line.
#[derive(Clone, Debug)]
enum Word {
    Snapshot(SnapshotRef),
    Image(ImageName),
}

fn parse_word(text: &str) -> Result<Word, String> {
    match text.strip_prefix("docker://") {
        Some(name) => ImageName::parse(name)
            .map(Word::Image)
            .map_err(|e| e.in_one_line()),
        None => parse_snapshot(text).map(Word::Snapshot),
    }
}

impl PushArgs {
    /// Returns the snapshots, and the target if there is one. Fails if a word before the last names a repository.
    pub(crate) fn parts(&self) -> Result<(Vec<SnapshotRef>, Option<ImageName>), &'static str> {
        let mut snapshots = Vec::new();
        let mut target = None;
        for word in &self.words {
            match word {
                _ if target.is_some() => {
                    return Err("the last argument, and no other, is docker://HOST/REPO[:TAG]");
                }
                Word::Snapshot(snapshot) => snapshots.push(snapshot.clone()),
                Word::Image(name) => target = Some(name.clone()),
            }
        }
        Ok((snapshots, target))
    }
}
