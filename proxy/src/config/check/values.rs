//! Values that several kinds of objects hold: hosts, addresses, header fields, patterns. Each function reports what is
//! wrong and yields `None`. Knows no object in particular.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue};
use regex::RegexBuilder;

use super::scope::Scope;
use crate::config::{
    node::Pos,
    raw,
    spec::{HostPattern, REGEX_BYTES_MAX},
};

/// A host without port: lower-cased, a DNS name or an IP address.
pub(super) fn host(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<String> {
    let host = text.to_ascii_lowercase();
    match host_problem(&host) {
        None => Some(host),
        Some((why, hint)) => {
            scope.error("bad-host", pos, format!("`{text}` is not a host name: {why}"), hint);
            None
        }
    }
}

/// A host, or `*.` and one.
pub(super) fn host_pattern(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<HostPattern> {
    match text.strip_prefix("*.") {
        Some(suffix) => host(scope, suffix, pos).map(HostPattern::Wildcard),
        None => host(scope, text, pos).map(HostPattern::Exact),
    }
}

fn host_problem(host: &str) -> Option<(&'static str, &'static str)> {
    let plain = "a host looks like `api.example.com`";
    if host.starts_with('[') {
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let valid = address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        return (!valid).then_some(("it is not an IPv6 address in brackets", "write it as `[2001:db8::1]`"));
    }
    if host.contains("://") {
        return Some(("it has a scheme", "write the host alone, such as `api.example.com`"));
    }
    if host.contains('/') {
        return Some(("it has a path", "write the path into `path`"));
    }
    if host.contains(':') {
        return Some(("it has a port", "write the host alone, without `:PORT`"));
    }
    if !host.is_ascii() {
        return Some(("it is not ASCII", "write international names in their `xn--` form"));
    }
    if host.is_empty() || host.len() > 253 {
        return Some(("it must have 1 to 253 characters", plain));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    (!host.split('.').all(label)).then_some((
        "its labels must be made of 1 to 63 letters, digits and `-`",
        "a host looks like `api.example.com`, or `*.example.com` in a route",
    ))
}

/// `HOST:PORT` of a target, and whether it is spoken to over TLS: `https://` may stand before it, which has a port of its
/// own.
pub(super) fn target(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<(String, bool)> {
    let Some(rest) = text.strip_prefix("https://") else { return Some((address(scope, text, pos)?, false)) };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let whole = if has_port || rest.contains('/') { rest.to_owned() } else { format!("{rest}:443") };
    Some((address(scope, &whole, pos)?, true))
}

/// `HOST:PORT`. `http://` may stand before it.
pub(super) fn address(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<String> {
    let hint = "write it as `HOST:PORT`, such as `10.0.1.20:8080`";
    if let Some(rest) = text.strip_prefix("https://") {
        let hint = format!("write `{}` here, and `tls: {{}}` beside `endpoints`", address_of(rest));
        scope.error("bad-address", pos, "an endpoint is an address and no URL", hint);
        return None;
    }
    let plain = text.strip_prefix("http://").map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
    if plain.contains('/') {
        let message = format!("the address `{text}` has a path");
        scope.error("bad-address", pos, message, "an endpoint is `HOST:PORT`; change the path with a `rewrite` step");
        return None;
    }
    let Some((name, port)) = plain.rsplit_once(':').filter(|(name, _)| !name.is_empty() && !name.ends_with(':')) else {
        scope.error("bad-address", pos, format!("the address `{text}` has no port"), hint);
        return None;
    };
    if !port.parse::<u16>().is_ok_and(|number| number > 0 && port.bytes().all(|byte| byte.is_ascii_digit())) {
        scope.error("bad-port", pos, format!("`{port}` is not a port, which is 1 to 65535"), hint);
        return None;
    }
    let name = if name.contains(':') && name.parse::<IpAddr>().is_ok() { format!("[{name}]") } else { name.into() };
    let name = name.to_ascii_lowercase();
    if let Some((why, hint)) = host_problem(&name) {
        scope.error("bad-address", pos, format!("the host of `{text}` is not valid: {why}"), hint);
        return None;
    }
    Some(format!("{name}:{port}"))
}

// `HOST:PORT` of what follows `https://`.
fn address_of(rest: &str) -> String {
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    if has_port { host.to_owned() } else { format!("{host}:443") }
}

/// A regular expression that compiles within the limit.
pub(super) fn regex(scope: &mut Scope<'_>, pattern: &str, pos: Pos) -> Option<String> {
    match RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(REGEX_BYTES_MAX).build() {
        Ok(_) => return Some(pattern.into()),
        Err(regex::Error::CompiledTooBig(_)) => scope.error(
            "regex-too-large",
            pos,
            format!("this regular expression compiles to more than {REGEX_BYTES_MAX} bytes"),
            "use smaller repetitions, or divide it into several matches",
        ),
        Err(error) => scope.error(
            "bad-regex",
            pos,
            format!("this is not a regular expression: {}", condensed(&error)),
            "the syntax is that of the regex crate: no look-around, no back-references",
        ),
    }
    None
}

/// The last line of the regex crate's picture is its reason.
fn condensed(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").into()
}

/// The name of a header field.
pub(super) fn header_name(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes());
    if name.is_err() {
        let message = format!("`{text}` is not the name of a header field");
        scope.error("bad-header", pos, message, "names are made of letters, digits and `-`");
    }
    name.ok()
}

/// The value of a header field, secrets replaced.
pub(super) fn header_value(scope: &mut Scope<'_>, text: &raw::Text, pos: Pos) -> Option<HeaderValue> {
    let revealed = scope.reveal(&text.0, pos);
    let value = HeaderValue::from_str(revealed.trim_matches([' ', '\t']));
    if value.is_err() {
        scope.error(
            "bad-header",
            pos,
            "this value cannot stand in a header field",
            "it may hold no line ends and no other control characters",
        );
    }
    value.ok()
}

/// A path that requests can have: absolute, without query, in the normal form that the server brings requests into.
pub(super) fn path(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<String> {
    let normal = normal_path(text);
    let shape = normal.as_deref().unwrap_or(text);
    let problem = if !text.starts_with('/') {
        Some(("does not start with `/`", format!("write `/{text}`")))
    } else if text.contains(['?', '#']) {
        Some(("has a query or fragment", "conditions on the query go into `query`".into()))
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Some(("has white space or control characters", "percent-encode them, such as `%20`".into()))
    } else if normal.is_none() {
        Some(("has a `%` that two hexadecimal digits do not follow", "write `%25` for the character itself".into()))
    } else if shape.split('/').any(|segment| segment == "." || segment == "..") {
        Some((
            "has a `.` or `..` segment",
            "request paths are normalised, so it would never match; leave it out".into(),
        ))
    } else if text.contains("//") {
        Some(("has an empty segment", "request paths are normalised, so it would never match; write one `/`".into()))
    } else {
        None
    };
    match problem {
        None => normal,
        Some((why, hint)) => {
            scope.error("bad-path", pos, format!("the path `{text}` {why}"), hint);
            None
        }
    }
}

// RFC 3986 section 6.2.2: escapes of unreserved characters decoded, the others in upper case, and what is no ASCII
// escaped. `None` where an escape is malformed.
fn normal_path(text: &str) -> Option<String> {
    let mut normal = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = if first == b'%' { Some(after.get(..2)?) } else { None };
        rest = if escape.is_some() { &after[2..] } else { after };
        let byte = match escape.map(std::str::from_utf8) {
            None => first,
            // `from_str_radix` takes a sign.
            Some(Ok(digits)) if !digits.starts_with('+') => u8::from_str_radix(digits, 16).ok()?,
            Some(_) => return None,
        };
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if unreserved || escape.is_none() && byte.is_ascii() {
            normal.push(char::from(byte));
        } else {
            normal.push_str(&format!("%{byte:02X}"));
        }
    }
    Some(normal)
}

/// A number that fits, and is at least `min`.
pub(super) fn number<N: TryFrom<u64>>(scope: &mut Scope<'_>, field: raw::Field<raw::Count>, min: u64, default: N) -> N {
    let Some((raw::Count(number), pos)) = field.spot() else { return default };
    narrow(scope, number, pos, min).unwrap_or(default)
}

/// A size that fits, and is at least `min`.
pub(super) fn size(scope: &mut Scope<'_>, field: raw::Field<raw::Size>, min: u64, default: usize) -> usize {
    let Some((raw::Size(number), pos)) = field.spot() else { return default };
    narrow(scope, number, pos, min).unwrap_or(default)
}

/// The same where there is no default that holds for all.
pub(super) fn optional_size(scope: &mut Scope<'_>, field: raw::Field<raw::Size>, min: u64) -> Option<usize> {
    let (raw::Size(number), pos) = field.spot()?;
    narrow(scope, number, pos, min)
}

fn narrow<N: TryFrom<u64>>(scope: &mut Scope<'_>, number: u64, pos: Pos, min: u64) -> Option<N> {
    if number < min {
        let field = scope.field(pos).unwrap_or_default();
        scope.error("out-of-range", pos, format!("{field}: {number} is too small"), format!("the least is {min}"));
        return None;
    }
    let narrowed = N::try_from(number).ok();
    if narrowed.is_none() {
        let field = scope.field(pos).unwrap_or_default();
        scope.error("out-of-range", pos, format!("{field}: {number} is too large"), "use a smaller number");
    }
    narrowed
}

/// A duration that is not zero.
pub(super) fn period(
    scope: &mut Scope<'_>,
    field: raw::Field<raw::Period>,
    default: std::time::Duration,
) -> std::time::Duration {
    let Some((raw::Period(period), pos)) = field.spot() else { return default };
    if period.is_zero() {
        let field = scope.field(pos).unwrap_or_default();
        let message = format!("{field}: a duration of 0 would end everything at once");
        scope.error("out-of-range", pos, message, "the least is `1ms`");
        return default;
    }
    period
}

/// A duration that is not zero, or `Some(None)` for `unlimited`.
pub(super) fn limited(
    scope: &mut Scope<'_>,
    field: raw::Field<raw::Limit<raw::Period>>,
) -> Option<Option<std::time::Duration>> {
    let (raw::Limit(limit), pos) = field.spot()?;
    let Some(limit) = limit else { return Some(None) };
    let default = std::time::Duration::from_secs(1);
    Some(Some(period(scope, raw::Field::Given(limit, pos), default)))
}

#[cfg(test)]
mod tests {
    use super::normal_path;

    #[test]
    fn paths_come_into_the_form_of_requests() {
        let cases = [
            ("/a/{b}/c", Some("/a/{b}/c")),
            ("/caf\u{e9}", Some("/caf%C3%A9")),
            ("/caf%c3%a9", Some("/caf%C3%A9")),
            ("/%61%2d%7E/%2f", Some("/a-~/%2F")),
            ("/%2e%2E", Some("/..")),
            ("/%", None),
            ("/%4", None),
            ("/%+4", None),
            ("/%zz", None),
            ("/%\u{e9}", None),
        ];
        for (text, expected) in cases {
            assert_eq!(normal_path(text).as_deref(), expected, "{text}");
        }
    }
}
