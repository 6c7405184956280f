//! Renders middleware, named and inline.

use http::{HeaderName, HeaderValue};

use super::{Fields, Out, Written, builtin, limit, modules, period, texts};
use crate::config::{
    node::{Node, Value},
    spec::{
        FailurePolicy, HeaderEdits, Isolation, Middleware, Name, PathEdit, Plugin, PluginLimits, ProxyWasm, Redirect,
        Rewrite, Spec,
    },
};

/// Whether a name is one that an inline definition is given.
pub(super) fn is_inline(name: &str) -> bool {
    name.contains(['/', ':'])
}

/// A list of steps: names, and inline what was written inline.
pub(super) fn steps(spec: &Spec, written: Written<'_>, names: &[Name]) -> Out {
    let step = |(index, name): (usize, &Name)| match spec.middleware.get(name).filter(|_| is_inline(name)) {
        Some(part) => definition(spec, written.item(index), part).done(),
        None => Out::text(name),
    };
    Out::List(names.iter().enumerate().map(step).collect())
}

/// The fields of a definition.
pub(super) fn definition<'a>(spec: &Spec, written: Written<'a>, middleware: &Middleware) -> Fields<'a> {
    let mut fields = Fields::of(written);
    match middleware {
        Middleware::Plugin(plugin) => self::plugin(&mut fields, plugin),
        Middleware::Headers { request, response } => {
            let mut inner = Fields::of(fields.written("headers"));
            inner.put("request", edits(inner.written("request"), request));
            inner.put("response", edits(inner.written("response"), response));
            fields.put("headers", inner.done());
        }
        Middleware::Redirect(redirect) => {
            let inner = self::redirect(fields.written("redirect"), redirect);
            fields.map("redirect", inner);
        }
        Middleware::Rewrite(Rewrite { host, path }) => {
            let mut inner = Fields::of(fields.written("rewrite"));
            inner.maybe("host", host.as_deref().map(Out::text));
            inner.maybe("path", path.as_ref().map(path_edit));
            fields.map("rewrite", inner);
        }
        Middleware::Respond(respond) => {
            let mut inner = Fields::of(fields.written("respond"));
            inner.put("status", Out::plain(respond.status.as_u16()));
            inner.put("headers", self::fields(inner.written("headers"), &respond.headers));
            inner.put("body", inner.written("body").text(&respond.body));
            fields.map("respond", inner);
        }
        Middleware::Mirror(mirror) => {
            let mut inner = Fields::of(fields.written("mirror"));
            inner.put("upstream", Out::text(&mirror.upstream));
            inner.put("percent", Out::plain(mirror.percent));
            inner.put("body-bytes-max", Out::plain(mirror.body_bytes_max));
            fields.map("mirror", inner);
        }
        Middleware::Cors(cors) => built_in(&mut fields, "cors", |inner| builtin::cors(inner, cors)),
        Middleware::IpAccess(access) => built_in(&mut fields, "ip-access", |inner| builtin::ip_access(inner, access)),
        Middleware::RequestId(id) => built_in(&mut fields, "request-id", |inner| builtin::request_id(inner, id)),
        Middleware::BasicAuth(auth) => built_in(&mut fields, "basic-auth", |inner| builtin::basic_auth(inner, auth)),
        Middleware::ForwardAuth(auth) => {
            built_in(&mut fields, "forward-auth", |inner| builtin::forward_auth(inner, auth));
        }
        Middleware::Maintenance(page) => {
            built_in(&mut fields, "maintenance", |inner| builtin::maintenance(inner, page))
        }
        Middleware::Compress(compress) => built_in(&mut fields, "compress", |inner| builtin::compress(inner, compress)),
        Middleware::Decompress(decompress) => {
            built_in(&mut fields, "decompress", |inner| builtin::decompress(inner, decompress));
        }
        Middleware::Concurrency(limit) => {
            built_in(&mut fields, "concurrency", |inner| builtin::concurrency(inner, limit))
        }
        Middleware::Cache(cache) => built_in(&mut fields, "cache", |inner| builtin::cache(inner, cache)),
        Middleware::GrpcWeb => built_in(&mut fields, "grpc-web", |_| {}),
        Middleware::Chain(names) => fields.put("chain", steps(spec, written.field(&["chain"]), names)),
    }
    fields
}

fn built_in(fields: &mut Fields<'_>, name: &str, fill: impl FnOnce(&mut Fields<'_>)) {
    let mut inner = Fields::of(fields.written(name));
    fill(&mut inner);
    fields.put(name, inner.done());
}

fn plugin(fields: &mut Fields<'_>, plugin: &Plugin) {
    let module = modules::module(fields.written("module"), &plugin.module, &plugin.module_terms);
    fields.put("module", module);
    if !plugin.config.is_null() {
        // As it was written, so that secrets stay names.
        let config = fields.written("config").node.map_or_else(|| Out::text("***"), any);
        fields.put("config", config);
    }
    let mut grants = Fields::of(fields.written("grants"));
    grants.put("upstreams", texts(&plugin.grants.upstreams));
    grants.put("hosts", texts(&plugin.grants.hosts));
    fields.map("grants", grants);
    let limits = limits(fields.written("limits"), &plugin.limits);
    fields.map("limits", limits);
    fields.put(
        "on-failure",
        Out::text(match plugin.on_failure {
            FailurePolicy::Closed if plugin.fall_back => "previous",
            FailurePolicy::Closed => "closed",
            FailurePolicy::Open => "open",
        }),
    );
    fields.put(
        "isolation",
        Out::text(match plugin.isolation {
            Isolation::Reused => "reused",
            Isolation::PerRequest => "per-request",
        }),
    );
    if !plugin.environment.is_empty() {
        // As it was written, so that secrets stay names.
        fields.put("environment", fields.written("environment").node.map_or_else(|| Out::text("***"), any));
    }
    if plugin.proxy_wasm != ProxyWasm::default() {
        let inner = proxy_wasm(fields.written("proxy-wasm"), &plugin.proxy_wasm);
        fields.map("proxy-wasm", inner);
    }
}

