//! Renders the built-in steps beyond the first.

use super::{Fields, Out, period, texts};
use crate::config::{
    node::{Node, Value},
    spec::{
        AllOr, Argon2Variant, AuthQuestion, BasicAuth, Cache, Compress, Concurrency, ConcurrencyKey, Cors, Decompress,
        ForwardAuth, IpAccess, Maintenance, PasswordHash, RequestId,
    },
};

pub(super) fn cors(inner: &mut Fields<'_>, cors: &Cors) {
    inner.put("allow-origins", texts(&cors.origins));
    inner.put("allow-methods", list(&cors.methods));
    inner.put("allow-headers", list(&cors.headers));
    inner.put("expose-headers", list(&cors.expose));
    inner.put("allow-credentials", Out::plain(cors.credentials));
    inner.put("max-age", period(cors.max_age));
}

fn list<T: AsRef<str>>(list: &AllOr<T>) -> Out {
    texts(list.texts())
}

pub(super) fn ip_access(inner: &mut Fields<'_>, access: &IpAccess) {
    inner.maybe("allow", access.allow.as_ref().map(texts));
    inner.put("deny", texts(&access.deny));
}

pub(super) fn request_id(inner: &mut Fields<'_>, id: &RequestId) {
    inner.put("header", Out::text(id.header.as_str()));
    inner.put("accept", Out::plain(id.accept));
    inner.put("respond", Out::plain(id.respond));
}

pub(super) fn basic_auth(inner: &mut Fields<'_>, auth: &BasicAuth) {
    let shown: Vec<_> = auth.users.iter().map(|user| format!("{}:{}", user.name, hidden(&user.hash))).collect();
    let users = match inner.written("users").node {
        // As it was written, so that secrets stay names.
        Some(node) if names_secrets(node) => super::middleware::any(node),
        _ => texts(shown),
    };
    inner.put("users", users);
    inner.put("realm", Out::text(&auth.realm));
    inner.maybe("header", auth.header.as_ref().map(|name| Out::text(name.as_str())));
    inner.put("pass-credentials", Out::plain(auth.pass_credentials));
}

fn names_secrets(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) => text.contains("${"),
        Value::List(items) => items.iter().any(names_secrets),
        _ => false,
    }
}

// A hash of the same kind and cost that is no password's: it reads back, and helps nobody who sees it.
fn hidden(hash: &PasswordHash) -> String {
    match hash {
        PasswordHash::Bcrypt(hash) => format!("{}{}", &hash[..BCRYPT_HEAD], ".".repeat(hash.len() - BCRYPT_HEAD)),
        PasswordHash::Argon2(hash) => {
            let variant = match hash.variant {
                Argon2Variant::D => "d",
                Argon2Variant::I => "i",
                Argon2Variant::Id => "id",
            };
            let (version, memory, passes, lanes) = (hash.version, hash.memory_kib, hash.passes, hash.lanes);
            let zeros = |bytes: usize| "A".repeat((bytes * 4).div_ceil(3));
            let (salt, digest) = (zeros(hash.salt.len()), zeros(hash.digest.len()));
            format!("$argon2{variant}$v={version}$m={memory},t={passes},p={lanes}${salt}${digest}")
        }
    }
}

const BCRYPT_HEAD: usize = "$2y$05$".len();

pub(super) fn forward_auth(inner: &mut Fields<'_>, auth: &ForwardAuth) {
    inner.put("upstream", Out::text(&auth.upstream));
    match &auth.asks {
        AuthQuestion::Path(path) => inner.put("path", Out::text(path)),
        AuthQuestion::Own(prefix) if prefix.is_empty() => inner.put("path-prefix", Out::text("/")),
        AuthQuestion::Own(prefix) => inner.put("path-prefix", Out::text(prefix)),
        AuthQuestion::Check => inner.put("grpc", Out::plain(true)),
    }
    inner.put("body-bytes-max", Out::plain(auth.body_bytes_max));
    inner.put("timeout", period(auth.timeout));
    inner.maybe("request-headers", auth.request_headers.as_ref().map(texts));
    inner.put("upstream-headers", texts(auth.upstream_headers.texts()));
    inner.put("client-headers", texts(&auth.client_headers));
}

pub(super) fn maintenance(inner: &mut Fields<'_>, maintenance: &Maintenance) {
    inner.put("enabled", Out::plain(maintenance.enabled));
    inner.maybe("retry-after", maintenance.retry_after.map(period));
    inner.put("allow", texts(&maintenance.allow));
    inner.put("body", inner.written("body").text(&maintenance.body));
    let content_type = String::from_utf8_lossy(maintenance.content_type.as_bytes());
    inner.put("content-type", inner.written("content-type").text(&content_type));
}

pub(super) fn decompress(inner: &mut Fields<'_>, decompress: &Decompress) {
    inner.put("codings", texts(decompress.codings.iter().map(|coding| coding.name())));
    inner.put("body-bytes-max", Out::plain(decompress.body_bytes_max));
    inner.put("ratio-max", Out::plain(decompress.ratio_max));
}

pub(super) fn compress(inner: &mut Fields<'_>, compress: &Compress) {
    inner.put("codings", texts(compress.codings.iter().map(|coding| coding.name())));
    inner.put("types", texts(&compress.types));
    inner.put("body-bytes-min", Out::plain(compress.body_bytes_min));
    inner.put("gzip-level", Out::plain(compress.levels.gzip));
    inner.put("br-level", Out::plain(compress.levels.brotli));
    inner.put("zstd-level", Out::plain(compress.levels.zstd));
}

pub(super) fn concurrency(inner: &mut Fields<'_>, limit: &Concurrency) {
    inner.put("exchanges-max", Out::plain(limit.exchanges_max));
    inner.put(
        "key",
        match &limit.key {
            ConcurrencyKey::All => Out::text("all"),
            ConcurrencyKey::Route => Out::text("route"),
            ConcurrencyKey::ClientIp => Out::text("client-ip"),
            ConcurrencyKey::Header(name) => Out::Map(vec![("header".into(), Out::text(name.as_str()), None)]),
        },
    );
    inner.put("queue-max", Out::plain(limit.queue_max));
    inner.put("queue-timeout", period(limit.queue_timeout));
    inner.put("status", Out::plain(limit.status.as_u16()));
    inner.put("retry-after", period(limit.retry_after));
}

pub(super) fn cache(inner: &mut Fields<'_>, cache: &Cache) {
    inner.put("bytes-max", Out::plain(cache.bytes_max));
    inner.put("entries-max", Out::plain(cache.entries_max));
    inner.put("entry-bytes-max", Out::plain(cache.entry_bytes_max));
    inner.put("default-max-age", period(cache.default_max_age));
    inner.put("heuristic-percent", Out::plain(cache.heuristic_percent));
    inner.put("stale-while-revalidate", period(cache.stale_while_revalidate));
    inner.put("stale-if-error", period(cache.stale_if_error));
    inner.put("wait-timeout", period(cache.wait_timeout));
    inner.put("status-header", Out::plain(cache.status_header));
}
