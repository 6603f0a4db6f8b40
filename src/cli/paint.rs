//! Colours, where they are wanted: on a terminal, unless the environment or an option says otherwise.

use std::io::IsTerminal;

/// What `--color` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum When {
    /// On a terminal.
    #[default]
    Auto,
    /// Wherever it goes.
    Always,
    /// Nowhere.
    Never,
}

impl When {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err("expected auto, always or never".to_owned()),
        }
    }
}

/// Paints, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint(bool);

/// Codes of ECMA-48, "Select Graphic Rendition".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Magenta = 35,
    Cyan = 36,
}

impl Paint {
    /// Decides for stdout (no-color.org, bixense.com/clicolors).
    pub(super) fn new(when: When) -> Self {
        let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self(match when {
            When::Always => true,
            When::Never => false,
            When::Auto if is_set("NO_COLOR").is_some() => false,
            When::Auto if is_set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
            When::Auto => {
                std::io::stdout().is_terminal() && is_set("TERM").is_some_and(|term| term != "dumb")
            }
        })
    }

    pub(super) fn text(self, colour: Colour, text: &str) -> String {
        match self.0 && !text.is_empty() {
            true => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
            false => text.to_owned(),
        }
    }
}
