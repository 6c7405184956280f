//! How a case is played: its manifests beside those of `base.yaml`, one origin a name, and its lines.
//!
//! `# ask [PORT] METHOD URL[; field: value]… => STATUS [ORIGIN][; expectation]…`, or `grpc://…` for a call and `grpc N` for its
//! status; `PORT` is the Gateway's (80, or 443 for
//! `https`). An `sni: NAME` among the fields is the name that TLS is asked for. Expectations: `target TARGET` and
//! `saw FIELD: VALUE` of what the origin saw, `unseen FIELD`; `has FIELD: VALUE` and `without FIELD` of the answer;
//! `body TEXT`. Of TLS: see `Stage`.
//! `# unheard PORT` expects that nothing listens on the port. `# warns NAME: TEXT` expects a warning about the object of that name.

use std::{collections::BTreeMap, fs, path::Path};

use http::{HeaderName, HeaderValue, Method, header};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};
use tidegate_tests::{
    Answer, Authority, Client, ConfigDir, Gateway, Origin, Tls, TlsOptions,
    authz::Authz,
    base64,
    http2::Origin2,
    request,
    tls::{Front, Issued, Kind},
};

/// A case that is set up.
pub(super) struct Stage {
    pub(super) gateway: Gateway,
    pub(super) dir: ConfigDir,
    pub(super) origins: BTreeMap<&'static str, Origin>,
    /// Those that speak HTTP/2 and nothing else.
    pub(super) http2_origins: BTreeMap<&'static str, Origin2>,
    /// Who signed the gateway's certificate, and that of `front` and `asking`.
    pub(super) authority: Authority,
    /// Signs for nobody here: `{other-ca}`.
    pub(super) other: Authority,
    /// TLS before `v1`, for `abc.example.com` and `spiffe://abc.example.com/test-identity`: `{tls}`.
    pub(super) front: Front,
    /// The same, which asks for certificates: `{tls-asking}`.
    pub(super) asking: Front,
    /// Decides who may pass, by gRPC: `{check}`.
    pub(super) authz: Authz,
    text: String,
}

const ORIGINS: [&str; 5] = ["v1", "v2", "v3", "app", "web"];
const HTTP2_ORIGINS: [&str; 3] = ["g1", "g2", "g3"];

/// Sets the case up and asks everything that its lines ask.
pub(super) async fn play(name: &str) {
    Stage::set(name).await.ask_all().await;
}

