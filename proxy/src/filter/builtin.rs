//! From a specification to a step: the one list of what is built in, and the one file of this room that names the
//! configuration as a whole.

use std::sync::Arc;

use super::{
    Action, basic_auth::BasicAuth, cache::Cache, compress::Compress, concurrency::Concurrency, cors::Cors,
    decompress::Decompress, forward_auth::ForwardAuth, grpc_web::GrpcWeb, headers::Headers, ip_access::IpAccess,
    maintenance::Maintenance, mirror::Mirror, redirect::Redirect, request_id::RequestId, respond::Respond,
    rewrite::Rewrite,
};
use crate::{config::spec::Middleware, exchange::Call, state::States, telemetry::Metrics};

/// The step called `name` that `spec` describes; `call` finds upstreams by name. `None` for plugins and chains, which are not built
/// in, and where `call` does not know the upstream.
pub fn builtin(
    name: &str,
    spec: &Middleware,
    call: &dyn Fn(&str) -> Option<Arc<dyn Call>>,
    (states, metrics): (&States, &Metrics),
) -> Option<Action> {
    Some(match spec {
        Middleware::Headers { request, response } => Action::Edit(Arc::new(Headers::new(request, response))),
        Middleware::Redirect(redirect) => Action::Edit(Arc::new(Redirect::new(redirect))),
        Middleware::Rewrite(rewrite) => Action::Edit(Arc::new(Rewrite::new(rewrite))),
        Middleware::Respond(respond) => Action::Edit(Arc::new(Respond::new(respond))),
        Middleware::Mirror(mirror) => {
            let to = call(&mirror.upstream)?;
            Action::Edit(Arc::new(Mirror::new(mirror, to, metrics.mirror(name))))
        }
        Middleware::Cors(cors) => Action::Around(Arc::new(Cors::new(cors))),
        Middleware::IpAccess(access) => Action::Edit(Arc::new(IpAccess::new(access))),
        Middleware::RequestId(id) => Action::Edit(Arc::new(RequestId::new(id))),
        Middleware::BasicAuth(auth) => Action::Around(Arc::new(BasicAuth::new(auth, &states.offload))),
        Middleware::ForwardAuth(auth) => Action::Around(Arc::new(ForwardAuth::new(auth, call(&auth.upstream)?))),
        Middleware::Maintenance(maintenance) => Action::Edit(Arc::new(Maintenance::new(maintenance))),
        Middleware::Compress(compress) => Action::Around(Arc::new(Compress::new(compress))),
        Middleware::Decompress(decompress) => Action::Edit(Arc::new(Decompress::new(decompress))),
        Middleware::Concurrency(limit) => {
            let slots = states.slots.find_or_make(&name.into(), Default::default);
            Action::Around(Arc::new(Concurrency::new(limit, slots, metrics.gate(name))))
        }
        Middleware::Cache(cache) => {
            let kept = states.caches.find_or_make(&name.into(), Cache::state);
            Action::Around(Arc::new(Cache::new(cache, kept, metrics.cache(name))))
        }
        Middleware::GrpcWeb => Action::Around(Arc::new(GrpcWeb)),
        Middleware::Plugin(_) | Middleware::Chain(_) => return None,
    })
}
