//! Records one stage of a root: what of it is known is reused, what is new becomes layers.

pub(crate) mod compose;
pub(crate) mod deferred;
pub(crate) mod lineage;
pub(crate) mod subset;

use crate::error::{Error, Result};
use crate::fs::facts::Cost;
use crate::fs::root::Root;
use crate::fs::sync::sync_if_quick;
use crate::layer::codec::Compression;
use crate::model::names::{BOOTSTRAP, SnapshotRef};
use crate::model::plan::deferrable::Expected;
use crate::model::plan::difference::Scope;
use crate::model::plan::layer::{Item, LayerContent, Role};
use crate::model::plan::{Below, Limits, Plan, Planned};
use crate::model::policy::normalise::{Context, Sides, normalise};
use crate::model::policy::{MtimeRule, Policy, Profile, Rules};
use crate::model::tree::Tree;
use crate::model::tree::entry::FileContent;
use crate::model::tree::overlay::Overlay;
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::record::compose::{Composer, Made};
use crate::ops::record::lineage::{Ground, Loading, Place, check_names, series_of};
use crate::ops::record::subset::{Part, Totals};
use crate::ops::root_view::build_user::{BuildUser, build_user, settings};
use crate::ops::root_view::observe::{Observation, free_aside, look};
use crate::ops::root_view::packages::{self, Installed};
use crate::store::InUse;
use crate::store::LayerUse;
use crate::store::NewSnapshot;
use crate::store::PackagesOf;
use crate::store::Scratch;
use crate::store::Snapshot;
use crate::store::StampState;
use crate::store::Store;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often a root that changes while it is read is looked at anew.
const MOST_ATTEMPTS: usize = 3;

/// More threads than this only wait for one another.
const MOST_THREADS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// What is asked for; what is left open gets its default from the root and the store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The series; by default the name of the root's Mock directory.
    pub series: Option<String>,
    /// The stage; by default the first usual one that the run does not have.
    pub stage: Option<String>,
    /// The snapshot to plan over; by default the stage before.
    pub parent: Option<SnapshotRef>,
    /// The build; by default the newest of the series that lacks the stage, else one of its own.
    pub run: Option<String>,
    /// The profile; by default `mock` where the root has an rpm database.
    pub profile: Option<Profile>,
    /// More globs of paths to leave out.
    pub exclude: Vec<String>,
    /// More globs of volatile paths.
    pub volatile: Vec<String>,
    /// Whose times are kept; by default as the profile has it.
    pub mtime: Option<MtimeRule>,
    /// The epoch in seconds since 1970.
    pub epoch_s: Option<i64>,
    /// When a base is made anew.
    pub limits: Limits,
    /// How new layers are compressed.
    pub compression: Compression,
    /// How many threads work.
    pub threads: NonZeroUsize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            series: None,
            stage: None,
            parent: None,
            run: None,
            profile: None,
            exclude: Vec::new(),
            volatile: Vec::new(),
            mtime: None,
            epoch_s: None,
            limits: Limits::default(),
            compression: Compression::default(),
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// What was recorded, and what it took.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerUse>,
    /// How many packages it has; `None` where nobody knows.
    pub packages: Option<u64>,
    /// How often a file of the root was read: to hash it, to pack it, or for both at once. Empty files are not.
    pub files_read: u64,
    /// Bytes of content that were read.
    pub bytes_read: u64,
    /// How many paths the plan was made of: none where nothing has changed, not all where little has.
    pub paths_planned: u64,
    /// The time that each phase took.
    pub seconds: Vec<(Phase, Duration)>,
    /// As long as it is there, nobody prunes the store: for an export right after.
    pub in_use: Option<InUse>,
}

