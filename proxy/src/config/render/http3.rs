//! Renders HTTP/3 of listeners.

use super::{Fields, Out, Written, period};
use crate::config::spec::Http3;

/// HTTP/3 of a listener.
pub(super) fn http3<'a>(written: Written<'a>, http3: &Http3) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("advertise", Out::plain(http3.advertise));
    fields.maybe("advertised-port", http3.advertised_port.map(Out::plain));
    fields.put("max-age", period(http3.max_age));
    fields
}
