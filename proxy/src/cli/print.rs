//! Answers as people read them. From JSON, so that a command line and a gateway of different versions still
//! understand each other: what is not there is not printed.

use std::{fmt::Write as _, io::Write};

use serde_json::Value;

use super::say;

/// For programs.
pub(super) fn json(out: &mut dyn Write, value: &Value) {
    say(out, &format!("{value:#}\n"));
}

/// What came of a reload.
pub(super) fn attempt(attempt: &Value) -> String {
    let dry = attempt["dry_run"].as_bool().unwrap_or(false);
    let (before, after) = (&attempt["generation_before"], &attempt["generation"]);
    let outcome = match (attempt["outcome"].as_str().unwrap_or_default(), dry) {
        ("applied", false) => format!("applied: generation {before} -> {after}"),
        ("applied", true) => format!("would be applied: generation {after} serves on (dry run)"),
        ("unchanged", _) => format!("unchanged: generation {after} serves"),
        ("refused", _) => format!("refused: generation {after} serves on"),
        (other, _) => other.to_owned(),
    };
    let phases = attempt["phases_ms"].as_object().into_iter().flatten();
    let phases: Vec<_> = phases.map(|(phase, ms)| format!("{phase} {ms} ms")).collect();
    let times = if phases.is_empty() { String::new() } else { format!(" ({})", phases.join(", ")) };
    format!("{}{outcome}{times}\n", attempt["report"].as_str().unwrap_or_default())
}

/// What a gateway says of itself.
pub(super) fn status(status: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<12}{value}").expect("a String takes every write");
    };
    line("generation", format!("{}, serving since {}", status["generation"], word(&status["serving_since"])));
    line("hash", word(&status["hash"]).to_owned());
    for revision in list(&status["revision"]) {
        line("revision", format!("{} of {}", revision["revision"], word(&revision["source"])));
    }
    for source in list(&status["sources"]).filter(|source| source["healthy"] == false) {
        line("trouble", format!("{}: {}", word(&source["source"]), word(&source["trouble"])));
    }
    for sentence in list(&status["degraded"]) {
        line("degraded", word(sentence).to_owned());
    }
    for setting in list(&status["needs_restart"]) {
        line("restart", format!("needed for {}", word(setting)));
    }
    let last = &status["last_attempt"];
    if last.is_object() {
        let (outcome, trigger, at) = (word(&last["outcome"]), word(&last["trigger"]), word(&last["at"]));
        line("last attempt", format!(" {outcome}, by {trigger}, at {at}"));
        for diagnostic in list(&last["diagnostics"]) {
            line("", finding(diagnostic));
        }
    }
    for live in list(&status["live_generations"]) {
        let (exchanges, tunnels) = (&live["exchanges"], &live["tunnels"]);
        let (generation, age) = (&live["generation"], &live["age_s"]);
        line("live", format!("generation {generation}: {exchanges} exchanges, {tunnels} tunnels, {age} s old"));
    }
    line(
        "process",
        format!("{}, {} workers, up {} s", word(&status["version"]), status["workers"], status["uptime_s"]),
    );
    text
}

/// What would happen to a request.
pub(super) fn explanation(explanation: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<12}{value}").expect("a String takes every write");
    };
    line("listener", format!("{} (generation {})", word(&explanation["listener"]), explanation["generation"]));
    line("request", format!("host {}, path {}", word(&explanation["host"]), word(&explanation["path"])));
    match explanation["route"].as_str() {
        Some(route) => line("route", format!("{route}{}", at(&explanation["defined"]))),
        None => line("route", "none matches".to_owned()),
    }
    if let Some(table) = explanation["table"].as_str() {
        line("table", table.to_owned());
    }
    if let Some(because) = explanation["because"].as_str() {
        line("because", because.to_owned());
    }
    for step in list(&explanation["middleware"]) {
        let (name, kind, from) = (word(&step["name"]), word(&step["kind"]), word(&step["from"]));
        line("middleware", format!("{name}: {kind}, from the {from}{}", at(&step["defined"])));
    }
    for target in list(&explanation["targets"]) {
        let endpoints: Vec<_> = list(&target["endpoints"]).map(word).collect();
        let (upstream, weight) = (word(&target["upstream"]), &target["weight"]);
        line("target", format!("{upstream}, weight {weight}: {}", endpoints.join(", ")));
    }
    for note in list(&explanation["notes"]) {
        line("note", word(note).to_owned());
    }
    text
}

fn finding(diagnostic: &Value) -> String {
    let place = at(&diagnostic["at"]);
    let hint = diagnostic["hint"].as_str().map_or_else(String::new, |hint| format!(" ({hint})"));
    format!("{}: {}{place}{hint}", word(&diagnostic["severity"]), word(&diagnostic["message"]))
}

fn at(place: &Value) -> String {
    match place["file"].as_str() {
        Some(file) => format!(" at {file}:{}:{}", place["line"], place["column"]),
        None => String::new(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
