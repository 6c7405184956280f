//! A registry (OCI distribution specification 1.1): manifests and blobs by digest, and who is let in (basic, or a token
//! that an authority gives, as Docker's registries have it). Knows no module.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{
    error::FetchError,
    layout::{MANIFEST_BYTES_MAX, MANIFESTS},
    web::{Answer, Ask, Web, authority},
};
use crate::{config::spec::Credentials, identity::Identity};

/// One repository of a registry, until a deadline.
pub(super) struct Registry<'a> {
    web: &'a Web<'a>,
    /// `HOST` or `HOST:PORT`.
    host: &'a str,
    repository: &'a str,
    deadline: Instant,
    /// What is shown from now on.
    authorization: Mutex<Option<String>>,
}

/// A manifest as it was served.
pub(super) struct Served {
    pub(super) bytes: Bytes,
    pub(super) media_type: Option<String>,
}

const TOKEN_BYTES_MAX: usize = 64 << 10;

impl<'a> Registry<'a> {
    pub(super) fn new(web: &'a Web<'a>, host: &'a str, repository: &'a str, deadline: Instant) -> Self {
        let shown = match web.sources.credentials(host) {
            Some(Credentials::Bearer(token)) => Some(format!("Bearer {}", token.0)),
            _ => None,
        };
        Self { web, host, repository, deadline, authorization: Mutex::new(shown) }
    }

    /// The manifest with this digest.
    pub(super) async fn manifest(&self, digest: Identity) -> Result<Served, FetchError> {
        let path = format!("manifests/sha256:{digest}");
        let served = self.fetch(&path, Some(MANIFESTS), MANIFEST_BYTES_MAX).await?.ok_or_else(|| self.lacks(&path))?;
        self.verified(&served.bytes, digest, "manifest")?;
        Ok(served)
    }

    /// The manifest that a tag stands for; `None` where there is no such tag.
    pub(super) async fn tagged(&self, tag: &str) -> Result<Option<Served>, FetchError> {
        self.fetch(&format!("manifests/{tag}"), Some(MANIFESTS), MANIFEST_BYTES_MAX).await
    }

    /// The blob with this digest.
    pub(super) async fn blob(&self, digest: Identity, bytes_max: usize) -> Result<Bytes, FetchError> {
        let path = format!("blobs/sha256:{digest}");
        let served = self.fetch(&path, None, bytes_max).await?.ok_or_else(|| self.lacks(&path))?;
        self.verified(&served.bytes, digest, "layer")?;
        Ok(served.bytes)
    }

    fn verified(&self, bytes: &[u8], digest: Identity, noun: &str) -> Result<(), FetchError> {
        let found = Identity::of_bytes(bytes);
        if found == digest {
            return Ok(());
        }
        let what = format!("{} serves a {noun} that hashes to sha256:{found}, and not to sha256:{digest}", self.host);
        Err(FetchError::lasting(what, "the registry, or who stands before it, changes what it serves: do not trust it"))
    }

    fn lacks(&self, path: &str) -> FetchError {
        let what = format!("{} answers 404 Not Found for {}/{path}", self.host, self.repository);
        FetchError::lasting(
            what,
            "correct the repository and the digest; `crane manifest REFERENCE` shows what there is",
        )
    }

    // `None` where it is not there.
    async fn fetch(&self, path: &str, accept: Option<&str>, bytes_max: usize) -> Result<Option<Served>, FetchError> {
        // Docker's own registry has another name for this.
        let host = if self.host == "docker.io" { "registry-1.docker.io" } else { self.host };
        let url = format!("{}://{host}/v2/{}/{path}", self.web.scheme(self.host), self.repository);
        let mut shown = self.authorization.lock().await.clone();
        for challenged in [false, true] {
            let authorization = shown.as_deref();
            let ask = Ask { accept, authorization, ..Ask::new(&url, bytes_max, self.deadline) };
            let Answer { status, content_type, challenges, body } = self.web.get(ask).await?;
            match status {
                StatusCode::OK => return Ok(Some(Served { bytes: body, media_type: content_type })),
                StatusCode::NOT_FOUND => return Ok(None),
                StatusCode::UNAUTHORIZED if !challenged => {
                    shown = Some(self.enter(&challenges).await?);
                    self.authorization.lock().await.clone_from(&shown);
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.shut(status)),
                other => {
                    let what = format!("{} answers {other}", self.host);
                    return Err(FetchError::lasting(what, "look for the reason in the registry's own log"));
                }
            }
        }
        Err(self.shut(StatusCode::UNAUTHORIZED))
    }

