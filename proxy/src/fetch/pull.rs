//! One module: from memory, disk, or where it is; and the signature that goes with it. Knows which of both is asked for
//! first, and how each layout comes to the bytes of a module.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::{
    archive::{self, Unreadable},
    error::FetchError,
    layout::{Layout, Manifest, digest},
    registry::Registry,
    signature::{self, Cosigned, Keys, SIGNATURE_BYTES_MAX},
    store::Store,
    web::{Ask, Web, authority},
};
use crate::{
    config::spec::{Credentials, ModuleTerms, Pem, Remote, Signature},
    identity::Identity,
    source::Entry,
};

/// What a module is fetched with.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) web: &'a Web<'a>,
    pub(super) store: Option<&'a Arc<Store>>,
    /// Who must have signed it, if anybody.
    pub(super) keys: Option<(&'a Vec<Pem>, &'a Keys)>,
}

/// The fetching of one module, which ends by a deadline.
pub(super) struct Pull<'a> {
    terms: Terms<'a>,
    deadline: Instant,
}

/// Images in images; one is what builders make.
const NESTED_MAX: usize = 3;
/// Of what cosign signs.
const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// What an archive may be larger than the module in it.
const ARCHIVE_BYTES_MORE: usize = 1 << 20;
/// What signatures are kept under beside a blob.
const COSIGN: &str = "cosign";
const DETACHED: &str = "sig";

impl<'a> Pull<'a> {
    pub(super) fn new(terms: Terms<'a>) -> Self {
        Self { terms, deadline: Instant::now() + terms.web.sources.fetch_timeout }
    }

    /// The module, and whether anybody had to be asked for it.
    pub(super) async fn module(&self, remote: &Remote) -> Result<(Entry, bool), FetchError> {
        let mut asked = false;
        let bytes = match remote {
            Remote::Url { url, sha256 } => {
                let get = async {
                    let body = self.file(url, self.terms.web.sources.module_bytes_max).await?;
                    let body = body.ok_or_else(|| missing(url))?;
                    let found = Identity::of_bytes(&body);
                    if found == *sha256 {
                        return Ok(body);
                    }
                    let what = format!("{} serves what hashes to {found}, and not to {sha256}", authority(url));
                    let hint = "look at what is there: if it is meant, name its hash as `sha256`";
                    Err(FetchError::lasting(what, hint))
                };
                self.blob(*sha256, &mut asked, get).await?
            }
            Remote::Oci { registry, repository, digest } => {
                let registry = Registry::new(self.terms.web, registry, repository, self.deadline);
                self.image(&registry, *digest, &mut asked).await?
            }
        };
        Ok((Entry::new(bytes), asked))
    }

    // From the disk, or else by `get`, which verifies it.
    async fn blob(
        &self,
        digest: Identity,
        asked: &mut bool,
        get: impl Future<Output = Result<Bytes, FetchError>> + Send,
    ) -> Result<Bytes, FetchError> {
        if let Some(found) = self.on_disk(move |store| store.blob(digest)).await.flatten() {
            return Ok(found);
        }
        *asked = true;
        let got = get.await?;
        let kept = got.clone();
        self.on_disk(move |store| store.keep(digest, &kept)).await;
        Ok(got)
    }

