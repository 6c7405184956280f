//! Steps: every middleware of a specification as something that runs. Modules are compiled side by side; a plugin is
//! configured and warmed here, so that what it complains of refuses the tree.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::join_all;
use imbl::{OrdMap, ordmap::DiffItem};

use super::{Built, Compiler, Defined, Kept, taken_over};
use crate::{
    config::{
        diagnostic::Diagnostic,
        spec::{Middleware, Name, Part, Plugin, Spec},
    },
    exchange::{Adoption, Call},
    filter::{self, Action, Origin, Step},
    identity::Identity,
    resolve::Modules,
    upstream::{SideCall, Upstream},
    wasm,
};

/// Every middleware by name, and the modules that they were made of.
#[derive(Default)]
pub(super) struct Steps {
    made: OrdMap<Name, Made>,
    modules: BTreeMap<Arc<str>, Identity>,
}

#[derive(Clone)]
enum Made {
    One(Identity, Action),
    Chain(Vec<Name>),
}

type Upstreams = OrdMap<Name, Arc<Upstream>>;

impl Steps {
    /// Builds what is new of the middleware of `spec`; also what each worker must take before it may run.
    pub(super) async fn build(
        compiler: &mut Compiler,
        spec: &Spec,
        modules: &Modules,
        upstreams: &Upstreams,
        built: &mut Built,
    ) -> Result<(Self, Vec<Vec<Adoption>>), Vec<Diagnostic>> {
        let (mut made, changed) = Self::changed(&compiler.kept, spec, modules);
        let mut plugins = Vec::new();
        for (name, part) in changed {
            let identity = identify(name, part, modules, upstreams);
            let step = match (&part.value, compiler.parts.action(identity)) {
                (Middleware::Chain(names), _) => Made::Chain(names.clone()),
                (_, Some(action)) => Made::One(identity, action),
                (Middleware::Plugin(plugin), None) => {
                    plugins.push((name, plugin, identity));
                    continue;
                }
                (other, None) => {
                    let call = |name: &str| upstreams.get(name).map(side_call);
                    let action = filter::builtin(name, other, &call, (&compiler.states, &compiler.metrics));
                    let action = action.expect("only chains and plugins are not built in, and upstreams are checked");
                    compiler.parts.keep_action(identity, &action);
                    built.steps += 1;
                    Made::One(identity, action)
                }
            };
            made.insert(Arc::clone(name), step);
        }
        built.steps += plugins.len();
        let mut adoptions: Vec<Vec<Adoption>> = (0..compiler.workers).map(|_| Vec::new()).collect();
        let mut wrong = Vec::new();
        let each = plugins.iter().map(|(name, plugin, _)| load(compiler, name, plugin, modules, upstreams));
        for ((name, _, identity), outcome) in plugins.iter().zip(join_all(each).await) {
            match outcome {
                Ok(plugin) => {
                    let action = Action::Around(plugin.filter);
                    made.insert(Arc::clone(name), Made::One(*identity, action));
                    adoptions.iter_mut().zip(plugin.adoptions).for_each(|(all, one)| all.push(one));
                }
                Err(found) => wrong.extend(found),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        for (name, _, identity) in plugins {
            if let Some(Made::One(_, action)) = made.get(name) {
                compiler.parts.keep_action(identity, action);
            }
        }
        let modules = modules.iter().map(|(path, entry)| (Arc::clone(path), entry.identity)).collect();
        Ok((Self { made, modules }, adoptions))
    }

    /// What of the steps kept is a step of `spec` as well, and the middleware that is not among it: all of it where a module has other
    /// bytes now, or an upstream that a step may call is another one.
    fn changed<'s>(
        kept: &Kept,
        spec: &'s Spec,
        modules: &Modules,
    ) -> (OrdMap<Name, Made>, Vec<Defined<'s, Middleware>>) {
        let is_same =
            |(path, before): (&Arc<str>, &Identity)| modules.get(path).is_none_or(|now| now.identity == *before);
        if !(kept.has_upstreams_of(spec) && kept.steps.modules.iter().all(is_same)) {
            return (OrdMap::new(), spec.middleware.iter().collect());
        }
        taken_over(&kept.steps.made, &kept.spec.middleware, &spec.middleware)
    }

    /// The names under which another step is to be found in `now`.
    pub(super) fn moved<'a>(&'a self, now: &'a Self) -> impl Iterator<Item = &'a Name> {
        self.made.diff(&now.made).filter_map(|difference| match difference {
            DiffItem::Update { new: (name, _), .. } => Some(name),
            DiffItem::Add(..) | DiffItem::Remove(..) => None,
        })
    }

    /// Adds to `steps` the chains that lead to one of them.
    pub(super) fn lead_to<'a>(&'a self, steps: &mut BTreeSet<&'a Name>) {
        loop {
            let leads = |(name, made): &(&Name, &Made)| {
                let Made::Chain(inner) = made else { return false };
                !steps.contains(*name) && inner.iter().any(|step| steps.contains(step))
            };
            let chains: Vec<_> = self.made.iter().filter(leads).map(|(name, _)| name).collect();
            if chains.is_empty() {
                return;
            }
            steps.extend(chains);
        }
    }

