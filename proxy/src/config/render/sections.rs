//! Renders the gateway's settings, listeners and upstreams.

use super::{
    Fields, Out, Renderer, Written, admission, balance, http3, limit, middleware, period, proxied, retry, route, table,
    texts, tls,
};
use crate::config::{
    document::Kind,
    spec::{
        Dns, Gateway, Limits, Listener, LogFormat, LogTarget, ModuleSources, PathPolicy, Protocol, Spec, Treatment,
        Upstream,
    },
};

/// The whole document.
pub(super) fn document<'a>(renderer: &Renderer<'a>, spec: &Spec) -> Out {
    let listeners = spec.listeners.iter().map(|(name, part)| {
        let written = renderer.written(Kind::Listener, name);
        renderer.named(Kind::Listener, name, listener(renderer, spec, written, part))
    });
    // Those that targets name in place are shown there.
    let named = spec.upstreams.iter().filter(|(name, _)| !name.contains(':'));
    let upstreams = named.map(|(name, part)| {
        let written = renderer.written(Kind::Upstream, name);
        renderer.named(Kind::Upstream, name, upstream(written, part))
    });
    let named = spec.middleware.iter().filter(|(name, _)| !middleware::is_inline(name));
    let steps = named.map(|(name, part)| {
        let written = renderer.written(Kind::Middleware, name);
        renderer.named(Kind::Middleware, name, middleware::definition(spec, written, part))
    });
    let tables = spec.tables.iter().map(|(name, part)| {
        let written = renderer.written(Kind::Table, name);
        renderer.named(Kind::Table, name, table::table(written, part))
    });
    let routes = spec.routes.iter().filter(|part| part.table.is_none()).map(|part| {
        let written = renderer.written(Kind::Route, &part.id);
        renderer.named(Kind::Route, &part.id, route::route(spec, written, part))
    });
    let sections = [
        ("gateway", gateway(renderer, spec)),
        ("listeners", Out::Map(listeners.collect())),
        ("upstreams", Out::Map(upstreams.collect())),
        ("middleware", Out::Map(steps.collect())),
        ("tables", Out::Map(tables.collect())),
        ("routes", Out::Map(routes.collect())),
    ];
    let filled = sections.into_iter().filter(|(_, out)| !matches!(out, Out::Map(entries) if entries.is_empty()));
    Out::Map(filled.map(|(name, out)| (name.to_owned(), out, None)).collect())
}

fn gateway(renderer: &Renderer<'_>, spec: &Spec) -> Out {
    let Gateway {
        middleware: steps,
        generation_age_max,
        shutdown_deadline,
        access_log,
        tracing,
        dns,
        modules,
        process,
    } = &spec.gateway;
    let mut entries = Vec::new();
    // Each setting is an object of its own, and may come from a file of its own.
    let mut put = |name: &str, out: &dyn Fn(Written<'_>) -> Option<Out>| {
        let written = renderer.written(Kind::Setting, name).field(&[name]);
        if let Some(out) = out(written) {
            let remark = written.remark().filter(|_| !matches!(&out, Out::Map(entries) if !entries.is_empty()));
            entries.push((name.to_owned(), out, remark));
        }
    };
    put("middleware", &|written| (!steps.is_empty()).then(|| middleware::steps(spec, written, steps)));
    put("workers", &|_| process.workers.map(Out::plain));
    put("admin", &|written| {
        let mut fields = Fields::of(written);
        fields.maybe("address", process.admin.map(|address| Out::text(&address.to_string())));
        fields.maybe("socket", process.admin_socket.as_deref().map(Out::text));
        let token = process.admin_token.as_ref().map(|_| fields.written("token").text("***"));
        fields.maybe("token", token);
        fields.maybe("trust-loopback", process.admin_trust_loopback.map(Out::plain));
        (!fields.entries.is_empty()).then(|| fields.done())
    });
    put("generation-age-max", &|_| Some(limit(generation_age_max.map(period))));
    put("shutdown-deadline", &|_| Some(period(*shutdown_deadline)));
    put("access-log", &|written| {
        let mut fields = Fields::of(written);
        fields.put(
            "to",
            match &access_log.to {
                None => Out::text("off"),
                Some(LogTarget::Stdout) => Out::text("stdout"),
                Some(LogTarget::File(path)) => Out::text(path),
            },
        );
        fields.put(
            "format",
            match &access_log.format {
                LogFormat::Json => Out::text("json"),
                LogFormat::JsonFields(names) => texts(names),
                LogFormat::Text(template) => Out::text(template),
            },
        );
        fields.put("queue-lines-max", Out::plain(access_log.queue_lines_max));
        Some(fields.done())
    });
    put("tracing", &|written| tracing.as_ref().map(|tracing| super::tracing::tracing(written, tracing).done()));
    put("dns", &|written| (*dns != Dns::default()).then(|| balance::dns(written, dns).done()));
    put("modules", &|written| {
        (*modules != ModuleSources::default()).then(|| super::modules::modules(written, modules).done())
    });
    put("guest-slots", &|_| process.guest_slots.map(Out::plain));
    Out::Map(entries)
}

