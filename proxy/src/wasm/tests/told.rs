//! What the upstream is told of the client (`X-Forwarded-For`, `Via`, ...): put among a request's fields for a plugin that asks for
//! it or changes fields, and for no other.

use super::*;
use crate::exchange::Told;

fn saying(name: &'static str) -> Rc<Told> {
    Rc::new(Told::new([(http::HeaderName::from_static(name), HeaderValue::from_static("told"))]))
}

#[test]
fn a_plugin_sees_it_whenever_it_looks() {
    on_worker(async {
        let bench = Bench::new();
        // What the plugin does, what is told, and whether it is among the fields then.
        let cases = [
            ("looks at nothing", guest!("noop"), "forwarded", false),
            ("reads another field", guest!("keep"), "forwarded", false),
            ("reads that field", guest!("keep"), "x-in", true),
            ("sets another field", guest!("header"), "forwarded", true),
            ("sets another field, and fails", guest!("error"), "forwarded", false),
        ];
        for (does, text, name, spelled_out) in cases {
            let open = |spec: &mut spec::Plugin| spec.on_failure = FailurePolicy::Open;
            let plugin = bench.plugin("plugin", text, open).await;
            assert!(chain(&[&plugin]).takes_told());
            let request = bench.get(&[]);
            request.exchange.told.replace(Some(saying(name)));
            let got = bench.send(&[&plugin], request).await;
            assert_eq!(got.status, StatusCode::OK, "{does}");
            let was = [format!("was-{name}"), "was-traceparent".to_owned()].map(|name| got.headers.contains_key(name));
            let left = got.exchange.told.borrow().is_some();
            assert_eq!((was, left), ([spelled_out; 2], !spelled_out), "{does}");
            if name == "x-in" {
                assert_eq!(got.header("x-out"), Some("told"), "{does}");
            }
        }
    });
}
