//! Renders TLS. A certificate and a key are shown by the name of their file, never by what it holds.

use super::{Fields, Out, Written, period, texts};
use crate::config::spec::{Certificate, ListenerTls, Pem, SubjectAltName, UpstreamTls};

/// TLS of a listener.
pub(super) fn listener<'a>(written: Written<'a>, tls: &ListenerTls) -> Fields<'a> {
    let mut fields = Fields::of(written);
    let list = fields.written("certificates");
    let each = tls.certificates.iter().enumerate().map(|(at, one)| certificate(list.item(at), one).done());
    fields.put("certificates", Out::List(each.collect()));
    fields.put("min-version", Out::text(tls.min_version.name()));
    fields.put("alpn", texts(tls.alpn.iter().map(|protocol| protocol.name())));
    fields.put("strict-names", Out::plain(tls.strict_names));
    fields.put("handshake-timeout", period(tls.handshake_timeout));
    fields.put("handshakes-max", Out::plain(tls.handshakes_max));
    if let Some(clients) = &tls.client_certificates {
        let mut inner = Fields::of(fields.written("client-certificates"));
        inner.put("ca", Out::text(&clients.ca.named));
        let mode = match (clients.required, clients.unverified) {
            (true, _) => "required",
            (false, false) => "optional",
            (false, true) => "optional-unverified",
        };
        inner.put("mode", Out::text(mode));
        inner.maybe("forward-header", clients.forward_header.as_deref().map(Out::text));
        fields.map("client-certificates", inner);
    }
    fields
}

/// TLS to an upstream.
pub(super) fn upstream<'a>(written: Written<'a>, tls: &UpstreamTls) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.maybe("ca", tls.ca.as_ref().map(|ca| Out::text(&ca.named)));
    fields.maybe("server-name", tls.server_name.as_deref().map(Out::text));
    if !tls.subject_alt_names.is_empty() {
        fields.put("subject-alt-names", texts(tls.subject_alt_names.iter().map(SubjectAltName::text)));
    }
    if let Some(own) = &tls.certificate {
        fields.put("certificate", Out::text(&own.certificate.named));
        fields.put("key", Out::text(&own.key.named));
    }
    fields.put("min-version", Out::text(tls.min_version.name()));
    fields.put("dangerously-accept-any-certificate", Out::plain(!tls.verify));
    fields
}

fn certificate<'a>(written: Written<'a>, certificate: &Certificate) -> Fields<'a> {
    let mut fields = Fields::of(written);
    let show = |pem: &Pem| Out::text(&pem.named);
    fields.put("certificate", show(&certificate.certificate));
    fields.put("key", show(&certificate.key));
    fields
}
