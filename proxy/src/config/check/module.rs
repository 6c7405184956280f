//! Checks how modules are named: paths, addresses with a hash, references by digest, signatures. Fetches nothing.

use std::sync::Arc;

use super::{scope::Scope, tls};
use crate::{
    config::{
        node::Pos,
        raw::{self, Field, ModuleForm},
        spec::{ModuleTerms, Remote, Signature},
    },
    identity::Identity,
};

/// A module: its name, by which it is found and said, and how it comes to be there.
pub(super) fn module(scope: &mut Scope<'_>, form: ModuleForm, pos: Pos) -> Option<(Arc<str>, ModuleTerms)> {
    match form {
        ModuleForm::Text(text) if text.contains("://") => remote(scope, &text, pos, None, None),
        ModuleForm::Text(text) => Some((path(scope, &text, pos)?, ModuleTerms::default())),
        ModuleForm::Map(raw) => {
            let raw::Module { path: file, url, sha256, signature } = *raw;
            let signature = self::signature(scope, signature);
            match (file.spot(), url.spot()) {
                (Some((text, at)), None) => {
                    if let Some(pos) = sha256.pos() {
                        let message = "`sha256` goes with a `url`: a file of the configuration is taken as it is";
                        scope.error("misplaced-field", pos, message, "remove `sha256`");
                    }
                    Some((path(scope, &text, at)?, ModuleTerms { remote: None, signature }))
                }
                (None, Some((text, at))) => remote(scope, &text, at, Some(sha256), signature),
                (Some(_), Some((_, at))) => {
                    let hint = "keep the one that is meant";
                    scope.error("several-modules", at, "a module has a `path` or a `url`, and not both", hint);
                    None
                }
                (None, None) => {
                    if scope.is_sound() {
                        scope.missing("path", pos, "write `path: plugins/auth.wasm`, or a `url`");
                    }
                    None
                }
            }
        }
    }
}

/// The path of a module, noted as one that is needed.
fn path(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<Arc<str>> {
    let path = text.strip_prefix("./").unwrap_or(text);
    let problem = if path.starts_with('/') {
        Some("is absolute")
    } else if path.split('/').any(|segment| segment.is_empty() || segment == "..") {
        Some("leads out of the configuration or has an empty segment")
    } else if !(path.ends_with(".wasm") || path.ends_with(".wat")) {
        Some("ends neither in `.wasm` nor in `.wat`")
    } else {
        None
    };
    if let Some(why) = problem {
        let hint = "write the path from the root of the configuration, such as `plugins/auth.wasm`";
        scope.error("bad-module-path", pos, format!("the module path `{text}` {why}"), hint);
        return None;
    }
    let path: Arc<str> = path.into();
    let place = scope.place(pos);
    scope.outcome.modules.push((Arc::clone(&path), place));
    Some(path)
}

fn remote(
    scope: &mut Scope<'_>,
    text: &str,
    pos: Pos,
    sha256: Option<Field<String>>,
    signature: Option<Signature>,
) -> Option<(Arc<str>, ModuleTerms)> {
    let (name, remote) = match text.split_once("://") {
        Some(("oci", rest)) => {
            if let Some(pos) = sha256.as_ref().and_then(Field::pos) {
                let message = "`sha256` goes with an `https://` address: a registry's reference has its own digest";
                scope.error("misplaced-field", pos, message, "remove `sha256`");
            }
            oci(scope, text, rest, pos)?
        }
        Some(("https", rest)) => {
            let url = url(scope, text, rest, pos)?;
            let sha256 = hash(scope, sha256, pos)?;
            (format!("{url}@sha256:{sha256}"), Remote::Url { url, sha256 })
        }
        _ => {
            let hint =
                "write a path, `https://HOST/PATH` with a `sha256`, or `oci://REGISTRY/REPOSITORY@sha256:DIGEST`";
            scope.error("bad-module-url", pos, format!("modules cannot be fetched from `{text}`"), hint);
            return None;
        }
    };
    Some((name.into(), ModuleTerms { remote: Some(remote), signature }))
}

fn oci(scope: &mut Scope<'_>, text: &str, rest: &str, pos: Pos) -> Option<(String, Remote)> {
    let hint = "write `oci://REGISTRY/REPOSITORY@sha256:DIGEST`; `crane digest` and `oras resolve` tell a tag's digest";
    let mut wrong = |why: &str| scope.error("bad-module-url", pos, format!("the module `{text}` {why}"), hint);
    let Some((image, digest)) = rest.split_once('@') else {
        wrong("has no digest: what a tag stands for may change under a gateway that runs");
        return None;
    };
    let digest = digest.strip_prefix("sha256:").and_then(|hex| Identity::parse(&hex.to_ascii_lowercase()));
    let Some(digest) = digest else {
        wrong("has no digest that reads: it is `sha256:` and 64 hexadecimal digits");
        return None;
    };
    let Some((registry, repository)) = image.split_once('/') else {
        wrong("has no repository");
        return None;
    };
    let registry = registry.to_ascii_lowercase();
    if !is_authority(&registry) || !(registry.contains(['.', ':']) || registry == "localhost") {
        wrong("does not begin with the host of a registry");
        return None;
    }
    // A tag beside the digest says nothing; people copy it along.
    let repository = repository.rsplit_once(':').map_or(repository, |(repository, _)| repository);
    let component = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        !part.is_empty() && part.bytes().all(allowed) && part.as_bytes()[0].is_ascii_alphanumeric()
    };
    if !repository.split('/').all(component) {
        wrong("has no repository that reads: lower-case letters, digits, `.`, `_`, `-` and `/`");
        return None;
    }
    let name = format!("oci://{registry}/{repository}@sha256:{digest}");
    Some((name, Remote::Oci { registry, repository: repository.to_owned(), digest }))
}

