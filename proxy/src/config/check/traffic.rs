//! Checks the steps that shape what passes. Knows nothing of what they do.

use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::{retry::within, scope::Scope, steps, values};
use crate::config::{
    node::Pos,
    raw::{self, ConcurrencyKeyForm, Count, Field, OneOrMany, Size},
    spec::{
        Coding, Compress, CompressLevels, Concurrency, ConcurrencyKey, Decompress, Middleware, RequestId, TypePattern,
    },
};

pub(super) fn request_id(scope: &mut Scope<'_>, raw: raw::RequestId) -> Option<Middleware> {
    let header = match raw.header.spot() {
        Some((text, pos)) => steps::editable(scope, &text, pos, true)?,
        None => HeaderName::from_static("x-request-id"),
    };
    let (accept, respond) = (raw.accept.or(false), raw.respond.or(true));
    Some(Middleware::RequestId(RequestId { header, accept, respond }))
}

/// What is decompressed, and how much of it.
pub(super) fn decompress(scope: &mut Scope<'_>, raw: raw::Decompress) -> Middleware {
    let codings = codings(scope, raw.codings, [Coding::Gzip, Coding::Brotli, Coding::Zstd]);
    let body_bytes_max = values::size(scope, raw.body_bytes_max, 1, 10 << 20) as u64;
    let ratio_max = within(scope, raw.ratio_max, 100, RATIO_MAX);
    Middleware::Decompress(Decompress { codings, body_bytes_max, ratio_max })
}

// More than any coding makes of zeros.
const RATIO_MAX: u32 = 1_000_000;

fn codings(scope: &mut Scope<'_>, field: Field<OneOrMany<raw::Coding>>, default: [Coding; 3]) -> Vec<Coding> {
    let mut codings: Vec<Coding> = Vec::new();
    for (coding, pos) in field.many() {
        let coding = match coding {
            raw::Coding::Gzip => Coding::Gzip,
            raw::Coding::Br => Coding::Brotli,
            raw::Coding::Zstd => Coding::Zstd,
        };
        if codings.contains(&coding) {
            let message = format!("the coding `{}` stands here twice", coding.name());
            scope.error("duplicate-coding", pos, message, "remove one; the order says which one is preferred");
        }
        codings.push(coding);
    }
    if codings.is_empty() { default.into() } else { codings }
}

pub(super) fn compress(scope: &mut Scope<'_>, raw: raw::Compress) -> Option<Middleware> {
    let codings = codings(scope, raw.codings, [Coding::Zstd, Coding::Brotli, Coding::Gzip]);
    let types = match raw.types.is_absent() {
        true => TYPES.iter().filter_map(|text| text.parse().ok()).collect(),
        false => types(scope, raw.types),
    };
    let default = CompressLevels::default();
    let levels = CompressLevels {
        gzip: level(scope, raw.gzip_level, (1, 9), default.gzip),
        brotli: level(scope, raw.br_level, (0, 9), default.brotli),
        zstd: level(scope, raw.zstd_level, (1, 15), default.zstd),
    };
    let body_bytes_min = raw.body_bytes_min.value().map_or(BODY_BYTES_MIN, |Size(bytes)| bytes);
    Some(Middleware::Compress(Compress { codings, types, body_bytes_min, levels }))
}

fn types(scope: &mut Scope<'_>, field: Field<OneOrMany<String>>) -> Vec<TypePattern> {
    let mut types = Vec::new();
    for (text, pos) in field.many() {
        match text.parse() {
            Ok(pattern) => types.push(pattern),
            Err(()) => {
                let hint = "write it as `text/html`, `text/*` or `application/*+json`, without parameters";
                scope.error("bad-type", pos, format!("`{text}` is not a content type"), hint);
            }
        }
    }
    types
}

fn level(scope: &mut Scope<'_>, field: Field<Count>, (min, max): (u32, u32), default: u32) -> u32 {
    let pos = field.pos();
    let level = values::number(scope, field, u64::from(min), default);
    match pos.filter(|_| level > max) {
        None => level,
        Some(pos) => {
            let hint = format!("the greatest is {max}: beyond it a response would keep a processor busy for too long");
            scope.error("out-of-range", pos, format!("the level {level} is too large"), hint);
            default
        }
    }
}

pub(super) fn concurrency(scope: &mut Scope<'_>, raw: raw::Concurrency, pos: Pos) -> Option<Middleware> {
    if raw.exchanges_max.is_absent() {
        scope.missing("exchanges-max", pos, "say how many may be under way at a time, such as `100`");
    }
    let exchanges_max = values::number(scope, raw.exchanges_max, 1, usize::MAX);
    let key = match raw.key.spot() {
        None => Some(ConcurrencyKey::All),
        Some((form, pos)) => key(scope, form, pos),
    };
    let status = match raw.status.spot() {
        None => StatusCode::SERVICE_UNAVAILABLE,
        Some((503, _)) => StatusCode::SERVICE_UNAVAILABLE,
        Some((429, _)) => StatusCode::TOO_MANY_REQUESTS,
        Some((other, pos)) => {
            let hint = "503 says that the service is full, 429 that this client asks too much";
            scope.error("bad-status", pos, format!("the status {other} does not say why one is turned away"), hint);
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let queue_max = values::number(scope, raw.queue_max, 0, 0);
    let queue_timeout = values::period(scope, raw.queue_timeout, SECOND);
    let retry_after = values::period(scope, raw.retry_after, SECOND);
    let limit = Concurrency { exchanges_max, key: key?, queue_max, queue_timeout, status, retry_after };
    Some(Middleware::Concurrency(limit))
}

fn key(scope: &mut Scope<'_>, form: ConcurrencyKeyForm, pos: Pos) -> Option<ConcurrencyKey> {
    match form {
        ConcurrencyKeyForm::Text(text) => match &*text {
            "all" => Some(ConcurrencyKey::All),
            "route" => Some(ConcurrencyKey::Route),
            "client-ip" => Some(ConcurrencyKey::ClientIp),
            _ => {
                let hint = "it is `all`, `route`, `client-ip` or `{header: NAME}`";
                scope.error("bad-key", pos, format!("`{text}` is nothing that can be counted apart"), hint);
                None
            }
        },
        ConcurrencyKeyForm::Map(raw) => match raw.header.spot() {
            Some((text, pos)) => values::header_name(scope, &text, pos).map(ConcurrencyKey::Header),
            None => {
                scope.missing("header", pos, "name the request field whose values are counted apart");
                None
            }
        },
    }
}

const SECOND: Duration = Duration::from_secs(1);

// Less is often longer once it is compressed, and never worth the time.
const BODY_BYTES_MIN: u64 = 1 << 10;
const TYPES: [&str; 14] = [
    "text/*",
    "application/json",
    "application/*+json",
    "application/x-ndjson",
    "application/xml",
    "application/*+xml",
    "application/javascript",
    "application/x-javascript",
    "application/wasm",
    "application/yaml",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/svg+xml",
];
