//! The files in which dnf5 keeps why packages and groups are installed (`/usr/lib/sysimage/libdnf5/*.toml`; dnf5's
//! libdnf5/system/state.cpp).
//!
//! The cookie of the rpm database in `system.toml` follows from the numbers of its rows, which a normalised database has not; empty, dnf5
//! makes another. dnf5 writes the tables of a file in the order of a hash map, and sets of names as arrays. Sorted, the text follows from what dnf5
//! reads out of the file.

use toml::{Table, Value};

/// Returns the text with tables and arrays of strings sorted; `None` for a text that is no TOML.
pub(crate) fn sorted(text: &[u8]) -> Option<String> {
    let mut table: Table = std::str::from_utf8(text).ok()?.parse().ok()?;
    if let Some(cookie) = cookie_of(&mut table) {
        *cookie = Value::String(String::new());
    }
    table.iter_mut().for_each(|(_, value)| sort(value));
    toml::to_string(&table).ok()
}

fn cookie_of(table: &mut Table) -> Option<&mut Value> {
    table.get_mut("system")?.get_mut("rpmdb_cookie")
}

/// Sorts arrays of strings, at any depth; the tables of the crate are sorted.
fn sort(value: &mut Value) {
    match value {
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| sort(value)),
        Value::Array(values) if values.iter().all(Value::is_str) => {
            values.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
        Value::Array(values) => values.iter_mut().for_each(sort),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGES: &str = "version = \"1.0\"\n[packages]\n\
        \"zlib.x86_64\" = {reason=\"Dependency\"}\n\"bash.x86_64\" = {reason=\"User\"}\n";

    #[test]
    fn tables_and_sets_are_sorted_and_all_else_stays() {
        let other = "version = \"1.0\"\n[packages]\n\
            \"bash.x86_64\" = {reason=\"User\"}\n\"zlib.x86_64\" = {reason=\"Dependency\"}\n";
        assert_eq!(sorted(PACKAGES.as_bytes()), sorted(other.as_bytes()));
        let groups = |packages: &str| {
            let text = format!("[groups]\ncore = {{packages={packages},userinstalled=true}}\n");
            sorted(text.as_bytes()).unwrap()
        };
        assert_eq!(groups("[\"b\",\"a\"]"), groups("[\"a\",\"b\"]"));
        assert_ne!(groups("[\"b\",\"a\"]"), groups("[\"a\",\"c\"]"));
        let again = sorted(PACKAGES.as_bytes()).unwrap();
        let read = |text: &str| text.parse::<Table>().unwrap();
        assert_eq!(read(&again), read(PACKAGES));
        assert_eq!(sorted(again.as_bytes()), Some(again));
    }

    #[test]
    fn the_cookie_of_the_database_is_empty() {
        let of = |cookie: &str| {
            let text = format!("version = \"1.0\"\n[system]\nrpmdb_cookie = \"{cookie}\"\n");
            sorted(text.as_bytes()).unwrap()
        };
        assert_eq!(of("abc"), of(""));
    }

    #[test]
    fn numbers_in_an_array_keep_their_order() {
        let text = sorted(b"a = [2, 1]\n").unwrap();
        assert_eq!(text, "a = [2, 1]\n");
    }

    #[test]
    fn what_is_no_toml_is_told() {
        assert_eq!(sorted(b"[a"), None);
        assert_eq!(sorted(b"\xff"), None);
    }
}
