//! What an index says of an image beyond its name, so that the image can be recorded again as it was.
//!
//! Pure. Stands in annotations of the descriptor in index.json, not in the manifest: equal layers make equal images.

use std::collections::HashMap;

const SERIES: &str = "org.rootstrata.series";
const STAGE: &str = "org.rootstrata.stage";
const POLICY: &str = "org.rootstrata.policy";
const SNAPSHOT: &str = "org.rootstrata.snapshot";
const RUN: &str = "org.rootstrata.run";
const CREATED: &str = "org.rootstrata.created";

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The series, which a name has in lowercase alone.
    pub series: String,
    /// The stage.
    pub stage: String,
    /// The canonical form of the policy.
    pub policy: String,
    /// As what it was recorded; only in the index of a store, since an archive is a function of its images.
    pub recorded: Option<Recorded>,
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
}

impl Origin {
    /// Returns it as annotations.
    pub fn annotations(&self) -> Vec<(&'static str, String)> {
        let Self {
            series,
            stage,
            policy,
            recorded,
        } = self;
        let mut all = vec![
            (SERIES, series.clone()),
            (STAGE, stage.clone()),
            (POLICY, policy.clone()),
        ];
        if let Some(Recorded { id, run, created_s }) = recorded {
            all.extend([
                (SNAPSHOT, id.to_string()),
                (RUN, run.clone()),
                (CREATED, created_s.to_string()),
            ]);
        }
        all
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
            })
        };
        Some(Self {
            series: get(SERIES)?,
            stage: get(STAGE)?,
            policy: get(POLICY)?,
            recorded: recorded(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut origin = Origin {
            series: "S+1".into(),
            stage: "built".into(),
            policy: "{}".into(),
            recorded: None,
        };
        for recorded in [
            None,
            Some(Recorded {
                id: 7,
                run: "r7".to_owned(),
                created_s: -5,
            }),
        ] {
            origin.recorded = recorded;
            let all = origin
                .annotations()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value));
            assert_eq!(Origin::of(&all.collect()), Some(origin.clone()));
        }
        assert_eq!(Origin::of(&HashMap::new()), None);
    }
}
