//! What a component is told: environment variables, and its `config` as `wasi:config` shows it. Knows no store.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::spec;

/// The same for all guests of a plugin.
pub(super) struct Settings {
    pub(super) environment: Vec<(String, String)>,
    /// What `wasi:config` answers with, by key.
    pub(super) values: BTreeMap<String, String>,
}

impl Settings {
    /// Those of a plugin.
    pub(super) fn of(spec: &spec::Plugin) -> Self {
        let mut values = BTreeMap::new();
        flatten("", &spec.config, &mut values);
        Self { environment: spec.environment.clone(), values }
    }
}

// Texts are as they are, anything else as JSON; what is inside of an object is found by its path, too (`a.b`).
fn flatten(prefix: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    if let Value::Object(fields) = value {
        for (name, value) in fields {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            flatten(&key, value, into);
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            into.insert(key, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_found_by_their_path() {
        let mut values = BTreeMap::new();
        flatten("", &json!({ "a": "text", "b": { "c": 1, "d": [true] }, "n": null }), &mut values);
        let expected = [("a", "text"), ("b", r#"{"c":1,"d":[true]}"#), ("b.c", "1"), ("b.d", "[true]"), ("n", "null")];
        assert!(values.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected));
    }
}
