//! From a specification to a step: the one list of what is built in, and the one file of this room that names the
//! configuration as a whole.

use std::sync::Arc;

use super::{Action, headers::Headers, mirror::Mirror, redirect::Redirect, respond::Respond, rewrite::Rewrite};
use crate::{config::spec::Middleware, exchange::Call, telemetry::Metrics};

/// The step called `name` that `spec` describes; `call` finds upstreams by name. `None` for plugins and chains, which are not built
/// in, and where `call` does not know the upstream.
pub fn builtin(
    name: &str,
    spec: &Middleware,
    call: &dyn Fn(&str) -> Option<Arc<dyn Call>>,
    metrics: &Metrics,
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
        Middleware::Plugin(_) | Middleware::Chain(_) => return None,
    })
}
