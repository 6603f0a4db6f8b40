//! Progress on stderr: bars on a terminal, a line for each long phase elsewhere.

use crate::cli::stderr::say;
use crate::cli::text::size;
use crate::ops::monitor::{Monitor, Phase};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A phase with less to do is over before a user has read the line.
const WORTH_A_LINE_BYTES: u64 = 32 << 20;

/// Shows what the library does.
pub(crate) struct Progress {
    mode: Mode,
    bar: Mutex<Option<ProgressBar>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Bars,
    Lines,
    Nothing,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let mode = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Mode::Nothing,
            (false, true) => Mode::Bars,
            (false, false) => Mode::Lines,
        };
        Self {
            mode,
            bar: Mutex::new(None),
        }
    }

    fn with_bar(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        act(&mut self.bar.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Monitor for Progress {
    fn begin(&self, phase: Phase, total_bytes: Option<u64>) {
        match (self.mode, total_bytes) {
            (Mode::Bars, _) => {
                let new = new_bar(phase, total_bytes);
                self.with_bar(|bar| *bar = Some(new));
            }
            (Mode::Lines, Some(total)) if total >= WORTH_A_LINE_BYTES => {
                say(&format!("rootstrata: {} {}", doing(phase), size(total)));
            }
            _ => {}
        }
    }

    fn advance(&self, bytes: u64) {
        if self.mode == Mode::Bars {
            self.with_bar(|bar| {
                if let Some(bar) = bar {
                    bar.inc(bytes);
                }
            });
        }
    }

    fn end(&self, _: Phase) {
        self.with_bar(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn note(&self, text: &str) {
        self.with_bar(|bar| match bar {
            Some(bar) => bar.suspend(|| say(&format!("rootstrata: warning: {text}"))),
            None => say(&format!("rootstrata: warning: {text}")),
        });
    }
}

fn new_bar(phase: Phase, total_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match total_bytes {
        Some(total) => (
            ProgressBar::new(total),
            "{msg:<16} [{bar:18}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{msg:<16} {spinner} {elapsed}"),
    };
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    bar.set_message(doing(phase));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Scan => "scanning",
        Phase::Hash => "hashing",
        Phase::Packages => "reading packages",
        Phase::Plan => "planning",
        Phase::Pack => "packing",
        Phase::Record => "recording",
        Phase::Export => "exporting",
        Phase::Read => "reading",
        Phase::Compare => "comparing",
        Phase::Write => "writing",
        Phase::Fetch => "fetching",
        Phase::Push => "pushing",
        Phase::Remove => "removing",
    }
}
