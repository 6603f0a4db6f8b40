//! A root with all the facts for a plan of layers: paths, and the contents of all files except the deferred.

use crate::error::{Error, Result};
use crate::model::packages::owners::Installed;
use crate::model::plan::set_modes_apart;
use crate::model::policy::normalise::StableVolatile;
use crate::model::tree::entry::FileContent;
use crate::ops::monitor::{Phase, Phases};
use crate::ops::record::choose_deferred::choose_deferred;
use crate::ops::record::content::Content;
use crate::ops::record::prior_layers::PriorReading;
use crate::ops::record::session::Session;
use crate::ops::record::subset::ChangedSubset;
use crate::ops::root_view::build_user::BuildUser;
use crate::ops::root_view::derived::{Derived, derive};
use crate::ops::root_view::live_root::LiveRoot;
use crate::ops::root_view::normalise_as::{Manner, normalise_as};
use crate::ops::root_view::observation::Observation;
use crate::ops::root_view::packages::read_rpm_packages;
use crate::ops::root_view::stamped_scan::StampedScan;
use crate::store::StampState;
use crate::threads::joined;
use std::num::NonZeroUsize;
use std::path::Path;

/// A root with all files hashed except the deferred.
pub(super) struct Observed {
    observation: Observation,
    subset: Option<ChangedSubset>,
    prior: PriorReading,
}

impl Observed {
    /// Reads the changed files of a subset, or of the whole root, and the layers below meanwhile. Fails if a file cannot be
    /// read or changes meanwhile, or the store cannot be read.
    pub(super) fn read(
        session: &Session,
        scan: StampedScan,
        subset: Option<ChangedSubset>,
        prior: PriorReading,
    ) -> Result<Self> {
        let prior = prior.begin(session);
        let phases = &session.phases;
        let places = subset.as_ref().map(|subset| subset.places.as_slice());
        let (deferred, prior) = phases.run(Phase::Plan, None, || {
            choose_deferred(session, &scan, places, prior)
        })?;
        let places = places.map(<[_]>::to_vec);
        let observation = scan.read(
            &session.root,
            places,
            &deferred,
            session.options.threads,
            phases,
        )?;
        Ok(Self {
            observation,
            subset,
            prior,
        })
    }

    /// Turns facts into entries under the policy. Facts are stamped at once, so an attempt failing later has not read in
    /// vain. Fails if a directory has changed since the scan, a path cannot be recorded, or the store cannot
    /// be read or written.
    pub(super) fn into_content(self, session: &mut Session) -> Result<Content> {
        let Self {
            mut observation,
            subset,
            prior,
        } = self;
        let scratch = session.store.scratch()?;
        let (stamps, view) = stamp_and_view(session, &observation, scratch.path());
        let (stamps, mut view) = (stamps?, view?);
        session.settle_rule(view.packages.as_deref());
        if session.cuts_by_packages() {
            let installed = view.packages.as_deref().unwrap_or_default();
            set_modes_apart(&mut view.sides, installed);
        }
        let prior = prior.finish(session)?;
        let paths_planned = observation.seen().len() as u64;
        observation.forget_facts();
        Ok(Content {
            observation,
            subset,
            prior,
            sides: view.sides,
            derived: view.derived,
            packages: view.packages,
            user: view.user,
            stamps,
            paths_planned,
        })
    }
}

/// The root under the policy.
struct View {
    packages: Option<Vec<Installed>>,
    user: Option<BuildUser>,
    sides: StableVolatile<FileContent>,
    derived: Derived,
}

fn stamp_and_view(
    session: &mut Session,
    observation: &Observation,
    scratch: &Path,
) -> (Result<StampState>, Result<View>) {
    let Session {
        store,
        root,
        policy,
        rules,
        options,
        phases,
        ..
    } = session;
    let viewer = Viewer {
        live: LiveRoot {
            root,
            observed: observation,
        },
        manner: Manner { policy, rules },
        threads: options.threads,
        phases,
    };
    std::thread::scope(|scope| {
        let changes = observation.changes();
        let stamped = scope.spawn(|| store.update_stamps(root.path(), observation.stamps, changes));
        let view = viewer.view(scratch);
        (joined(stamped.join()), view)
    })
}

struct Viewer<'a> {
    live: LiveRoot<'a>,
    manner: Manner<'a>,
    threads: NonZeroUsize,
    phases: &'a Phases<'a>,
}

impl Viewer<'_> {
    /// Reads packages and build user, and normalises the facts.
    fn view(&self, scratch: &Path) -> Result<View> {
        let Self {
            live,
            manner,
            threads,
            phases,
        } = self;
        let LiveRoot { root, observed } = *live;
        phases.run(Phase::Scan, None, || observed.check(root, *threads))?;
        let packages = phases.run(Phase::Packages, None, || {
            read_rpm_packages(live, scratch, manner.policy.mtime, phases.monitor)
        })?;
        let user = BuildUser::find(live, manner.policy.profile)?;
        let sides = phases.run(Phase::Plan, None, || {
            let home = user.as_ref().and_then(|user| user.home.as_ref());
            let installed = packages.as_deref().unwrap_or_default();
            normalise_as(*manner, live, installed, home)
        })?;
        let (sides, derived) = match manner.rules.derivations() {
            None => (sides, Derived::default()),
            Some(derivations) => {
                let packages = packages.as_deref().ok_or_else(|| Error::NotNormalizable {
                    path: root.path().to_owned(),
                    reason: "no packages are known that it would follow from",
                })?;
                let rules = (derivations, manner.policy.epoch_s());
                let (volatile, derived) = phases.run(Phase::Packages, None, || {
                    derive(&sides, rules, live, (packages, user.as_ref()), scratch)
                })?;
                (StableVolatile { volatile, ..sides }, derived)
            }
        };
        Ok(View {
            packages,
            user,
            sides,
            derived,
        })
    }
}
