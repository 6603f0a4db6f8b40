//! Colours on a terminal, unless the environment or an option says otherwise.

use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};
use std::io::IsTerminal;

/// Value of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal.
    #[default]
    Auto,
    /// Wherever the output goes.
    Always,
    /// Nowhere.
    Never,
}

/// Paints, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint(bool);

/// A colour or weight of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Magenta,
    Cyan,
}

impl Colour {
    fn style(self) -> Style {
        match self {
            Self::Bold => Style::new().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Red => AnsiColor::Red.on_default(),
            Self::Green => AnsiColor::Green.on_default(),
            Self::Yellow => AnsiColor::Yellow.on_default(),
            Self::Magenta => AnsiColor::Magenta.on_default(),
            Self::Cyan => AnsiColor::Cyan.on_default(),
        }
    }
}

impl Paint {
    /// Decides for stdout (no-color.org, bixense.com/clicolors).
    pub(crate) fn new(when: When) -> Self {
        Self(match when {
            When::Always => true,
            When::Never => false,
            When::Auto if variable("NO_COLOR").is_some() => false,
            When::Auto => is_forced() || is_colour_terminal(),
        })
    }

    pub(crate) fn text(self, colour: Colour, text: &str) -> String {
        if !self.0 || text.is_empty() {
            return text.to_owned();
        }
        let style = colour.style();
        format!("{style}{text}{style:#}")
    }
}

fn is_forced() -> bool {
    match variable("CLICOLOR_FORCE") {
        Some(value) => value != "0",
        None => false,
    }
}

fn is_colour_terminal() -> bool {
    if !std::io::stdout().is_terminal() {
        return false;
    }
    match variable("TERM") {
        Some(term) => term != "dumb",
        None => false,
    }
}

/// Returns the value of an environment variable, unless the value is empty.
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
