//! What an index says of an image beyond its name, so the image can be recorded again as it was.
//!
//! Pure. Stands in annotations of the descriptor in index.json, not in the manifest: equal layers make equal images.

use crate::model::labels::Labels;
use crate::model::plan::{LayerRule, MOST_LAYERS, SQUASH};
use std::collections::HashMap;

/// The annotation with the series.
pub(crate) const SERIES: &str = "org.rootstrata.series";
/// The annotation with the stage.
pub(crate) const STAGE: &str = "org.rootstrata.stage";
const POLICY: &str = "org.rootstrata.policy";
const SNAPSHOT: &str = "org.rootstrata.snapshot";
const RUN: &str = "org.rootstrata.run";
const CREATED: &str = "org.rootstrata.created";
/// The annotation of a pinned snapshot.
pub(crate) const PINNED: &str = "org.rootstrata.pinned";
/// An annotation with the label of this key at its end.
const LABEL: &str = "org.rootstrata.label.";
/// The annotation with the planner.
pub(crate) const PLANNER: &str = "org.rootstrata.planner";
/// The annotation with the packages of the layers.
pub(crate) const LABELS: &str = "org.rootstrata.layer.labels";

/// No index tells a longer label.
const LONGEST_LABEL_BYTES: usize = 512;

/// No index tells longer labels together: each character may be escaped by another, and has quotes and a comma at its ends.
const LONGEST_LABELS_BYTES: usize = MOST_LAYERS * (2 * LONGEST_LABEL_BYTES + 4);

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The series, which a name has in lowercase alone.
    pub series: String,
    /// The stage.
    pub stage: String,
    /// The canonical form of the policy.
    pub policy: String,
    /// How its layers were listed; `None` where that was not recorded.
    pub planned: Option<Planned>,
    /// What its user says of it.
    pub labels: Labels,
    /// As what it was recorded; only in the index of a store, since an archive is a function of its images.
    pub recorded: Option<Recorded>,
}

/// How the layers of an image were listed, as its index tells.
///
/// Which stage a layer was made for is not told: that depends on the snapshots before, and equal images are told alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The planner.
    pub planner: String,
    /// The label of each package layer, and `None` for any other layer, the lowest first; absent without a label.
    pub labels: Option<Vec<Option<String>>>,
}

impl Planned {
    /// Takes a recorded planner, and the recorded label of each package layer. A label that no reader would take is left out.
    pub fn new(planner: &str, labels: impl IntoIterator<Item = Option<String>>) -> Self {
        let labels = labels.into_iter();
        let labels = labels.map(|label| label.filter(|label| is_label(label)));
        let labels: Vec<Option<String>> = labels.collect();
        Self {
            planner: planner.to_owned(),
            labels: labels.iter().any(Option::is_some).then_some(labels),
        }
    }

    /// Reads a claim; `None` without a planner. Labels that cannot be read are an empty list, which no image has.
    fn of(annotations: &HashMap<String, String>) -> Option<Self> {
        let read = |labels: &String| {
            let is_short = labels.len() <= LONGEST_LABELS_BYTES;
            let labels = is_short.then(|| serde_json::from_str(labels).ok());
            labels.flatten().unwrap_or_default()
        };
        Some(Self {
            planner: annotations.get(PLANNER)?.clone(),
            labels: annotations.get(LABELS).map(read),
        })
    }

    /// Tells whether an image of so many layers can have been listed so: the planner is known, each layer has a label or none,
    /// and each label is printable and not too long.
    pub(crate) fn fits(&self, layers: usize) -> bool {
        let rule = LayerRule::parse(&self.planner);
        let is_rule = rule.is_some_and(|rule| rule.to_string() == self.planner);
        let are_labels = self.labels.as_ref().is_none_or(|labels| {
            let mut given = labels.iter().flatten();
            labels.len() == layers && given.all(|label| is_label(label))
        });
        (is_rule || self.planner == SQUASH) && are_labels
    }

    fn annotations(&self) -> impl Iterator<Item = (&'static str, String)> {
        let labels = self.labels.as_ref();
        let labels = labels.map(|labels| (LABELS, serde_json::json!(labels).to_string()));
        std::iter::once((PLANNER, self.planner.clone())).chain(labels)
    }
}

fn is_label(label: &str) -> bool {
    let is_short = (1..=LONGEST_LABEL_BYTES).contains(&label.len());
    is_short && !label.contains(char::is_control)
}

/// As what an image was recorded in its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The number of the snapshot.
    pub id: i64,
    /// The run.
    pub run: String,
    /// When, in seconds since 1970.
    pub created_s: i64,
    /// Whether it, or another snapshot of the image, is pinned.
    pub is_pinned: bool,
}