    /// The steps that `names` stand for, chains unfolded.
    pub(super) fn of(&self, names: &[Name], origin: Origin) -> Vec<(Identity, Step)> {
        let mut steps = Vec::with_capacity(names.len());
        self.unfold(names, origin, &mut steps);
        steps
    }

    fn unfold(&self, names: &[Name], origin: Origin, steps: &mut Vec<(Identity, Step)>) {
        for name in names {
            match self.made.get(name) {
                Some(Made::One(identity, action)) => {
                    steps.push((*identity, Step { name: Arc::clone(name), action: action.clone(), origin }));
                }
                Some(Made::Chain(inner)) => self.unfold(inner, origin, steps),
                None => unreachable!("checked names exist"),
            }
        }
    }
}

impl PartialEq for Made {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One(one, _), Self::One(other, _)) => one == other,
            (Self::Chain(one), Self::Chain(other)) => one == other,
            _ => false,
        }
    }
}

async fn load(
    compiler: &Compiler,
    name: &Name,
    plugin: &Plugin,
    modules: &Modules,
    upstreams: &Upstreams,
) -> Result<wasm::Built, Vec<Diagnostic>> {
    let entry = modules.get(&plugin.module).expect("resolve found every module");
    let place = plugin.module_place.clone();
    let module = compiler.wasm.module(entry).await;
    let module = module.map_err(|error| vec![error.diagnostic(&plugin.module, place)])?;
    let grants = plugin.grants.called();
    let grants = grants.filter_map(|name| Some((Arc::clone(name), side_call(upstreams.get(name)?)))).collect();
    let series = compiler.metrics.plugin(name);
    compiler.wasm.plugin(name, plugin, module, grants, series).await
}

fn side_call(upstream: &Arc<Upstream>) -> Arc<dyn Call> {
    Arc::new(SideCall(Arc::clone(upstream)))
}

// A step is the same object as long as its name (the name of its state), its definition, its module and the upstreams
// that it calls are.
fn identify(name: &Name, part: &Part<Middleware>, modules: &Modules, upstreams: &Upstreams) -> Identity {
    let (module, called): (_, Vec<&Name>) = match &part.value {
        Middleware::Plugin(plugin) => (modules.get(&plugin.module), plugin.grants.called().collect()),
        Middleware::Mirror(mirror) => (None, vec![&mirror.upstream]),
        Middleware::ForwardAuth(auth) => (None, vec![&auth.upstream]),
        _ => (None, Vec::new()),
    };
    let called = called.into_iter().filter_map(|name| upstreams.get(name)).map(|upstream| upstream.identity());
    let own = [Identity::of_bytes(name.as_bytes()), part.identity];
    Identity::of_all(own.into_iter().chain(module.map(|entry| entry.identity)).chain(called))
}
