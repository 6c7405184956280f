//! The form of a line, compiled once for a configuration: which fields, in which order, as JSON or in a template.
//! A field that has nothing to say is left out of JSON and is `-` in a template. Knows no file and no queue.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Version};

use super::{Line, escape::Out};
use crate::{
    config::spec::LogFormat,
    error::Kind,
    exchange::Recorded,
    telemetry::{Timestamp, names::ACCESS_FIELDS},
};

/// A compiled form.
#[derive(Debug)]
pub(super) enum Format {
    /// A field and its key, which what comes before is parted from (`,"name":`).
    Json(Vec<(Field, Box<[u8]>)>),
    /// A template's pieces.
    Text(Vec<Piece>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(Box<[u8]>),
    Field(Field),
}

/// What a worker keeps from line to line: a buffer, and the text of the present second.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    second: u64,
    text: [u8; 19],
}

// In the order of `names::ACCESS_FIELDS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Time,
    Generation,
    Listener,
    Route,
    Method,
    Authority,
    Path,
    Query,
    Protocol,
    Status,
    GrpcStatus,
    RequestBytes,
    ResponseBytes,
    Duration,
    Upstream,
    Endpoint,
    Attempts,
    UpstreamTime,
    Plugins,
    Client,
    Peer,
    TlsVersion,
    TlsCipher,
    TlsServerName,
    TlsClient,
    Worker,
    TraceId,
    SpanId,
    Error,
    ErrorDetail,
    UserAgent,
    Referer,
    Attributes,
}

const FIELDS: [Field; 33] = {
    use Field::*;
    [
        Time,
        Generation,
        Listener,
        Route,
        Method,
        Authority,
        Path,
        Query,
        Protocol,
        Status,
        GrpcStatus,
        RequestBytes,
        ResponseBytes,
        Duration,
        Upstream,
        Endpoint,
        Attempts,
        UpstreamTime,
        Plugins,
        Client,
        Peer,
        TlsVersion,
        TlsCipher,
        TlsServerName,
        TlsClient,
        Worker,
        TraceId,
        SpanId,
        Error,
        ErrorDetail,
        UserAgent,
        Referer,
        Attributes,
    ]
};

const _: () = assert!(FIELDS.len() == ACCESS_FIELDS.len(), "each field has its name");

impl Format {
    /// Compiles `format`; the error names the field that there is not.
    pub(super) fn new(format: &LogFormat) -> Result<Self, String> {
        let keyed = |(field, name): (Field, &str)| (field, format!(",\"{name}\":").into_bytes().into());
        Ok(match format {
            LogFormat::Json => {
                Self::Json(FIELDS.into_iter().zip(ACCESS_FIELDS.iter().map(|(name, _)| *name)).map(keyed).collect())
            }
            LogFormat::JsonFields(names) => {
                let fields = names.iter().map(|name| Ok(keyed((field(name)?, name))));
                Self::Json(fields.collect::<Result<_, String>>()?)
            }
            LogFormat::Text(template) => Self::Text(pieces(template)?),
        })
    }

    /// Formats `line`, its newline included, into the buffer of `scratch`.
    pub(super) fn line<'s>(&self, line: &Line<'_>, scratch: &'s mut Scratch) -> &'s [u8] {
        let now = Timestamp::from(SystemTime::now() - line.outcome.duration).since_epoch();
        if now.as_secs() != scratch.second {
            (scratch.second, scratch.text) = (now.as_secs(), Timestamp::seconds_text(now.as_secs()));
        }
        scratch.bytes.clear();
        let json = matches!(self, Self::Json(_));
        let mut out = Out { bytes: &mut scratch.bytes, json };
        let facts = (now, &scratch.text);
        line.exchange.record.read(|record| match self {
            Self::Json(fields) => object(fields, line, record, facts, &mut out),
            Self::Text(pieces) => template(pieces, line, record, facts, &mut out),
        });
        scratch.bytes.push(b'\n');
        &scratch.bytes
    }
}

// Since the epoch, and the text of its whole seconds.
type Time<'a> = (Duration, &'a [u8; 19]);
// What a line is written of.
type Facts<'a> = (&'a Line<'a>, &'a Recorded, Time<'a>);

