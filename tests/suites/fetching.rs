//! Modules from `https://` addresses and registries: the layouts in use, signatures, and everything that goes wrong on the
//! way, over real sockets. What cannot be had refuses the change, and the old generation serves on.

use std::{io::Write, time::Duration};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use tidegate_tests::{
    Authority, ConfigDir, Gateway, Origin, WEB, base64,
    depot::{Depot, Manner, sha256},
    eventually, guests,
    tls::Front,
};

/// A gateway's directory, an origin, and a depot behind TLS.
struct Scene {
    depot: Depot,
    authority: Authority,
    front: Front,
    dir: ConfigDir,
    _origin: Origin,
}

const OCI: &str = "application/vnd.oci.image.config.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

impl Scene {
    async fn new() -> Self {
        let (depot, authority, origin) = (Depot::start().await, Authority::new(), Origin::start());
        let front = Front::start(depot.address, &authority.issue(&["127.0.0.1"]), None).await;
        let dir = ConfigDir::new().with("origin", origin.address()).with("depot", front.address);
        dir.write("ca.pem", &authority.pem);
        dir.write("local.wat", &guests::stamp(1));
        Self { depot, authority, front, dir, _origin: origin }
    }

    /// The gateway's documents, with this module in its one step, and these rules of who must have signed.
    fn write(&self, module: &str, signed_by: &str) {
        let text = format!(
            "{WEB}
gateway:
  modules:
    fetch-timeout: 2s
    tries-max: 3
    module-bytes-max: 64KiB
    hosts: {{'{{depot}}': {{ca: ca.pem}}}}
    signed-by: {signed_by}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware: {{stamp: {{module: {module}, config: {{}}}}}}
routes: [{{id: all, path: /*, middleware: [stamp], upstream: origin}}]
"
        );
        self.dir.write("gateway.yaml", &text);
    }

    /// How a file of the depot is named.
    fn https(&self, path: &str, hash: &str) -> String {
        format!("{{url: 'https://{}{path}', sha256: '{hash}'}}", self.front.address)
    }

    fn oci(&self, repository: &str, digest: &str) -> String {
        format!("'oci://{}/{repository}@sha256:{digest}'", self.front.address)
    }

    /// A gateway that serves a module of its own directory.
    async fn local(&self) -> Gateway {
        self.write("local.wat", "[]");
        Gateway::start(&self.dir).await
    }
}

async fn module_of(gateway: &Gateway) -> String {
    gateway.http1().await.get("/").await.echoed("x-module")[0].clone()
}

/// The one finding of an attempt that was refused.
fn refusal(attempt: &Value) -> (String, String) {
    assert_eq!(attempt["outcome"], "refused", "{attempt:#}");
    let errors: Vec<_> = attempt["diagnostics"].as_array().unwrap().iter().collect();
    assert_eq!(errors.len(), 1, "{attempt:#}");
    assert!(errors[0]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{attempt:#}");
    assert_eq!(errors[0]["at"]["line"], 11, "{attempt:#}");
    let text = |name: &str| errors[0][name].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

#[tokio::test]
async fn a_module_at_an_address_is_fetched_once_and_after_a_restart_nobody_is_asked() {
    let scene = Scene::new().await;
    let hash = scene.depot.put("/a.wasm", "application/wasm", guests::stamp(7).as_bytes());
    scene.write(&scene.https("/a.wasm", &hash), "[]");
    let state = scene.dir.beside("state");
    let gateway = Gateway::keeping(&scene.dir, &state).await.unwrap();
    assert_eq!(module_of(&gateway).await, "00000007");
    scene.dir.edit("gateway.yaml", "config: {}", "config: {edit: 2}");
    assert_eq!(gateway.apply().await, 2);
    assert_eq!(scene.depot.asked(), ["/a.wasm"]);
    assert_eq!(gateway.metric("tidegate_module_fetches_total", "outcome=\"fetched\"").await, 1.0);
    gateway.shutdown(Duration::from_secs(5)).await;

    scene.depot.answers("/a.wasm", Manner::Status(500));
    let again = Gateway::keeping(&scene.dir, &state).await.unwrap();
    assert_eq!(module_of(&again).await, "00000007");
    assert_eq!(again.metric("tidegate_module_fetches_total", "outcome=\"disk\"").await, 1.0);
    assert_eq!(scene.depot.asked(), ["/a.wasm"]);
    drop(again);

    // A file that is damaged is as good as none: then the depot is asked, which does not have it any more.
    let kept = state.join("fetched").join(&hash);
    std::fs::write(&kept, guests::stamp(8)).unwrap();
    let refused = Gateway::keeping(&scene.dir, &state).await.map(drop).unwrap_err();
    assert!(refused.contains("answers 500"), "{refused}");
    scene.depot.answers("/a.wasm", Manner::Whole);
    let mended = Gateway::keeping(&scene.dir, &state).await.unwrap();
    assert_eq!(module_of(&mended).await, "00000007");
}

#[tokio::test]
async fn a_module_is_taken_of_a_registry_in_every_layout_in_use() {
    let scene = Scene::new().await;
    scene.depot.guard(&format!("https://{}", scene.front.address), "robot", "hunter2");
    let gateway = scene.local().await;
    scene.dir.write("password", "hunter2\n");
    let stamps: Vec<_> = (0..8).map(|number| guests::stamp(100 + number).into_bytes()).collect();
    let tar = |number: usize, name: &str| gzip(&tar(&[(name, &stamps[number])]));
    let (istio, plain) = (tar(3, "plugin.wasm"), tar(5, "./app.wasm"));
    let push = |config: &str, layers: &[(&str, &[u8])]| scene.depot.push("team/plugin", config, layers);
    let list = {
        let inner = push(OCI, &[(GZIP, &tar(6, "plugin.wasm"))]);
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {"digest": format!("sha256:{}", sha256(b"attested")), "platform": {"os": "unknown", "architecture": "unknown"}},
                {"digest": format!("sha256:{inner}"), "platform": {"os": "linux", "architecture": "amd64"}},
            ],
        });
        scene.depot.manifest("team/plugin", None, &index)
    };
    let cases = [
        ("of the CNCF", 0, push("application/vnd.wasm.config.v0+json", &[("application/wasm", &stamps[0])])),
        (
            "of wasm-to-oci",
            1,
            push("application/vnd.wasm.config.v1+json", &[("application/vnd.wasm.content.layer.v1+wasm", &stamps[1])]),
        ),
        (
            "of Envoy's artifact",
            2,
            push(
                "application/vnd.module.wasm.config.v1+json",
                &[("application/vnd.module.wasm.content.layer.v1+wasm", &stamps[2])],
            ),
        ),
        ("of Istio's image", 3, push(OCI, &[("application/vnd.docker.image.rootfs.diff.tar.gzip", &istio)])),
        (
            "of Higress",
            4,
            push(
                OCI,
                &[
                    ("application/vnd.module.wasm.spec.v1+yaml", b"name: a"),
                    ("application/vnd.module.wasm.doc.v1+markdown", b"# a"),
                    (GZIP, &tar(4, "plugin.wasm")),
                ],
            ),
        ),
        ("of an image with one module", 5, push(OCI, &[(GZIP, &plain)])),
        ("of a list of images", 6, list),
    ];
    for (layout, number, digest) in &cases {
        scene.write(&scene.oci("team/plugin", digest), "[]");
        let without = refusal(&gateway.reload().await);
        assert!(without.1.contains("401") && without.1.contains("without credentials"), "{layout}: {without:?}");
        scene.dir.edit("gateway.yaml", "{ca: ca.pem}", "{ca: ca.pem, username: robot, password: '${file:password}'}");
        gateway.apply().await;
        assert_eq!(module_of(&gateway).await, format!("{:08}", 100 + number), "{layout}");
    }
    let (_, _, first) = &cases[0];
    scene.write(&scene.oci("team/plugin", first), "[]");
    scene.dir.edit("gateway.yaml", "{ca: ca.pem}", "{ca: ca.pem, username: robot, password: wrong}");
    let drained = refused_or_served(&gateway.reload().await);
    assert!(drained.is_none_or(|message| message.contains("`robot`")), "a wrong password is said to be wrong");
}

// What was fetched a moment ago is still in memory.
fn refused_or_served(attempt: &Value) -> Option<String> {
    (attempt["outcome"] == "refused").then(|| refusal(attempt).1)
}

#[tokio::test]
async fn credentials_are_taken_as_docker_writes_them() {
    let scene = Scene::new().await;
    scene.depot.guard(&format!("https://{}", scene.front.address), "robot", "hunter2");
    let digest = scene.depot.push("plugin", OCI, &[("application/wasm", guests::stamp(9).as_bytes())]);
    let auth = base64::encode(b"robot:hunter2");
    let config = json!({"auths": {scene.front.address.to_string(): {"auth": auth}, "ghcr.io": {}}});
    scene.dir.write("docker-login", &config.to_string());
    scene.write(&scene.oci("plugin", &digest), "[]");
    scene.dir.edit("gateway.yaml", "    tries-max: 3", "    docker-config: docker-login");
    let gateway = Gateway::start(&scene.dir).await;
    assert_eq!(module_of(&gateway).await, "00000009");
    let status = gateway.status().await;
    let warning = &status["last_attempt"]["diagnostics"][0];
    assert_eq!((&warning["severity"], &warning["code"]), (&"warning".into(), &"no-credentials".into()), "{status:#}");
}

#[tokio::test]
async fn plain_http_is_spoken_to_a_registry_on_loopback_where_that_is_asked_for() {
    let scene = Scene::new().await;
    let address = scene.depot.address;
    let digest = scene.depot.push("plugin", OCI, &[("application/wasm", guests::stamp(9).as_bytes())]);
    scene.write(&format!("'oci://{address}/plugin@sha256:{digest}'"), "[]");
    let refused = Gateway::try_start(&scene.dir).await.map(drop).unwrap_err();
    assert!(refused.contains("module-fetch") && refused.contains(&address.to_string()), "{refused}");
    scene.dir.edit("gateway.yaml", "{ca: ca.pem}", &format!("{{ca: ca.pem}}, '{address}': {{plain-http: true}}"));
    let gateway = Gateway::start(&scene.dir).await;
    assert_eq!(module_of(&gateway).await, "00000009");
}

/// What goes wrong with a file: a name, how the depot is prepared, the hash that is asked for if it is not the right one,
/// and what the finding says.
type Failure = (&'static str, fn(&Depot), Option<&'static str>, &'static str);

const FAILURES: [Failure; 9] = [
    ("it is not there", |depot| depot.answers("/a.wasm", Manner::Status(404)), None, "nothing at this address"),
    ("nobody may read it", |depot| depot.answers("/a.wasm", Manner::Status(403)), None, "answers 403"),
    ("it is another file", |_| {}, Some("00"), "hashes to"),
    ("it is too large", |depot| drop(depot.put("/a.wasm", "", &[b'x'; 70_000])), None, "70000 bytes"),
    ("there is no answer", |depot| depot.answers("/a.wasm", Manner::Hang), None, "within 2000 ms"),
    ("the answer breaks off", |depot| depot.answers("/a.wasm", Manner::Cut), None, "broke off"),
    ("the server is ill", |depot| depot.answers("/a.wasm", Manner::Status(503)), None, "answers 503"),
    (
        "it leads round in circles",
        |depot| depot.answers("/a.wasm", Manner::Elsewhere("/a.wasm")),
        None,
        "redirects too often",
    ),
    (
        "it leads to plain HTTP",
        |depot| depot.answers("/a.wasm", Manner::Elsewhere("http://127.0.0.1:1/a.wasm")),
        None,
        "redirects to plain HTTP",
    ),
];

#[tokio::test]
async fn whatever_goes_wrong_refuses_the_change_and_names_who_is_to_blame() {
    for (what, prepare, hash, words) in FAILURES {
        let scene = Scene::new().await;
        let gateway = scene.local().await;
        let right = scene.depot.put("/a.wasm", "application/wasm", guests::stamp(7).as_bytes());
        prepare(&scene.depot);
        let hash = hash.map_or(right, |digits| digits.repeat(32));
        scene.write(&scene.https("/a.wasm", &hash), "[]");
        let (code, message) = refusal(&gateway.reload().await);
        assert_eq!(code, "module-fetch", "{what}: {message}");
        assert!(message.contains(words), "{what}: `{words}` in {message}");
        assert!(message.contains(&scene.front.address.to_string()), "{what}: {message}");
        assert_eq!(module_of(&gateway).await, "00000001", "{what}");
        assert_eq!(gateway.status().await["generation"], 1, "{what}");
    }
}

#[tokio::test]
async fn what_passes_by_itself_is_waited_for() {
    let scene = Scene::new().await;
    let gateway = scene.local().await;
    let hash = scene.depot.put("/a.wasm", "application/wasm", guests::stamp(7).as_bytes());
    scene.depot.answers("/a.wasm", Manner::Failing(2));
    scene.write(&scene.https("/a.wasm", &hash), "[]");
    gateway.apply().await;
    assert_eq!(scene.depot.asked().len(), 3);

    // Longer than all tries: the change is refused, and made by itself later.
    let hash = scene.depot.put("/b.wasm", "application/wasm", guests::stamp(8).as_bytes());
    scene.depot.answers("/b.wasm", Manner::Failing(4));
    scene.write(&scene.https("/b.wasm", &hash), "[]");
    assert!(refusal(&gateway.reload().await).1.contains("503"));
    let what = "the change is made when the depot is well again";
    eventually(what, Duration::from_secs(20), async || (module_of(&gateway).await == "00000008").then_some(())).await;
    assert_eq!(gateway.status().await["last_attempt"]["trigger"], "retry");
}

#[tokio::test]
async fn a_certificate_that_is_not_to_be_trusted_is_said_so() {
    let scene = Scene::new().await;
    let gateway = scene.local().await;
    let (hash, stranger) = (scene.depot.put("/a.wasm", "", guests::stamp(7).as_bytes()), Authority::new());
    for (issued, words) in [
        (scene.authority.expired(&["127.0.0.1"]), "expired"),
        (scene.authority.issue(&["another.example"]), "not valid for name"),
        (stranger.issue(&["127.0.0.1"]), "invalid peer certificate"),
    ] {
        let front = Front::start(scene.depot.address, &issued, None).await;
        scene.write(&format!("{{url: 'https://{}/a.wasm', sha256: '{hash}'}}", front.address), "[]");
        scene.dir.edit("gateway.yaml", &scene.front.address.to_string(), &front.address.to_string());
        let (code, message) = refusal(&gateway.reload().await);
        assert_eq!(code, "module-fetch");
        let named = message.contains("the certificate of") && message.contains(&front.address.to_string());
        assert!(named && message.contains(words), "`{words}` in {message}");
    }
    assert!(scene.depot.asked().is_empty());
}

#[tokio::test]
async fn a_registry_that_does_not_hold_what_it_should_is_told_from_one_that_is_down() {
    let scene = Scene::new().await;
    let gateway = scene.local().await;
    let depot = &scene.depot;
    let text = depot.push("plugin", OCI, &[("text/plain", b"hello")]);
    let empty = depot.push("plugin", OCI, &[(GZIP, &gzip(&tar(&[("readme.md", b"#")])))]);
    let large = depot.push("plugin", OCI, &[("application/wasm", &[b'x'; 70_000])]);
    let bomb = depot.push("plugin", OCI, &[(GZIP, &gzip(&vec![0; 4 << 20]))]);
    let old = json!({"mediaType": "application/vnd.docker.distribution.manifest.v1+json"});
    let old = depot.manifest("plugin", None, &old);
    let swapped = depot.push("plugin", OCI, &[("application/wasm", guests::stamp(5).as_bytes())]);
    let blob = sha256(guests::stamp(5).as_bytes());
    depot.put(&format!("/v2/plugin/blobs/sha256:{blob}"), "", guests::stamp(6).as_bytes());
    let gone = sha256(b"gone");
    for (what, digest, words) in [
        ("layers of another type", &text, "`text/plain`"),
        ("an image without a module", &empty, "no `plugin.wasm`"),
        ("a layer that is too large", &large, "70000 bytes"),
        ("a layer that unpacks to too much", &bomb, "unpacks to more than"),
        ("a manifest of another type", &old, "manifest.v1+json"),
        ("a layer that was changed", &swapped, "serves a layer that hashes to"),
        ("no such image", &gone, "404"),
    ] {
        scene.write(&scene.oci("plugin", digest), "[]");
        let (code, message) = refusal(&gateway.reload().await);
        assert_eq!(code, "module-fetch", "{what}: {message}");
        assert!(message.contains(words), "{what}: `{words}` in {message}");
    }
    assert_eq!(module_of(&gateway).await, "00000001");
}

/// PEM of a public key, with what stands before such a key (RFC 8410, RFC 5480).
fn public(prefix: &[u8], key: &[u8]) -> String {
    let der = base64::encode(&[prefix, key].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
}

const OF_ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const OF_P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

#[tokio::test]
async fn a_rule_asks_for_signatures_over_files_and_addresses() {
    let scene = Scene::new().await;
    let gateway = scene.local().await;
    let (team, other) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
    scene.dir.write("team.pub", &public(OF_ED25519, team.public_key().as_ref()));
    let module = guests::stamp(7);
    let hash = scene.depot.put("/a.wasm", "application/wasm", module.as_bytes());
    let (signature, wrong) = (team.sign(module.as_bytes()), other.sign(module.as_bytes()));
    let rule = "[{keys: [team.pub]}]";
    let refused = async |module: &str, words: &str| {
        scene.write(module, rule);
        let (code, message) = refusal(&gateway.reload().await);
        assert_eq!(code, "module-signature", "{message}");
        assert!(message.contains(words), "`{words}` in {message}");
    };
    let address = scene.https("/a.wasm", &hash);
    refused(&address, "there is none at").await;
    scene.depot.put("/a.wasm.sig", "", wrong.as_ref());
    refused(&address, "is not one over this module").await;
    scene.depot.put("/a.wasm.sig", "", signature.as_ref());
    scene.write(&address, rule);
    gateway.apply().await;
    assert_eq!(module_of(&gateway).await, "00000007");

    // The same of a file of the configuration.
    scene.dir.write("b.wat", &guests::stamp(8));
    refused("b.wat", "none is named").await;
    scene.dir.write("b.sig", &base64::encode(signature.as_ref()));
    refused("{path: b.wat, signature: b.sig}", "is not one over this module").await;
    scene.dir.write("b.sig", &format!("{}\n", base64::encode(team.sign(guests::stamp(8).as_bytes()).as_ref())));
    scene.write("{path: b.wat, signature: b.sig}", rule);
    gateway.apply().await;
    assert_eq!(module_of(&gateway).await, "00000008");

    // The first rule that is about a module holds.
    scene.dir.write("c.wat", &guests::stamp(9));
    scene.write("c.wat", "[{from: c.wat, keys: []}, {keys: [team.pub]}]");
    gateway.apply().await;
    assert_eq!(module_of(&gateway).await, "00000009");
}

#[tokio::test]
async fn what_cosign_signed_is_taken_and_nothing_else_and_a_restart_needs_no_registry() {
    let scene = Scene::new().await;
    let gateway = scene.local().await;
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    scene.dir.write("cosign.pub", &public(OF_P256, pair.public_key().as_ref()));
    let digest = scene.depot.push("team/a", OCI, &[("application/wasm", guests::stamp(7).as_bytes())]);
    let rule = format!("[{{from: 'oci://{}/team', keys: [cosign.pub]}}]", scene.front.address);
    scene.write(&scene.oci("team/a", &digest), &rule);
    assert!(refusal(&gateway.reload().await).1.contains("has none beside it"));
    let sign = |signed: &str, by: &EcdsaKeyPair| {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": "r.example/team/a"},
                "image": {"docker-manifest-digest": format!("sha256:{signed}")},
                "type": "cosign container image signature",
            },
            "optional": {},
        });
        let payload = payload.to_string();
        let signature = by.sign(&SystemRandom::new(), payload.as_bytes()).unwrap();
        let kind = "application/vnd.dev.cosign.simplesigning.v1+json";
        let mut layer = scene.depot.blob("team/a", kind, payload.as_bytes());
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": base64::encode(signature.as_ref())});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "layers": [layer],
        });
        scene.depot.manifest("team/a", Some(&format!("sha256-{digest}.sig")), &manifest);
    };
    sign(&digest, &other);
    assert!(refusal(&gateway.reload().await).1.contains("none of the signatures"));
    sign(&sha256(b"another image"), &pair);
    assert!(refusal(&gateway.reload().await).1.contains("over another image"));
    sign(&digest, &pair);
    let state = scene.dir.beside("state");
    let kept = Gateway::keeping(&scene.dir, &state).await.unwrap();
    assert_eq!(module_of(&kept).await, "00000007");
    drop(kept);
    let asked = scene.depot.asked().len();
    let again = Gateway::keeping(&scene.dir, &state).await.unwrap();
    assert_eq!((module_of(&again).await.as_str(), scene.depot.asked().len()), ("00000007", asked));
}

#[tokio::test]
async fn a_check_fetches_as_a_start_does() {
    let scene = Scene::new().await;
    let hash = scene.depot.put("/a.wasm", "application/wasm", guests::stamp(7).as_bytes());
    scene.write(&scene.https("/a.wasm", &hash), "[]");
    let path = scene.dir.path().display().to_string();
    let check = async || {
        let path = path.clone();
        tokio::task::spawn_blocking(move || tidegate_tests::tidegate(&["check", "--config", &path])).await.unwrap()
    };
    let good = check().await;
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    scene.depot.answers("/a.wasm", Manner::Status(404));
    let bad = check().await;
    let said = format!("{}{}", String::from_utf8_lossy(&bad.stdout), String::from_utf8_lossy(&bad.stderr));
    assert_eq!(bad.status.code(), Some(1), "{said}");
    assert!(said.contains("module-fetch") && said.contains("gateway.yaml:11"), "{said}");
}

/// A tar archive of these files.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        let mut block = [0u8; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[148..156].fill(b' ');
        block[156] = b'0';
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend_from_slice(&block);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}