fn listener<'a>(renderer: &Renderer<'a>, spec: &Spec, written: Written<'a>, listener: &Listener) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("address", Out::text(&listener.address.to_string()));
    fields.maybe("public-port", listener.public_port.map(Out::plain));
    if !listener.sections.is_empty() {
        let own = fields.written("sections");
        let each = listener.sections.iter().map(|(name, section)| {
            let name = name.rsplit_once('/').map_or(&**name, |(_, name)| name);
            let mut inner = Fields::of(own.field(&[name]));
            inner.maybe("host", section.host.as_ref().map(|host| Out::text(&host.to_string())));
            if !section.middleware.is_empty() {
                let written = inner.written("middleware");
                inner.put("middleware", middleware::steps(spec, written, &section.middleware));
            }
            (name.to_owned(), inner.done(), None)
        });
        let each = each.collect();
        fields.put("sections", Out::Map(each));
    }
    if let Some(tls) = &listener.tls {
        let tls = tls::listener(fields.written("tls"), tls);
        fields.map("tls", tls);
    }
    if let Some(http3) = &listener.http3 {
        let http3 = http3::http3(fields.written("http3"), http3);
        fields.map("http3", http3);
    }
    if let Some(policy) = &listener.proxy_protocol {
        let policy = proxied::proxy_protocol(fields.written("proxy-protocol"), policy);
        fields.map("proxy-protocol", policy);
    }
    let steps = middleware::steps(spec, written.field(&["middleware"]), &listener.middleware);
    fields.put("middleware", steps);
    fields.put("trusted-proxies", texts(&listener.trusted_proxies));
    let own = fields.written("trusted-proxies").node.is_some();
    if let (false, false, Some((.., remark))) = (own, listener.trusted_proxies.is_empty(), fields.entries.last_mut()) {
        *remark = renderer.written(Kind::Setting, "trusted-proxies").field(&["trusted-proxies"]).remark();
    }
    fields.put("generation-header", Out::plain(listener.generation_header));
    let path = path_policy(fields.written("path"), &listener.path);
    fields.map("path", path);
    let limits = limits(fields.written("limits"), &listener.limits);
    fields.map("limits", limits);
    fields
}

fn path_policy<'a>(written: Written<'a>, policy: &PathPolicy) -> Fields<'a> {
    let treatment = |treatment| {
        Out::text(match treatment {
            Treatment::Normalize => "normalize",
            Treatment::Reject => "reject",
            Treatment::Keep => "keep",
        })
    };
    let mut fields = Fields::of(written);
    fields.put("dot-segments", treatment(policy.dot_segments));
    fields.put("empty-segments", treatment(policy.empty_segments));
    fields.put("encoded-slashes", treatment(policy.encoded_slashes));
    fields.put("encoded-controls", treatment(policy.encoded_controls));
    fields
}

