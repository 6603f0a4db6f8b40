//! What somebody does with the page of `diff --html`: with a keyboard, with a pointer, in the dark, on a telephone.

use crate::common::browser::Browser;
use crate::common::page::{READY, column, keep, page_of, shown, shown_of, two_days};
use crate::common::{Bench, sh};
use serde_json::{Value, json};

/// What has the focus.
const FOCUSED: &str =
    "(one => one.getAttribute('aria-label') ?? one.id + one.textContent)(document.activeElement)";

#[test]
fn the_head_tells_both_sides_and_the_totals() {
    let mut browser = shown(&two_days());
    assert_eq!(browser.text("document.title"), "s~1 → s");
    let sides = browser.texts("#sides dd");
    assert!(
        sides[0].starts_with("s~1 snapshot 1, s@bootstrap of 20")
            && sides[1].starts_with("s snapshot 2, "),
        "{sides:?}"
    );
    assert!(
        sides[1].contains("6 packages · ") && sides[1].contains(" entries · "),
        "{sides:?}"
    );
    let totals = browser.texts("#totals dd");
    assert_eq!(
        totals[0],
        "61 added, 1 removed, 2 upgraded, 1 downgraded, 1 rebuilt"
    );
    assert!(
        totals[1].ends_with("3 added, 2 removed, 7 changed in content, 1 otherwise changed"),
        "{totals:?}"
    );
}

#[test]
fn packages_are_sorted_by_every_column_with_the_keyboard() {
    let mut browser = shown(&two_days());
    let list = "package-list";
    assert_eq!(
        column(&mut browser, list, "name"),
        ["new", "gone", "big", "up", "down", "again"]
    );
    assert_eq!(column(&mut browser, list, "change")[2], "↑upgraded");
    let row = browser.texts("#package-list tbody > tr:nth-child(4) > td");
    assert_eq!(
        row,
        [
            "↑upgraded",
            "up",
            "1.9-1",
            "1.10-1",
            "x86_64",
            "up-1.10-1.src.rpm",
            "1",
            "18 B",
            "+15 B"
        ]
    );
    for (name, first, again) in [
        ("name", ["again", "big"], ["up", "new"]),
        ("old", ["new", "gone"], ["down", "up"]),
        ("new", ["gone", "new"], ["big", "up"]),
        ("count", ["big", "new"], ["new", "gone"]),
        ("bytes", ["big", "up"], ["new", "gone"]),
        ("grown", ["up", "again"], ["big", "gone"]),
        ("source", ["again", "big"], ["up", "new"]),
        ("change", ["new", "gone"], ["again", "down"]),
    ] {
        let head = format!("#package-list th[data-column={name}]");
        browser.focus(&format!("{head} button"));
        let sorted = format!("document.querySelector({head:?}).getAttribute('aria-sort')");
        let mut press = |key: &str| {
            browser.press(key);
            assert_eq!(
                browser.evaluate("document.querySelectorAll('#package-list [aria-sort]').length"),
                1
            );
            (browser.text(&sorted), column(&mut browser, list, "name"))
        };
        // Numbers begin with the largest. What is equal stays as it was.
        let (first_way, second_way) = if ["count", "bytes", "grown"].contains(&name) {
            ("descending", "ascending")
        } else {
            ("ascending", "descending")
        };
        let (way, names) = press("Enter");
        assert_eq!(
            (way.as_str(), &names[..2]),
            (first_way, &first.map(str::to_owned)[..]),
            "{name}"
        );
        let (way, names) = press(" ");
        assert_eq!(
            (way.as_str(), &names[..2]),
            (second_way, &again.map(str::to_owned)[..]),
            "{name}"
        );
    }
}

