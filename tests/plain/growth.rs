//! How a store grows: `log --stats` and `log --html`.

use crate::common::rpmdb::{files, install};
use crate::common::{Bench, one_error, sh, text};
use serde_json::Value;

/// A store of two series; packages change in one.
fn recorded() -> Bench {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir usr; head -c 50000 /dev/urandom > usr/a; echo b > usr/b",
    );
    let package = |name| (name, files(&["/usr/a"]));
    install(&root, &[package("aa-1"), package("gone-1")]);
    bench.snapshot(&root, "--series one");
    install(&root, &[package("aa-2"), package("come-1")]);
    bench.snapshot(&root, "--series one");
    bench.snapshot(&root, "--series two --stage built");
    bench
}

#[test]
fn statistics_sum_up_what_the_log_has_for_each_day_and_series() {
    let bench = recorded();
    let log = bench.json(["log"]);
    let new_bytes = |series: Option<&str>| -> u64 {
        let snapshots = log["snapshots"].as_array().unwrap().iter();
        let of = snapshots.filter(|one| series.is_none_or(|series| one["series"] == series));
        of.map(|one| one["new_bytes"].as_u64().unwrap()).sum()
    };
    let stats = bench.json(["log", "--stats"]);
    let days = stats["days"].as_array().unwrap();
    // A run over midnight has two days.
    for series in ["one", "two"] {
        let of = days.iter().filter(|one| one["series"] == series);
        let sum: u64 = of.map(|one| one["new_bytes"].as_u64().unwrap()).sum();
        assert_eq!(sum, new_bytes(Some(series)), "{stats}");
    }
    assert_eq!(stats["snapshots"], 3);
    assert_eq!(stats["new_bytes"], new_bytes(None));

    let table = bench.prints(0, ["log", "--stats"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("DAY") && lines[0].ends_with("NEW"),
        "{table}"
    );
    let last = lines.last().unwrap();
    assert!(
        last.starts_with("(all)") && last.contains("2 series"),
        "{table}"
    );
    let one = bench.prints(0, ["log", "two", "--stats"]);
    assert!(
        one.contains("two") && !one.contains("one") && one.contains("1 series"),
        "{one}"
    );
}

#[test]
fn the_page_has_growth_layers_and_the_packages_that_changed_and_asks_for_nothing() {
    let bench = recorded();
    let page = bench.path("growth.html");
    let at = page.to_str().unwrap();
    let shown = bench.prints(0, ["log", "--html", at]);
    assert_eq!(shown, bench.prints(0, ["log"]));
    let html = std::fs::read_to_string(&page).unwrap();
    for wanted in [
        "3 snapshots of 2 series",
        "<td>one@bootstrap</td>",
        "<summary>+1 −1 ~1</summary>",
        "<li>~ aa.x86_64</li>",
        "<li>+ come.x86_64</li>",
        "<li>− gone.x86_64</li>",
        "<rect class=\"base new\"",
        "script-src &#39;none&#39;",
    ] {
        let wanted = wanted.replace("&#39;", "'");
        assert!(html.contains(&wanted), "{wanted}");
    }
    for unwanted in ["<script", "http://", "https://", "style=", "url("] {
        assert!(!html.contains(unwanted), "{unwanted}");
    }
    let piped = bench.prints(0, ["log", "--html", "-"]);
    assert_eq!(piped.lines().next(), html.lines().next());

    let error = bench.fails(2, ["log", "--html", bench.store().to_str().unwrap()]);
    assert!(!error.is_empty());
    let output = bench
        .command(["log", "one", "/usr/a", "--html", at])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    let missing = bench.path("no/page.html");
    one_error(
        bench
            .command(["log", "--html", missing.to_str().unwrap()])
            .output()
            .unwrap(),
        2,
    );
    assert_ne!(bench.json(["log", "--html", at])["snapshots"], Value::Null);
}
