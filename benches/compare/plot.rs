//! Draws time against number of files, as SVG, both axes logarithmic. It has a ground of its own, so that it can be read on a
//! dark page too, and names each line where it ends.

use crate::cases::Bench;
use crate::trees::short;
use std::fmt::Write;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 500.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 660.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 440.0;
/// From one label to the next.
const LINE: f64 = 18.0;

/// Case, tool, label, colour (Okabe and Ito's, darker where they are faint on white) and dashes. Ours are solid and thick.
const LINES: [(&str, &str, &str, &str, &str); 6] = [
    (
        "unchanged",
        "rootstrata",
        "rootstrata, unchanged",
        "#0072b2",
        "",
    ),
    ("unchanged", "find", "find", "#555555", "2 4"),
    ("unchanged", "restic", "restic, unchanged", "#b0527f", "8 4"),
    ("unchanged", "borg", "borg, unchanged", "#00795a", "8 4 2 4"),
    ("first", "rootstrata", "rootstrata, first", "#c04a00", ""),
    ("first", "tar | zstd", "tar | zstd", "#8a6d00", "5 3"),
];

/// A line of the plot: its points in files and seconds.
struct Line {
    label: &'static str,
    colour: &'static str,
    dashes: &'static str,
    points: Vec<(f64, f64)>,
}

/// Where a number comes to lie on an axis.
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn at(&self, number: f64) -> f64 {
        let share = (number / self.least).ln() / (self.most / self.least).ln();
        self.from + share * (self.to - self.from)
    }

    /// Powers of ten, from below the least number to above the most.
    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.least.log10().round() as i32..=self.most.log10().round() as i32)
            .map(|n| 10_f64.powi(n))
    }
}

/// `None` where there are no two sizes to draw a line between.
pub(crate) fn draw(bench: &Bench, sizes: &[usize]) -> Option<String> {
    let lines: Vec<Line> = LINES
        .iter()
        .map(|line| collect(bench, sizes, line))
        .collect();
    let lines: Vec<Line> = lines
        .into_iter()
        .filter(|line| line.points.len() > 1)
        .collect();
    let all = || lines.iter().flat_map(|line| &line.points);
    let bound =
        |take: fn(&(f64, f64)) -> f64, pick: fn(f64, f64) -> f64| all().map(take).reduce(pick);
    let files = Axis {
        least: bound(|p| p.0, f64::min)?,
        most: bound(|p| p.0, f64::max)?,
        from: LEFT,
        to: RIGHT,
    };
    let seconds = Axis {
        least: 10_f64.powf(bound(|p| p.1, f64::min)?.log10().floor()),
        most: 10_f64.powf(bound(|p| p.1, f64::max)?.log10().ceil()),
        from: BOTTOM,
        to: TOP,
    };
    let mut svg = String::new();
    frame(&mut svg, &files, &seconds, all().map(|point| point.0));
    for (line, label_y) in lines.iter().zip(label_places(&lines, &seconds)) {
        draw_line(&mut svg, line, &files, &seconds, label_y);
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn collect(
    bench: &Bench,
    sizes: &[usize],
    line: &(&str, &str, &'static str, &'static str, &'static str),
) -> Line {
    let (case, tool, label, colour, dashes) = *line;
    let mut points: Vec<(f64, f64)> = bench
        .outcomes
        .iter()
        .filter(|outcome| outcome.case == case)
        .filter_map(|outcome| {
            let files = outcome.files.filter(|files| sizes.contains(files))?;
            let measured = outcome.measured.iter().find(|one| one.tool == tool)?;
            Some((files as f64, measured.median_s()))
        })
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Line {
        label,
        colour,
        dashes,
        points,
    }
}

/// The heights of the labels: where the lines end, but no two on one another.
fn label_places(lines: &[Line], seconds: &Axis) -> Vec<f64> {
    let ends: Vec<f64> = lines
        .iter()
        .map(|line| seconds.at(line.points[line.points.len() - 1].1))
        .collect();
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|a, b| ends[*a].total_cmp(&ends[*b]));
    let mut places = ends;
    let mut free = TOP;
    for at in &order {
        places[*at] = places[*at].max(free);
        free = places[*at] + LINE;
    }
    // Back up from the bottom, where that pushed them out.
    let mut free = BOTTOM;
    for at in order.iter().rev() {
        places[*at] = places[*at].min(free);
        free = places[*at] - LINE;
    }
    places
}

fn frame(svg: &mut String, files: &Axis, seconds: &Axis, sizes: impl Iterator<Item = f64>) {
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="t d" font-family="system-ui, sans-serif" font-size="14" fill="#1f2328">
<title id="t">Time against number of files</title>
<desc id="d">Both axes are logarithmic. Each line is a tool, named at its right end.</desc>
<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#fff" stroke="#d0d7de"/>
<text x="{LEFT}" y="30" font-size="16" font-weight="600">Seconds by number of files, median</text>
"##
    );
    for number in seconds.decades() {
        let y = seconds.at(number);
        let _ = writeln!(
            svg,
            r##"<path d="M{LEFT} {y:.1}H{RIGHT}" stroke="#d8dee4"/><text x="{:.1}" y="{:.1}" text-anchor="end">{number}</text>"##,
            LEFT - 8.0,
            y + 5.0
        );
    }
    let mut sizes: Vec<f64> = sizes.collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    for number in sizes {
        let (x, label) = (files.at(number), short(number as usize));
        let _ = writeln!(
            svg,
            r##"<path d="M{x:.1} {TOP}V{BOTTOM}" stroke="#eaeef2"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{label}</text>"##,
            BOTTOM + 22.0
        );
    }
    let (x, y) = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">files</text>
<text x="20" y="{y:.1}" text-anchor="middle" transform="rotate(-90 20 {y:.1})">seconds</text>"#,
        BOTTOM + 46.0
    );
}

fn draw_line(svg: &mut String, line: &Line, files: &Axis, seconds: &Axis, label_y: f64) {
    let Line {
        label,
        colour,
        dashes,
        points,
    } = line;
    let points: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{:.1} {:.1}", files.at(*x), seconds.at(*y)))
        .collect();
    let (width, weight, dash) = match dashes {
        &"" => (3, 600, String::new()),
        dashes => (2, 400, format!(r#" stroke-dasharray="{dashes}""#)),
    };
    let _ = writeln!(
        svg,
        r#"<path d="M{}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{dash}/>"#,
        points.join("L")
    );
    for point in &points {
        let (x, y) = point.split_once(' ').unwrap_or_default();
        let _ = write!(svg, r#"<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>"#);
    }
    let end_y = points
        .last()
        .and_then(|last| last.split_once(' '))
        .map_or("0", |(_, y)| y);
    let (near, far) = (RIGHT + 4.0, RIGHT + 18.0);
    let _ = writeln!(
        svg,
        r#"
<path d="M{near} {end_y}L{far} {label_y:.1}" stroke="{colour}" fill="none"/><text x="{:.1}" y="{:.1}" fill="{colour}" font-weight="{weight}">{label}</text>"#,
        far + 4.0,
        label_y + 5.0
    );
}