#[test]
fn a_filter_leaves_what_has_all_its_words() {
    let mut browser = shown(&two_days());
    browser.focus("#packages-filter");
    browser.write("UP 1.10");
    assert_eq!(column(&mut browser, "package-list", "name"), ["up"]);
    assert_eq!(browser.texts("#packages-summary"), ["1 of 6 packages"]);
    browser.press("Escape");
    assert_eq!(column(&mut browser, "package-list", "name").len(), 6);
    // Files: those that no package accounts for come first; another choice has them all.
    let left = [
        "/etc/added",
        "/etc/free",
        "/etc/link",
        "/etc/lonely",
        "/etc/same.conf",
    ];
    assert_eq!(column(&mut browser, "file-list", "path"), left);
    let conf = browser.texts("#file-list tbody > tr:nth-child(5) > td");
    assert_eq!(conf[0..3], ["Mchanged", "/etc/same.conf", "content, mtime"]);
    assert_eq!(
        conf[3..],
        ["5 B → 6 B", "! same %config, not its content", "6 B"]
    );
    browser.focus("#files-scope input:checked");
    browser.press("ArrowLeft"); // around, to the last: all
    assert_eq!(column(&mut browser, "file-list", "path").len(), 13);
    browser.focus("#files-filter");
    browser.write("usr content");
    let found = [
        "/usr/bin/again",
        "/usr/bin/down",
        "/usr/bin/up",
        "/usr/lib/big/one.so",
    ];
    assert_eq!(column(&mut browser, "file-list", "path"), found);
    assert_eq!(browser.texts("#files-summary"), ["4 of 13 paths"]);
}

#[test]
fn rows_open_to_files_and_files_to_what_is_recorded_of_them() {
    let mut browser = shown(&two_days());
    let toggle = "#package-list tbody > tr:nth-child(3) .toggle";
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.inside').length"),
        0
    );
    browser.focus(toggle);
    browser.press("Enter");
    assert_eq!(
        browser.text(&format!(
            "document.querySelector({toggle:?}).getAttribute('aria-expanded')"
        )),
        "true"
    );
    let files = browser.texts("#package-list .inside td.col-path");
    assert_eq!(files, ["/usr/lib/big/deep/two.so", "/usr/lib/big/one.so"]);
    let details = browser.texts("#package-list .inside td.col-details");
    assert_eq!(
        details,
        [
            "2001-09-09T01:46:40Z → 2004-11-09T11:33:20Z",
            "90.0 kB → 80.0 kB"
        ]
    );
    browser.focus("#package-list .inside .toggle");
    browser.press(" ");
    let facts = browser.texts("#package-list .facts td.differs");
    assert_eq!(facts, ["2001-09-09T01:46:40Z", "2004-11-09T11:33:20Z"]);
    browser.focus(toggle);
    browser.press(" ");
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.inside').length"),
        0
    );
    // A click anywhere in the row does the same.
    browser.click("#package-list tbody > tr:nth-child(4) > td.col-arch");
    assert_eq!(
        browser.texts("#package-list .inside td.col-path"),
        ["/usr/bin/up"]
    );
}

#[test]
fn contents_that_were_compared_are_shown_in_the_file() {
    let bench = two_days();
    let page = page_of(
        &bench,
        &[
            "s~1",
            "s",
            "--content",
            "/etc/free",
            "--content",
            "/usr/lib/big/one.so",
        ],
    );
    let mut browser = Browser::start();
    browser.open(&page, READY);
    assert_eq!(
        browser.texts("#notes li"),
        ["only these files are compared: /etc/free /usr/lib/big/one.so"]
    );
    browser.click("#file-list .toggle");
    assert_eq!(
        browser.texts(".hunks span"),
        ["@@ -1 +1 @@\n", "-one\n", "+two\n"]
    );
}

