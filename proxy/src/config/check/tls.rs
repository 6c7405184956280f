//! Checks TLS of listeners: shapes and files. What the files hold is checked when they are used. Knows nothing of
//! cryptography.

use super::{scope::Scope, values};
use crate::config::{
    node::Pos,
    raw::{self, Field},
    spec::{Alpn, Certificate, ClientCertificates, ListenerTls, Pem, SubjectAltName, TlsVersion, UpstreamTls},
};

/// TLS of a listener; none where it is not given, or wrong and reported.
pub(super) fn listener(scope: &mut Scope<'_>, field: Field<raw::ListenerTls>) -> Option<ListenerTls> {
    let (raw, at) = field.spot()?;
    let default = ListenerTls::of(Vec::new());
    let unlisted = raw.certificates.is_absent();
    let pos = raw.certificates.pos().unwrap_or(at);
    let forms = raw.certificates.value();
    if unlisted || forms.as_ref().is_some_and(Vec::is_empty) {
        let message = format!("TLS of the listener `{}` has no certificate", scope.name());
        let hint = "list at least one: `certificates: [{certificate: tls/site.pem, key: tls/site.key}]`";
        scope.error("no-certificate", pos, message, hint);
    }
    let forms = forms.unwrap_or_default().into_iter().filter_map(Field::spot);
    let certificates = forms.filter_map(|(raw, pos)| certificate(scope, raw, pos)).collect();
    let alpn = raw.alpn.spot().map(|(protocols, pos)| protocols_of(scope, protocols, pos));
    Some(ListenerTls {
        certificates,
        min_version: version(scope, raw.min_version, default.min_version),
        alpn: alpn.unwrap_or(default.alpn),
        strict_names: raw.strict_names.or(default.strict_names),
        handshake_timeout: values::period(scope, raw.handshake_timeout, default.handshake_timeout),
        handshakes_max: values::number(scope, raw.handshakes_max, 1, default.handshakes_max),
        client_certificates: client_certificates(scope, raw.client_certificates),
    })
}

fn client_certificates(scope: &mut Scope<'_>, field: Field<raw::ClientCertificates>) -> Option<ClientCertificates> {
    let (raw, at) = field.spot()?;
    if raw.ca.is_absent() {
        scope.missing("ca", at, "name who signs the certificates of clients, such as `ca: tls/clients.pem`");
    }
    let ca = pem(scope, raw.ca, "certificate");
    let forward_header = raw.forward_header.spot().and_then(|(text, pos)| header(scope, &text, pos));
    let mode = raw.mode.value().unwrap_or(raw::ClientMode::Required);
    let required = matches!(mode, raw::ClientMode::Required);
    let unverified = matches!(mode, raw::ClientMode::OptionalUnverified);
    Some(ClientCertificates { ca: ca?, required, unverified, forward_header })
}

fn header(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<String> {
    let name = values::header_name(scope, text, pos)?;
    let taken = ["host", "via", "forwarded", "traceparent", "content-length", "connection"];
    if taken.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-") && name.as_str() != XFCC {
        let hint = "use a field of its own, such as `x-forwarded-client-cert`";
        scope.error("bad-header", pos, format!("`{text}` has a meaning of its own"), hint);
        return None;
    }
    Some(name.as_str().to_owned())
}

const XFCC: &str = "x-forwarded-client-cert";

/// TLS to an upstream; none where it is not given.
pub(super) fn upstream(scope: &mut Scope<'_>, field: Field<raw::UpstreamTls>) -> Option<UpstreamTls> {
    let (raw, at) = field.spot()?;
    let certificate = if raw.certificate.is_absent() && raw.key.is_absent() {
        None
    } else {
        certificate(scope, raw::Certificate { certificate: raw.certificate, key: raw.key }, at)
    };
    let server_name = raw.server_name.spot().and_then(|(text, pos)| values::host(scope, &text, pos));
    let subject_alt_names = raw.subject_alt_names.many().into_iter();
    let subject_alt_names = subject_alt_names.filter_map(|(text, pos)| alt_name(scope, &text, pos)).collect();
    let verify = match raw.dangerously_accept_any_certificate.spot() {
        Some((true, pos)) => {
            let message = format!("nothing that the upstream `{}` shows of itself is verified", scope.name());
            let hint = "whoever can reach the network can read and change everything; set `ca` instead";
            scope.warning("unverified-upstream", pos, message, hint);
            false
        }
        _ => true,
    };
    Some(UpstreamTls {
        ca: pem(scope, raw.ca, "certificate"),
        server_name,
        subject_alt_names,
        certificate,
        min_version: version(scope, raw.min_version, TlsVersion::Tls12),
        verify,
        place: scope.place(at),
    })
}

fn alt_name(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<SubjectAltName> {
    if text.contains("://") {
        return Some(SubjectAltName::Uri(text.to_owned()));
    }
    // A wildcard is itself, and no pattern.
    values::host(scope, text.strip_prefix("*.").unwrap_or(text), pos)?;
    Some(SubjectAltName::Dns(text.to_ascii_lowercase()))
}

/// A certificate and its key.
pub(super) fn certificate(scope: &mut Scope<'_>, raw: raw::Certificate, pos: Pos) -> Option<Certificate> {
    for (field, absent) in [("certificate", raw.certificate.is_absent()), ("key", raw.key.is_absent())] {
        if absent {
            scope.missing(field, pos, "name both: `{certificate: tls/site.pem, key: tls/site.key}`");
        }
    }
    let certificate = pem(scope, raw.certificate, "certificate");
    let key = pem(scope, raw.key, "key");
    Some(Certificate { certificate: certificate?, key: key? })
}

/// The text of a PEM file, by its path or as a secret.
pub(super) fn pem(scope: &mut Scope<'_>, field: Field<String>, noun: &str) -> Option<Pem> {
    let (text, pos) = field.spot()?;
    let content = if text.contains("${") {
        scope.reveal(&text, pos)
    } else {
        let path = text.strip_prefix("./").unwrap_or(&text);
        if path.is_empty() || path.starts_with("-----BEGIN") {
            let hint = "write the PEM text into a file of the configuration, and name it here";
            scope.error("bad-pem-path", pos, format!("this is not the path of a {noun} file"), hint);
            return None;
        }
        scope.file(path, pos, noun)
    };
    Some(Pem::new(&text, content, scope.place(pos)))
}

/// `1.2` or `1.3`.
pub(super) fn version(scope: &mut Scope<'_>, field: Field<raw::Text>, default: TlsVersion) -> TlsVersion {
    let Some((raw::Text(text), pos)) = field.spot() else { return default };
    match text.as_str() {
        "1.2" => TlsVersion::Tls12,
        "1.3" => TlsVersion::Tls13,
        _ => {
            scope.error("bad-version", pos, format!("`{text}` is not a version of TLS"), "write `1.2` or `1.3`");
            default
        }
    }
}

fn protocols_of(scope: &mut Scope<'_>, protocols: Vec<Field<raw::Alpn>>, pos: Pos) -> Vec<Alpn> {
    let mut alpn = Vec::new();
    for protocol in protocols.into_iter().filter_map(Field::value) {
        let protocol = match protocol {
            raw::Alpn::H2 => Alpn::H2,
            raw::Alpn::Http1 => Alpn::Http1,
        };
        if !alpn.contains(&protocol) {
            alpn.push(protocol);
        }
    }
    if alpn.is_empty() && scope.is_sound() {
        scope.error("no-protocol", pos, "no protocol is left to speak", "list `h2`, `http/1.1` or both");
    }
    alpn
}
