//! Answers with 503 and a page while something is being worked on; some clients pass.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::{Edit, Flow, addresses, addresses::Addresses, own::PerWorker};
use crate::{
    config::spec,
    error::Error,
    exchange::{Body, Exchange, Request, Response},
};

/// The step.
pub(super) struct Maintenance {
    enabled: bool,
    allow: Addresses,
    page: PerWorker<Page, Box<dyn Fn() -> Page + Send + Sync>>,
    does: String,
}

struct Page {
    retry_after: Option<HeaderValue>,
    content_type: HeaderValue,
    body: Bytes,
}

impl Maintenance {
    /// A step that shows this page.
    pub(super) fn new(spec: &spec::Maintenance) -> Self {
        let allowed = addresses::named(&spec.allow);
        let does = match (spec.enabled, allowed.is_empty()) {
            (false, _) => "maintenance is over".into(),
            (true, true) => "maintenance: 503".into(),
            (true, false) => format!("maintenance: 503 to all but {allowed}"),
        };
        let own = spec.clone();
        let make = move || Page {
            retry_after: own.retry_after.map(|period| HeaderValue::from(period.as_secs())),
            content_type: HeaderValue::from_bytes(own.content_type.as_bytes()).expect("the own bytes of a value"),
            body: Bytes::copy_from_slice(own.body.as_bytes()),
        };
        Self { enabled: spec.enabled, allow: Addresses::new(&spec.allow), page: PerWorker::new(Box::new(make)), does }
    }

    fn answer(&self, exchange: &Rc<Exchange>) -> Box<Response> {
        let page = self.page.of(exchange);
        let mut response = Response::empty(StatusCode::SERVICE_UNAVAILABLE);
        let headers = &mut response.head.headers;
        headers.insert(header::CONTENT_TYPE, page.content_type.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(retry_after) = &page.retry_after {
            headers.insert(header::RETRY_AFTER, retry_after.clone());
        }
        response.body = Body::full(page.body.clone());
        Box::new(response)
    }
}

impl Edit for Maintenance {
    fn request(&self, request: &mut Request) -> Result<Flow, Error> {
        if !self.enabled || self.allow.contains(request.exchange.client) {
            return Ok(Flow::Continue);
        }
        Ok(Flow::Answer(self.answer(&request.exchange)))
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
    use std::time::Duration;

    use http::Method;

    use super::*;
    use crate::exchange::testing;

    #[test]
    fn it_shows_its_page_to_all_but_those_who_are_allowed() {
        let cases = [(true, "10.1.2.3", true), (true, "192.0.2.1", false), (false, "192.0.2.1", true)];
        for (enabled, client, passes) in cases {
            let step = Maintenance::new(&spec::Maintenance {
                enabled,
                retry_after: Some(Duration::from_secs(600)),
                allow: vec!["10.0.0.0/8".parse().unwrap()],
                content_type: HeaderValue::from_static("text/html"),
                body: "<p>back soon".into(),
            });
            let mut request = testing::request(Method::GET, "/");
            Rc::get_mut(&mut request.exchange).unwrap().client = client.parse().unwrap();
            match step.request(&mut request).unwrap() {
                Flow::Continue => assert!(passes, "{client}"),
                Flow::Answer(response) => {
                    assert!(!passes, "{client}");
                    assert_eq!(response.head.status, StatusCode::SERVICE_UNAVAILABLE);
                    let fields = ["retry-after", "content-type", "cache-control"];
                    assert_eq!(fields.map(|name| &response.head.headers[name]), ["600", "text/html", "no-store"]);
                    assert!(!response.body.is_empty());
                }
            }
        }
    }
}