#[test]
fn the_map_is_gone_through_with_the_keyboard() {
    let mut browser = shown(&two_days());
    let labels = "Array.from(document.querySelectorAll('.stage > .cell'), one => one.getAttribute('aria-label')).join('; ')";
    let first = browser.text(labels);
    assert!(
        first.starts_with(
            "big.x86_64, 110.0 kB, 2 files; files that no package accounts for, 45.0 kB, 4 files; "
        ),
        "{first}"
    );
    // Enter goes in, past folders that hold one folder; then a folder and a file are there.
    browser.focus(".stage > .cell");
    browser.press("Enter");
    assert_eq!(
        browser.texts("#crumbs li"),
        ["All", "big.x86_64", "usr/lib/big 110.0 kB in 2 files"]
    );
    assert_eq!(
        browser.text(labels),
        "one.so, 80.0 kB; deep/two.so, 30.0 kB"
    );
    assert_eq!(browser.text(FOCUSED), "one.so, 80.0 kB");
    keep(&mut browser, "drilled-down");
    for (key, focused) in [
        ("ArrowRight", "deep/two.so, 30.0 kB"),
        ("ArrowLeft", "one.so, 80.0 kB"),
        ("End", "deep/two.so, 30.0 kB"),
        ("Home", "one.so, 80.0 kB"),
        ("ArrowLeft", "one.so, 80.0 kB"),
    ] {
        browser.press(key);
        assert_eq!(browser.text(FOCUSED), focused, "{key}");
    }
    assert!(
        browser
            .text("document.getElementById('tip').textContent")
            .starts_with("/usr/lib/big/one.so80.0 kBcontent, mtime: 90.0 kB → 80.0 kBbig")
    );
    for key in ["Escape", "Backspace"] {
        browser.press(key);
        assert_eq!(
            browser.text(FOCUSED),
            "big.x86_64, 110.0 kB, 2 files",
            "{key}"
        );
        assert_eq!(browser.text(labels), first);
        browser.press("Enter");
    }
    // Out again by the path, and to a file.
    browser.focus("#crumbs button");
    browser.press("Enter");
    assert_eq!(browser.text(labels), first);
    browser.press("Enter");
    browser.press("Enter");
    assert_eq!(
        column(&mut browser, "file-list", "path"),
        ["/usr/lib/big/one.so"]
    );
    assert_eq!(browser.text(FOCUSED), "/usr/lib/big/one.so");
    assert_eq!(
        browser.evaluate("document.querySelectorAll('#file-list .facts').length"),
        1
    );
}

#[test]
fn the_map_is_gone_through_with_a_pointer() {
    // Without the rpm database, whose size depends on who writes it.
    let mut browser = shown_of(&two_days(), &["s~1", "s", "/usr", "/etc"]);
    browser.point(".stage .cell.content:not(.folder)");
    assert_eq!(
        browser.evaluate("document.getElementById('tip').hidden"),
        false
    );
    assert_eq!(
        browser.text("document.querySelector('#tip strong').textContent"),
        "/usr/lib/big/one.so"
    );
    browser.click(".stage > .cell");
    assert_eq!(browser.texts("#crumbs li").len(), 3);
    browser.click("#crumbs button");
    assert_eq!(browser.texts("#crumbs li"), ["All 155.1 kB in 11 files"]);
    browser.click("#map-grouping input[value=folder]");
    let names = browser.texts(".stage > .cell > .label");
    assert_eq!(names, ["usr 110.0 kB", "etc 45.0 kB"]);
    // Without what has kept its content.
    browser.click("[data-kind=other]");
    assert_eq!(browser.texts("#crumbs li"), ["All 125.1 kB in 10 files"]);
    browser.click("#map-table summary");
    browser.wait("document.querySelector('#map-table tbody')");
    assert_eq!(
        browser.texts("#map-table tbody > tr > td"),
        [
            "usr", "6", "80.0 kB", "64.0 %", "etc", "4", "45.0 kB", "36.0 %"
        ]
    );
    browser.click("#map-table td button");
    assert_eq!(
        browser.texts("#map-table td.col-path"),
        ["lib/big/one.so", "bin"]
    );
    assert!(
        browser.texts("#map-rest")[0].starts_with("Not on the map: 1 path without bytes"),
        "{:?}",
        browser.texts("#map-rest")
    );
}

