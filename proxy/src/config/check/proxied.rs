//! Checks the PROXY protocol of listeners.

use std::time::Duration;

use super::{listener, scope::Scope, values};
use crate::config::{
    raw::{self, Field},
    spec::ProxyProtocol,
};

/// The PROXY protocol of a listener; none where it is not given, or wrong and reported.
pub(super) fn proxy_protocol(scope: &mut Scope<'_>, field: Field<raw::ProxyProtocol>) -> Option<ProxyProtocol> {
    let (raw, at) = field.spot()?;
    let hint = "list the networks of the proxies, such as `from: [10.0.0.0/8]`";
    if raw.from.is_absent() {
        scope.missing("from", at, hint);
    } else if let Field::Given(list, pos) = &raw.from
        && list.is_empty()
    {
        scope.error("no-network", *pos, "nobody's PROXY header would be believed", hint);
    }
    Some(ProxyProtocol {
        required: !matches!(raw.mode.value(), Some(raw::ProxyMode::Optional)),
        from: listener::networks(scope, raw.from),
        header_timeout: values::period(scope, raw.header_timeout, Duration::from_secs(3)),
        // The longest line of version 1, which also is what the addresses of version 2 need and more.
        header_bytes_max: values::size(scope, raw.header_bytes_max, 107, 4096),
    })
}
