//! Removes the files of layers that a registry has as well, so the store needs less room. Snapshots and rows stay, and what
//! wants the bytes of a layer fetches them again.
//!
//! The registry is asked while nobody waits for the store. Then the store is taken alone, and looked at again: what has come to be
//! needed here meanwhile stays. Before anything goes, the registry has answered for all blobs.

mod answers;
mod candidates;

use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::keep::{Reason, Rules};
use crate::model::repository::Repository;
use crate::ops::keep::prune::{Patience, check_index};
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::remote::local_blobs::answers::{Standing, standings};
use crate::ops::remote::local_blobs::candidates::{Candidate, Candidates};
use crate::ops::remote::prune::survey::Asked;
use crate::ops::store_index::render_index;
use crate::registry::{Access, Client, Right, Traffic};
use crate::store::{RemoteBlob, Snapshot, Store};
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

/// How many blobs go at once on a full disk, so their rows have room in the reserve.
const AT_ONCE: usize = 64;

/// The repository, and the rules.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository that has the layers as well.
    pub repository: Repository,
    /// The rules that name snapshots whose blobs stay here; without a rule, the newest of each stage of each series.
    pub rules: Rules,
    /// The series whose blobs may go; what snapshots of other series need stays here.
    pub series: Option<String>,
    /// Find out, and remove nothing.
    pub dry_run: bool,
    /// Fail at once where others have the store open, instead of waiting half a minute.
    pub no_wait: bool,
    /// How registries are reached.
    pub access: Access,
    /// How many requests are made at once.
    pub jobs: NonZeroUsize,
}

/// What is in the repository alone now, and what stays here.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The repository, as `HOST/NAME`.
    pub repository: String,
    /// The snapshots whose blobs stay by a rule, the newest first, with the rules.
    pub kept: Vec<(Snapshot, Vec<Reason>)>,
    /// Number and bytes of the removed blobs; for a dry run, of those to be removed.
    pub released: (u64, u64),
    /// Number and bytes of the blobs that stay since the repository lacks them, or has another length under their digest.
    pub lacking: (u64, u64),
    /// Number and bytes of the blobs that stay since no record and no tagged image of the repository names them.
    pub unnamed: (u64, u64),
    /// The traffic with the registry.
    pub traffic: Traffic,
    /// The time of each phase.
    pub seconds: Vec<(Phase, Duration)>,
}

/// Releases blobs of the store at `store_path` to a repository. Fails with
/// [`Error::RegistryUnreachable`](crate::error::Error::RegistryUnreachable) if the registry does not answer, with
/// [`Error::Locked`](crate::error::Error::Locked) if others have the store open for too long, with
/// [`Error::Damaged`](crate::error::Error::Damaged) if index.json or a row is not as recorded, and if a file cannot be written or
/// removed. A file that is gone has its row then, and the next release removes the others.
pub fn release(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Outcome> {
    let phases = Phases::new(monitor);
    let store = Store::open(store_path)?;
    check_index(&store)?;
    let found = Candidates::find(&store, &request.rules, request.series.as_deref())?;
    drop(store);
    let client = Client::open(&request.repository, &request.access, Right::Pull)?;
    let asked = Asked {
        client: &client,
        jobs: request.jobs,
    };
    let blobs = &found.blobs;
    let standings = phases.run(Phase::Scan, None, || standings(&asked, blobs))?;
    let of = |wanted| those(blobs, &standings, wanted);
    let had: HashSet<Digest> = of(Standing::Had).map(|one| one.blob.digest).collect();
    let mut outcome = Outcome {
        repository: request.repository.to_string(),
        released: total(of(Standing::Had)),
        lacking: total(of(Standing::Lacking)),
        unnamed: total(of(Standing::Unnamed)),
        kept: found.kept.clone(),
        traffic: client.traffic(),
        seconds: Vec::new(),
    };
    if !request.dry_run && !had.is_empty() {
        let released = phases.run(Phase::Remove, None, || remove(store_path, request, &had))?;
        outcome.released = total(released.blobs.iter());
        outcome.kept = released.kept;
    }
    outcome.seconds = phases.spent();
    Ok(outcome)
}

/// Returns the blobs with a standing.
fn those<'c>(
    blobs: &'c [Candidate],
    standings: &'c [Standing],
    wanted: Standing,
) -> impl Iterator<Item = &'c Candidate> {
    let both = blobs.iter().zip(standings);
    let chosen = both.filter(move |(_, standing)| **standing == wanted);
    chosen.map(|(one, _)| one)
}

/// Returns number and bytes of blobs.
fn total<'c>(blobs: impl Iterator<Item = &'c Candidate>) -> (u64, u64) {
    blobs.fold((0, 0), |(count, bytes), one| {
        (count + 1, bytes + one.blob.size_bytes)
    })
}

/// Removes those blobs that the repository has, and that need not be here now. Returns them.
fn remove(store_path: &Path, request: &Request, had: &HashSet<Digest>) -> Result<Candidates> {
    let patience = if request.no_wait {
        Patience::None
    } else {
        Patience::Usual
    };
    let store = Store::open_alone(store_path, patience)?;
    check_index(&store)?;
    let mut going = Candidates::find(&store, &request.rules, request.series.as_deref())?;
    going.blobs.retain(|one| had.contains(&one.blob.digest));
    let repository = request.repository.to_string();
    let remotes = going.blobs.iter();
    let remotes = remotes.map(|one| remote(&store, one, &repository));
    let remotes: Vec<RemoteBlob> = remotes.collect::<Result<_>>()?;
    let is_full = store.release_reserve()?;
    let at_once = if is_full { AT_ONCE } else { usize::MAX };
    for some in remotes.chunks(at_once) {
        store.release_blobs(some, render_index)?;
        if is_full {
            store.empty_log()?;
        }
    }
    store.keep_reserve();
    Ok(going)
}

/// Says that the repository has a blob. A layer that records alone have named so far counts as proven if its blob is sound: the
/// blob was compared with the layer when it came.
fn remote(store: &Store, of: &Candidate, repository: &str) -> Result<RemoteBlob> {
    let digest = of.blob.digest;
    let known = store.remotes_of(&digest)?;
    let is_claimed = !known.is_empty() && known.iter().all(|known| !known.is_proven);
    Ok(RemoteBlob {
        digest,
        repository: repository.to_owned(),
        is_proven: !is_claimed || store.has_blob(&digest, of.blob.size_bytes)?,
    })
}
