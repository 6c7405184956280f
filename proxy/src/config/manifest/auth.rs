//! `ExternalAuth`: a backend that decides who may pass, as the native form's forward authentication.

use super::{
    backends::{Backend, Backends, Reference},
    filters::{step_of, texts},
    inventory::{Named, text},
    raw,
    write::{self, Map},
};
use crate::config::{
    node::{Node, Pos, Value},
    raw::Field,
};

/// The step that a filter is.
pub(super) fn step<S>(
    route: &Named<S>,
    (raw, pos): (raw::ExternalAuth, Pos),
    backends: &mut Backends<'_>,
) -> Result<Node, String> {
    let (reference, at) = raw.backend_ref.spot().ok_or("an `ExternalAuth` names no `backendRef`")?;
    let protocol = raw.protocol.value().unwrap_or_else(|| "HTTP".into());
    if !matches!(&*protocol, "HTTP" | "GRPC") {
        return Err(format!("`{protocol}` is no protocol of `ExternalAuth`"));
    }
    let mut to = Reference::of_object(&reference, at);
    to.grpc = protocol == "GRPC";
    let upstream = match backends.resolve(route, &to, None) {
        Backend::Upstream(name) => name,
        Backend::Fails(_, why) => return Err(format!("nobody can be asked who may pass: {why}")),
    };
    let mut map = Map::at(pos).with("upstream", write::text(&upstream, at));
    if let Some((size, at)) = raw.forward_body.value().and_then(|body| body.max_size.spot()) {
        map.put("body-bytes-max", write::number(size.into(), at));
    }
    if to.grpc {
        map.put("grpc", write::boolean(true, pos));
        let named = raw.grpc.value().and_then(|grpc| named(grpc.allowed_headers));
        map.maybe("request-headers", named);
        return Ok(step_of("forward-auth", map.node()));
    }
    let http = raw.http.value().unwrap_or_default();
    let prefix = http.path.spot().unwrap_or_else(|| ("/".into(), pos));
    map.put("path-prefix", write::text(&prefix.0, prefix.1));
    // Beside those that always go.
    let own = named(http.allowed_headers).unwrap_or_else(|| write::list(Vec::new(), pos));
    map.put("request-headers", with(own, "authorization"));
    let carried = named(http.allowed_response_headers).unwrap_or_else(|| write::text("*", pos));
    map.put("upstream-headers", carried);
    Ok(step_of("forward-auth", map.node()))
}

// An empty list is none.
fn named(list: raw::List<String>) -> Option<Node> {
    let empty = matches!(&list, Field::Given(list, _) if list.is_empty());
    if empty {
        return None;
    }
    // What always goes, or is the gateway's own to say.
    let fixed = ["host", "method", "path", "content-length", "connection", "te", "transfer-encoding", "upgrade"];
    let mut named = texts(list)?;
    if let Value::List(items) = &mut named.value {
        items.retain(|item| text(item).is_some_and(|name| !fixed.contains(&&*name.to_ascii_lowercase())));
    }
    Some(named)
}

fn with(mut list: Node, name: &str) -> Node {
    if let Value::List(items) = &mut list.value {
        items.push(write::text(name, list.pos));
    }
    list
}