impl Origin {
    /// Returns it as annotations.
    pub fn annotations(&self) -> Vec<(String, String)> {
        let Self {
            series,
            stage,
            policy,
            planned,
            labels,
            recorded,
        } = self;
        let mut all = vec![
            (SERIES, series.clone()),
            (STAGE, stage.clone()),
            (POLICY, policy.clone()),
        ];
        all.extend(planned.iter().flat_map(Planned::annotations));
        if let Some(Recorded {
            id,
            run,
            created_s,
            is_pinned,
        }) = recorded
        {
            all.extend([
                (SNAPSHOT, id.to_string()),
                (RUN, run.clone()),
                (CREATED, created_s.to_string()),
            ]);
            all.extend(is_pinned.then(|| (PINNED, "true".to_owned())));
        }
        let all = all
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        let labels = labels.iter();
        let labels = labels.map(|(key, value)| (format!("{LABEL}{key}"), value.to_owned()));
        all.chain(labels).collect()
    }

    /// Reads it back; `None` where it is not there.
    pub fn of(annotations: &HashMap<String, String>) -> Option<Self> {
        let get = |name: &str| annotations.get(name).cloned();
        let number = |name: &str| get(name)?.parse().ok();
        let recorded = || {
            Some(Recorded {
                id: number(SNAPSHOT)?,
                run: get(RUN)?,
                created_s: number(CREATED)?,
                is_pinned: annotations.contains_key(PINNED),
            })
        };
        Some(Self {
            series: get(SERIES)?,
            stage: get(STAGE)?,
            policy: get(POLICY)?,
            planned: Planned::of(annotations),
            labels: labels(annotations),
            recorded: recorded(),
        })
    }
}

/// Reads the labels that are ones; none of them, if there are too many.
fn labels(annotations: &HashMap<String, String>) -> Labels {
    let claimed = annotations.iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(LABEL)?.to_owned();
        Labels::new([(key.clone(), value.clone())]).ok()?;
        Some((key, value.clone()))
    });
    Labels::new(claimed).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(planned: Option<Planned>, recorded: Option<Recorded>) -> Origin {
        Origin {
            series: "S+1".into(),
            stage: "built".into(),
            policy: "{}".into(),
            planned,
            labels: Labels::new([("task".to_owned(), "7=8".to_owned())]).unwrap(),
            recorded,
        }
    }

    fn read_back(origin: &Origin) -> Option<Origin> {
        Origin::of(&origin.annotations().into_iter().collect())
    }

    #[test]
    fn what_is_written_reads_back() {
        let recorded = Recorded {
            id: 7,
            run: "r7".to_owned(),
            created_s: -5,
            is_pinned: true,
        };
        let planned = Planned::new("packages:60", [Some("a \"b\"\\".to_owned()), None]);
        let stages = Planned::new("stages", [None, None]);
        assert_eq!(stages.labels, None);
        for planned in [None, Some(planned), Some(stages)] {
            for recorded in [None, Some(recorded.clone())] {
                let origin = origin(planned.clone(), recorded);
                assert_eq!(read_back(&origin), Some(origin));
            }
        }
        assert_eq!(Origin::of(&HashMap::new()), None);
    }

    #[test]
    fn labels_of_any_length_and_bytes_are_told_as_far_as_a_reader_takes_them() {
        let longest = "\"".repeat(LONGEST_LABEL_BYTES);
        let mut labels = vec![Some(longest.clone()); MOST_LAYERS];
        let all = Planned::new("stages", labels.clone());
        assert_eq!(all.labels.as_ref(), Some(&labels));
        assert_eq!(
            read_back(&origin(Some(all.clone()), None)).unwrap().planned,
            Some(all)
        );
        for other in [
            "",
            &format!("{longest}x"),
            "a\u{1b}[31m",
            "a\nb",
            "a\u{9b}b",
        ] {
            labels[3] = Some(other.to_owned());
            let told = Planned::new("stages", labels.clone());
            assert!(
                told.labels.as_ref().unwrap()[3].is_none() && told.fits(MOST_LAYERS),
                "{other:?}"
            );
        }
    }

    #[test]
    fn a_claim_that_fits_no_image_is_told_from_one_that_does() {
        let claim = |planner: &str, labels: &str| {
            let claim = [(PLANNER, planner), (LABELS, labels)];
            let claim = claim.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Planned::of(&claim.into_iter().collect()).unwrap()
        };
        let labels = r#"["a",null]"#;
        for planner in ["stages", "packages:1", "packages:90", "squash"] {
            assert!(claim(planner, labels).fits(2), "{planner}");
        }
        for planner in [
            "",
            "packages",
            "packages:0",
            "packages:91",
            "packages:+6",
            "packages:06",
            "Stages",
            "x",
        ] {
            assert!(!claim(planner, labels).fits(2), "{planner}");
        }
        let long = format!(r#"["{}",null]"#, "a".repeat(LONGEST_LABEL_BYTES + 1));
        let many = format!(r#"[null,null{}]"#, " ".repeat(LONGEST_LABELS_BYTES));
        for labels in [
            "",
            "[]",
            "{}",
            "null",
            r#"["a"]"#,
            r#"["a",null,null]"#,
            r#"["a",1]"#,
            r#"["a",""]"#,
            r#"["a","\u001b"]"#,
            &long,
            &many,
        ] {
            assert!(!claim("stages", labels).fits(2), "{labels}");
        }
        let planner = [(PLANNER.to_owned(), "stages".to_owned())];
        let alone = Planned::of(&planner.into_iter().collect()).unwrap();
        assert!(alone.fits(2));
    }
}
