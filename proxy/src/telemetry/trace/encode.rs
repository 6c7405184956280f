//! Spans as OTLP messages. Knows the protocol's messages and no connection.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as Message, Status, span, status},
};
use prost::Message as _;

use crate::exchange::{Span, SpanFailure, SpanKind, SpanValue, TracedSpans};

/// The messages of spans of one trace. Points in time are those of the clock of now, so that the spans of an exchange
/// agree with each other.
pub(super) fn messages(traced: TracedSpans) -> impl Iterator<Item = Message> {
    let (now, clock) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let TracedSpans { trace, state, spans, .. } = traced;
    spans.into_iter().map(move |span| {
        let Span { id, parent, kind, name, began, ended, attributes, failure } = span;
        let remote = kind == SpanKind::Server && parent.is_some();
        let ended = nanos(now, clock, ended);
        Message {
            trace_id: trace.trace_id.to_be_bytes().to_vec(),
            span_id: id.to_be_bytes().to_vec(),
            trace_state: state.to_string(),
            parent_span_id: parent.map_or_else(Vec::new, |parent| parent.to_be_bytes().to_vec()),
            flags: u32::from(trace.flags()) | HAS_IS_REMOTE | if remote { IS_REMOTE } else { 0 },
            name,
            kind: match kind {
                SpanKind::Server => span::SpanKind::Server,
                SpanKind::Client => span::SpanKind::Client,
                SpanKind::Internal => span::SpanKind::Internal,
            } as i32,
            start_time_unix_nano: nanos(now, clock, began),
            end_time_unix_nano: ended,
            attributes: attributes.into_iter().map(|(name, value)| pair(name, value)).collect(),
            events: failure.iter().filter_map(|failure| event(failure, ended)).collect(),
            status: failure.map(|SpanFailure { kind, detail }| Status {
                message: detail.unwrap_or(kind),
                code: status::StatusCode::Error as i32,
            }),
            ..Message::default()
        }
    })
}

const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// A batch, ready to be sent.
pub(super) fn batch(resource: &[(String, String)], spans: Vec<Message>) -> Bytes {
    let attributes = resource.iter().map(|(name, value)| pair(name, value.clone().into())).collect();
    let scope = InstrumentationScope {
        name: "tidegate".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = ScopeSpans { scope: Some(scope), spans, schema_url: SCHEMA.to_owned() };
    let resource = Resource { attributes, ..Resource::default() };
    let spans = ResourceSpans { resource: Some(resource), scope_spans: vec![spans], schema_url: SCHEMA.to_owned() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec().into()
}

const SCHEMA: &str = "https://opentelemetry.io/schemas/1.27.0";

/// How many spans of a batch the collector rejected, and what it has to say, from its answer. What does not read says
/// nothing.
pub(super) fn rejected(answer: &[u8]) -> (u64, String) {
    let partial = ExportTraceServiceResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
    let partial = partial.unwrap_or_default();
    (u64::try_from(partial.rejected_spans).unwrap_or(0), partial.error_message)
}

fn nanos(now: Instant, clock: Duration, at: Instant) -> u64 {
    let point = match now.checked_duration_since(at) {
        Some(ago) => clock.saturating_sub(ago),
        None => clock + at.saturating_duration_since(now),
    };
    u64::try_from(point.as_nanos()).unwrap_or(u64::MAX)
}

fn event(failure: &SpanFailure, at: u64) -> Option<span::Event> {
    let detail = failure.detail.clone()?;
    let attributes =
        vec![pair("exception.type", failure.kind.clone().into()), pair("exception.message", detail.into())];
    let name = "exception".to_owned();
    Some(span::Event { time_unix_nano: at, name, attributes, dropped_attributes_count: 0 })
}

fn pair(name: &str, value: SpanValue) -> KeyValue {
    let value = match value {
        SpanValue::Word(word) => any_value::Value::StringValue(word.to_owned()),
        SpanValue::Name(name) => any_value::Value::StringValue(name.to_string()),
        SpanValue::Text(text) => any_value::Value::StringValue(text),
        SpanValue::Number(number) => any_value::Value::IntValue(number),
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_from_before_now_to_after_it() {
        let (now, clock) = (Instant::now(), Duration::from_secs(1000));
        assert_eq!(nanos(now, clock, now), 1_000_000_000_000);
        assert_eq!(nanos(now, clock, now + Duration::from_nanos(5)), 1_000_000_000_005);
        let before = now.checked_sub(Duration::from_nanos(5)).unwrap();
        assert_eq!(nanos(now, clock, before), 999_999_999_995);
    }

    #[test]
    fn an_answer_that_does_not_read_rejects_nothing() {
        assert_eq!(rejected(b"<html>"), (0, String::new()));
        assert_eq!(rejected(b""), (0, String::new()));
    }
}
