//! Renders routing tables, and the routes that they yielded: as remarks, since a document that held them would define
//! them twice.

use std::fmt::Write as _;

use super::{Fields, Out, Written, middleware, modules, period, route, texts, yaml};
use crate::config::spec::{Part, Route, Spec, Table};

pub(super) fn table<'a>(written: Written<'a>, table: &Table) -> Fields<'a> {
    let mut fields = Fields::of(written);
    let module = modules::module(fields.written("module"), &table.module, &table.module_terms);
    fields.put("module", module);
    if !table.config.is_null() {
        // As it was written, so that secrets stay names.
        let config = fields.written("config").node.map_or_else(|| Out::text("***"), middleware::any);
        fields.put("config", config);
    }
    if !table.listeners.is_empty() {
        fields.put("listeners", texts(&table.listeners));
    }
    if !table.hosts.is_empty() {
        fields.put("hosts", texts(&table.hosts));
    }
    let mut limits = Fields::of(fields.written("limits"));
    limits.put("routes-max", Out::plain(table.limits.routes_max));
    limits.put("call-timeout", period(table.limits.call_timeout));
    limits.put("memory-bytes-max", Out::plain(table.limits.memory_bytes_max));
    limits.put("guests-max", Out::plain(table.limits.guests_max));
    limits.put("log-bytes-max", Out::plain(table.limits.log_bytes_max));
    fields.map("limits", limits);
    fields
}

/// Adds the routes of tables to a rendered document.
pub(super) fn routes(text: &mut String, spec: &Spec, explain: bool) {
    for (name, table) in &spec.tables {
        let of_table = spec.routes.iter().filter_map(|part| Some((part, part.table.as_ref()?)));
        let of_table: Vec<_> = of_table.filter(|(_, from)| from.table == *name).collect();
        let Some((_, first)) = of_table.first() else { continue };
        let how = if first.selected { "served where it selects them" } else { "matched as those above, after them" };
        let place = &table.place;
        let remark = explain.then(|| format!("table {name}, {}:{}", place.file, place.line));
        let entry = |part: &Part<Route>| {
            let nowhere = Written { node: None, file: &place.file, explain: false };
            (part.id.to_string(), route::route(spec, nowhere, part).done(), remark.clone())
        };
        let rendered = yaml::document(&Out::Map(of_table.iter().map(|(part, _)| entry(part)).collect()));
        writeln!(text, "# Routes of the table `{name}` ({}), {how}:", table.module)
            .expect("a String takes every write");
        for line in rendered.lines() {
            writeln!(text, "#   {line}").expect("a String takes every write");
        }
    }
}