    fn shut(&self, status: StatusCode) -> FetchError {
        let who = match self.web.sources.credentials(self.host) {
            Some(Credentials::User { name, .. }) => format!("to `{name}`"),
            Some(_) => "to the token".to_owned(),
            None => "without credentials".to_owned(),
        };
        let what = format!("{} answers {status} {who}", self.host);
        let hint = "give credentials that may pull it: `gateway.modules.hosts`, or `docker-config`";
        FetchError::lasting(what, hint)
    }

    // What to show, by what is asked for.
    async fn enter(&self, challenges: &[String]) -> Result<String, FetchError> {
        let credentials = self.web.sources.credentials(self.host);
        let challenge = challenges.iter().filter_map(|text| Challenge::read(text));
        let (mut basic, mut bearer) = (false, None);
        for challenge in challenge {
            match challenge {
                Challenge::Basic => basic = true,
                Challenge::Bearer { .. } => bearer = bearer.or(Some(challenge)),
            }
        }
        match (bearer, credentials) {
            (Some(Challenge::Bearer { realm, service, scope }), _) => self.token(&realm, service, scope).await,
            (_, Some(Credentials::User { name, password })) if basic => Ok(user(name, &password.0)),
            _ => Err(self.shut(StatusCode::UNAUTHORIZED)),
        }
    }

    async fn token(&self, realm: &str, service: Option<String>, scope: Option<String>) -> Result<String, FetchError> {
        let host = authority(realm).to_ascii_lowercase();
        let plain = realm.starts_with("http://") && self.web.scheme(self.host) == "http" && host == self.host;
        if !(realm.starts_with("https://") || plain) {
            let what = format!("{} sends who asks to {realm:.200}, which is not spoken to over TLS", self.host);
            return Err(FetchError::lasting(what, "correct the registry's token authority"));
        }
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        let mut query = format!("scope={}", escaped(&scope));
        if let Some(service) = service {
            query += &format!("&service={}", escaped(&service));
        }
        let (mut authorization, mut form) = (None, None);
        match self.web.sources.credentials(self.host) {
            Some(Credentials::User { name, password }) => authorization = Some(user(name, &password.0)),
            Some(Credentials::Refresh(token)) => {
                let token = escaped(&token.0);
                form = Some(format!("grant_type=refresh_token&client_id=tidegate&refresh_token={token}&{query}"));
            }
            Some(Credentials::Bearer(_)) | None => {}
        }
        let url = match form {
            Some(_) => realm.to_owned(),
            None => format!("{realm}{}{query}", if realm.contains('?') { '&' } else { '?' }),
        };
        let (authorization, form, deadline) = (authorization.as_deref(), form.as_deref(), self.deadline);
        let ask = Ask { form, authorization, ..Ask::new(&url, TOKEN_BYTES_MAX, deadline) };
        let answer = self.web.get(ask).await?;
        if answer.status != StatusCode::OK {
            return Err(self.shut(answer.status));
        }
        let token: Token = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| {
            let what = format!("{host} answers with no token for {}", self.host);
            FetchError::lasting(what, "correct the registry's token authority")
        })?;
        Ok(format!("Bearer {token}"))
    }
}

#[derive(Default, Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn user(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// How a registry wants to know who asks (RFC 9110 section 11.6.1).
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest;
        while let Some((name, after)) = rest.split_once('=') {
            let (value, next) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').map_or((after, ""), |(value, rest)| (value, rest)),
            };
            let value = Some(value.trim().to_owned());
            match name.trim().trim_start_matches(',').trim() {
                "realm" => realm = value,
                "service" => service = value,
                "scope" => scope = value,
                _ => {}
            }
            rest = next.trim_start_matches([',', ' ']);
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            Some(Challenge::Bearer { realm: realm.into(), service: own(service), scope: own(scope) })
        };
        for (text, expected) in [
            (
                r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull""#,
                bearer("https://auth.example/token", Some("r.example"), Some("repository:a/b:pull")),
            ),
            (r#"bearer realm="https://a/t", scope="x,y""#, bearer("https://a/t", None, Some("x,y"))),
            ("Bearer realm=https://a/t,service=s", bearer("https://a/t", Some("s"), None)),
            (r#"Basic realm="r""#, Some(Challenge::Basic)),
            (r#"Bearer service="s""#, None),
            (r#"Bearer realm="open"#, None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::read(text), expected, "{text}");
        }
    }
}
