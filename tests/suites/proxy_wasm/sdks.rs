//! Guests that were built against the SDKs of Proxy-Wasm, in several languages, all of which do the same; and plugins that
//! others publish, as they are. `make test-languages` builds and fetches them, and runs this.

use std::{
    fs,
    path::{Path, PathBuf},
};

use http::Method;
use tidegate_tests::{ConfigDir, Gateway, Origin, WEB, request};

// Nothing where nobody built them.
fn folder() -> Option<PathBuf> {
    std::env::var_os("TIDEGATE_PROXY_WASM").map(PathBuf::from)
}

fn built(folder: &Path, name: &str) -> Vec<u8> {
    let path = folder.join(format!("{name}.wasm"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn scene(folder: &Path, name: &str, settings: &str) -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write_bytes("guest.wasm", &built(folder, name));
    let yaml = format!(
        "{WEB}
upstreams:
  origin: {{endpoints: ['{{origin}}']}}
  auth: {{endpoints: ['{{origin}}']}}
middleware:
  plugin: {{module: guest.wasm, limits: {{memory-bytes-max: 256MiB}}{settings}}}
routes: [{{id: all, path: /*, middleware: [plugin], upstream: origin}}]
"
    );
    dir.write("gateway.yaml", &yaml);
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

const GUEST: &str = ", config: Hello, grants: {upstreams: [auth]}, proxy-wasm: {root-id: guest}";

/// What every guest of ours does; `replaces` bodies, where its SDK has a way.
async fn behaves(name: &str, replaces: bool) {
    let Some(folder) = folder() else { return };
    let (origin, dir, gateway) = scene(&folder, name, GUEST).await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for (who, expected) in [(None, "Hello, stranger"), (Some("Ada"), "Hello, Ada")] {
            let mut asked = request(Method::GET, "/");
            asked.headers_mut().insert("x-secret", "s".parse().unwrap());
            if let Some(who) = who {
                asked.headers_mut().insert("x-name", who.parse().unwrap());
            }
            let answer = client.send(asked).await;
            assert_eq!(
                (answer.echoed("x-greeting"), answer.header("powered-by")),
                (vec![expected.into()], "proxy-wasm")
            );
            assert!(answer.echoed("x-secret").is_empty());
            let fields: usize = answer.echoed("x-fields").concat().parse().unwrap();
            assert!(fields > 4, "the four pseudo-fields, and others: {fields}");
        }
        let denied = client.get("/deny").await;
        assert_eq!((denied.status.as_u16(), &denied.body[..]), (403, &b"Access forbidden.\n"[..]));
        assert_eq!(denied.header("powered-by"), "proxy-wasm");
        let before = origin.requests();
        assert_eq!(client.get("/call").await.echoed("x-asked"), ["200"]);
        assert_eq!(origin.requests(), before + 2);
        if replaces {
            assert_eq!(&client.get("/body").await.body[..], b"Hello!");
        }
    }
    // The SDK for AssemblyScript does not bear an empty configuration.
    if name == "assemblyscript" {
        return;
    }
    dir.edit("gateway.yaml", "config: Hello", "config: ''");
    let refused = gateway.reload().await;
    assert_eq!(refused["diagnostics"][0]["code"], "plugin-config", "{refused}");
    assert_eq!(gateway.http1().await.get("/").await.status, 200);
}

#[tokio::test]
async fn guests_of_the_newest_sdk_for_rust() {
    behaves("rust", true).await;
}

#[tokio::test]
async fn guests_of_the_first_sdk_for_rust() {
    behaves("rust-0.1", false).await;
}

#[tokio::test]
async fn guests_in_go() {
    behaves("go", true).await;
}

#[tokio::test]
async fn guests_in_c() {
    behaves("c", true).await;
}

#[tokio::test]
async fn guests_in_assemblyscript() {
    behaves("assemblyscript", false).await;
}

/// Plugins of Higress, in Go and Rust, with a configuration, and a field that they set in the request's head, if they do.
const PUBLISHED: [(&str, &str, &str); 8] = [
    ("ai-data-masking", "{deny_words: [bad], deny_openai: false, deny_raw: true}", ""),
    ("ai-statistics", "{attributes: [], enable: false}", ""),
    ("gpustack-ai-proxy", "{provider: {type: openai, apiTokens: [token]}}", "authorization: Bearer token"),
    ("gpustack-ext-auth", EXT_AUTH, ""),
    ("gpustack-generic-proxy-router", "{}", ""),
    ("gpustack-ip-acl", "{}", ""),
    ("gpustack-lb-decision-service", "{}", ""),
    ("gpustack-lb-least-load", "{}", ""),
];

const EXT_AUTH: &str = "{http_service: {endpoint_mode: forward_auth, \
  endpoint: {service_name: auth.static, path: /, request_method: GET}}}";

#[tokio::test]
async fn plugins_of_higress_are_loaded_and_serve_as_they_are() {
    let Some(folder) = folder() else { return };
    for (name, config, field) in PUBLISHED {
        let settings = format!(", config: {config}");
        let (_origin, _dir, gateway) = scene(&folder, &format!("published/{name}"), &settings).await;
        let answer = gateway.http1().await.get("/").await;
        assert_eq!(answer.status, 200, "{name}: {:?}", answer.body);
        if let Some((field, value)) = field.split_once(": ") {
            assert_eq!(answer.echoed(field), [value], "{name}: {:?}", answer.body);
        }
        gateway.shutdown(std::time::Duration::from_secs(5)).await;
    }
}
