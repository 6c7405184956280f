//! The JSON Schema (draft 2020-12) of documents as it is published, for editors and other people's checks: that of the
//! raw types, with what people may write in other forms beside it. What it lets through may still be refused by
//! `check`; what it refuses is refused there too. Knows no object in particular.

use serde_json::{Map, Value, json};

use super::reference;

/// The schema of a document. `settings` are those of plugins and tables: the path of a module, and the schema of what its
/// `config` takes.
pub fn schema(settings: &[(String, Value)]) -> Value {
    let mut document = reference::schema();
    walk(&mut document, &mut published);
    let object = document.as_object_mut().expect("the schema of a document is an object");
    let mut definitions = take(object, "$defs");
    complete_route(&mut definitions);
    add_settings(&mut definitions, settings);
    for key in ["$schema", "title"] {
        object.remove(key);
    }
    sections(object);
    definitions.insert("Document".into(), Value::Object(std::mem::take(object)));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tidegate configuration document",
        "description": "A map of sections, a list of routes, or one route.",
        "if": { "type": "array" },
        "then": { "items": { "$ref": "#/$defs/Route" } },
        "else": {
            "if": { "anyOf": FLAT_ROUTE.map(|field| json!({ "required": [field] })) },
            "then": { "$ref": "#/$defs/Route" },
            "else": { "$ref": "#/$defs/Document" },
        },
        "$defs": definitions,
    })
}

/// What only a route has: a document with one of these, and no section, is a route.
const FLAT_ROUTE: [&str; 7] = ["route_id", "route-id", "id", "path", "target", "upstream", "targets"];

