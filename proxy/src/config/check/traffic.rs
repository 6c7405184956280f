//! Checks the steps that shape what passes. Knows nothing of what they do.

use http::HeaderName;

use super::{scope::Scope, steps, values};
use crate::config::{
    raw::{self, Count, Field, Size},
    spec::{Coding, Compress, CompressLevels, Middleware, RequestId, TypePattern},
};

pub(super) fn request_id(scope: &mut Scope<'_>, raw: raw::RequestId) -> Option<Middleware> {
    let header = match raw.header.spot() {
        Some((text, pos)) => steps::editable(scope, &text, pos, true)?,
        None => HeaderName::from_static("x-request-id"),
    };
    let (accept, respond) = (raw.accept.or(false), raw.respond.or(true));
    Some(Middleware::RequestId(RequestId { header, accept, respond }))
}

pub(super) fn compress(scope: &mut Scope<'_>, raw: raw::Compress) -> Option<Middleware> {
    let mut codings: Vec<Coding> = Vec::new();
    for (coding, pos) in raw.codings.many() {
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
    if codings.is_empty() {
        codings = vec![Coding::Zstd, Coding::Brotli, Coding::Gzip];
    }
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

fn types(scope: &mut Scope<'_>, field: Field<raw::OneOrMany<String>>) -> Vec<TypePattern> {
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