fn proxy_wasm<'a>(written: Written<'a>, settings: &ProxyWasm) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("root-id", fields.written("root-id").text(&settings.root_id));
    if let Some(vm_id) = &settings.vm_id {
        fields.put("vm-id", fields.written("vm-id").text(vm_id));
    }
    if !settings.vm_config.is_null() {
        // As it was written, so that secrets stay names.
        fields.put("vm-config", fields.written("vm-config").node.map_or_else(|| Out::text("***"), any));
    }
    if !settings.environment.is_empty() {
        fields.put("environment", fields.written("environment").node.map_or_else(|| Out::text("***"), any));
    }
    if !settings.clusters.is_empty() {
        fields.put("clusters", fields.written("clusters").node.map_or_else(|| Out::text("***"), any));
    }
    if settings.allow_on_headers_stop_iteration {
        fields.put("allow-on-headers-stop-iteration", Out::plain(true));
    }
    if settings.keep_route {
        fields.put("keep-route", Out::plain(true));
    }
    fields
}

fn limits<'a>(written: Written<'a>, limits: &PluginLimits) -> Fields<'a> {
    let mut fields = Fields::of(written);
    if let Some(bytes_max) = limits.memory_bytes_max {
        fields.put("memory-bytes-max", Out::plain(bytes_max));
    }
    fields.put("call-timeout", period(limits.call_timeout));
    fields.put("exchange-timeout", period(limits.exchange_timeout));
    fields.put("guests-max", Out::plain(limits.guests_max));
    fields.put("buffer-bytes-max", Out::plain(limits.buffer_bytes_max));
    fields.put("state-bytes-max", Out::plain(limits.state_bytes_max));
    fields.put("kv-bytes-max", Out::plain(limits.kv_bytes_max));
    fields.put("log-bytes-max", Out::plain(limits.log_bytes_max));
    fields.put("calls-max", Out::plain(limits.calls_max));
    fields.put("call-bytes-max", Out::plain(limits.call_bytes_max));
    fields.put("failures-max", Out::plain(limits.failures_max));
    fields.put("cool-down", period(limits.cool_down));
    fields.put("guest-calls-max", limit(limits.guest_calls_max.map(Out::plain)));
    fields.put("guest-bytes-max", limit(limits.guest_bytes_max.map(Out::plain)));
    fields
}

/// A value as it was written.
pub(super) fn any(node: &Node) -> Out {
    match &node.value {
        Value::Null => Out::plain("null"),
        Value::Bool(value, _) => Out::plain(value),
        Value::Number(number, _) => Out::plain(number),
        Value::Text(text) => Out::text(text),
        Value::List(items) => Out::List(items.iter().map(any).collect()),
        Value::Map(entries) => {
            Out::Map(entries.iter().map(|(key, node)| (key.text.to_string(), any(node), None)).collect())
        }
    }
}

fn edits(written: Written<'_>, edits: &HeaderEdits) -> Out {
    let mut out = Fields::of(written);
    if !edits.remove.is_empty() {
        out.put("remove", texts(&edits.remove));
    }
    if !edits.set.is_empty() {
        out.put("set", fields(out.written("set"), &edits.set));
    }
    if !edits.add.is_empty() {
        out.put("add", fields(out.written("add"), &edits.add));
    }
    out.done()
}

/// Header fields by name, several values of one name as a list.
fn fields(written: Written<'_>, fields: &[(HeaderName, HeaderValue)]) -> Out {
    let mut out: Vec<(String, Vec<Out>)> = Vec::new();
    for (name, value) in fields {
        let text = String::from_utf8_lossy(value.as_bytes());
        let known = out.iter().position(|(known, _)| known == name.as_str());
        let index = known.map_or(0, |position| out[position].1.len());
        let value = written.field(&[name.as_str()]).item(index).text(&text);
        match known {
            Some(position) => out[position].1.push(value),
            None => out.push((name.to_string(), vec![value])),
        }
    }
    let remark = |name: &str| written.field(&[name]).remark();
    let one = |(name, mut values): (String, Vec<Out>)| {
        let remark = remark(&name);
        let value = if values.len() == 1 { values.remove(0) } else { Out::List(values) };
        (name, value, remark)
    };
    Out::Map(out.into_iter().map(one).collect())
}

fn redirect<'a>(written: Written<'a>, redirect: &Redirect) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.maybe("scheme", redirect.scheme.as_deref().map(Out::text));
    fields.maybe("host", redirect.host.as_deref().map(Out::text));
    fields.maybe("port", redirect.port.map(Out::plain));
    fields.maybe("path", redirect.path.as_ref().map(path_edit));
    fields.put("status", Out::plain(redirect.status.as_u16()));
    fields
}

fn path_edit(edit: &PathEdit) -> Out {
    let (name, path) = match edit {
        PathEdit::Full(path) => ("full", path),
        PathEdit::Prefix(path) => ("prefix", path),
    };
    Out::Map(vec![(name.into(), Out::text(path), None)])
}
