//! Renders the PROXY protocol of listeners.

use super::{Fields, Out, Written, period, texts};
use crate::config::spec::ProxyProtocol;

/// The PROXY protocol of a listener.
pub(super) fn proxy_protocol<'a>(written: Written<'a>, policy: &ProxyProtocol) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("mode", Out::text(if policy.required { "required" } else { "optional" }));
    fields.put("from", texts(&policy.from));
    fields.put("header-timeout", period(policy.header_timeout));
    fields.put("header-bytes-max", Out::plain(policy.header_bytes_max));
    fields
}
