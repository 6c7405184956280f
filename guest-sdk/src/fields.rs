//! Names of header fields, as settings give them: what a plugin may be asked to read or set.

/// Whether `name` can be the name of a field: a token (RFC 9110 section 5.6.2).
///
/// ```
/// use tidegate_guest::fields::is_token;
/// assert!(is_token("x-api-key") && !is_token("x api key") && !is_token(""));
/// ```
#[must_use]
pub fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether a field is not a plugin's to change, in any case: it frames a message or concerns one connection (RFC 9110
/// section 7.6.1, RFC 9112 section 6), or is `host`, which is the request's authority. The gateway refuses such a change
/// with [`Refused::Reserved`](crate::Refused::Reserved); settings that ask for one are better refused when they are read.
///
/// ```
/// use tidegate_guest::fields::is_reserved;
/// assert!(is_reserved("Host") && !is_reserved("x-consumer"));
/// ```
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