fn take(object: &mut Map<String, Value>, key: &str) -> Map<String, Value> {
    match object.remove(key) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

// Sections may be empty; routes may be a map; what begins with `x-` is for anchors.
fn sections(document: &mut Map<String, Value>) {
    if let Some(Value::Object(properties)) = document.get_mut("properties") {
        for (name, section) in properties {
            let description = section.as_object_mut().and_then(|section| section.remove("description"));
            let mut forms = vec![section.take(), json!({ "type": "null" })];
            if name == "routes" {
                forms.push(json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/Route" } }));
            }
            *section = json!({ "description": description, "anyOf": forms });
        }
    }
    document.insert("patternProperties".into(), json!({ "^x-": true }));
}

// Other names of a route's `id`.
fn complete_route(definitions: &mut Map<String, Value>) {
    if let Some(Value::Object(properties)) = definitions.get_mut("Route").map(|route| &mut route["properties"]) {
        for alias in ["route_id", "route-id"] {
            properties.insert(alias.into(), properties["id"].clone());
        }
    }
}

fn add_settings(definitions: &mut Map<String, Value>, settings: &[(String, Value)]) {
    let mut cases = Vec::new();
    for (module, schema) in settings {
        let name = format!("settings of {module}");
        let within = format!("#/$defs/{}", name.replace('~', "~0").replace('/', "~1").replace(' ', "%20"));
        let mut schema = schema.clone();
        walk(&mut schema, &mut |map| {
            map.remove("$schema");
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some(rest) = reference.strip_prefix('#')
            {
                *reference = format!("{within}{rest}");
            }
        });
        let module =
            json!({ "properties": { "module": { "enum": [module, format!("./{module}")] } }, "required": ["module"] });
        cases.push(json!({ "if": module, "then": { "properties": { "config": { "$ref": within } } } }));
        definitions.insert(name, schema);
    }
    if cases.is_empty() {
        return;
    }
    for named in ["Middleware", "Table"] {
        if let Some(Value::Object(definition)) = definitions.get_mut(named) {
            definition.insert("allOf".into(), cases.clone().into());
        }
    }
}

fn walk(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match schema {
        Value::Object(map) => {
            change(map);
            map.values_mut().for_each(|value| walk(value, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
        _ => {}
    }
}

/// Words for people become what a validator knows: forms of scalars, defaults.
fn published(schema: &mut Map<String, Value>) {
    let format = match schema.get("format") {
        Some(Value::String(format)) => format.clone(),
        _ => String::new(),
    };
    // A field may be called so.
    if !format.is_empty() {
        schema.remove("format");
    }
    let (kind, unlimited) = match format.strip_suffix(", or `unlimited`") {
        Some(kind) => (kind, true),
        None => (format.as_str(), false),
    };
    let mut forms = match kind {
        "size" => vec![json!({ "type": "integer", "minimum": 0 }), json!({ "type": "string", "pattern": SIZE })],
        "duration" => vec![json!({ "type": "string", "pattern": PERIOD })],
        "count" => vec![json!({ "type": "integer", "minimum": 0 })],
        _ => Vec::new(),
    };
    if unlimited {
        forms.push(json!({ "const": "unlimited" }));
    }
    if !forms.is_empty() {
        schema.remove("type");
        schema.remove("minimum");
        match <[Value; 1]>::try_from(forms) {
            Ok([Value::Object(only)]) => schema.extend(only),
            Ok([other]) => drop(schema.insert("const".into(), other)),
            Err(forms) => drop(schema.insert("anyOf".into(), forms.into())),
        }
    }
    if let Some(Value::String(text)) = schema.remove("x-default")
        && let Some(default) = default(schema, &text)
    {
        schema.insert("default".into(), default);
    }
    // The one that serde fills in is no statement about the document.
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
}

const SIZE: &str = "^[0-9]+ *(B|kB|KB|MB|GB|KiB|MiB|GiB)?$";
const PERIOD: &str = "^([0-9]+(ms|s|m|h|d))+$";

// A default in words (`all`, `the listener's`) is said in the description of nothing: it has no value.
fn default(schema: &Map<String, Value>, text: &str) -> Option<Value> {
    let chosen = schema.get("enum").and_then(Value::as_array).is_some_and(|values| values.contains(&text.into()));
    let choices = ["oneOf", "anyOf"].iter().filter_map(|key| schema.get(*key)?.as_array()).flatten();
    let const_of = choices.into_iter().any(|choice| choice["const"] == text);
    if chosen || const_of {
        return Some(text.into());
    }
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(_) if text.starts_with(|first: char| first.is_ascii_digit()) && !text.contains(' ') => Some(text.into()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tidegate.schema.json");

    #[test]
    fn the_published_reference_schema_is_up_to_date() {
        let now = format!("{:#}\n", schema(&[]));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(DOCS, now).unwrap();
        } else {
            let docs = std::fs::read_to_string(DOCS).unwrap_or_default();
            assert!(docs == now, "UPDATE_DOCS=1 cargo test -p tidegate reference rewrites docs/tidegate.schema.json");
        }
    }

    #[test]
    fn settings_of_a_plugin_hold_for_its_module_and_keep_their_own_references() {
        let own = json!({ "properties": { "a": { "$ref": "#/$defs/A" } }, "$defs": { "A": { "type": "string" } } });
        let whole = schema(&[("plugins/a b.wasm".into(), own)]);
        let case = &whole["$defs"]["Middleware"]["allOf"][0];
        let path = case["then"]["properties"]["config"]["$ref"].as_str().unwrap();
        assert_eq!(path, "#/$defs/settings%20of%20plugins~1a%20b.wasm");
        assert_eq!(whole["$defs"]["Table"]["allOf"], whole["$defs"]["Middleware"]["allOf"]);
        let settings = &whole["$defs"]["settings of plugins/a b.wasm"];
        assert_eq!(settings["properties"]["a"]["$ref"], format!("{path}/$defs/A"));
    }

    #[test]
    fn nothing_is_left_that_no_validator_knows() {
        let text = schema(&[]).to_string();
        assert!(!text.contains("x-default") && !text.contains("\"format\":\""), "{text}");
        assert!(text.contains(r#""default":"64KiB""#), "{text}");
    }
}