fn object(fields: &[(Field, Box<[u8]>)], line: &Line<'_>, record: &Recorded, time: Time<'_>, out: &mut Out<'_>) {
    out.raw(b"{");
    let mut any = false;
    for (field, key) in fields {
        any |= field.write(if any { key } else { &key[1..] }, (line, record, time), out);
    }
    out.raw(b"}");
}

fn template(pieces: &[Piece], line: &Line<'_>, record: &Recorded, time: Time<'_>, out: &mut Out<'_>) {
    for piece in pieces {
        match piece {
            Piece::Literal(text) => out.raw(text),
            Piece::Field(field) => {
                if !field.write(b"", (line, record, time), out) {
                    out.raw(b"-");
                }
            }
        }
    }
}

impl Field {
    /// Writes `key` and the value; `false`, and nothing written, where there is none.
    fn write(self, key: &[u8], (line, record, time): Facts<'_>, out: &mut Out<'_>) -> bool {
        let Line { exchange, outcome, .. } = line;
        match self {
            Self::Time => out.keyed(key, Some(time), written),
            Self::Generation => out.keyed(key, Some(exchange.generation()), Out::number),
            Self::Listener => out.keyed(key, Some(&*exchange.connection.listener), Out::text),
            // What no route matches is on the listener's fallback, whose id is empty.
            Self::Route => {
                let route = exchange.route().filter(|route| !route.id.is_empty());
                out.keyed(key, route, |out, route| out.text(&route.id))
            }
            Self::Method => out.keyed(key, Some(line.method.as_str()), Out::text),
            Self::Authority => out.keyed(key, Some(line.authority), Out::text),
            Self::Path => out.keyed(key, Some(split(line.path).0), Out::text),
            Self::Query => out.keyed(key, split(line.path).1, Out::text),
            Self::Protocol => out.keyed(key, Some(protocol(exchange.version)), Out::word),
            Self::Status => out.keyed(key, Some(outcome.status.into()), Out::number),
            Self::RequestBytes => out.keyed(key, Some(outcome.request_bytes), Out::number),
            Self::ResponseBytes => out.keyed(key, Some(outcome.response_bytes), Out::number),
            Self::Duration => out.keyed(key, Some(outcome.duration), Out::millis),
            Self::Client => out.keyed(key, Some(exchange.client), Out::address),
            Self::Peer => out.keyed(key, Some(exchange.connection.peer), Out::socket),
            Self::Worker => out.keyed(key, Some(exchange.worker.index as u64), Out::number),
            Self::TraceId => out.keyed(key, Some(exchange.trace.trace_id), |out, id| out.hex(id, 32)),
            Self::SpanId => out.keyed(key, Some(exchange.trace.span_id.into()), |out, id| out.hex(id, 16)),
            Self::UserAgent => out.keyed(key, line.user_agent.map(HeaderValue::as_bytes), Out::bytes),
            Self::Referer => out.keyed(key, line.referer.map(HeaderValue::as_bytes), Out::bytes),
            Self::Attributes => {
                let attributes = exchange.attributes.borrow();
                let pairs = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                object_of(key, pairs, out, Out::text)
            }
            Self::TlsVersion | Self::TlsCipher | Self::TlsServerName | Self::TlsClient => {
                out.keyed(key, self.secured(line), Out::text)
            }
            _ => self.recorded(key, line, record, out),
        }
    }

    fn recorded(self, key: &[u8], line: &Line<'_>, record: &Recorded, out: &mut Out<'_>) -> bool {
        match self {
            Self::Upstream => out.keyed(key, record.upstream.as_deref(), Out::text),
            Self::GrpcStatus => out.keyed(key, record.grpc_status.map(u64::from), Out::number),
            Self::Endpoint => out.keyed(key, record.endpoint, Out::socket),
            Self::Attempts => out.keyed(key, (record.attempts > 0).then(|| record.attempts.into()), Out::number),
            Self::UpstreamTime => out.keyed(key, record.upstream_time, Out::millis),
            Self::Plugins => {
                let steps = record.steps.iter().map(|step| (&*step.name, step.time));
                object_of(key, steps, out, Out::millis)
            }
            Self::Error => {
                let failed = line.outcome.error.or(record.error.as_ref().map(|(kind, _)| *kind));
                out.keyed(key, failed.map(Kind::name), Out::word)
            }
            Self::ErrorDetail => {
                out.keyed(key, record.error.as_ref().map(|(_, detail)| detail), |out, detail| out.text(detail))
            }
            _ => false,
        }
    }

