//! The maps that host functions read and change: heads with their pseudo-fields, and trailers. A change is checked
//! before it is made; what belongs to the gateway (framing, the connection) is left as it is, without a word, because
//! modules end themselves over a refusal.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request, response,
    uri::{Authority, PathAndQuery},
};

use super::status::{Done, Status};
use crate::exchange::is_framing;

/// Bytes of a target or a field value that a plugin sets.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Fields of a map that a plugin adds to.
const FIELDS_MAX: usize = 256;

/// One map, in sight of a callback.
pub(super) enum View<'a> {
    Request {
        head: &'a mut request::Parts,
        authority: &'a mut Authority,
        secure: bool,
    },
    Response(&'a mut response::Parts),
    /// The answer to a call of the plugin's own: nothing can be changed.
    Received {
        status: Option<StatusCode>,
        fields: &'a HeaderMap,
    },
    Fields(&'a mut HeaderMap),
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

impl View<'_> {
    /// All of it, pseudo-fields first.
    pub(super) fn pairs(&self) -> Pairs {
        let pair = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
        let mut pairs = match self {
            Self::Request { head, authority, secure } => vec![
                pair(":authority", authority.as_str().as_bytes()),
                pair(":path", target(head).as_bytes()),
                pair(":method", head.method.as_str().as_bytes()),
                pair(":scheme", scheme(*secure).as_bytes()),
            ],
            Self::Response(head) => vec![pair(":status", head.status.as_str().as_bytes())],
            Self::Received { status, .. } => {
                status.iter().map(|status| pair(":status", status.as_str().as_bytes())).collect()
            }
            Self::Fields(_) => Vec::new(),
        };
        pairs.extend(self.fields().iter().map(|(name, value)| pair(name.as_str(), value.as_bytes())));
        pairs
    }

    /// The first value of a field.
    pub(super) fn first(&self, name: &[u8]) -> Option<Vec<u8>> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        let pseudo = match (self, name.as_str()) {
            (Self::Request { authority, .. }, ":authority" | "host") => Some(authority.as_str().to_owned()),
            (Self::Request { head, .. }, ":path") => Some(target(head).to_owned()),
            (Self::Request { head, .. }, ":method") => Some(head.method.as_str().to_owned()),
            (Self::Request { secure, .. }, ":scheme") => Some(scheme(*secure).to_owned()),
            (Self::Response(head), ":status") => Some(head.status.as_str().to_owned()),
            (Self::Received { status, .. }, ":status") => status.map(|status| status.as_str().to_owned()),
            _ => None,
        };
        match pseudo {
            Some(value) => Some(value.into_bytes()),
            None => self.fields().get(name.as_str()).map(|value| value.as_bytes().to_vec()),
        }
    }

    /// Puts one value in the place of all that a field has.
    pub(super) fn replace(&mut self, name: &[u8], value: &[u8]) -> Done {
        if self.set_pseudo(name, value)? {
            return Ok(());
        }
        let (name, value) = (own(name)?, content(value)?);
        if let Some(name) = name {
            let fields = self.fields_mut()?;
            room(fields, Some(&name))?;
            fields.insert(name, value);
        }
        Ok(())
    }

    /// Adds a value to a field.
    pub(super) fn append(&mut self, name: &[u8], value: &[u8]) -> Done {
        if self.set_pseudo(name, value)? {
            return Ok(());
        }
        let (name, value) = (own(name)?, content(value)?);
        if let Some(name) = name {
            let fields = self.fields_mut()?;
            room(fields, None)?;
            fields.append(name, value);
        }
        Ok(())
    }

    /// Removes a field.
    pub(super) fn remove(&mut self, name: &[u8]) -> Done {
        if name.starts_with(b":") {
            // A head is none without them.
            return Ok(());
        }
        let parsed = HeaderName::from_bytes(name).map_err(|_| Status::BadArgument)?;
        // A plugin that changes a body takes back the promise of its length.
        if parsed == header::CONTENT_LENGTH || own(name)?.is_some() {
            self.fields_mut()?.remove(parsed);
        }
        Ok(())
    }

    /// Puts these in the place of all fields. Pseudo-fields that are not among them stay.
    pub(super) fn set(&mut self, pairs: &[(&[u8], &[u8])]) -> Done {
        let kept: Vec<_> = self.fields_mut()?.iter().filter(|(name, _)| is_reserved(name)).map(owned).collect();
        let before = std::mem::take(self.fields_mut()?);
        let set = pairs.iter().try_for_each(|(name, value)| self.append(name, value));
        let fields = self.fields_mut()?;
        if set.is_err() {
            *fields = before;
            return set;
        }
        let promises = |name: &HeaderName| pairs.iter().any(|(own, _)| own.eq_ignore_ascii_case(name.as_ref()));
        for (name, value) in kept {
            if name != header::CONTENT_LENGTH || promises(&name) {
                fields.append(name, value);
            }
        }
        Ok(())
    }

    fn fields(&self) -> &HeaderMap {
        match self {
            Self::Request { head, .. } => &head.headers,
            Self::Response(head) => &head.headers,
            Self::Received { fields, .. } => fields,
            Self::Fields(fields) => fields,
        }
    }

    fn fields_mut(&mut self) -> Done<&mut HeaderMap> {
        match self {
            Self::Request { head, .. } => Ok(&mut head.headers),
            Self::Response(head) => Ok(&mut head.headers),
            Self::Received { .. } => Err(Status::BadArgument),
            Self::Fields(fields) => Ok(fields),
        }
    }

    // Whether it is one, and was set.
    fn set_pseudo(&mut self, name: &[u8], value: &[u8]) -> Done<bool> {
        let text = || std::str::from_utf8(value).map_err(|_| Status::BadArgument);
        match (self, name) {
            (Self::Request { authority, .. }, b":authority" | b"host" | b"Host") => {
                **authority = parsed_authority(text()?)?
            }
            (Self::Request { head, .. }, b":path") => head.uri = parsed_target(text()?)?,
            (Self::Request { head, .. }, b":method") => {
                let method = Method::from_bytes(value).map_err(|_| Status::BadArgument)?;
                if matches!(method, Method::CONNECT | Method::TRACE) {
                    return Err(Status::BadArgument);
                }
                head.method = method;
            }
            // What the client spoke is a fact.
            (Self::Request { .. }, b":scheme") => {}
            (Self::Response(head), b":status") => head.status = final_status(text()?)?,
            (_, name) if name.starts_with(b":") => return Err(Status::BadArgument),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn owned((name, value): (&HeaderName, &HeaderValue)) -> (HeaderName, HeaderValue) {
    (name.clone(), value.clone())
}

fn target(head: &request::Parts) -> &str {
    head.uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// The name of a scheme.
pub(super) const fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

/// A request's host, checked.
pub(super) fn parsed_authority(text: &str) -> Done<Authority> {
    let authority: Authority = text.to_ascii_lowercase().parse().map_err(|_| Status::BadArgument)?;
    if authority.as_str().contains('@') { Err(Status::BadArgument) } else { Ok(authority) }
}

/// A target in origin form, checked.
pub(super) fn parsed_target(text: &str) -> Done<Uri> {
    if !text.starts_with('/') || text.contains('#') || text.len() > VALUE_BYTES_MAX {
        return Err(Status::BadArgument);
    }
    PathAndQuery::try_from(text).map(Uri::from).map_err(|_| Status::BadArgument)
}

/// A status that ends an exchange, in digits.
pub(super) fn final_status(text: &str) -> Done<StatusCode> {
    let number = text.parse().ok().filter(|number| (200..=599).contains(number)).ok_or(Status::BadArgument)?;
    StatusCode::from_u16(number).map_err(|_| Status::BadArgument)
}

/// Fields that a plugin made, checked; pseudo-fields left out.
pub(super) fn fields(pairs: &[(&[u8], &[u8])]) -> Done<HeaderMap> {
    let mut fields = HeaderMap::new();
    let mut view = View::Fields(&mut fields);
    pairs.iter().filter(|(name, _)| !name.starts_with(b":")).try_for_each(|(name, value)| view.append(name, value))?;
    Ok(fields)
}

fn content(value: &[u8]) -> Done<HeaderValue> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Status::BadArgument);
    }
    HeaderValue::from_bytes(value).map_err(|_| Status::BadArgument)
}

fn room(fields: &HeaderMap, known: Option<&HeaderName>) -> Done {
    let fits = fields.len() < FIELDS_MAX || known.is_some_and(|name| fields.contains_key(name));
    if fits { Ok(()) } else { Err(Status::InternalFailure) }
}

// The name of a field; nothing, if it is not the plugin's to set.
fn own(name: &[u8]) -> Done<Option<HeaderName>> {
    let name = HeaderName::from_bytes(name).map_err(|_| Status::BadArgument)?;
    Ok(Some(name).filter(|name| !is_reserved(name)))
}

fn is_reserved(name: &HeaderName) -> bool {
    is_framing(name) || matches!(name.as_str(), "host" | "http2-settings")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::testing;

    #[test]
    fn a_request_has_its_target_and_host_as_pseudo_fields() {
        let mut request = testing::request(Method::GET, "http://a.example/x?y");
        let mut view = View::Request { head: &mut request.head, authority: &mut request.authority, secure: true };
        view.append(b"A", b"1").unwrap();
        view.append(b"a", b"2").unwrap();
        let names: Vec<_> = view.pairs().into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect();
        assert_eq!(names, [":authority", ":path", ":method", ":scheme", "a", "a"]);
        let first =
            |view: &View<'_>, name: &str| view.first(name.as_bytes()).map(|value| String::from_utf8(value).unwrap());
        assert_eq!(first(&view, "A").as_deref(), Some("1"));
        assert_eq!(
            (first(&view, ":path").as_deref(), first(&view, ":scheme").as_deref()),
            (Some("/x?y"), Some("https"))
        );
        view.replace(b":path", b"/z").unwrap();
        view.replace(b"host", b"B.example").unwrap();
        view.replace(b":method", b"POST").unwrap();
        assert_eq!(
            (first(&view, ":path").as_deref(), first(&view, ":authority").as_deref()),
            (Some("/z"), Some("b.example"))
        );
        let refused: [(&[u8], &[u8]); 8] = [
            (b":path", b"z"),
            (b":method", b"CONNECT"),
            (b":method", b"a b"),
            (b":authority", b"u@h"),
            (b":other", b"x"),
            (b"a b", b"x"),
            (b"", b"x"),
            (b"a", b"x\r\ny"),
        ];
        for (name, value) in refused {
            assert_eq!(view.replace(name, value), Err(Status::BadArgument), "{name:?}");
        }
    }

    #[test]
    fn framing_is_not_a_plugins_to_set_and_its_promise_of_a_length_can_be_taken_back() {
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_LENGTH, 5.into());
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let mut view = View::Fields(&mut fields);
        for name in ["content-length", "transfer-encoding", "connection", "upgrade"] {
            assert_eq!((view.replace(name.as_bytes(), b"7"), view.append(name.as_bytes(), b"7")), (Ok(()), Ok(())));
        }
        assert_eq!(view.first(b"content-length").as_deref(), Some(&b"5"[..]));
        view.set(&[(b"a", b"1"), (b"content-length", b"9")]).unwrap();
        assert_eq!(
            (view.first(b"content-length").as_deref(), view.first(b"connection").is_some()),
            (Some(&b"5"[..]), true)
        );
        view.remove(b"content-length").unwrap();
        assert_eq!(view.first(b"content-length"), None);
        assert_eq!(view.set(&[(b"b", b"1"), (b"c d", b"1")]), Err(Status::BadArgument));
        assert_eq!(view.first(b"a").as_deref(), Some(&b"1"[..]), "what is refused changes nothing");
    }

    #[test]
    fn a_map_takes_so_many_fields_and_no_more() {
        let mut fields = HeaderMap::new();
        let mut view = View::Fields(&mut fields);
        let taken = (0..2 * FIELDS_MAX).filter(|n| view.append(format!("x-{n}").as_bytes(), b"").is_ok()).count();
        assert_eq!(taken, FIELDS_MAX);
        assert_eq!((view.replace(b"x-1", b"y"), view.replace(b"x-new", b"y")), (Ok(()), Err(Status::InternalFailure)));
    }
}
