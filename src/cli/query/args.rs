//! The arguments of a search, as clap reads them.

use crate::cli::asked::{Subject, parse_subject};
use crate::model::digest::ContentHash;
use crate::ops::query::filter::Filter;
use crate::ops::query::find::{Query, Within};
use crate::ops::query::sbom::Format;
use clap::{Args, ValueEnum};
use std::num::NonZeroUsize;

pub(crate) const FIND_USAGE: &str = concat!(
    "rootstrata find [OPTIONS] --path <GLOB>\n",
    "       rootstrata find [OPTIONS] --package <NAME>\n",
    "       rootstrata find [OPTIONS] --tree <DIGEST>\n",
    "       rootstrata find [OPTIONS] --blake3 <HASH>\n",
    "       rootstrata find [OPTIONS] --sha256 <HASH> [--read-layers]",
);

/// The form of a bill of materials.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SbomFormat {
    /// SPDX 2.3, JSON
    Spdx,
    /// CycloneDX 1.5, JSON
    Cyclonedx,
}

impl From<SbomFormat> for Format {
    fn from(format: SbomFormat) -> Self {
        match format {
            SbomFormat::Spdx => Self::Spdx,
            SbomFormat::Cyclonedx => Self::CycloneDx,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// With --sha256: read all layers, instead of asking the packages
    #[arg(long, conflicts_with_all = ["blake3", "path", "package", "tree"])]
    read_layers: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Search an image of a registry, docker://HOST/REPO[:TAG], and not the
    /// snapshots
    #[arg(long = "in", value_name = "IMAGE", value_parser = parse_image, conflicts_with_all = ["series", "stage", "most"])]
    pub image: Option<Subject>,
}

/// Which snapshots are searched.
#[derive(Debug, Args)]
struct FilterArgs {
    /// Search the snapshots of this series, or of those that match the glob
    #[arg(long, value_name = "NAME|GLOB")]
    series: Option<String>,
    /// Search the snapshots of this stage
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// Search the newest N of these snapshots
    #[arg(short = 'n', long = "max-count", value_name = "N", value_parser = parse_count)]
    most: Option<NonZeroUsize>,
}

/// Reads a number from 1 up. Fails if the text is no such number.
pub(crate) fn parse_count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .map_err(|_| "expected a number from 1 up".to_owned())
}

fn parse_image(text: &str) -> Result<Subject, String> {
    match parse_subject(text) {
        Ok(Subject::Snapshot(_)) => Err("expected docker://HOST/REPO[:TAG|@DIGEST]".to_owned()),
        subject => subject,
    }
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhatArgs {
    /// Files with this content
    #[arg(long, value_name = "HASH", value_parser = parse_blake3)]
    blake3: Option<ContentHash>,
    /// Files with this content, as far as packages tell
    #[arg(long, value_name = "HASH", value_parser = parse_sha256)]
    sha256: Option<[u8; 32]>,
    /// Paths that match GLOB
    #[arg(long, value_name = "GLOB")]
    path: Option<String>,
    /// Snapshots whose tree has this digest, or one that begins so
    #[arg(long, value_name = "DIGEST", value_parser = parse_tree)]
    tree: Option<String>,
    /// Packages by name, NAME.ARCH, NAME-VERSION[-RELEASE[.ARCH]] or a glob
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
}

impl FindArgs {
    /// Returns the filter of the snapshots.
    pub(crate) fn filter(&self) -> Filter {
        let FilterArgs {
            series,
            stage,
            most,
        } = &self.filter;
        Filter {
            series: series.clone(),
            stage: stage.clone(),
            most: *most,
            ..Filter::default()
        }
    }

    pub(crate) fn query(&self) -> Query {
        let within = if self.read_layers {
            Within::Layers
        } else {
            Within::Packages
        };
        let what = &self.what;
        if let Some(content) = what.blake3 {
            Query::Blake3(content)
        } else if let Some(digest) = what.sha256 {
            Query::Sha256 { digest, within }
        } else if let Some(glob) = &what.path {
            Query::Path(glob.clone())
        } else if let Some(digits) = &what.tree {
            Query::Tree(digits.clone())
        } else {
            let name = what.package.clone();
            Query::Package(name.unwrap_or_default())
        }
    }
}

fn parse_blake3(text: &str) -> Result<ContentHash, String> {
    let text = text
        .strip_prefix("blake3:")
        .unwrap_or(text)
        .to_ascii_lowercase();
    ContentHash::parse(&text).ok_or_else(|| HASH_FORM.to_owned())
}

fn parse_sha256(text: &str) -> Result<[u8; 32], String> {
    let text = text
        .strip_prefix("sha256:")
        .unwrap_or(text)
        .to_ascii_lowercase();
    ContentHash::parse(&text)
        .map(|hash| hash.0)
        .ok_or_else(|| HASH_FORM.to_owned())
}

/// Reads the beginning of a digest.
fn parse_tree(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let digits = text.strip_prefix("blake3:").unwrap_or(&text);
    let is_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_long_enough = (FEWEST_DIGITS..=64).contains(&digits.len());
    if is_digits && is_long_enough {
        Ok(digits.to_owned())
    } else {
        Err(format!(
            "expected {FEWEST_DIGITS} to 64 hexadecimal digits, as show has them"
        ))
    }
}

/// So many digits of a digest tell trees apart.
const FEWEST_DIGITS: usize = 8;

const HASH_FORM: &str = "expected 64 hexadecimal digits";
