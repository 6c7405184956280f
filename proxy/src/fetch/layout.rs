//! What a manifest of a registry says of where the module is, in the layouts in use: the CNCF artifact
//! (`application/vnd.wasm.config.v0+json`, a layer `application/wasm`), those before it (layers whose types end in
//! `+wasm`), and images with a layer that holds `plugin.wasm`. Fetches nothing.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{archive::Packing, error::FetchError};
use crate::identity::Identity;

/// The types of manifest that are asked for.
pub(super) const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// Of a manifest; registries take no larger ones.
pub(super) const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Where the module is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// In what another manifest says.
    Index(Identity),
    /// It is this blob.
    Module(Identity),
    /// In one of these layers, the last first.
    Layers(Vec<(Identity, Packing)>),
}

/// A thing that a manifest names.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// A manifest, of an image or of several.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    media_type: Option<String>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

impl Manifest {
    /// Reads one that was served as `media_type`.
    pub(super) fn read(bytes: &[u8], media_type: Option<&str>) -> Result<Self, FetchError> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| {
            FetchError::lasting(
                format!("its manifest does not read: {error}"),
                "the reference must be that of an image or of an artifact; `oras manifest fetch` shows it",
            )
        })?;
        // What the manifest says of itself is hashed, and goes first.
        let said = manifest.media_type.as_deref().or(media_type).unwrap_or_default();
        let said = said.split(';').next().unwrap_or_default().trim();
        let known = MANIFESTS.split(", ").any(|known| known == said.trim());
        let plain = matches!(said, "" | "application/json" | "application/octet-stream" | "text/plain");
        if !known && !plain {
            return Err(FetchError::lasting(
                format!("its manifest is of the type `{said}`"),
                "push it again with a client of today (`oras`, `wkg`, `docker buildx`)",
            ));
        }
        Ok(manifest)
    }

    /// Where the module is.
    pub(super) fn layout(&self) -> Result<Layout, FetchError> {
        if !self.manifests.is_empty() {
            return self.platform();
        }
        let wasm: Vec<_> = self.layers.iter().filter(|layer| is_wasm(&layer.media_type)).collect();
        match wasm[..] {
            [one] => return Ok(Layout::Module(digest(&one.digest)?)),
            [] => {}
            [..] => {
                let hint = "a plugin is one module: push an artifact with a single layer of it";
                let what = format!("it holds {} modules, and it cannot be told which is meant", wasm.len());
                return Err(FetchError::lasting(what, hint));
            }
        }
        let packed = self.layers.iter().rev();
        let layers = packed.filter_map(|layer| Some((layer, packing(&layer.media_type)?)));
        let layers = layers.map(|(layer, packing)| Ok((digest(&layer.digest)?, packing)));
        let layers = layers.collect::<Result<Vec<_>, FetchError>>()?;
        if layers.is_empty() {
            let types: Vec<_> = self.layers.iter().take(4).map(|layer| format!("`{}`", layer.media_type)).collect();
            let what = match types.is_empty() {
                true => "it has no layers".to_owned(),
                false => format!("it holds no Wasm module: its layers are {}", types.join(", ")),
            };
            let hint = "push it as `application/wasm` (`wkg oci push`, `oras push … FILE.wasm:application/wasm`), or as \
                        an image with `plugin.wasm` in it";
            return Err(FetchError::lasting(what, hint));
        }
        Ok(Layout::Layers(layers))
    }

    // One for Wasm, or else the first that is for anything: what is in it is the same for every machine.
    fn platform(&self) -> Result<Layout, FetchError> {
        let of = |descriptor: &&Descriptor, wanted: &dyn Fn(&Platform) -> bool| {
            descriptor.platform.as_ref().is_none_or(wanted)
        };
        let wasm = |platform: &Platform| platform.architecture == "wasm" || platform.os.starts_with("wasi");
        // Builders attach their attestations as manifests for an `unknown` platform.
        let real = |platform: &Platform| platform.architecture != "unknown";
        let own = self.manifests.iter().find(|found| found.platform.is_some() && of(found, &wasm));
        let found = own.or_else(|| self.manifests.iter().find(|found| of(found, &real)));
        let found = found.ok_or_else(|| {
            let hint = "name the digest of the image itself; `crane manifest` lists them";
            FetchError::lasting("it is a list of images, none of which is for any platform", hint)
        })?;
        digest(&found.digest).map(Layout::Index)
    }
}

