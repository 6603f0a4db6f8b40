//! Surroundings of a command: the store, the global options, and how results are shown.

use crate::cli::config::Configuration;
use crate::cli::paint::{Paint, When};
use crate::cli::progress::Progress;
use crate::cli::stderr::say;
use crate::cli::text::traffic;
use crate::cli::{json, pager};
use crate::error::Result;
use crate::ops::monitor::Phase;
use crate::ops::remote::fetch_layers::{Wanted, fetch_layers};
use crate::registry::Access;
use serde_json::Value;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Result of a command: text for stdout, and the meaning of the exit code.
#[derive(Debug)]
pub struct Answer {
    pub(crate) text: String,
    pub(crate) may_page: bool,
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
    /// Writes the answer to stdout, or to a pager. Fails if stdout cannot be written to; a closed pipe is no failure.
    pub fn print(&self) -> std::io::Result<()> {
        pager::write(&self.text, self.may_page)
    }
}

/// Global options of one call.
#[derive(Debug)]
pub(crate) struct Context {
    pub store: PathBuf,
    /// The origin of the store's path, for people.
    pub store_origin: String,
    /// The settings of the configuration files.
    pub configuration: Configuration,
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    pub stats: bool,
    pub no_pager: bool,
    pub color: When,
    /// How registries are reached.
    pub access: Access,
    /// How many blobs are on the wire at once.
    pub jobs: NonZeroUsize,
}

impl Context {
    /// Returns the result in the requested form.
    pub(crate) fn show(
        &self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> String {
        match (self.json, self.quiet) {
            (true, _) => json::line(json()),
            (false, true) => String::new(),
            (false, false) => text(),
        }
    }

    /// Returns an answer that may be long.
    pub(crate) fn paged(&self, text: String) -> Answer {
        Answer {
            may_page: !self.no_pager && !self.json,
            ..text.into()
        }
    }

    /// Returns the answer to a search; to find nothing is a negative one.
    pub(crate) fn found(&self, text: String, is_negative: bool) -> Answer {
        Answer {
            is_negative,
            ..self.paged(text)
        }
    }

    /// Fetches the layers of snapshots that only a registry has. Fails if the registry does not give them.
    pub(crate) fn fetch(&self, wanted: &Wanted, progress: &Progress) -> Result<()> {
        let registry = (&self.access, self.jobs);
        fetch_layers(&self.store, wanted, registry, progress).map(drop)
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress::new(self.quiet)
    }

    pub(crate) fn paint(&self) -> Paint {
        Paint::new(self.color)
    }

    /// Prints the time of each phase to stderr, if the user asks for statistics.
    pub(crate) fn print_times(&self, phases: &[(Phase, Duration)]) {
        let mut text = String::new();
        for (phase, time) in phases {
            let _ = writeln!(text, "{:<9} {:>8.3} s", phase.name(), time.as_secs_f64());
        }
        self.print_stats(&text);
    }

    /// Prints what went over the wire to stderr, if anything did and the user asks for statistics.
    pub(crate) fn print_traffic(&self) {
        let all = self.access.counters.traffic();
        if all.requests > 0 {
            self.print_stats(&traffic(&all));
        }
    }

    /// Prints lines to stderr, if the user asks for statistics.
    pub(crate) fn print_stats(&self, lines: &str) {
        if self.stats && !lines.is_empty() {
            say(lines.trim_end());
        }
    }
}
