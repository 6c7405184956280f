//! Answers with something fixed.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{Edit, Flow, headers::copied, own::PerWorker};
use crate::{
    config::spec,
    error::Error,
    exchange::{Body, Request, Response, is_framing},
};

/// The step.
pub(super) struct Respond {
    status: StatusCode,
    answer: PerWorker<Answer, Box<dyn Fn() -> Answer + Send + Sync>>,
    does: String,
}

struct Answer {
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Respond {
    /// A step that answers with this. A body without a `content-type` is plain text.
    pub(super) fn new(spec: &spec::Respond) -> Self {
        let own = spec.clone();
        Self {
            status: spec.status,
            answer: PerWorker::new(Box::new(move || Answer::copied(&own))),
            does: format!("respond with {} and {} bytes", spec.status.as_u16(), spec.body.len()),
        }
    }
}

impl Answer {
    fn copied(spec: &spec::Respond) -> Self {
        let usable = spec.headers.iter().filter(|(name, _)| !is_framing(name));
        let mut headers: Vec<_> = usable.map(|(name, value)| copied(name, value)).collect();
        if !spec.body.is_empty() && !headers.iter().any(|(name, _)| name == header::CONTENT_TYPE) {
            headers.push((header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")));
        }
        Self { headers, body: Bytes::copy_from_slice(spec.body.as_bytes()) }
    }
}

impl Edit for Respond {
    fn request(&self, request: &mut Request) -> Result<Flow, Error> {
        let answer = self.answer.of(&request.exchange);
        let mut response = Response::empty(self.status);
        for (name, value) in &answer.headers {
            response.head.headers.append(name, value.clone());
        }
        response.body = Body::full(answer.body.clone());
        Ok(Flow::Answer(Box::new(response)))
    }

    fn takes_told(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        self.does.clone()
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http_body::Body as _;

    use super::*;
    use crate::exchange::testing;

    #[test]
    fn it_answers_with_status_fields_and_body() {
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let length = (header::CONTENT_LENGTH, HeaderValue::from_static("99"));
        let cases = [
            (StatusCode::OK, vec![], "hello", Some("text/plain; charset=utf-8")),
            (StatusCode::NOT_FOUND, vec![json, length], "{}", Some("application/json")),
            (StatusCode::NO_CONTENT, vec![], "", None),
        ];
        for (status, headers, body, content_type) in cases {
            let step = Respond::new(&spec::Respond { status, headers, body: body.into() });
            let Ok(Flow::Answer(response)) = step.request(&mut testing::request(Method::GET, "/")) else {
                panic!("no answer")
            };
            assert_eq!(response.head.status, status);
            let found = response.head.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap());
            assert_eq!(found, content_type);
            assert!(!response.head.headers.contains_key(header::CONTENT_LENGTH));
            assert_eq!(response.body.size_hint().exact(), Some(body.len() as u64));
        }
    }
}
