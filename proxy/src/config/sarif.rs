//! Prints diagnostics as SARIF 2.1.0 (OASIS), for code hosts and editors: the same list as the text and the JSON. Knows
//! nothing of what they are about.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use super::diagnostic::{Diagnostic, Place, Severity};

/// The diagnostics as one SARIF log with one run. The id of a rule is the code of its diagnostics.
pub fn log(diagnostics: &[Diagnostic]) -> Value {
    let codes: BTreeMap<&str, Severity> = diagnostics.iter().map(|found| (found.code, found.severity)).collect();
    let rules: Vec<Value> = codes.iter().map(|(code, severity)| rule(code, *severity)).collect();
    let index = |code: &str| codes.keys().position(|known| *known == code);
    let results: Vec<Value> = diagnostics.iter().map(|found| result(found, index(found.code))).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": { "name": "tidegate", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules },
            },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: &str, severity: Severity) -> Value {
    json!({
        "id": code,
        "shortDescription": { "text": code.replace('-', " ") },
        "defaultConfiguration": { "level": level(severity) },
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn result(found: &Diagnostic, rule: Option<usize>) -> Value {
    let hint = found.hint.as_ref().map_or_else(String::new, |hint| format!("\nhelp: {hint}"));
    let mut result = json!({
        "ruleId": found.code,
        "ruleIndex": rule,
        "level": level(found.severity),
        "message": { "text": format!("{}{hint}", found.message) },
        "locations": found.at.iter().map(location).collect::<Vec<_>>(),
    });
    if !found.related.is_empty() {
        let related = |(number, (place, why)): (usize, &(Place, String))| {
            let mut location = location(place);
            location["id"] = number.into();
            location["message"] = json!({ "text": why });
            location
        };
        result["relatedLocations"] = found.related.iter().enumerate().map(related).collect();
    }
    result
}

fn location(place: &Place) -> Value {
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(&place.file) },
            "region": {
                "startLine": place.line,
                "startColumn": place.column,
                "endColumn": place.column + place.length.max(1),
            },
        },
    })
}

// RFC 3986: a path as a URI reference. A colon in the first segment would read as a scheme.
fn uri(file: &str) -> String {
    const OTHERS: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'[')
        .add(b'\\')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}')
        .add(b':');
    let path = utf8_percent_encode(file, OTHERS);
    if file.starts_with('/') { format!("file://{path}") } else { path.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: &str, line: u32) -> Place {
        Place { file: file.into(), line, column: 3, length: 4 }
    }

    #[test]
    fn every_finding_is_a_result_with_its_rule_place_and_hint() {
        let found = [
            Diagnostic::error("unknown-field", "unknown field `hots`")
                .at(place("gw/a b.yaml", 2))
                .hint("did you mean `host`?"),
            Diagnostic::warning("shadowed-route", "never reached")
                .at(place("/etc/gw/b.yaml", 9))
                .related(place("c:d.yaml", 1), "first"),
            Diagnostic::error("no-documents", "there is no document"),
            Diagnostic::error("unknown-field", "unknown field `pth`").at(place("gw/a b.yaml", 5)),
        ];
        let log = log(&found);
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let ids: Vec<_> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["no-documents", "shadowed-route", "unknown-field"]);
        let results = run["results"].as_array().unwrap();
        for (result, found) in results.iter().zip(&found) {
            assert_eq!(ids[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()], found.code);
            assert_eq!(result["ruleId"], found.code);
        }
        assert_eq!(results[0]["message"]["text"], "unknown field `hots`\nhelp: did you mean `host`?");
        let at = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(at["artifactLocation"]["uri"], "gw/a%20b.yaml");
        assert_eq!(at["region"], json!({"startLine": 2, "startColumn": 3, "endColumn": 7}));
        assert_eq!((&results[1]["level"], &results[2]["locations"]), (&json!("warning"), &json!([])));
        assert_eq!(results[1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "file:///etc/gw/b.yaml");
        assert_eq!(results[1]["relatedLocations"][0]["physicalLocation"]["artifactLocation"]["uri"], "c%3Ad.yaml");
    }
}