    // Not on a thread that others wait for.
    async fn on_disk<T: Send + 'static>(&self, act: impl FnOnce(&Store) -> T + Send + 'static) -> Option<T> {
        let store = Arc::clone(self.terms.store?);
        tokio::task::spawn_blocking(move || act(&store)).await.ok()
    }

    async fn image(&self, registry: &Registry<'_>, digest: Identity, asked: &mut bool) -> Result<Bytes, FetchError> {
        let mut digest = digest;
        for _ in 0..NESTED_MAX {
            let get = async {
                let served = registry.manifest(digest).await?;
                Manifest::read(&served.bytes, served.media_type.as_deref())?;
                Ok(served.bytes)
            };
            let manifest = self.blob(digest, asked, get).await?;
            let bytes_max = self.terms.web.sources.module_bytes_max;
            match Manifest::read(&manifest, None)?.layout()? {
                Layout::Index(next) => digest = next,
                Layout::Module(blob) => return self.blob(blob, asked, registry.blob(blob, bytes_max)).await,
                Layout::Layers(layers) => return self.unpacked(registry, &layers, asked).await,
            }
        }
        Err(FetchError::lasting("it is a list of lists of images", "name the digest of the image itself"))
    }

    async fn unpacked(
        &self,
        registry: &Registry<'_>,
        layers: &[(Identity, archive::Packing)],
        asked: &mut bool,
    ) -> Result<Bytes, FetchError> {
        let bytes_max = self.terms.web.sources.module_bytes_max + ARCHIVE_BYTES_MORE;
        let mut others = Vec::new();
        for (digest, packing) in layers {
            let layer = self.blob(*digest, asked, registry.blob(*digest, bytes_max)).await?;
            let packing = *packing;
            let found = tokio::task::spawn_blocking(move || archive::modules(&layer, packing, bytes_max)).await;
            let found = found.map_err(|_| FetchError::passing("a layer of it could not be unpacked"))?;
            let found = found.map_err(|why| match why {
                Unreadable::TooLarge => {
                    let what = format!("a layer of it unpacks to more than {bytes_max} bytes (`module-bytes-max`)");
                    FetchError::lasting(what, "leave out of the image what is no plugin, or raise the limit")
                }
                Unreadable::Damaged(why) => {
                    FetchError::lasting(format!("a layer of it does not read: {why}"), "push it again")
                }
            })?;
            if let Some(plugin) = found.plugin {
                return Ok(plugin);
            }
            others.extend(found.others);
        }
        match <[Bytes; 1]>::try_from(others) {
            Ok([one]) => Ok(one),
            Err(others) => {
                let what = match others.is_empty() {
                    true => "there is no `plugin.wasm` in the image".to_owned(),
                    false => format!("the image holds {} modules, and none is `plugin.wasm`", others.len()),
                };
                Err(FetchError::lasting(
                    what,
                    "put the module at the root of the image: `FROM scratch`, `COPY x.wasm ./plugin.wasm`",
                ))
            }
        }
    }

    // A file at an address; `None` where it is not there.
    async fn file(&self, url: &str, bytes_max: usize) -> Result<Option<Bytes>, FetchError> {
        let host = authority(url);
        let authorization = match self.terms.web.sources.credentials(host) {
            Some(Credentials::User { name, password }) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.0))))
            }
            Some(Credentials::Bearer(token)) => Some(format!("Bearer {}", token.0)),
            Some(Credentials::Refresh(_)) | None => None,
        };
        let plain = self.terms.web.scheme(host) == "http";
        let plain = plain.then(|| url.replacen("https://", "http://", 1));
        let ask = Ask::new(plain.as_deref().unwrap_or(url), bytes_max, self.deadline);
        let answer = self.terms.web.get(Ask { authorization: authorization.as_deref(), ..ask }).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let what = format!("{host} answers {}", answer.status);
                let hint = "give credentials that may read it, in `gateway.modules.hosts`";
                Err(FetchError::lasting(what, hint))
            }
            other => {
                let hint = "open the address by hand, and correct it";
                Err(FetchError::lasting(format!("{host} answers {other}"), hint))
            }
        }
    }

    /// What stands for the module, its keys and its signature together; `None` where nobody has to have signed it.
    pub(super) fn to_verify(&self, entry: &Entry, terms: &ModuleTerms) -> Option<Identity> {
        let (files, _) = self.terms.keys?;
        let keys = files.iter().map(|file| Identity::of_bytes(file.identity.as_bytes()));
        let signature = Identity::of_bytes(format!("{:?}{:?}", terms.signature, terms.remote).as_bytes());
        let signature = match &terms.signature {
            Some(Signature::File(file)) => Identity::of_all([signature, Identity::of_bytes(file.identity.as_bytes())]),
            _ => signature,
        };
        Some(Identity::of_all([entry.identity, signature].into_iter().chain(keys)))
    }

    /// Verifies that the module is signed as it must be.
    pub(super) async fn verify(&self, entry: &Entry, terms: &ModuleTerms) -> Result<(), FetchError> {
        let Some((_, keys)) = self.terms.keys else { return Ok(()) };
        match (&terms.signature, &terms.remote) {
            (Some(Signature::File(file)), _) => keys.detached(&entry.bytes, file.text.0.as_bytes(), &file.named),
            (Some(Signature::Url(url)), _) => self.detached(entry, keys, url).await,
            (None, Some(Remote::Url { url, .. })) => {
                let (path, query) =
                    url.split_once('?').map_or((url.as_str(), None), |(path, query)| (path, Some(query)));
                let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                self.detached(entry, keys, &format!("{path}.sig{query}")).await
            }
            (None, Some(Remote::Oci { registry, repository, digest })) => {
                let registry = Registry::new(self.terms.web, registry, repository, self.deadline);
                self.cosigned(&registry, *digest, keys).await
            }
            (None, None) => {
                let hint = "name its signature: `module: {path: …, signature: plugins/auth.wasm.sig}`";
                Err(FetchError::signature("`signed-by` asks for a signature, and none is named", hint))
            }
        }
    }

    async fn detached(&self, entry: &Entry, keys: &Keys, url: &str) -> Result<(), FetchError> {
        let digest = entry.identity;
        let kept = self.on_disk(move |store| store.about(digest, DETACHED, SIGNATURE_BYTES_MAX as u64)).await.flatten();
        if kept.is_some_and(|kept| keys.detached(&entry.bytes, &kept, url).is_ok()) {
            return Ok(());
        }
        let signature = self.file(url, SIGNATURE_BYTES_MAX).await?.ok_or_else(|| {
            let what = format!("`signed-by` asks for a signature, and there is none at {url}");
            FetchError::signature(what, "put it there, or name another place as `signature`")
        })?;
        keys.detached(&entry.bytes, &signature, url)?;
        self.on_disk(move |store| store.keep_about(digest, DETACHED, &signature)).await;
        Ok(())
    }

    async fn cosigned(&self, registry: &Registry<'_>, image: Identity, keys: &Keys) -> Result<(), FetchError> {
        let bytes_max = (2 * signature::COSIGNED_MAX * (PAYLOAD_BYTES_MAX + SIGNATURE_BYTES_MAX)) as u64;
        let kept = self.on_disk(move |store| store.about(image, COSIGN, bytes_max)).await.flatten();
        let kept = kept.and_then(|kept| serde_json::from_slice::<Vec<Cosigned>>(&kept).ok());
        if kept.is_some_and(|kept| keys.cosigned(image, &kept).is_ok()) {
            return Ok(());
        }
        let found = self.signatures(registry, image).await?;
        keys.cosigned(image, &found)?;
        let kept = serde_json::to_vec(&found).unwrap_or_default();
        self.on_disk(move |store| store.keep_about(image, COSIGN, &kept)).await;
        Ok(())
    }

    async fn signatures(&self, registry: &Registry<'_>, image: Identity) -> Result<Vec<Cosigned>, FetchError> {
        let served = registry.tagged(&format!("sha256-{image}.sig")).await?.ok_or_else(|| {
            let what = "`signed-by` asks for a signature, and the registry has none beside it";
            FetchError::signature(what, "sign it with `cosign sign --key KEY IMAGE@DIGEST`")
        })?;
        let manifest = Manifest::read(&served.bytes, served.media_type.as_deref())?;
        let mut found = Vec::new();
        for (payload, signature) in signature::layers(&manifest) {
            let payload = registry.blob(digest(payload)?, PAYLOAD_BYTES_MAX).await?;
            found.push(Cosigned { payload: STANDARD.encode(payload), signature: signature.to_owned() });
        }
        Ok(found)
    }
}

fn missing(url: &str) -> FetchError {
    FetchError::lasting(
        format!("{} answers that there is nothing at this address", authority(url)),
        "correct the `url`",
    )
}
