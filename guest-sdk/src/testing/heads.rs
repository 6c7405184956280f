//! The heads of a request and a response, and which changes to them are refused: the gateway's rules.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, uri::Authority, uri::PathAndQuery};

use crate::{fields::is_reserved, host::types::Refusal};

/// A request's head.
#[derive(Clone, Debug)]
pub(super) struct RequestHead {
    pub(super) method: Method,
    pub(super) authority: Authority,
    pub(super) target: PathAndQuery,
    pub(super) fields: HeaderMap,
}

/// A response's head.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) fields: HeaderMap,
}

/// Fields of the response that a plugin gave at the request.
#[derive(Debug, Default)]
pub(super) struct Ahead(Vec<(Way, HeaderName, HeaderValue)>);

/// How a field goes into a head.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Set,
    Append,
}

impl Way {
    /// Puts a field into a head, if that has room.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] where it has not.
    pub(super) fn put(self, headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), Refusal> {
        let room = headers.len() < FIELDS_MAX;
        match self {
            Self::Set if room || headers.contains_key(&name) => drop(headers.insert(name, value)),
            Self::Append if room => drop(headers.append(name, value)),
            Self::Set | Self::Append => return Err(Refusal::TooLarge),
        }
        Ok(())
    }
}

impl Ahead {
    pub(super) fn add(&mut self, way: Way, name: &str, value: &[u8]) -> Result<(), Refusal> {
        let (name, value) = (own(name)?, content(value)?);
        if self.0.len() >= FIELDS_MAX {
            return Err(Refusal::TooLarge);
        }
        self.0.push((way, name, value));
        Ok(())
    }

    /// Puts them into a head, in their order, as far as it has room.
    pub(super) fn apply(self, headers: &mut HeaderMap) {
        for (way, name, value) in self.0 {
            // What there is no room for is left out.
            way.put(headers, name, value).ok();
        }
    }
}

/// How a plugin wants to see one message's body, apart from what it declared.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BodyWish {
    pub(super) skip: bool,
    pub(super) pass_large: bool,
}

// Bytes of a target or a field value that a plugin sets.
const VALUE_BYTES_MAX: usize = 64 << 10;
// Fields of a head that a plugin adds to.
const FIELDS_MAX: usize = 256;

impl RequestHead {
    pub(super) fn set_method(&mut self, method: &str) -> Result<(), Refusal> {
        self.method = checked_method(method)?;
        Ok(())
    }

    pub(super) fn set_authority(&mut self, authority: &str) -> Result<(), Refusal> {
        let authority: Authority = authority.to_ascii_lowercase().parse().map_err(|_| Refusal::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(Refusal::Malformed);
        }
        self.authority = authority;
        Ok(())
    }

    pub(super) fn set_path(&mut self, path: &str) -> Result<(), Refusal> {
        if !path.starts_with('/') || path.contains(['?', '#']) {
            return Err(Refusal::Malformed);
        }
        let query = self.target.query().map(|query| format!("?{query}")).unwrap_or_default();
        self.target = checked_target(&format!("{path}{query}"))?;
        Ok(())
    }

    pub(super) fn set_query(&mut self, query: Option<&str>) -> Result<(), Refusal> {
        if query.is_some_and(|query| query.contains('#')) {
            return Err(Refusal::Malformed);
        }
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        self.target = checked_target(&format!("{}{query}", self.target.path()))?;
        Ok(())
    }
}

/// Whether a call to an upstream is valid HTTP.
pub(super) fn check_call(method: &str, target: &str, fields: &Vec<(String, Vec<u8>)>) -> Result<(), Refusal> {
    checked_method(method)?;
    if !target.starts_with('/') {
        return Err(Refusal::Malformed);
    }
    checked_target(target)?;
    self::fields(fields).map(drop)
}

/// The fields of a head that a plugin made, checked.
pub(super) fn fields(fields: &Vec<(String, Vec<u8>)>) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        append(&mut headers, name, value)?;
    }
    Ok(headers)
}

/// The test's own fields: any that are valid, framing ones too.
///
/// # Panics
/// Where they are not valid: the test is wrong.
pub(super) fn unchecked(fields: &[(String, Vec<u8>)]) -> HeaderMap {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).expect("the test's field name is valid");
    let value = |value: &[u8]| HeaderValue::from_bytes(value).expect("the test's field value is valid");
    fields.iter().map(|(known, content)| (name(known), value(content))).collect()
}

/// Every field, as plugins see them.
pub(super) fn all(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().to_owned(), value.as_bytes().to_vec());
    headers.iter().map(field).collect()
}

pub(super) fn first(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    headers.get(name).map(|value| value.as_bytes().to_vec())
}

pub(super) fn values(headers: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}

pub(super) fn set(headers: &mut HeaderMap, name: &str, value: &[u8]) -> Result<(), Refusal> {
    Way::Set.put(headers, own(name)?, content(value)?)
}

pub(super) fn append(headers: &mut HeaderMap, name: &str, value: &[u8]) -> Result<(), Refusal> {
    Way::Append.put(headers, own(name)?, content(value)?)
}

pub(super) fn remove(headers: &mut HeaderMap, name: &str) -> Result<(), Refusal> {
    headers.remove(own(name)?);
    Ok(())
}

fn checked_method(method: &str) -> Result<Method, Refusal> {
    match Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Malformed)? {
        Method::CONNECT | Method::TRACE => Err(Refusal::Reserved),
        method => Ok(method),
    }
}

fn checked_target(target: &str) -> Result<PathAndQuery, Refusal> {
    if target.len() > VALUE_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    let uri = PathAndQuery::try_from(target).map(Uri::from).map_err(|_| Refusal::Malformed)?;
    uri.into_parts().path_and_query.ok_or(Refusal::Malformed)
}

fn content(value: &[u8]) -> Result<HeaderValue, Refusal> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    HeaderValue::from_bytes(value).map_err(|_| Refusal::Malformed)
}

fn own(name: &str) -> Result<HeaderName, Refusal> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Refusal::Malformed)?;
    if is_reserved(name.as_str()) { Err(Refusal::Reserved) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_refused_as_in_the_gateway() {
        let mut headers = HeaderMap::new();
        let cases: [(&str, &[u8], Option<Refusal>); 6] = [
            ("x-a", b"1", None),
            ("X-B", b"\xff\t ", None),
            ("x a", b"1", Some(Refusal::Malformed)),
            ("x-a", b"1\n", Some(Refusal::Malformed)),
            ("Transfer-Encoding", b"chunked", Some(Refusal::Reserved)),
            ("x-a", &[b'a'; VALUE_BYTES_MAX + 1], Some(Refusal::TooLarge)),
        ];
        for (name, value, refused) in cases {
            assert_eq!(set(&mut headers, name, value).err(), refused, "{name}");
        }
        for number in headers.len()..FIELDS_MAX {
            assert_eq!(append(&mut headers, &format!("x-{number}"), b"1"), Ok(()));
        }
        assert_eq!(append(&mut headers, "x-a", b"2"), Err(Refusal::TooLarge));
        assert_eq!(set(&mut headers, "x-a", b"2"), Ok(()));
    }
}
