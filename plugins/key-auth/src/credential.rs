//! Where a request carries its key, and taking it out. Knows no key.

use crate::settings::Settings;
use tidegate_guest::{Refused, Request};

/// What a request carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// No key, or an empty one.
    None,
    /// A key.
    One(Vec<u8>),
    /// Several in one place: which of them would the upstream believe?
    Many,
}

impl Credential {
    /// Looks in the header first, then in the query.
    pub(crate) fn find(settings: &Settings, request: &Request) -> Self {
        let sent = settings.header().map(|name| request.header_values(name)).unwrap_or_default();
        match Self::of(sent) {
            Self::None => {}
            found => return found,
        }
        let query = settings.query.as_ref().and_then(|name| Some((name, request.query()?)));
        query.map_or(Self::None, |(name, query)| Self::of(values(&query, name)))
    }

    fn of(mut sent: Vec<Vec<u8>>) -> Self {
        match sent.len() {
            0 => Self::None,
            1 => match sent.swap_remove(0) {
                empty if empty.is_empty() => Self::None,
                key => Self::One(key),
            },
            _ => Self::Many,
        }
    }
}

/// Takes the key out of the request, from every place where one may be.
pub(crate) fn remove(settings: &Settings, request: &Request) -> Result<(), Refused> {
    if let Some(name) = settings.header() {
        request.remove_header(name)?;
    }
    let query = settings.query.as_ref().and_then(|name| Some((name, request.query()?)));
    if let Some((name, query)) = query {
        let rest: Vec<_> = query.split('&').filter(|parameter| !is_named(parameter, name)).collect();
        let rest = rest.join("&");
        if rest.len() < query.len() {
            request.set_query((!rest.is_empty()).then_some(rest.as_str()))?;
        }
    }
    Ok(())
}

fn values(query: &str, name: &str) -> Vec<Vec<u8>> {
    let named = query.split('&').filter(|parameter| is_named(parameter, name));
    named.map(|parameter| decoded(parameter.split_once('=').map_or("", |(_, value)| value))).collect()
}

fn is_named(parameter: &str, name: &str) -> bool {
    let known = parameter.split_once('=').map_or(parameter, |(known, _)| known);
    if known.contains('%') { decoded(known) == name.as_bytes() } else { known == name }
}

// `+` stays what it is: keys in base64 have it, and who sends a space encodes it.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'%') {
        return bytes.to_vec();
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    decoded
}
