//! Compares versions as the package managers do.
//!
//! Pure. rpm's order is that of `rpmvercmp` (rpm's docs/man/rpm-version.7 and lib/rpmvercmp), dpkg's that of
//! deb-version(7), apk's that of apk-tools' `src/version.c`.

use crate::model::packages::package::Package;
use std::cmp::Ordering;

/// A package manager, with an order of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// rpm and managers built on rpm.
    Rpm,
    /// dpkg: Debian and its descendants.
    Dpkg,
    /// apk: Alpine and its descendants.
    Apk,
}

impl Manager {
    /// Returns the name that JSON uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rpm => "rpm",
            Self::Dpkg => "dpkg",
            Self::Apk => "apk",
        }
    }

    /// Compares epoch, version and release; no epoch counts as 0.
    pub fn compare(self, a: &Package, b: &Package) -> Ordering {
        let part = match self {
            Self::Rpm => rpm,
            Self::Dpkg => dpkg,
            Self::Apk => apk,
        };
        let epoch = |package: &Package| package.epoch.unwrap_or(0);
        epoch(a)
            .cmp(&epoch(b))
            .then_with(|| part(a.version.as_bytes(), b.version.as_bytes()))
            .then_with(|| part(a.release.as_bytes(), b.release.as_bytes()))
    }
}

/// Compares two versions or releases as rpm does: runs of digits as numbers, runs of letters as text, `~` before
/// anything, `^` after the end but before anything else. All other characters only separate.
pub fn rpm(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let is_kept = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'~' | b'^');
    let skip =
        |text: &mut &[u8]| *text = &text[text.iter().position(is_kept).unwrap_or(text.len())..];
    loop {
        skip(&mut a);
        skip(&mut b);
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => (a, b) = (&a[1..], &b[1..]),
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(_), Some(b'^')) => return Ordering::Greater,
            (Some(first), Some(second)) => {
                let is_number = first.is_ascii_digit();
                if is_number != second.is_ascii_digit() {
                    // A number is newer than a word.
                    return if is_number {
                        Ordering::Greater
                    } else {
                        Ordering::Less
                    };
                }
                let order = if is_number {
                    leading_numbers(&mut a, &mut b)
                } else {
                    run(&mut a, u8::is_ascii_alphabetic).cmp(run(&mut b, u8::is_ascii_alphabetic))
                };
                if order.is_ne() {
                    return order;
                }
            }
        }
    }
}

/// Compares two upstream versions or revisions as dpkg does: other characters by a table, numbers as numbers, in turns.
pub fn dpkg(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let weight = |c: Option<&u8>| match c {
        None => 0,
        Some(c) if c.is_ascii_digit() => 0,
        Some(b'~') => -1,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    };
    while !a.is_empty() || !b.is_empty() {
        let is_word = |text: &[u8]| text.first().is_some_and(|c| !c.is_ascii_digit());
        while is_word(a) || is_word(b) {
            let order = weight(a.first()).cmp(&weight(b.first()));
            if order.is_ne() {
                return order;
            }
            (a, b) = (&a[1..], &b[1..]); // of equal weight, and one is a word: so both are
        }
        let order = leading_numbers(&mut a, &mut b);
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes the numbers that both texts begin with, and compares the numbers.
fn leading_numbers(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    let number = run(a, u8::is_ascii_digit);
    numbers(number, run(b, u8::is_ascii_digit))
}

/// Compares two versions or releases as apk does: numbers, a letter, suffixes such as `_rc1` or `_p2`.
pub fn apk(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (apk_parts(a), apk_parts(b));
    let first = a
        .iter()
        .zip(&b)
        .map(|(a, b)| a.cmp(b))
        .find(|order| order.is_ne());
    first.unwrap_or_else(|| {
        // The longer version is newer, unless longer by the suffix of an earlier version.
        let is_earlier =
            |rest: &[ApkPart]| matches!(rest.first(), Some(ApkPart::Suffix(kind, _)) if *kind < APK_RELEASED);
        let (more_a, more_b) = (&a[a.len().min(b.len())..], &b[a.len().min(b.len())..]);
        match (is_earlier(more_a), is_earlier(more_b)) {
            (true, _) => Ordering::Less,
            (_, true) => Ordering::Greater,
            _ => a.len().cmp(&b.len()),
        }
    })
}

/// In the order of their weight: a version that goes on with a number is newer than one with a letter.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ApkPart {
    Suffix(usize, u64),
    Letter(u8),
    Number(u64),
}

const APK_SUFFIXES: [&[u8]; 9] = [
    b"alpha", b"beta", b"pre", b"rc", b"cvs", b"svn", b"git", b"hg", b"p",
];
/// Suffixes before this one come before the version without one.
const APK_RELEASED: usize = 4;

fn apk_parts(mut text: &[u8]) -> Vec<ApkPart> {
    let mut parts = Vec::new();
    while let Some((first, rest)) = text.split_first() {
        match first {
            b'0'..=b'9' => parts.push(ApkPart::Number(value(run(&mut text, u8::is_ascii_digit)))),
            b'_' => {
                text = rest;
                let name = run(&mut text, u8::is_ascii_alphabetic);
                let number = value(run(&mut text, u8::is_ascii_digit));
                let kind = APK_SUFFIXES.iter().position(|suffix| *suffix == name);
                parts.push(ApkPart::Suffix(kind.unwrap_or(APK_SUFFIXES.len()), number));
            }
            b'a'..=b'z' => {
                parts.push(ApkPart::Letter(*first));
                text = rest;
            }
            _ => text = rest,
        }
    }
    parts
}

/// Takes the run that `text` begins with off it.
fn run<'t>(text: &mut &'t [u8], is_in: fn(&u8) -> bool) -> &'t [u8] {
    let (run, rest) = text.split_at(text.iter().position(|c| !is_in(c)).unwrap_or(text.len()));
    *text = rest;
    run
}