#[test]
fn areas_and_bars_are_to_scale() {
    let bench = two_days();
    let mut browser = shown(&bench);
    let areas = browser.evaluate(
        "Array.from(document.querySelectorAll('.stage > .cell'), one => [one.offsetWidth * one.offsetHeight, one.getAttribute('aria-label')])",
    );
    let area = |name: &str| {
        let found = areas
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one[1].as_str().unwrap().starts_with(name))
            .unwrap();
        found[0].as_f64().unwrap()
    };
    let ratio = area("big") / area("files that no package");
    assert!((ratio - 110.0 / 45.0).abs() < 0.1, "{areas}");
    let compared = bench.compared(["s~1", "s"]);
    let bars = browser.evaluate(
        "Array.from(document.querySelectorAll('.bar'), bar => Array.from(bar.children, one => [one.offsetLeft, one.offsetWidth, one.className]))",
    );
    let width = browser
        .evaluate("document.querySelector('.bar').clientWidth")
        .as_f64()
        .unwrap();
    let total = |side: &str| {
        compared[side]["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer["size_bytes"].as_f64().unwrap())
            .sum::<f64>()
    };
    let scale = width / total("a").max(total("b"));
    for (at, side) in ["a", "b"].into_iter().enumerate() {
        let mut left = 0.0;
        let layers = compared[side]["layers"].as_array().unwrap();
        assert_eq!(bars[at].as_array().unwrap().len(), layers.len());
        for (bar, layer) in bars[at].as_array().unwrap().iter().zip(layers) {
            let wide = layer["size_bytes"].as_f64().unwrap() * scale;
            assert!(
                (bar[0].as_f64().unwrap() - left).abs() < 2.0
                    && (bar[1].as_f64().unwrap() - wide).abs() < 3.0,
                "{bars}"
            );
            assert_eq!(
                bar[2].as_str().unwrap().contains("both"),
                layer["shared"] == true
            );
            left += wide;
        }
    }
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.bands polygon').length"),
        compared["shared_layers"]
    );
    assert_eq!(compared["shared_layers"], 1);
    let in_which = column(&mut browser, "layer-list", "where");
    assert_eq!((in_which[0].as_str(), in_which.len()), ("both", 4));
}

#[test]
fn many_rows_come_in_parts_and_none_is_lost() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "touch -d @1000000000 .");
    bench.snapshot(&root, "");
    sh(
        &root,
        "for i in $(seq 1000); do echo $i > file-$i; done; touch -d @1000000000 .",
    );
    bench.snapshot(&root, "");
    let mut browser = shown(&bench);
    assert_eq!(column(&mut browser, "file-list", "path").len(), 200);
    assert_eq!(
        browser.texts("#file-list .more"),
        ["200 of 1,000 are shown. Show 200 more Show all"]
    );
    browser.focus("#file-list .more button");
    browser.press("Enter");
    assert_eq!(column(&mut browser, "file-list", "path").len(), 400);
    browser.focus("#file-list .more button:last-child");
    browser.press("Enter");
    browser.wait("document.querySelector('#file-list .more').hidden");
    let mut paths = column(&mut browser, "file-list", "path");
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 1000);
    // On the map, those too small to be pointed at are together, and can be looked into.
    let labels = "Array.from(document.querySelectorAll('.stage > .cell'), one => one.getAttribute('aria-label'))";
    assert_eq!(browser.evaluate(&format!("{labels}.length")), 1000);
    browser.look(400, 800, "light");
    browser.wait(&format!("{labels}.length < 1000"));
    let groups = browser.evaluate(labels);
    let count = |label: &Value| {
        let label = label.as_str().unwrap();
        assert!(label.contains(" together, "), "{label}");
        label.split(' ').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(
        groups.as_array().unwrap().iter().map(count).sum::<usize>(),
        1000
    );
    browser.click(".stage > .cell");
    assert!(
        browser.texts("#crumbs li")[1].contains(" together "),
        "{:?}",
        browser.texts("#crumbs li")
    );
    assert_eq!(
        browser.evaluate(&format!("{labels}.length")),
        json!(count(&groups[0]))
    );
}

