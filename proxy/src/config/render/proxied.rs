//! Renders the PROXY protocol of listeners.

use super::{Fields, Out, Written, period, texts};
use crate::config::spec::{ProxyProtocol, ProxyVersion};

/// The PROXY protocol of a listener.
pub(super) fn proxy_protocol<'a>(written: Written<'a>, policy: &ProxyProtocol) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("mode", Out::text(if policy.required { "required" } else { "optional" }));
    fields.put("from", texts(&policy.from));
    fields.put("header-timeout", period(policy.header_timeout));
    fields.put("header-bytes-max", Out::plain(policy.header_bytes_max));
    fields
}

/// Whether endpoints are told whose connections are.
pub(super) fn version(version: ProxyVersion) -> Out {
    Out::text(match version {
        ProxyVersion::V1 => "v1",
        ProxyVersion::V2 => "v2",
    })
}