/// Records `root` in the store at `store_path`, which is made where it is missing. Nothing is recorded where any of it
/// fails.
pub fn snapshot(
    store_path: &Path,
    root: &Path,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    check_names(options)?;
    let root = Root::open(root)?;
    let series = series_of(&root, options)?;
    let policy = policy(&root, options);
    refuse_store_inside(store_path, &root, &policy)?;
    let options = &Options {
        threads: options.threads.min(MOST_THREADS),
        ..options.clone()
    };
    let mut store = Store::open_or_create(store_path)?;
    for finding in store.findings() {
        monitor.note(&format!("{finding}; it is made anew"));
    }
    let phases = Phases::new(monitor);
    let (mut cost, mut attempt) = (Cost::default(), 1);
    let mut may_plan_part = true;
    let (id, paths_planned) = loop {
        // What is read late must be as it was when it was found. In a root that does not hold still, less time may pass.
        let how = How {
            may_read_late: attempt == 1,
            may_plan_part,
        };
        match try_snapshot(&mut store, &root, &series, options, &policy, &phases, how) {
            Err(Error::Changed(path)) => {
                // Its stamp may have said what is not so, and would say it again.
                if let Some(inside) = path.strip_prefix(root.path()).ok().and_then(entry_path) {
                    store.forget_stamp(root.path(), inside.key())?;
                }
                if attempt == MOST_ATTEMPTS {
                    return Err(Error::Changed(path));
                }
                attempt += 1;
            }
            Err(error) => return Err(error),
            Ok(tried) => {
                cost.add(tried.cost);
                match tried.id {
                    Some(id) => break (id, tried.paths_planned),
                    None => may_plan_part = false,
                }
            }
        }
    };
    let snapshot = store.find(&SnapshotRef::Id(id))?;
    Ok(Outcome {
        layers: store.layers(id)?,
        packages: snapshot
            .package_set_id
            .map(|set| store.packages_len(set))
            .transpose()?,
        snapshot,
        files_read: cost.files,
        bytes_read: cost.bytes,
        paths_planned,
        seconds: phases.spent(),
        in_use: store.in_use(),
    })
}

fn entry_path(inside: &Path) -> Option<EntryPath> {
    EntryPath::from_slashed(inside.as_os_str().as_bytes())
}

/// A store that the root holds would record itself, another each time.
pub(crate) fn refuse_store_inside(store_path: &Path, root: &Root, policy: &Policy) -> Result<()> {
    let rules = policy.rules(BOOTSTRAP)?;
    let absolute = std::path::absolute(store_path).map_err(Error::io("find", store_path))?;
    let resolved = std::fs::canonicalize(&absolute).unwrap_or(absolute);
    let Ok(inside) = resolved.strip_prefix(root.path()) else {
        return Ok(());
    };
    let mut path = entry_path(inside);
    while let Some(at) = path.filter(|at| !at.is_root()) {
        path = at.parent();
        if rules.excludes(&at) || path.as_ref().is_some_and(|above| rules.hollows(above)) {
            return Ok(());
        }
    }
    Err(Error::StoreInside {
        store: resolved,
        root: root.path().to_owned(),
    })
}

fn policy(root: &Root, options: &Options) -> Policy {
    let is_mock = || packages::has_database(root);
    let profile = options.profile.unwrap_or_else(|| {
        if is_mock() {
            Profile::Mock
        } else {
            Profile::Plain
        }
    });
    let defaults = match profile {
        Profile::Mock => Policy::mock(),
        Profile::Plain => Policy::plain(),
    };
    Policy {
        exclude: options.exclude.clone(),
        volatile: options.volatile.clone(),
        mtime: options.mtime.unwrap_or(defaults.mtime),
        epoch_s: options.epoch_s,
        ..defaults
    }
}

/// What an attempt may do.
#[derive(Clone, Copy)]
struct How {
    may_read_late: bool,
    may_plan_part: bool,
}

/// What came of an attempt.
struct Tried {
    /// The snapshot; `None` where what has changed is not enough to plan it.
    id: Option<i64>,
    cost: Cost,
    paths_planned: u64,
}

