//! The configuration reference as Markdown, generated from the types that documents are read into: what is not in a
//! type cannot be in the reference, and the other way round. Knows no object in particular.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::{fields::ACCESS_FIELDS, raw};

/// The JSON Schema (2020-12) of a document.
pub fn schema() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<raw::Document>().to_value()
}

/// Every section and type of a document as a table of its fields, and the fields of the access log.
pub fn markdown() -> String {
    let schema = schema();
    let empty = Map::new();
    let definitions = schema["$defs"].as_object().unwrap_or(&empty);
    let mut text = String::new();
    section(&mut text, "Document", &schema);
    let mut named = references(&schema["properties"]);
    let mut next = 0;
    while let Some(name) = named.get(next).cloned() {
        if let Some(definition) = definitions.get(&name) {
            section(&mut text, &name, definition);
            let further = references(&definition["properties"]);
            named.extend(further.into_iter().filter(|name| !named.contains(name)).collect::<Vec<_>>());
        }
        next += 1;
    }
    access_log(&mut text);
    text
}

fn section(text: &mut String, name: &str, schema: &Value) {
    line(text, &format!("### {name}\n"));
    line(text, &format!("{}\n", described(schema)));
    line(text, "| field | takes | default | meaning |\n|---|---|---|---|");
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        let default = schema["x-default"].as_str().unwrap_or_default();
        let default =
            if default.is_empty() || default.contains([' ', '`']) { default.into() } else { format!("`{default}`") };
        let cells = [format!("`{field}`"), takes(schema), default, described(schema)];
        line(text, &format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
    line(text, "");
}

fn access_log(text: &mut String) {
    line(text, "### Fields of the access log\n\n| field | says |\n|---|---|");
    for (name, meaning) in ACCESS_FIELDS {
        line(text, &format!("| `{name}` | {meaning} |"));
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes every write");
}

/// The documentation of a type or field, on one line.
fn described(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a field takes, in words.
fn takes(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choice].as_array() {
            return choices.iter().map(takes).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .map(|value| format!("`{}`", value.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let format = schema["format"].as_str().unwrap_or_default();
    match (schema["type"].as_str(), format) {
        (Some("array"), _) => format!("list of {}", takes(&schema["items"])),
        (Some("object"), _) => format!("map of {}", takes(&schema["additionalProperties"])),
        (Some("boolean"), _) => "`true`, `false`".into(),
        (Some("string"), "") => "text".into(),
        (Some("integer" | "number"), format) if !matches!(format, "count" | "size") => "number".into(),
        (_, format) => format.into(),
    }
}

/// The names of the types that a schema refers to, in order, each once.
fn references(schema: &Value) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut add = |name: String| {
        if !found.contains(&name) {
            found.push(name);
        }
    };
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str().filter(|_| key == "$ref") {
                    Some(reference) => add(reference.rsplit('/').next().unwrap_or_default().into()),
                    None => references(value).into_iter().for_each(&mut add),
                }
            }
        }
        Value::Array(items) => items.iter().flat_map(references).for_each(add),
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Memo, load_with, report, spec::Spec},
        source::{Entry, Layer, Tree},
    };

    const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    const MARK: &str =
        "<!-- From here on generated from the types: UPDATE_DOCS=1 cargo test -p tidegate reference -->\n";

    #[test]
    fn the_reference_in_the_docs_is_up_to_date() {
        let docs = std::fs::read_to_string(DOCS).unwrap();
        let (by_hand, generated) = docs.split_once(MARK).expect("docs/configuration.md has the mark");
        let now = format!("\n{}", markdown());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(DOCS, format!("{by_hand}{MARK}{now}")).unwrap();
        } else {
            assert!(generated == now, "UPDATE_DOCS=1 cargo test -p tidegate reference rewrites docs/configuration.md");
        }
    }

    #[test]
    fn every_field_is_documented() {
        let schema = schema();
        let types = schema["$defs"].as_object().unwrap().iter().map(|(name, schema)| (name.as_str(), schema));
        for (name, schema) in types.chain([("Document", &schema)]) {
            assert!(!described(schema).is_empty(), "{name}");
            // What is switched on by its name alone has no fields.
            for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                assert!(!described(schema).is_empty() && !takes(schema).is_empty(), "{name}.{field}: {schema}");
            }
        }
    }

    #[test]
    fn documented_defaults_are_the_real_ones() {
        for (name, text) in [
            ("Limits", "listeners: {web: {address: '127.0.0.1:0', limits: {@}}}"),
            ("PathPolicy", "listeners: {web: {address: '127.0.0.1:0', path: {@}}}"),
            ("Listener", "listeners: {web: {address: '127.0.0.1:0', @}}"),
            ("Gateway", "{listeners: {web: {address: '127.0.0.1:0'}}, gateway: {@}}"),
            ("AccessLog", "{listeners: {web: {address: '127.0.0.1:0'}}, gateway: {access-log: {@}}}"),
            ("Upstream", "{listeners: {w: {address: '[::1]:0'}}, upstreams: {u: {endpoints: ['a:1'], @}}}"),
            (
                "HealthCheck",
                "{listeners: {w: {address: '[::1]:0'}}, upstreams: {u: {endpoints: ['a:1'], health-check: {path: /, @}}}}",
            ),
            ("PluginLimits", "{listeners: {w: {address: '[::1]:0'}}, middleware: {p: {module: p.wat, limits: {@}}}}"),
            ("TableLimits", "{listeners: {w: {address: '[::1]:0'}}, tables: {t: {module: p.wat, limits: {@}}}}"),
            ("Middleware", "{listeners: {w: {address: '[::1]:0'}}, middleware: {p: {module: p.wat, @}}}"),
            ("Redirect", "{listeners: {w: {address: '[::1]:0'}}, middleware: {r: {redirect: {host: h, @}}}}"),
            ("Respond", "{listeners: {w: {address: '[::1]:0'}}, middleware: {r: {respond: {@}}}}"),
            (
                "Mirror",
                "{listeners: {w: {address: '[::1]:0'}}, upstreams: {u: {endpoints: ['a:1']}}, middleware: {m: {mirror: {upstream: u, @}}}}",
            ),
        ] {
            let defaults = defaults(name);
            assert!(!defaults.is_empty(), "{name}");
            let (without, with) = (spec(&text.replace('@', "")), spec(&text.replace('@', &defaults)));
            assert_eq!(without, with, "{name}: {defaults}");
        }
    }

    /// The fields of a type with their documented defaults, those in words left out.
    fn defaults(name: &str) -> String {
        let schema = schema();
        let fields = schema["$defs"][name]["properties"].as_object().unwrap().iter();
        let fields = fields.filter_map(|(field, schema)| Some((field, schema["x-default"].as_str()?)));
        let fields = fields.filter(|(_, default)| !default.contains([' ', '`']) && *default != "empty");
        fields.map(|(field, default)| format!("{field}: {default}")).collect::<Vec<_>>().join(", ")
    }

    /// All that a specification says, places aside.
    fn spec(text: &str) -> Vec<String> {
        let entries = [(std::sync::Arc::from("c.yaml"), Ok(Entry::new(text.to_owned())))].into_iter().collect();
        let tree = Tree { layers: vec![Layer { source: "t".into(), revision: 1, entries }] };
        let checked = load_with(&tree, &mut Memo::default(), &|_| None);
        let Some(spec) = checked.spec else { panic!("{}", report::text(&checked.diagnostics, &tree, false)) };
        let Spec { gateway, listeners, upstreams, middleware, tables, .. } = &*spec;
        let mut said = vec![format!("{gateway:?}")];
        said.extend(listeners.values().map(|part| part.identity.to_string()));
        said.extend(upstreams.values().map(|part| part.identity.to_string()));
        said.extend(middleware.values().map(|part| part.identity.to_string()));
        said.extend(tables.values().map(|part| part.identity.to_string()));
        said
    }
}
