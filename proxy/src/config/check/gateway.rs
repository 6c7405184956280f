//! Checks the settings of the gateway.

use super::{
    balance,
    listener::{networks, socket_address},
    middleware, modules,
    scope::{Scope, Value},
    tracing, values,
};
use crate::config::{
    fields::ACCESS_FIELDS,
    node::Pos,
    raw::{self, Field},
    spec::{AccessLog, Gateway, LogFormat, LogTarget, Secret},
    suggest,
};

/// Checks one field of the `gateway` section.
pub(super) fn setting(scope: &mut Scope<'_>) -> Option<Value> {
    let raw: raw::Gateway = scope.read()?;
    let middleware = middleware::steps(scope, raw.middleware, "gateway:");
    let mut gateway = Gateway { middleware, ..Gateway::default() };
    gateway.process.workers = raw.workers.spot().and_then(|(raw::Count(count), pos)| {
        let workers = usize::try_from(count).ok().filter(|workers| (1..=WORKERS_MAX).contains(workers));
        if workers.is_none() {
            scope.error(
                "out-of-range",
                pos,
                format!("the gateway cannot run {count} workers"),
                format!("1 to {WORKERS_MAX}"),
            );
        }
        workers
    });
    admin(scope, raw.admin, &mut gateway);
    gateway.generation_age_max =
        raw.generation_age_max.value().and_then(|raw::Limit(limit)| limit).map(|raw::Period(period)| period);
    gateway.shutdown_deadline = raw.shutdown_deadline.value().map_or(gateway.shutdown_deadline, |period| period.0);
    if let Some(log) = raw.access_log.value() {
        gateway.access_log = access_log(scope, log, gateway.access_log);
    }
    gateway.tracing = tracing::tracing(scope, raw.tracing);
    if let Some(dns) = raw.dns.value() {
        gateway.dns = balance::dns(scope, dns);
    }
    gateway.process.guest_slots =
        raw.guest_slots.spot().map(|(count, pos)| values::number(scope, Field::Given(count, pos), 1, 1));
    gateway.modules = modules::modules(scope, raw.modules);
    manifests(scope, raw.manifests);
    let trusted = networks(scope, raw.trusted_proxies);
    Some(Value::Setting(Box::new(gateway), trusted))
}

// What they say is read where manifests are.
fn manifests(scope: &mut Scope<'_>, field: Field<raw::Manifests>) {
    let Some(raw) = field.value() else { return };
    if let Some((text, pos)) = raw.address.spot()
        && text.parse::<std::net::IpAddr>().is_err()
    {
        let hint = "write an IP address of this machine, or `0.0.0.0` for every one";
        scope.error("bad-address", pos, format!("`{text}` is not an IP address"), hint);
    }
    for (port, pos, to) in raw.ports.value().unwrap_or_default().0 {
        if let Some((raw::Text(text), pos)) = to.spot()
            && text.parse::<u16>().is_err()
            && text.parse::<std::net::SocketAddr>().is_err()
        {
            let hint = "write a port, or an address and a port, such as `127.0.0.1:8080`";
            scope.error("bad-port", pos, format!("`{text}` is not a port to listen on"), hint);
        }
        if port.parse::<u16>().is_err() {
            let hint = "map the port of a Gateway to the one to listen on: `{80: 8080}`";
            scope.error("bad-port", pos, format!("`{port}` is not a port"), hint);
        }
    }
}

/// More threads than any machine has cores.
const WORKERS_MAX: usize = 1024;

fn admin(scope: &mut Scope<'_>, field: Field<raw::Admin>, gateway: &mut Gateway) {
    let Some(raw) = field.value() else { return };
    let process = &mut gateway.process;
    process.admin_socket = raw.socket.value();
    process.admin_trust_loopback = raw.trust_loopback.value();
    process.admin_token = raw.token.spot().and_then(|(text, pos)| {
        let token = scope.reveal(&text, pos);
        if token.is_empty() && scope.outcome.secrets.is_empty() {
            scope.error("bad-token", pos, "the admin token is empty", "write `${env:NAME}` or `${file:PATH}`");
            return None;
        }
        Some(Secret(token))
    });
    if let Some((text, pos)) = raw.address.spot() {
        process.admin = socket_address(scope, &text, pos);
        if process.admin.is_some_and(|address| !address.ip().is_loopback()) && process.admin_token.is_none() {
            scope.error(
                "admin-exposed",
                pos,
                format!("the admin address `{text}` is not loopback and there is no token"),
                "give it a `token: ${env:NAME}`, or listen on 127.0.0.1",
            );
        }
    }
}

fn access_log(scope: &mut Scope<'_>, raw: raw::AccessLog, default: AccessLog) -> AccessLog {
    let to = match raw.to.value().as_deref() {
        None | Some("stdout") => Some(LogTarget::Stdout),
        Some("off") => None,
        Some(path) => Some(LogTarget::File(path.into())),
    };
    let format = match raw.format.spot() {
        None => LogFormat::Json,
        Some((raw::FormatForm::Text(text), _)) if text == "json" => LogFormat::Json,
        Some((raw::FormatForm::Text(text), pos)) => {
            template(scope, &text, pos);
            LogFormat::Text(text)
        }
        Some((raw::FormatForm::List(names), _)) => {
            let names = names.into_iter().filter_map(Field::spot);
            LogFormat::JsonFields(
                names.inspect(|(name, pos)| log_field(scope, name, *pos)).map(|(name, _)| name).collect(),
            )
        }
    };
    AccessLog { to, format, queue_lines_max: values::number(scope, raw.queue_lines_max, 1, default.queue_lines_max) }
}

fn template(scope: &mut Scope<'_>, text: &str, pos: Pos) {
    if text.contains(['\n', '\r']) {
        scope.error("bad-template", pos, "an access-log template is one line", "a line end is added to each line");
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(after) = after.strip_prefix('%') {
            rest = after;
            continue;
        }
        let Some((name, after)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) else {
            let message = "a `%` of this template begins no `%{field}`";
            scope.error("bad-template", pos, message, "write `%{status}` for a field, `%%` for a plain `%`");
            return;
        };
        log_field(scope, name, pos);
        rest = after;
    }
}

fn log_field(scope: &mut Scope<'_>, name: &str, pos: Pos) {
    let known = || ACCESS_FIELDS.iter().map(|(name, _)| *name);
    if known().any(|known| known == name) {
        return;
    }
    let hint = match suggest::nearest(name, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the fields are {}", suggest::listed(known())),
    };
    scope.error("unknown-log-field", pos, format!("the access log has no field `{name}`"), hint);
}
