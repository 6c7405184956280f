//! Decompresses request bodies as they stream (RFC 9110 section 8.4), for upstreams and plugins that read none of it. What is
//! in a coding that is not listed is refused with 415, which says what is read.
//!
//! Bounded against bombs: so many bytes come of a body, so many times what was sent, and a worker decompresses so many
//! bodies at a time.

mod body;
mod decoder;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use self::{body::Plain, decoder::Decoder};
use super::{Edit, Flow};
use crate::{
    config::spec::{self, Coding},
    error::{Error, Kind},
    exchange::{Body, Request, Response},
};

/// The step.
pub(super) struct Decompress {
    spec: spec::Decompress,
    accepts: HeaderValue,
}

impl Decompress {
    /// A step that decompresses so.
    pub(super) fn new(spec: &spec::Decompress) -> Self {
        let names = names(spec);
        let accepts = HeaderValue::try_from(names).unwrap_or_else(|_| HeaderValue::from_static("identity"));
        Self { spec: spec.clone(), accepts }
    }

    fn refuse(&self) -> Flow {
        let mut response = Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content coding is not known here");
        response.head.headers.insert(header::ACCEPT_ENCODING, self.accepts.clone());
        Flow::Answer(Box::new(response))
    }
}

impl Edit for Decompress {
    fn request(&self, request: &mut Request) -> Result<Flow, Error> {
        let headers = &request.head.headers;
        if !headers.contains_key(header::CONTENT_ENCODING) || request.body.is_empty() {
            return Ok(Flow::Continue);
        }
        let Some(coding) = coding(headers) else { return Ok(self.refuse()) };
        let Some(coding) = coding else { return Ok(Flow::Continue) };
        if !self.spec.codings.contains(&coding) {
            return Ok(self.refuse());
        }
        let limits = (self.spec.body_bytes_max, self.spec.ratio_max);
        let Some(decoder) = Decoder::new(coding, limits, &request.exchange.worker) else {
            return Err(Error::new(Kind::Overloaded, "decompress: as many bodies as may be are decompressed already"));
        };
        request.body = Body::stream(Plain::new(request.body.take(), decoder));
        OF_THE_BYTES.iter().for_each(|name| drop(request.head.headers.remove(name)));
        Ok(Flow::Continue)
    }

    fn describe(&self) -> String {
        format!("decompress {}", names(&self.spec))
    }
}

fn names(spec: &spec::Decompress) -> String {
    spec.codings.iter().map(|coding| coding.name()).collect::<Vec<_>>().join(", ")
}

// The one coding of a body; the inner one is none where it has none. Of several, or of an unknown one, nothing is known.
#[expect(clippy::option_option, reason = "no coding and an unknown one are two things")]
fn coding(headers: &HeaderMap) -> Option<Option<Coding>> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut found = None;
    for value in values {
        for name in value.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let coding = match name.to_ascii_lowercase().as_str() {
                "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "br" => Coding::Brotli,
                "zstd" => Coding::Zstd,
                _ => return None,
            };
            if found.replace(coding).is_some() {
                return None;
            }
        }
    }
    Some(found)
}

// What is no longer so once a body is plain.
static OF_THE_BYTES: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("digest"),
];

#[cfg(test)]
mod tests;