fn limits<'a>(written: Written<'a>, limits: &Limits) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("connections-max", Out::plain(limits.connections_max));
    fields.put("head-bytes-max", Out::plain(limits.head_bytes_max));
    fields.put("headers-max", Out::plain(limits.headers_max));
    fields.put("uri-bytes-max", Out::plain(limits.uri_bytes_max));
    fields.put("body-bytes-max", limit(limits.body_bytes_max.map(Out::plain)));
    fields.put("head-timeout", period(limits.head_timeout));
    fields.put("body-idle-timeout", period(limits.body_idle_timeout));
    fields.put("write-idle-timeout", period(limits.write_idle_timeout));
    fields.put("keep-alive-timeout", period(limits.keep_alive_timeout));
    fields.put("requests-per-connection-max", limit(limits.requests_per_connection_max.map(Out::plain)));
    fields.put("tunnel-idle-timeout", period(limits.tunnel_idle_timeout));
    fields.put("streams-max", Out::plain(limits.streams_max));
    fields.put("resets-max", Out::plain(limits.resets_max));
    fields.put("control-frames-max", Out::plain(limits.control_frames_max));
    fields
}

fn upstream<'a>(written: Written<'a>, upstream: &Upstream) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("endpoints", Out::List(upstream.endpoints.iter().map(balance::endpoint).collect()));
    if let Some(tls) = &upstream.tls {
        let tls = tls::upstream(fields.written("tls"), tls);
        fields.map("tls", tls);
    }
    protocol(&mut fields, upstream);
    fields.maybe("proxy-protocol", upstream.proxy_protocol.map(proxied::version));
    fields.put("balance", balance::balance(&upstream.balance));
    fields.put("panic-threshold", balance::panic(upstream.panic));
    fields.maybe("slow-start", upstream.slow_start.map(period));
    fields.put("zone-overflow-below", balance::share(upstream.zone_overflow_percent));
    let ejection = upstream.ejection.as_ref().map(|own| balance::ejection(fields.written("ejection"), own));
    let affinity = upstream.affinity.as_ref().map(|own| balance::affinity(fields.written("affinity"), own));
    let dns = upstream.dns.as_ref().map(|own| balance::dns(fields.written("dns"), own));
    let check = upstream.health_check.as_ref();
    let check = check.map(|own| balance::health_check(fields.written("health-check"), own));
    let parts = [("ejection", ejection), ("affinity", affinity), ("dns", dns), ("health-check", check)];
    for (name, part) in parts {
        part.into_iter().for_each(|part| fields.map(name, part));
    }
    fields.put("connect-timeout", period(upstream.connect_timeout));
    fields.put("response-timeout", period(upstream.response_timeout));
    fields.put("idle-timeout", period(upstream.idle_timeout));
    fields.put("try-timeout", limit(upstream.try_timeout.map(period)));
    retry::both(&mut fields, upstream.retry.as_ref(), upstream.hedge.as_ref());
    fields.put("pool-idle-timeout", period(upstream.pool_idle_timeout));
    fields.put("pool-idle-max", Out::plain(upstream.pool_idle_max));
    fields.put("connections-max", Out::plain(upstream.connections_max));
    admission::admission(&mut fields, upstream);
    fields.put("response-head-bytes-max", Out::plain(upstream.response_head_bytes_max));
    fields.put("preserve-host", Out::plain(upstream.preserve_host));
    fields
}

fn protocol(fields: &mut Fields<'_>, upstream: &Upstream) {
    let name = match upstream.protocol {
        Protocol::Auto => "auto",
        Protocol::Http1 => "http1",
        Protocol::H2 => "h2",
        Protocol::H2c => "h2c",
    };
    fields.put("protocol", Out::text(name));
    let mut inner = Fields::of(fields.written("http2"));
    inner.put("streams-max", Out::plain(upstream.http2.streams_max));
    inner.put("ping-after", period(upstream.http2.ping_after));
    inner.put("ping-timeout", period(upstream.http2.ping_timeout));
    fields.map("http2", inner);
}
