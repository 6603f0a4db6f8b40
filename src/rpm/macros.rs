//! Directory and backend of the database by the root's own macro files (rpm-macros(7)).

use super::backend::Backend;

/// Macro files relative to the root; later files override earlier ones.
pub(crate) const MACRO_FILES: [&str; 2] = ["usr/lib/rpm/macros", "etc/rpm/macros"];

/// How deep macros may stand in macros.
const DEEPEST: usize = 8;
/// PATH_MAX (limits.h).
const LONGEST_PATH: usize = 4096;

/// The database by macro files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// The directory (`%_dbpath`), absolute.
    pub directory: Option<String>,
    /// The backend (`%_db_backend`).
    pub backend: Option<Backend>,
}

/// Reads macro files; later files override earlier ones.
pub fn configured<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> Configured {
    let mut found = Configured::default();
    for text in texts {
        let text = String::from_utf8_lossy(text);
        for line in text.lines() {
            let Some((name, body)) = definition(line) else {
                continue;
            };
            match name {
                "_dbpath" => found.directory = expanded(body, DEEPEST),
                "_db_backend" => found.backend = Backend::of_macro(body),
                _ => {}
            }
        }
    }
    found
}

/// Returns name and body of the macro that a line defines.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, body) = line
        .trim()
        .strip_prefix('%')?
        .split_once(char::is_whitespace)?;
    Some((name, body.trim()))
}

/// Returns an absolute path with the macros of directories expanded; `None` for another macro.
fn expanded(body: &str, deepest: usize) -> Option<String> {
    let Some((before, rest)) = body.split_once('%') else {
        let is_path = body.starts_with('/') && body.len() <= LONGEST_PATH;
        return is_path.then(|| body.to_owned());
    };
    let (name, after) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once('}')?,
        None => {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            rest.split_at(end)
        }
    };
    let value = match name {
        "_usr" | "_prefix" => "/usr",
        "_var" | "_localstatedir" => "/var",
        _ => return None,
    };
    expanded(&format!("{before}{value}{after}"), deepest.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Configured {
        configured(texts.iter().map(|text| text.as_bytes()))
    }

    #[test]
    fn directory_and_backend_are_those_of_the_last_definition() {
        let fedora = "# comment\n%_dbpath\t%{_usr}/lib/sysimage/rpm\n%_db_backend      sqlite\n";
        let own = "%_dbpath %{_var}/lib/rpm";
        let usual = of(&[fedora]);
        assert_eq!(usual.directory.as_deref(), Some("/usr/lib/sysimage/rpm"));
        assert_eq!(usual.backend, Some(Backend::Sqlite));
        assert_eq!(
            of(&[fedora, own]).directory.as_deref(),
            Some("/var/lib/rpm")
        );
        assert_eq!(
            of(&[own, "%_dbpath %_var/x"]).directory.as_deref(),
            Some("/var/x")
        );
        assert_eq!(of(&["%_db_backend bdb"]).backend, Some(Backend::BerkeleyDb));
    }

    #[test]
    fn what_is_not_understood_says_nothing() {
        let endless = format!("%_dbpath {}", "%{_var}".repeat(100));
        for text in [
            "",
            "%_dbpath",
            "%_dbpath %{getenv:HOME}/rpm",
            "%_dbpath %{_var",
            "%_dbpath lib/rpm",
            "%_dbpath_rebuild /x",
            "%_db_backend dummy",
            "%",
            endless.as_str(),
        ] {
            assert_eq!(of(&[text]), Configured::default(), "{text}");
        }
    }
}
