//! The arguments of the commands that speak with registries, as clap reads them.

use crate::cli::parse::parse_snapshot;
use crate::model::names::SnapshotRef;
use crate::model::repository::ImageName;
use clap::Args;

pub(crate) const PUSH_USAGE: &str =
    "rootstrata push [OPTIONS] [SNAPSHOT]... docker://HOST/REPO[:TAG]";

pub(crate) const PUSH_HELP: &str = concat!(
    "Sends each image with the layers that the repository lacks. Without SNAPSHOT,\n",
    "the newest of each stage of each series. An image gets the tag SERIES.STAGE,\n",
    "which moves, or TAG, and a tag that stays. Layers and images get records, by\n",
    "which other builders find them.\n",
    "\n",
    "Exit status: 0 done, 2 trouble, 75 the registry cannot be reached.",
);

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Snapshots to push, and where to
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
    /// Returns the snapshots and the target. Fails unless the last word alone names a repository.
    pub(crate) fn parts(&self) -> Result<(Vec<SnapshotRef>, ImageName), &'static str> {
        let wrong = "the last argument, and no other, is docker://HOST/REPO[:TAG]";
        let (last, others) = self.words.split_last().ok_or(wrong)?;
        let Word::Image(target) = last else {
            return Err(wrong);
        };
        let snapshots = others.iter().map(|word| match word {
            Word::Snapshot(snapshot) => Ok(snapshot.clone()),
            Word::Image(_) => Err(wrong),
        });
        Ok((snapshots.collect::<Result<_, _>>()?, target.clone()))
    }
}
