//! The same small plugin in every language of `examples/plugins` does the same. The one in Rust always; those that
//! `scripts/languages.sh` built where `TIDEGATE_LANGUAGES` names its folder (`make test-languages`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use tidegate_tests::{ConfigDir, Gateway, Origin, WEB, request};

const BUILT: [&str; 4] = ["c", "go", "javascript", "python"];

fn modules() -> Vec<PathBuf> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("plugins/dist/hello.wasm");
    let others = std::env::var_os("TIDEGATE_LANGUAGES").map(PathBuf::from);
    let others = others.into_iter().flat_map(|folder| BUILT.map(|name| folder.join(format!("{name}.wasm"))));
    std::iter::once(dist).chain(others).collect()
}

#[tokio::test]
async fn a_component_of_wasi_http_is_the_same_in_every_language() {
    let Some(folder) = std::env::var_os("TIDEGATE_LANGUAGES").map(PathBuf::from) else { return };
    let origin = Origin::start();
    for name in ["javascript", "python"] {
        let dir = ConfigDir::new().with("origin", origin.address());
        dir.write_bytes("app.wasm", &fs::read(folder.join(format!("wasi-http-{name}.wasm"))).unwrap());
        dir.write(
            "gateway.yaml",
            &format!(
                "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware: {{app: {{module: app.wasm, limits: {{memory-bytes-max: 128MiB, call-timeout: 10s, exchange-timeout: 20s}}}}}}
routes: [{{id: all, path: /*, middleware: [app], upstream: origin}}]
"
            ),
        );
        let gateway = Gateway::start(&dir).await;
        let mut client = gateway.http1().await;
        let hello = client.get("/hello").await;
        assert_eq!((hello.text().as_str(), hello.header("x-by")), ("hello", "wasi-http"), "{name}");
        let mut asked = request(http::Method::POST, "/echo");
        *asked.body_mut() = vec![b'x'; 100_000].into();
        assert_eq!(client.send(asked).await.body.len(), 100_000, "{name}");
        let passed = client.get("/other").await;
        assert_eq!((passed.header("x-by"), passed.echoed("x-passed")), ("wasi-http", vec!["yes".into()]), "{name}");
        gateway.shutdown(std::time::Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn a_plugin_is_the_same_in_every_language() {
    let origin = Origin::start();
    for module in modules() {
        let name = module.display();
        let bytes = fs::read(&module).unwrap_or_else(|error| panic!("{name}: {error} (make plugins)"));
        let dir = ConfigDir::new().with("origin", origin.address());
        dir.write_bytes("hello.wasm", &bytes);
        dir.write(
            "gateway.yaml",
            &format!(
                "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware: {{hello: {{module: hello.wasm, config: {{greeting: Hello}}}}}}
routes: [{{id: all, path: /*, middleware: [hello], upstream: origin}}]
"
            ),
        );
        let gateway = Gateway::start(&dir).await;
        let mut client = gateway.http1().await;
        for (who, expected) in [(None, "Hello, stranger"), (Some("Ada"), "Hello, Ada"), (None, "Hello, stranger")] {
            let mut asked = request(http::Method::GET, "http://any.test/");
            if let Some(who) = who {
                asked.headers_mut().insert("x-name", who.parse().unwrap());
            }
            assert_eq!(client.send(asked).await.echoed("x-greeting"), [expected], "{name}");
        }
        dir.edit("gateway.yaml", "greeting: Hello", "greeting: ''");
        let refused = gateway.reload().await;
        let found = &refused["diagnostics"][0];
        assert_eq!((refused["outcome"].as_str(), found["code"].as_str()), (Some("refused"), Some("plugin-config")));
        assert!(found["message"].as_str().unwrap().contains("/greeting"), "{name}: {found}");
        assert_eq!(client.get("/").await.status, 200, "{name}");
        gateway.shutdown(std::time::Duration::from_secs(5)).await;
    }
}
