//! A root with all the facts for a plan of layers: paths, and the contents of all files except the deferred.

use crate::error::Result;
use crate::fs::root::Root;
use crate::model::policy::normalise::{Context, Sides, normalise};
use crate::model::policy::{MtimeRule, Policy, Rules};
use crate::model::tree::entry::FileContent;
use crate::ops::monitor::{Phase, Phases};
use crate::ops::record::choose_deferred::choose_deferred;
use crate::ops::record::content::Content;
use crate::ops::record::prior_layers::PriorLayers;
use crate::ops::record::session::{Session, in_root};
use crate::ops::record::subset::ChangedSubset;
use crate::ops::root_view::build_user::{BuildUser, build_user};
use crate::ops::root_view::observe::{Look, Observation};
use crate::ops::root_view::packages::{self, Installed};
use crate::store::{Scratch, StampState};
use std::num::NonZeroUsize;

/// A root with all files hashed except the deferred.
pub(super) struct Observed {
    observation: Observation,
    subset: Option<ChangedSubset>,
    prior: PriorLayers,
}

impl Observed {
    /// Reads the changed files of a subset, or of the whole root, and the layers below meanwhile. Fails if a file cannot be
    /// read or changes meanwhile, or the store cannot be read.
    pub(super) fn read(
        session: &Session,
        look: Look,
        subset: Option<ChangedSubset>,
        prior: PriorLayers,
    ) -> Result<Self> {
        let prior = prior.begin(session);
        let phases = &session.phases;
        let places = subset.as_ref().map(|subset| subset.places.as_slice());
        let (deferred, prior) = phases.run(Phase::Plan, None, || {
            choose_deferred(session, &look, places, prior)
        })?;
        let places = places.map(<[_]>::to_vec);
        let observation = look.read(
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

    /// Turns facts into entries under the policy. Facts are stamped at once, so that an attempt failing later has not read in
    /// vain. Fails if a directory has changed since the scan, a path cannot be recorded, or the store cannot
    /// be read or written.
    pub(super) fn into_content(self, session: &mut Session) -> Result<Content> {
        let Self {
            mut observation,
            subset,
            prior,
        } = self;
        let scratch = session.store.scratch()?;
        let (stamps, view) = stamp_and_view(session, &observation, &scratch);
        let (stamps, view) = (stamps?, view?);
        let prior = prior.finish(session)?;
        let paths_planned = observation.seen().len() as u64;
        observation.forget_facts();
        Ok(Content {
            observation,
            subset,
            prior,
            sides: view.sides,
            installed: view.installed,
            user: view.user,
            stamps,
            paths_planned,
        })
    }
}

/// The root under the policy.
struct View {
    installed: Installed,
    user: Option<BuildUser>,
    sides: Sides<FileContent>,
}

fn stamp_and_view(
    session: &mut Session,
    observation: &Observation,
    scratch: &Scratch,
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
        observation,
        root,
        policy,
        rules,
        threads: options.threads,
        phases,
    };
    std::thread::scope(|scope| {
        let changes = observation.changes();
        let stamped = scope.spawn(|| store.update_stamps(root.path(), observation.stamps, changes));
        let view = viewer.view(scratch);
        let stamped = stamped.join();
        (
            stamped.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            view,
        )
    })
}

struct Viewer<'a> {
    observation: &'a Observation,
    root: &'a Root,
    policy: &'a Policy,
    rules: &'a Rules,
    threads: NonZeroUsize,
    phases: &'a Phases<'a>,
}

impl Viewer<'_> {
    /// Reads packages and build user, and normalises the facts.
    fn view(&self, scratch: &Scratch) -> Result<View> {
        let Self {
            observation,
            root,
            policy,
            rules,
            threads,
            phases,
        } = *self;
        phases.run(Phase::Scan, None, || observation.check(root, threads))?;
        let wants_times = policy.mtime == MtimeRule::Package;
        let installed = phases.run(Phase::Packages, None, || {
            packages::read(scratch, root, observation, wants_times, phases.monitor)
        })?;
        let user = build_user(root, observation, policy)?;
        let sides = phases.run(Phase::Plan, None, || {
            let context = Context {
                policy,
                rules,
                home: user.as_ref().and_then(|user| user.home.as_ref()),
                vouched: &installed.vouched,
            };
            normalise(observation.seen(), &context).map_err(|error| in_root(error, root))
        })?;
        Ok(View {
            installed,
            user,
            sides,
        })
    }
}
