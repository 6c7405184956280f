//! Fields whose value is a list (RFC 9110 section 5.6.1), as several steps read and write them. Knows no step.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Whether one of the elements of the list field `name` is this, in any case.
pub(super) fn has(headers: &HeaderMap, name: &HeaderName, element: &str) -> bool {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|found| found.trim().eq_ignore_ascii_case(element))
}

/// Says that a response depends on the request's field `name` (RFC 9110 section 12.5.5), unless it says so already.
pub(super) fn vary_on(headers: &mut HeaderMap, name: &'static str) {
    if !has(headers, &header::VARY, "*") && !has(headers, &header::VARY, name) {
        // A head of more than 24,000 fields is over every limit; what does not fit is left out.
        let _full = headers.try_append(header::VARY, HeaderValue::from_static(name)).is_err();
    }
}