fn is_wasm(media_type: &str) -> bool {
    media_type == "application/wasm" || media_type.ends_with("+wasm")
}

fn packing(media_type: &str) -> Option<Packing> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" => Some(Packing::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd" => Some(Packing::Zstd),
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
            Some(Packing::Plain)
        }
        _ => None,
    }
}

/// The SHA-256 that a digest is.
pub(super) fn digest(text: &str) -> Result<Identity, FetchError> {
    text.strip_prefix("sha256:").and_then(Identity::parse).ok_or_else(|| {
        let hint = "push it with SHA-256, which every client does unless told otherwise";
        FetchError::lasting(format!("its manifest names something by the digest `{text:.80}`"), hint)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hex(of: &str) -> String {
        format!("sha256:{}", Identity::of_bytes(of.as_bytes()))
    }

    fn id(of: &str) -> Identity {
        Identity::of_bytes(of.as_bytes())
    }

    fn layout(manifest: &serde_json::Value) -> Result<Layout, String> {
        let bytes = manifest.to_string();
        let read = Manifest::read(bytes.as_bytes(), None).and_then(|manifest| manifest.layout());
        read.map_err(|error| error.what().to_owned())
    }

    #[test]
    fn the_layouts_in_use_are_told_apart() {
        let layers = |types: &[&str]| {
            let layers: Vec<_> =
                types.iter().map(|kind| json!({"mediaType": kind, "digest": hex(kind), "size": 1})).collect();
            json!({"schemaVersion": 2, "layers": layers})
        };
        let (gzip, docker) =
            ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip");
        for (types, expected) in [
            (&["application/wasm"][..], Layout::Module(id("application/wasm"))),
            (
                &["application/vnd.module.wasm.content.layer.v1+wasm"],
                Layout::Module(id("application/vnd.module.wasm.content.layer.v1+wasm")),
            ),
            // Higress puts a description and a README beside the layer.
            (
                &["application/vnd.module.wasm.spec.v1+yaml", "application/vnd.module.wasm.doc.v1+markdown", gzip],
                Layout::Layers(vec![(id(gzip), Packing::Gzip)]),
            ),
            (&[gzip, docker], Layout::Layers(vec![(id(docker), Packing::Gzip), (id(gzip), Packing::Gzip)])),
        ] {
            assert_eq!(layout(&layers(types)), Ok(expected), "{types:?}");
        }
        assert!(layout(&layers(&["text/plain"])).unwrap_err().contains("`text/plain`"));
        assert!(layout(&layers(&["application/wasm", "application/wasm"])).unwrap_err().contains("2 modules"));
        assert!(layout(&layers(&[])).unwrap_err().contains("no layers"));
    }

    #[test]
    fn of_several_images_the_one_for_wasm_is_taken() {
        let entry = |of: &str, architecture: &str, os: &str| json!({"digest": hex(of), "platform": {"architecture": architecture, "os": os}});
        let index = |manifests: &[serde_json::Value]| json!({"schemaVersion": 2, "manifests": manifests});
        let (attested, linux, wasi) =
            (entry("x", "unknown", "unknown"), entry("l", "amd64", "linux"), entry("w", "wasm", "wasip1"));
        assert_eq!(layout(&index(&[attested.clone(), linux.clone(), wasi])), Ok(Layout::Index(id("w"))));
        assert_eq!(layout(&index(&[attested.clone(), linux])), Ok(Layout::Index(id("l"))));
        assert_eq!(layout(&index(&[json!({"digest": hex("p")})])), Ok(Layout::Index(id("p"))));
        assert!(layout(&index(&[attested])).is_err());
    }

    #[test]
    fn a_manifest_of_another_kind_is_refused_by_its_type() {
        let old = json!({"mediaType": "application/vnd.docker.distribution.manifest.v1+json", "layers": []});
        assert!(layout(&old).unwrap_err().contains("manifest.v1+json"));
        assert!(layout(&json!([])).unwrap_err().contains("does not read"));
        let sha512 = json!({"layers": [{"mediaType": "application/wasm", "digest": "sha512:00"}]});
        assert!(layout(&sha512).unwrap_err().contains("sha512:00"));
    }
}