impl Stage {
    /// A gateway that serves the manifests of a case.
    pub(super) async fn set(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tables/gateway-api");
        let read = |name: &str| {
            let path = folder.join(format!("{name}.yaml"));
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let (base, text) = (read("base"), read(name));
        let authority = Authority::new();
        let mut dir = ConfigDir::new();
        let mut origins = BTreeMap::new();
        for origin in ORIGINS {
            let started = Origin::named(origin);
            dir.name(origin, started.address().port());
            origins.insert(origin, started);
        }
        let mut http2_origins = BTreeMap::new();
        for origin in HTTP2_ORIGINS {
            let started = Origin2::start().await;
            dir.name(origin, started.address.port());
            http2_origins.insert(origin, started);
        }
        let issued =
            authority.issue(&["example.org", "second-example.org", "unknown-example.org", "*.wildcard.org", "a.test"]);
        dir.name("certificate", base64::encode(issued.pem.as_bytes()));
        dir.name("key", base64::encode(issued.key.as_bytes()));
        let other = Authority::new();
        for (name, authority) in [("ca", &authority), ("other-ca", &other)] {
            dir.name(name, serde_json::Value::from(&*authority.pem));
        }
        let shown = fronted(&authority);
        let front = Front::start(origins["v1"].address(), &shown, None).await;
        let asking = Front::start(origins["v1"].address(), &shown, Some(&authority)).await;
        let authz = Authz::start().await;
        dir.name("check", authz.address.port());
        dir.name("tls", front.address.port());
        dir.name("tls-asking", asking.address.port());
        dir.write("base.yaml", &base);
        dir.write("case.yaml", &text);
        let gateway = Gateway::start(&dir).await;
        let stage = Self { gateway, dir, origins, http2_origins, authority, other, front, asking, authz, text };
        stage.warnings().await;
        stage
    }

    /// Asks what the lines ask.
    pub(super) async fn ask_all(&self) {
        let asks: Vec<_> = self.text.lines().filter_map(|line| line.strip_prefix("# ask ")).collect();
        assert!(!asks.is_empty(), "the case asks nothing");
        for ask in asks {
            self.ask(ask).await;
        }
        let shown = self.gateway.ask(Method::GET, "/-/config").await.text();
        for port in self.text.lines().filter_map(|line| line.strip_prefix("# unheard ")) {
            assert!(!shown.contains(&format!("gateway-{port}")), "{port} is listened on");
        }
    }

    // Each warning that is expected is there.
    async fn warnings(&self) {
        let status = self.gateway.status().await;
        let all = status["last_attempt"]["diagnostics"].to_string();
        for expected in self.text.lines().filter_map(|line| line.strip_prefix("# warns ")) {
            let (object, text) = expected.split_once(": ").unwrap();
            let said = status["last_attempt"]["diagnostics"].as_array().unwrap().iter().any(|found| {
                let message = found["message"].as_str().unwrap();
                message.contains(&format!("/{object}`")) && message.contains(text)
            });
            assert!(said, "nothing warns of {expected}: {all}");
        }
    }

    /// Asks what one line asks.
    pub(super) async fn ask(&self, line: &str) {
        let (asked, expected) = line.split_once(" => ").unwrap();
        let answer = self.send(asked).await;
        check(&answer, expected, line);
    }

    /// The answer to what stands before `=>` in a line.
    pub(super) async fn send(&self, asked: &str) -> Answer {
        let mut parts = asked.split("; ");
        let mut words = parts.next().unwrap().split(' ').peekable();
        let port = words.next_if(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        let first = words.next().unwrap();
        let call = first.strip_prefix("grpc");
        let (method, url) = match call {
            Some(rest) => ("POST", format!("http{rest}")),
            None => (first, words.next().unwrap().to_owned()),
        };
        let mut head = request(method.parse::<Method>().unwrap(), &url);
        if call.is_some() {
            head.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            head.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        }
        let mut sni = head.uri().host().unwrap().to_owned();
        for (name, value) in parts.map(|part| part.split_once(": ").unwrap()) {
            if name == "sni" {
                sni = value.to_owned();
            } else {
                head.headers_mut().append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
            }
        }
        let secure = head.uri().scheme_str() == Some("https");
        let port = port.unwrap_or(if secure { "443" } else { "80" });
        let address = self.gateway.listener(&format!("gateway-{port}"));
        let mut client = if secure {
            let tls = Tls::with(&self.authority, &TlsOptions { alpn: &["http/1.1"], ..TlsOptions::default() });
            Client::over(tls.connect(address, &sni).await.unwrap(), false).await
        } else if call.is_some() {
            Client::http2(address).await
        } else {
            Client::http1(address).await
        };
        client.send(head).await
    }

    /// A client of port 80 over HTTP/2.
    pub(super) async fn http2(&self) -> Client {
        Client::http2(self.gateway.listener("gateway-80")).await
    }
}

fn fronted(authority: &Authority) -> Issued {
    let mut params = CertificateParams::new(["abc.example.com".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("spiffe://abc.example.com/test-identity".try_into().unwrap()));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    authority.sign(params, Kind::Ecdsa)
}

/// The status of a call: what it says, or what a client makes of the HTTP status (gRPC, "HTTP to gRPC status code mapping").
fn grpc_status(answer: &Answer) -> u16 {
    let said = [&answer.headers, &answer.trailers].into_iter().find_map(|fields| fields.get("grpc-status"));
    said.map_or_else(
        || match answer.status.as_u16() {
            404 => 12,
            429 | 502..=504 => 14,
            _ => 2,
        },
        |status| status.to_str().unwrap().parse().unwrap(),
    )
}

fn check(answer: &Answer, expected: &str, line: &str) {
    let mut parts = expected.split("; ");
    let mut words = parts.next().unwrap().split(' ');
    let first = words.next().unwrap();
    if first == "grpc" {
        assert_eq!(grpc_status(answer).to_string(), words.next().unwrap(), "{line}: {:?}", answer.headers);
        return;
    }
    let status: u16 = first.parse().unwrap();
    assert_eq!(answer.status.as_u16(), status, "{line}: {}", answer.text());
    if let Some(origin) = words.next() {
        assert_eq!(answer.echo()["origin"], origin, "{line}");
    }
    for part in parts {
        let (word, rest) = part.split_once(' ').unwrap();
        let pair = rest.split_once(": ").unwrap_or((rest, ""));
        let joined = |values: Vec<String>| values.join(",");
        let own = || answer.headers.get_all(pair.0).iter().map(|value| value.to_str().unwrap().to_owned()).collect();
        match word {
            "target" => assert_eq!(answer.echo()["target"], rest, "{line}"),
            "saw" => assert_eq!(joined(answer.echoed(pair.0)), pair.1, "{line}: {}", answer.text()),
            "unseen" => assert_eq!(answer.echoed(rest), Vec::<String>::new(), "{line}"),
            "has" => assert_eq!(joined(own()), pair.1, "{line}: {:?}", answer.headers),
            "without" => assert!(!answer.headers.contains_key(rest), "{line}: {:?}", answer.headers),
            "body" => assert_eq!(answer.text(), rest, "{line}"),
            "location" => assert_eq!(answer.header(header::LOCATION.as_str()), rest, "{line}"),
            _ => panic!("`{word}` expects nothing: {line}"),
        }
    }
}
