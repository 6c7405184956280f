//! Where a request carries its token, and how it is taken out of it. Knows nothing of what a token is.

use tidegate_guest::{Request, Result};

use crate::refusal::Refusal;

/// One place to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A header field, after a scheme (`Bearer`) if there is to be one.
    Header { name: String, scheme: Option<String> },
    /// A cookie.
    Cookie(String),
    /// A parameter of the query.
    Query(String),
}

/// The token of a request, if it has one.
pub(crate) fn find(places: &[Place], request: Request) -> Result<Option<String>, Refusal> {
    let mut found = Vec::new();
    for place in places {
        match place {
            Place::Header { name, scheme } => {
                found.extend(
                    texts(request, name).iter().filter_map(|value| after(value, scheme.as_deref())).map(str::to_owned),
                );
            }
            Place::Cookie(name) => {
                let cookies = texts(request, "cookie");
                found.extend(
                    cookies
                        .iter()
                        .flat_map(|value| cookies_of(value))
                        .filter(|(known, _)| known == name)
                        .map(|(_, value)| unquoted(value).to_owned()),
                );
            }
            Place::Query(name) => {
                let query = request.query().unwrap_or_default();
                found.extend(parameters(&query).filter(|(known, _)| known == name).map(|(_, value)| value.to_owned()));
            }
        }
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(Refusal::Several),
    }
}

/// Takes the token out of a request, and leaves everything else as it is.
pub(crate) fn strip(places: &[Place], request: Request) -> Result<()> {
    for place in places {
        match place {
            Place::Header { name, scheme } => {
                let values = request.header_values(name);
                let token = |value: &[u8]| {
                    std::str::from_utf8(value).is_ok_and(|value| after(value, scheme.as_deref()).is_some())
                };
                if values.iter().any(|value| token(value)) {
                    request.remove_header(name)?;
                    for value in values.iter().filter(|value| !token(value)) {
                        request.append_header(name, value)?;
                    }
                }
            }
            Place::Cookie(name) => strip_cookie(request, name)?,
            Place::Query(name) => {
                let Some(query) = request.query() else { continue };
                let kept: Vec<_> =
                    query.split('&').filter(|pair| pair.split('=').next() != Some(name.as_str())).collect();
                let kept = kept.join("&");
                if kept != query {
                    request.set_query(Some(kept.as_str()).filter(|kept| !kept.is_empty()))?;
                }
            }
        }
    }
    Ok(())
}

fn strip_cookie(request: Request, name: &str) -> Result<()> {
    let values = texts(request, "cookie");
    if !values.iter().flat_map(|value| cookies_of(value)).any(|(known, _)| known == name) {
        return Ok(());
    }
    request.remove_header("cookie")?;
    for value in &values {
        let kept: Vec<_> =
            value.split(';').map(str::trim).filter(|pair| pair.split('=').next() != Some(name)).collect();
        if kept.iter().any(|pair| !pair.is_empty()) {
            request.append_header("cookie", kept.join("; "))?;
        }
    }
    Ok(())
}

fn texts(request: Request, name: &str) -> Vec<String> {
    request.header_values(name).into_iter().filter_map(|value| String::from_utf8(value).ok()).collect()
}

// What follows the scheme, which is of any case (RFC 9110 section 11.1).
fn after<'a>(value: &'a str, scheme: Option<&str>) -> Option<&'a str> {
    let value = value.trim();
    let Some(scheme) = scheme else { return Some(value) };
    let (given, rest) = value.split_once(' ').unwrap_or((value, ""));
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim_start())
}

fn cookies_of(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value.split(';').filter_map(|pair| pair.trim().split_once('='))
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

// A token has no character that a query would encode.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|pair| pair.split_once('='))
}