/// What a page of each size and colour must have; run in the page.
const LOOKS: &str = r"(() => {
  const rgb = text => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(one => one / 255).map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = one => {
    for (; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  let seen = 0;
  for (const one of document.querySelectorAll('body *')) {
    const says = Array.from(one.childNodes).some(child => child.nodeType === 3 && child.textContent.trim());
    if (!says || !one.checkVisibility() || one.closest('script, noscript')) continue;
    const [a, b] = [light(rgb(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
    seen += 1;
    if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(`${one.className} ${one.textContent.slice(0, 30)} ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
  }
  const wide = Array.from(document.querySelectorAll('main *, header *')).filter(one => one.checkVisibility()
    && !one.closest('.stage, .bar, pre, .unseen') && one.getBoundingClientRect().right > innerWidth + 1);
  const unnamed = Array.from(document.querySelectorAll('button, input, [role=button]')).filter(one =>
    !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.[0]?.textContent.trim()));
  return { faint, seen, wide: wide.map(one => one.className || one.tagName), unnamed: unnamed.length,
    scrolls: document.documentElement.scrollWidth > innerWidth, background: getComputedStyle(document.body).backgroundColor };
})()";

#[test]
fn it_is_legible_in_light_and_dark_and_fits_a_telephone_and_a_wide_screen() {
    let bench = two_days();
    let page = page_of(&bench, &["s~1", "s"]);
    let mut browser = Browser::start();
    let mut backgrounds = Vec::new();
    for scheme in ["light", "dark"] {
        for width in [400, 900, 1600] {
            browser.look(width, 2200, scheme);
            browser.open(&page, READY);
            browser.click("#package-list tbody > tr:nth-child(3) .toggle");
            browser.click("#file-list .toggle");
            browser.point(".stage > .cell");
            let looks = browser.evaluate(LOOKS);
            assert!(looks["seen"].as_u64().unwrap() > 100, "{looks}");
            assert_eq!(looks["faint"], json!([]), "{scheme} {width}");
            assert_eq!(
                (&looks["wide"], &looks["scrolls"]),
                (&json!([]), &json!(false)),
                "{scheme} {width}"
            );
            assert_eq!(looks["unnamed"], 0);
            backgrounds.push(looks["background"].clone());
            keep(&mut browser, &format!("{scheme}-{width}"));
        }
    }
    assert_eq!(backgrounds[0], "rgb(255, 255, 255)");
    assert_ne!(backgrounds[0], backgrounds[3]);
}

#[test]
fn everything_that_can_be_done_is_reached_with_tab_and_the_focus_is_seen() {
    let mut browser = shown(&two_days());
    let mut reached = Vec::new();
    let mut unseen = Vec::new();
    for _ in 0..80 {
        browser.press("Tab");
        let one = browser.text("(one => (one.closest('section')?.id ?? '') + ' ' + (one.closest('th')?.dataset.column ?? one.dataset.kind ?? one.name ?? '') + ' ' + one.className + ' ' + one.id)(document.activeElement)");
        let outline = "(one => [one, one.nextElementSibling].some(it => it && getComputedStyle(it).outlineStyle !== 'none'))(document.activeElement)";
        if browser.evaluate(outline) != json!(true) {
            unseen.push(one.clone());
        }
        reached.push(one);
    }
    for wanted in [
        "map grouping",
        "map added",
        "map other",
        "map  cell",
        "packages  ",
        "packages change",
        "packages grown",
        "packages  toggle",
        "files scope",
        "files how",
        "files bytes",
        "files  toggle",
        "layers where",
    ] {
        assert!(
            reached.iter().any(|one| one.starts_with(wanted)),
            "{wanted:?} is not in {reached:?}"
        );
    }
    unseen.retain(|one| !one.trim().is_empty());
    assert_eq!(unseen, [""; 0]);
}
