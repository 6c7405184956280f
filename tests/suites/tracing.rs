//! Traces, as a collector sees them: which exchanges are traced, what their spans say and how they hang together, and
//! what becomes of spans while collectors come and go and configurations change.

mod collectors;
mod context;
mod sampling;
mod spans;

use http::{HeaderName, HeaderValue, Method, Request};
use tidegate_tests::{Collector, ConfigDir, Gateway, Origin, WEB, request};

/// A gateway in front of an origin, with a collector; `settings` are further ones of `tracing`.
async fn scene(collector: &Collector, settings: &str) -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address()).with("collector", collector.address());
    dir.write("gateway.yaml", &document(settings));
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

fn document(settings: &str) -> String {
    format!(
        "gateway:
  tracing: {{otlp: {{endpoint: 'http://{{collector}}'}}, schedule-delay: 10ms, {settings}}}
{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
routes: [{{id: all, path: /*, upstream: origin}}, {{id: user, path: '/users/{{id}}', upstream: origin}}]
"
    )
}

fn with(target: &str, fields: &[(&'static str, &str)]) -> Request<bytes::Bytes> {
    let mut request = request(Method::GET, target);
    for (name, value) in fields {
        request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    request
}

/// The `traceparent` of a client's span, in a trace whose id ends in `end`.
fn parent(end: u64, sampled: bool) -> String {
    format!("00-0af7651916cd43dd{end:016x}-b7ad6b7169203331-0{}", u8::from(sampled))
}
