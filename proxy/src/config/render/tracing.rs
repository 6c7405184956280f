//! Renders what is said of traces. Secrets in fields are shown as they were written.

use super::{Fields, Out, Written, period, tls};
use crate::config::spec::{Otlp, Tracing};

/// The `tracing` setting.
pub(super) fn tracing<'a>(written: Written<'a>, tracing: &Tracing) -> Fields<'a> {
    let (mut fields, export) = (Fields::of(written), &tracing.export);
    let collector = otlp(fields.written("otlp"), &export.otlp);
    fields.map("otlp", collector);
    let mut sample = Fields::of(fields.written("sample"));
    sample.put("ratio", Out::plain(tracing.sample.ratio));
    sample.put("parent", Out::text(if tracing.sample.follow_parent { "follow" } else { "ignore" }));
    fields.map("sample", sample);
    let (name, others) = export.resource.split_first().map_or(("", &[][..]), |((_, name), rest)| (name, rest));
    fields.put("service-name", Out::text(name));
    let mut resource = Fields::of(fields.written("resource-attributes"));
    others.iter().for_each(|(name, value)| resource.put(name, resource.written(name).text(value)));
    fields.map("resource-attributes", resource);
    fields.put("queue-spans-max", Out::plain(export.queue_spans_max));
    fields.put("batch-spans-max", Out::plain(export.batch_spans_max));
    fields.put("schedule-delay", period(export.schedule_delay));
    fields
}

fn otlp<'a>(written: Written<'a>, otlp: &Otlp) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("endpoint", Out::text(&otlp.endpoint));
    fields.put("protocol", Out::text(if otlp.grpc { "grpc" } else { "http/protobuf" }));
    let mut headers = Fields::of(fields.written("headers"));
    for (name, value) in &otlp.headers {
        let shown = headers.written(name.as_str()).text(&String::from_utf8_lossy(value.as_bytes()));
        headers.put(name.as_str(), shown);
    }
    fields.map("headers", headers);
    fields.put("timeout", period(otlp.timeout));
    if let Some(own) = &otlp.tls {
        let tls = tls::upstream(fields.written("tls"), own);
        fields.map("tls", tls);
    }
    fields
}