/// Compares digits as numbers of any length.
fn numbers(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &'_ [u8]| {
        digits
            .iter()
            .position(|d| *d != b'0')
            .unwrap_or(digits.len())
    };
    let (a, b) = (&a[significant(a)..], &b[significant(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn value(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum: u64, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(compare: fn(&[u8], &[u8]) -> Ordering, table: &[(&str, char, &str)]) {
        for (a, sign, b) in table {
            let order = match sign {
                '<' => Ordering::Less,
                '>' => Ordering::Greater,
                _ => Ordering::Equal,
            };
            assert_eq!(compare(a.as_bytes(), b.as_bytes()), order, "{a} {sign} {b}");
            assert_eq!(
                compare(b.as_bytes(), a.as_bytes()),
                order.reverse(),
                "{b} and {a}"
            );
        }
    }

    /// The table of rpm's own tests/rpmvercmp.at.
    #[test]
    fn versions_have_the_order_of_rpm() {
        check(
            rpm,
            &[
                ("1.0", '=', "1.0"),
                ("1.0", '<', "2.0"),
                ("2.0.1", '=', "2.0.1"),
                ("2.0", '<', "2.0.1"),
                ("2.0.1a", '>', "2.0.1"),
                ("5.5p1", '<', "5.5p2"),
                ("5.5p1", '<', "5.5p10"),
                ("10xyz", '<', "10.1xyz"),
                ("xyz10", '<', "xyz10.1"),
                ("xyz.4", '<', "8"),
                ("xyz.4", '<', "2"),
                ("5.5p2", '<', "5.6p1"),
                ("5.6p1", '<', "6.5p1"),
                ("6.0.rc1", '>', "6.0"),
                ("10b2", '>', "10a1"),
                ("1.0aa", '>', "1.0a"),
                ("10.0001", '=', "10.1"),
                ("10.0001", '<', "10.0039"),
                ("4.999.9", '<', "5.0"),
                ("20101121", '=', "20101121"),
                ("20101121", '<', "20101122"),
                ("2_0", '=', "2.0"),
                ("2_0", '=', "2_0"),
                ("a", '=', "a+"),
                ("a+", '=', "a_"),
                ("+a", '=', "_a"),
                ("+_", '=', "_+"),
                ("+", '=', "_"),
                ("1.0~rc1", '=', "1.0~rc1"),
                ("1.0~rc1", '<', "1.0"),
                ("1.0~rc1", '<', "1.0~rc2"),
                ("1.0~rc1~git123", '<', "1.0~rc1"),
                ("1.0^", '>', "1.0"),
                ("1.0^git1", '>', "1.0"),
                ("1.0^git1", '<', "1.0^git2"),
                ("1.0^git1", '<', "1.01"),
                ("1.0^20160101", '<', "1.0.1"),
                ("1.0^20160101^git1", '=', "1.0^20160101^git1"),
                ("1.0^20160102", '>', "1.0^20160101^git1"),
                ("1.0~rc1^git1", '>', "1.0~rc1"),
                ("1.0^git1~pre", '<', "1.0^git1"),
                ("1.0.", '=', "1.0"),
                ("1.1.α", '=', "1.1.β"),
                ("1.1", '<', "999999999999999999999999999999.1"),
                ("0099", '=', "99"),
                ("a", '<', "0"),
                ("", '<', "1"),
                ("", '>', "~"),
            ],
        );
    }

    #[test]
    fn versions_have_the_order_of_dpkg() {
        check(
            dpkg,
            &[
                ("1.0", '=', "1.0"),
                ("1.0", '<', "1.0.1"),
                ("1.0~rc1", '<', "1.0"),
                ("1.0~~", '<', "1.0~"),
                ("1.0a", '>', "1.0"),
                ("1.0+b1", '>', "1.0a"),
                ("1.09", '=', "1.9"),
                ("2.36-9", '<', "2.36-9+deb12u1"),
                ("a", '<', "a+"),
                ("7", '<', "7u1"),
            ],
        );
    }

    #[test]
    fn versions_have_the_order_of_apk() {
        check(
            apk,
            &[
                ("1.2.3", '=', "1.2.3"),
                ("1.2", '<', "1.2.1"),
                ("1.2.3_rc1", '<', "1.2.3"),
                ("1.2.3_p1", '>', "1.2.3"),
                ("1.2.3_alpha", '<', "1.2.3_beta"),
                ("1.2a", '<', "1.2b"),
                ("1.2a", '>', "1.2"),
                ("1.10", '>', "1.9"),
                ("r2", '<', "r10"),
            ],
        );
    }

    #[test]
    fn no_epoch_is_epoch_zero_and_counts_before_the_version() {
        let package = |epoch, version: &str, release: &str| Package {
            name: "a".to_owned(),
            epoch,
            version: version.to_owned(),
            release: release.to_owned(),
            arch: String::new(),
            source_rpm: String::new(),
            build_time_s: 0,
        };
        let order = |a: (Option<u32>, &str, &str), b| {
            Manager::Rpm.compare(&package(a.0, a.1, a.2), &package_of(b, package))
        };
        assert_eq!(
            order((None, "1", "1"), (Some(0), "1", "1")),
            Ordering::Equal
        );
        assert_eq!(
            order((Some(1), "1", "1"), (None, "2", "1")),
            Ordering::Greater
        );
        assert_eq!(order((None, "1", "2"), (None, "1", "10")), Ordering::Less);
    }

    fn package_of(
        (epoch, version, release): (Option<u32>, &str, &str),
        make: impl Fn(Option<u32>, &str, &str) -> Package,
    ) -> Package {
        make(epoch, version, release)
    }
}