    fn secured<'a>(self, line: &'a Line<'_>) -> Option<&'a str> {
        let tls = line.exchange.connection.tls.as_ref()?;
        match self {
            Self::TlsVersion => Some(tls.version),
            Self::TlsCipher => tls.cipher,
            Self::TlsServerName => tls.server_name.as_deref(),
            _ => tls.client.as_ref().map(|client| client.subject.as_str()),
        }
    }
}

// Path and query.
fn split(target: &str) -> (&str, Option<&str>) {
    let query = memchr::memchr(b'?', target.as_bytes());
    query.map_or((target, None), |at| (&target[..at], Some(&target[at + 1..])))
}

// An object in JSON, `name=value,name=value` in a template; nothing where it is empty.
fn object_of<'a, 'o, V>(
    key: &[u8],
    pairs: impl Iterator<Item = (&'a str, V)>,
    out: &mut Out<'o>,
    write: impl Fn(&mut Out<'o>, V),
) -> bool {
    let (open, between, close): (&[u8], &[u8], &[u8]) = if out.json { (b"{", b":", b"}") } else { (b"", b"=", b"") };
    let mut any = false;
    for (name, value) in pairs {
        if any {
            out.raw(b",");
        } else {
            out.raw(key);
            out.raw(open);
        }
        any = true;
        out.text(name);
        out.raw(between);
        write(out, value);
    }
    if any {
        out.raw(close);
    }
    any
}

fn written(out: &mut Out<'_>, (now, seconds): Time<'_>) {
    let millis = now.subsec_millis() as u16;
    let digit = |value: u16| b'0' + (value % 10) as u8;
    out.quoted(|out| {
        out.raw(seconds);
        out.raw(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
    });
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

fn field(name: &str) -> Result<Field, String> {
    let position = ACCESS_FIELDS.iter().position(|(known, _)| *known == name);
    position.map(|position| FIELDS[position]).ok_or_else(|| {
        let near = ACCESS_FIELDS.iter().map(|(known, _)| (strsim::damerau_levenshtein(known, name), *known)).min();
        let hint = near.filter(|(distance, _)| *distance <= 3).map(|(_, known)| format!(": did you mean `{known}`?"));
        format!("the access log has no field `{name}`{}", hint.unwrap_or_default())
    })
}

fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let named = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let (name, after) = named.ok_or("a `%` in an access-log template begins `%{field}`; a plain one is `%%`")?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal).into_bytes().into()));
        }
        pieces.push(Piece::Field(field(name)?));
        rest = after;
    }
    literal.push_str(rest);
    if literal.contains('\n') {
        return Err("an access-log template is one line".into());
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into_bytes().into()));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_taken_or_refused() {
        let text = |text: &str| Piece::Literal(text.as_bytes().into());
        for (template, expected) in [
            ("", Ok(vec![])),
            ("plain", Ok(vec![text("plain")])),
            ("%{status}", Ok(vec![Piece::Field(Field::Status)])),
            (
                "100%% %{method} \"%{path}\"",
                Ok(vec![
                    text("100% "),
                    Piece::Field(Field::Method),
                    text(" \""),
                    Piece::Field(Field::Path),
                    text("\""),
                ]),
            ),
            ("%{statsu}", Err("the access log has no field `statsu`: did you mean `status`?")),
            ("%{nothing like it}", Err("the access log has no field `nothing like it`")),
            ("50%", Err("a `%` in an access-log template begins `%{field}`; a plain one is `%%`")),
            ("%{open", Err("a `%` in an access-log template begins `%{field}`; a plain one is `%%`")),
            ("a\nb", Err("an access-log template is one line")),
        ] {
            assert_eq!(pieces(template), expected.map_err(str::to_owned), "{template}");
        }
    }
}