/// An `https://` address in the one form that rules are held against.
fn url(scope: &mut Scope<'_>, text: &str, rest: &str, pos: Pos) -> Option<String> {
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(":443").unwrap_or(&host);
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#@".contains(&byte);
    if host.contains('@') {
        let hint = "take them out: they go into `gateway.modules.hosts`";
        scope.error("bad-module-url", pos, "the address of this module has credentials in it", hint);
        return None;
    }
    let why = if !is_authority(host) {
        "has no host that reads"
    } else if path.is_empty() {
        "has no path"
    } else if !path.bytes().all(plain) {
        "has characters that must be percent-encoded, or a fragment"
    } else if path.split(['/', '?']).any(|segment| matches!(segment, "." | "..")) {
        "has `.` or `..` in its path"
    } else {
        return Some(format!("https://{host}/{path}"));
    };
    let hint = "write `https://HOST/PATH`";
    scope.error("bad-module-url", pos, format!("the address `{text}` {why}"), hint);
    None
}

fn hash(scope: &mut Scope<'_>, field: Option<Field<String>>, pos: Pos) -> Option<Identity> {
    let hint = "write `module: {url: https://…, sha256: …}`; `sha256sum FILE.wasm` prints it";
    let field = field.unwrap_or(Field::Absent);
    if field.is_absent() {
        let message = "a module at an `https://` address needs its `sha256`: what is there may change";
        scope.error("no-sha256", pos, message, hint);
    }
    let (text, pos) = field.spot()?;
    let hex = text.strip_prefix("sha256:").unwrap_or(&text).to_ascii_lowercase();
    let found = Identity::parse(&hex);
    if found.is_none() {
        scope.error("bad-sha256", pos, format!("`{text}` is not a SHA-256: 64 hexadecimal digits"), hint);
    }
    found
}

fn signature(scope: &mut Scope<'_>, field: Field<String>) -> Option<Signature> {
    let (text, pos) = field.spot()?;
    if let Some(rest) = text.strip_prefix("https://") {
        return url(scope, &text, rest, pos).map(Signature::Url);
    }
    tls::pem(scope, Field::Given(text, pos), "signature").map(Signature::File)
}

/// Whether it is a host, or one with a port.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = |host: &str| {
        let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
        !host.is_empty() && host.len() <= 253 && host.bytes().all(byte)
    };
    let host = address.map_or_else(|| named(host), |address| address.parse::<std::net::Ipv6Addr>().is_ok());
    host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}