fn try_snapshot(
    store: &mut Store,
    root: &Root,
    series: &str,
    options: &Options,
    policy: &Policy,
    phases: &Phases,
    how: How,
) -> Result<Tried> {
    let place = Place::find(store, series, options)?;
    let rules = &policy.rules(&place.stage)?;
    let ground = Ground::find(store, &place, options, &policy.key())?;
    let mut looked = look(store, root, rules, &ground, options.threads, phases)?;
    if let Some((id, mut stamps)) = looked.same_as()
        && let Some((known, layers)) = same_snapshot(store, id, &place, &ground, policy)?
    {
        let made = std::thread::scope(|scope| {
            let synced = looked
                .wants_sync()
                .then(|| scope.spawn(|| sync_if_quick(root)));
            let made = Composer::new(store, root, options, policy, phases).reuse(&known, &layers);
            let synced = synced.is_some_and(|synced| {
                synced
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            stamps.synced_until = synced.then(|| looked.scan_start());
            made
        })?;
        let packages = known
            .package_set_id
            .map_or(PackagesOf::Unknown, PackagesOf::Set);
        let sockets = looked.sockets();
        let totals = Totals {
            entries: known.entries,
            content_bytes: known.content_bytes,
        };
        let recording = Recording {
            place: &place,
            ground: &ground,
            policy,
            root,
            stamps,
            sockets,
        };
        free_aside(looked);
        let id = Some(record(store, &recording, packages, totals, &made, phases)?);
        return Ok(Tried {
            id,
            cost: Cost::default(),
            paths_planned: 0,
        });
    }
    let part = match how.may_plan_part {
        true => phases.run(Phase::Plan, None, || {
            Part::find(store, &looked, &ground, &place, policy, options.threads)
        })?,
        false => None,
    };
    let (part, loaded) = match part {
        Some((part, below)) => (Some(part), Some(below)),
        None => (None, looked.loaded.take()),
    };
    let (mut observed, understood, mut stamps, below) = std::thread::scope(|scope| -> Result<_> {
        let mut below = Loading::begin(scope, loaded, store.path(), &ground, options.threads);
        let places = part.as_ref().map(|part| part.places.as_slice());
        let late = match how.may_read_late {
            true => phases.run(Phase::Plan, None, || {
                let expected = Expected {
                    policy,
                    rules,
                    scan_start: looked.scan_start(),
                };
                let last = last_of(store, &place, policy)?;
                deferred::choose(
                    store,
                    &looked,
                    places,
                    &expected,
                    &ground,
                    &mut below,
                    last.as_ref(),
                )
            })?,
            false => Vec::new(),
        };
        let observed = looked.read(
            root,
            places.map(<[_]>::to_vec),
            &late,
            options.threads,
            phases,
        )?;
        let scratch = store.scratch()?;
        // What was read is stamped at once, so that a run that fails later has not read in vain.
        let (stamps, understood) = std::thread::scope(|scope| {
            let stamped = scope
                .spawn(|| store.update_stamps(root.path(), observed.stamps, observed.changes()));
            let understood = understand(
                &observed,
                root,
                policy,
                rules,
                options.threads,
                &scratch,
                phases,
            );
            (
                stamped
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                understood,
            )
        });
        let stamps = stamps?;
        Ok((observed, understood?, stamps, below.finish(store, &ground)?))
    })?;
    let Understood {
        installed,
        user,
        mut sides,
    } = understood;
    let (mut cost, paths_planned) = (observed.cost, observed.seen().len() as u64);
    observed.forget_facts();
    if let Some(before) = tree_before(store, &ground, &place, &below, policy, &sides)? {
        let as_seen = sides.stable.clone();
        sides.keep_below_mounts(&before);
        // What is hidden cannot be packed: where the plan would have to, the mount point is recorded empty.
        let plan = Plan::new(&sides.stable, &below, Scope::All, &options.limits);
        if plan.is_ok_and(|plan| packs_hidden(&plan.layers(&sides), &sides.mounts)) {
            sides.stable = as_seen;
        }
    }
    let scope = part.as_ref().map_or(Scope::All, Part::scope);
    let plan = phases.run(Phase::Plan, None, || {
        Plan::new(&sides.stable, &below, scope, &options.limits)
    });
    let Ok(plan) = plan else {
        return Ok(Tried {
            id: None,
            cost,
            paths_planned,
        });
    };
    let mut packed = Vec::new();
    let late = observed.late();
    let gone = |path: EntryPath| Error::Changed(root.full_path(&path));
    let sides = if late.files.is_empty() {
        sides.into_known().map_err(gone)?
    } else {
        let planned = plan.layers(&sides);
        let done = Composer::new(store, root, options, policy, phases)
            .pack_unread(&planned, &late)
            .map_err(|error| below_root(error, root))?;
        cost.add(done.1);
        packed = done.0;
        cost.add(late.read_rest(root, options.threads, phases.monitor)?);
        let known;
        (stamps, known) = std::thread::scope(|scope| {
            let stamped = scope.spawn(|| store.update_stamps(root.path(), stamps, late.stamps()));
            let known = sides.resolve(late.resolved(policy.profile));
            let stamped = stamped
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            stamped.map(|stamps| (stamps, known))
        })?;
        known.map_err(gone)?
    };
    let planned = plan.layers(&sides);
    let settings = settings(user.as_ref(), installed.packages.as_deref(), policy);
    let made = Composer::new(store, root, options, policy, phases)
        .make(&planned, packed, &settings)
        .map_err(|error| below_root(error, root))?;
    cost.add(made.cost);
    let packages = match &installed.packages {
        None => PackagesOf::Unknown,
        Some(packages) => PackagesOf::These(packages, &installed.files),
    };
    let totals = match &part {
        Some(part) => part.totals(&sides),
        None => Totals::of(
            sides.stable.entries().iter(),
            sides.volatile.entries().iter(),
        ),
    };
    stamps.dead_bytes = observed.is_known_whole().then(|| plan.dead_bytes());
    let sockets = observed.sockets;
    let recording = Recording {
        place: &place,
        ground: &ground,
        policy,
        root,
        stamps,
        sockets,
    };
    let id = record(store, &recording, packages, totals, &made, phases)?;
    drop(made);
    drop((planned, late));
    free_aside((observed, sides, below));
    Ok(Tried {
        id: Some(id),
        cost,
        paths_planned,
    })
}

/// What a root means under a policy.
struct Understood {
    installed: Installed,
    user: Option<BuildUser>,
    sides: Sides<FileContent>,
}

fn understand(
    observed: &Observation,
    root: &Root,
    policy: &Policy,
    rules: &Rules,
    threads: NonZeroUsize,
    scratch: &Scratch,
    phases: &Phases,
) -> Result<Understood> {
    phases.run(Phase::Scan, None, || observed.check(root, threads))?;
    let wants_times = policy.mtime == MtimeRule::Package;
    let installed = phases.run(Phase::Packages, None, || {
        packages::read(scratch, root, observed, wants_times, phases.monitor)
    })?;
    let user = build_user(root, observed, policy)?;
    let sides = phases.run(Phase::Plan, None, || {
        let home = user.as_ref().and_then(|user| user.home.as_ref());
        let context = Context {
            policy,
            rules,
            home,
            vouched: &installed.vouched,
        };
        normalise(observed.seen(), &context).map_err(|error| below_root(error, root))
    })?;
    Ok(Understood {
        installed,
        user,
        sides,
    })
}

/// The tree that was there before, where something is mounted now: of the stage before, or for a first stage of the
/// last time.
fn tree_before(
    store: &Store,
    ground: &Ground,
    place: &Place,
    below: &Below,
    policy: &Policy,
    sides: &Sides<FileContent>,
) -> Result<Option<Tree>> {
    if sides.mounts.is_empty() {
        return Ok(None);
    }
    let mut overlay = Overlay::new();
    if ground.parent_id().is_some() {
        below
            .inherited
            .iter()
            .for_each(|layer| overlay.lay(layer.items.iter().cloned()));
        return Ok(Some(overlay.into_tree()));
    }
    let Some(last) = last_of(store, place, policy)? else {
        return Ok(None);
    };
    for layer in store
        .layers(last.id)?
        .iter()
        .filter(|layer| layer.role != Role::State)
    {
        store.lay(layer.layer.id, &mut overlay)?;
    }
    Ok(Some(overlay.into_tree()))
}

/// The last snapshot of the same series and stage, if it was recorded under the same policy.
fn last_of(store: &Store, place: &Place, policy: &Policy) -> Result<Option<Snapshot>> {
    let last = store.latest_of_stage(&place.series, &place.stage)?;
    Ok(last.filter(|last| last.policy_key == policy.key()))
}

/// Tells whether a layer of the plan holds the content of a file that a mount hides.
fn packs_hidden(planned: &[Planned<FileContent>], mounts: &[EntryPath]) -> bool {
    let is_hidden = |path: &EntryPath| {
        mounts
            .iter()
            .any(|mount| path == mount || path.is_beneath(mount))
    };
    let contents = planned.iter().filter_map(Planned::content);
    contents
        .flat_map(LayerContent::items)
        .any(|item| match item {
            Item::Entry(entry) => entry.size_bytes() > 0 && is_hidden(&entry.path),
            Item::Whiteout(_) => false,
        })
}

/// What does not depend on what was found.
struct Recording<'a> {
    place: &'a Place,
    ground: &'a Ground,
    policy: &'a Policy,
    root: &'a Root,
    stamps: StampState,
    sockets: u64,
}

/// The snapshot that the stamps are of, if a plan would give its layers again: then nothing is left to do.
fn same_snapshot(
    store: &Store,
    id: i64,
    place: &Place,
    ground: &Ground,
    policy: &Policy,
) -> Result<Option<(Snapshot, Vec<LayerUse>)>> {
    let known = store
        .snapshot(id)?
        .filter(|known| place.is_of(known, &policy.key()));
    let Some(known) = known else { return Ok(None) };
    let layers = store.layers(known.id)?;
    let is_same = ground.is_that_of(&known, &layers)
        && store.has_blobs(layers.iter().map(|layer| layer.blob.as_ref()))?
        && store.has_blob(&known.config.digest, known.config.size_bytes)?;
    Ok(is_same.then_some((known, layers)))
}

fn record(
    store: &mut Store,
    recording: &Recording,
    packages: PackagesOf,
    totals: Totals,
    made: &Made,
    phases: &Phases,
) -> Result<i64> {
    let Recording {
        place,
        ground,
        policy,
        root,
        stamps,
        sockets,
    } = recording;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let snapshot = NewSnapshot {
        series: &place.series,
        stage: &place.stage,
        run: place.run.as_deref(),
        parent_id: ground.parent_id(),
        policy,
        created_s: now.as_secs() as i64,
        inherited_layers: made
            .layers
            .iter()
            .filter(|layer| layer.is_inherited)
            .count(),
        packages,
        manifest: made.manifest,
        config: made.config,
        entries: totals.entries,
        content_bytes: totals.content_bytes,
        sockets: *sockets,
        layers: &made
            .layers
            .iter()
            .map(|layer| layer.as_recorded())
            .collect::<Vec<_>>(),
        root_path: root.path(),
        stamps: *stamps,
    };
    phases.run(Phase::Record, None, || {
        let id = store.record(&snapshot)?;
        // The snapshot is recorded now, whatever becomes of the index: the next one writes it again.
        if let Err(error) = crate::ops::store_index::update_index(store) {
            phases
                .monitor
                .note(&format!("{error}; index.json does not name the snapshot"));
        }
        Ok(id)
    })
}

/// Pure functions know paths inside the root only; the user knows them with the root in front.
fn below_root(error: Error, root: &Root) -> Error {
    let full = |path: &Path| root.path().join(path.strip_prefix("/").unwrap_or(path));
    match error {
        Error::ReservedName(path) => Error::ReservedName(full(&path)),
        Error::WhiteoutDevice(path) => Error::WhiteoutDevice(full(&path)),
        Error::Unpackable { path, reason } => Error::Unpackable {
            path: full(&path),
            reason,
        },
        error => error,
    }
}
