//! What keeps a plugin or a table from being made, as diagnostics that point at the document.

use std::{collections::BTreeMap, time::Duration};

use super::{
    compile::Made,
    guest::{CreateError, told},
    native::types::Problem,
};
use crate::config::{
    diagnostic::{Diagnostic, Place},
    spec,
};

/// Problems of one configuration that are shown; a guest that finds more is cut short.
const PROBLEMS_MAX: usize = 64;
/// Bytes of one message.
const MESSAGE_BYTES_MAX: usize = 2 << 10;

/// The configuration as guests get it: where there is none, an empty object.
pub(super) fn config_text(config: &serde_json::Value) -> String {
    if config.is_null() { "{}".to_owned() } else { config.to_string() }
}

/// The same for modules that take any bytes: a text as it is, anything else as JSON, nothing where there is none.
pub(super) fn plain_text(config: &serde_json::Value) -> String {
    match config {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a module is configured as, and where that stands.
pub(super) struct Subject<'a> {
    /// As messages call it: `plugin` or `table`, and its name.
    pub(super) title: String,
    /// The codes of what is wrong with its configuration, and with its module.
    pub(super) codes: (&'static str, &'static str),
    /// Where its module is named.
    pub(super) module: Option<&'a Place>,
    /// Where its configuration stands, by JSON pointer.
    pub(super) places: &'a BTreeMap<String, Place>,
}

impl Subject<'_> {
    /// It refuses its configuration: everything that it says is wrong, each a JSON pointer and a message.
    pub(super) fn refuses(&self, problems: impl IntoIterator<Item = (String, String)>) -> Vec<Diagnostic> {
        let problems = problems.into_iter().take(PROBLEMS_MAX);
        let mut refused: Vec<_> = problems.map(|(pointer, message)| self.wrong(&pointer, message)).collect();
        if refused.is_empty() {
            let message = format!("{} refuses its configuration and does not say why", self.title);
            refused.push(at(self.codes.0, message, self.place("")));
        }
        refused
    }

    /// It failed while it was `doing`, of which `error` is what the engine says.
    pub(super) fn failed(&self, doing: &str, error: &wasmtime::Error) -> Diagnostic {
        let why: Vec<_> = told(error).lines().take(TRAP_LINES_MAX).map(str::to_owned).collect();
        self.load(&format!(" failed while it was {doing}: {}", why.join("\n")))
    }

    /// It took longer than `deadline` to `do_it`.
    pub(super) fn too_slow(&self, deadline: Duration, do_it: &str) -> Diagnostic {
        self.load(&format!(" took longer than {} s to {do_it}", deadline.as_secs()))
    }

    /// Something about its module keeps it from being made; `what` follows on its title.
    pub(super) fn load(&self, what: &str) -> Diagnostic {
        at(self.codes.1, format!("{}{what}", self.title), self.module.cloned())
    }

    fn wrong(&self, pointer: &str, mut message: String) -> Diagnostic {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        let what = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
        at(self.codes.0, format!("{}{what}: {message}", self.title), self.place(pointer))
    }

    // Where the value is that a pointer (RFC 6901) leads to, or the nearest one around it that the document has; or else
    // where the module is named.
    fn place(&self, mut pointer: &str) -> Option<Place> {
        loop {
            if let Some(place) = self.places.get(pointer) {
                return Some(place.clone());
            }
            match pointer.rsplit_once('/') {
                Some((parent, _)) => pointer = parent,
                None if pointer.is_empty() => return self.module.cloned(),
                None => pointer = "",
            }
        }
    }
}

/// Everything that is wrong with a plugin.
pub(super) fn diagnostics(name: &str, spec: &spec::Plugin, error: CreateError) -> Vec<Diagnostic> {
    let subject = subject(name, spec);
    match error {
        CreateError::Problems(problems) => {
            subject.refuses(problems.into_iter().map(|Problem { pointer, message }| (pointer, message)))
        }
        CreateError::Lacks(method) => {
            vec![subject.load(&format!(": it declares a phase for which it does not export {method}"))]
        }
        CreateError::Failed(error) => vec![subject.failed("created", &error)],
    }
}

/// It did not come to an end.
pub(super) fn too_slow(name: &str, spec: &spec::Plugin, deadline: Duration) -> Diagnostic {
    subject(name, spec).too_slow(deadline, "check its configuration")
}

/// What it is configured with does not go with the ABI of its module, if so.
pub(super) fn misplaced(name: &str, spec: &spec::Plugin, made: &Made) -> Option<Diagnostic> {
    let what = match made {
        Made::ProxyWasm(_) if spec.isolation == spec::Isolation::PerRequest => {
            ": `isolation: per-request` does not go with a module of Proxy-Wasm, whose VMs host many exchanges"
        }
        Made::Native(_) | Made::HttpWasm(_) | Made::WasiHttp(_) if spec.proxy_wasm != spec::ProxyWasm::default() => {
            ": `proxy-wasm` goes with modules of Proxy-Wasm, and this is none"
        }
        Made::WasiHttp(_) if spec.limits.guest_calls_max.is_some() || spec.limits.guest_bytes_max.is_some() => {
            ": `guest-calls-max` and `guest-bytes-max` go with guests that serve many exchanges, and a component of wasi:http \
             has a fresh one for each"
        }
        Made::Native(_) if !spec.environment.is_empty() => {
            ": `environment` goes with modules that have WASI, and native ones have none"
        }
        _ => return None,
    };
    Some(subject(name, spec).load(what))
}

fn subject<'a>(name: &str, spec: &'a spec::Plugin) -> Subject<'a> {
    Subject {
        title: format!("plugin {name}"),
        codes: ("plugin-config", "plugin-load"),
        module: spec.module_place.as_ref(),
        places: &spec.config_places,
    }
}

fn at(code: &'static str, message: String, place: Option<Place>) -> Diagnostic {
    Diagnostic { at: place, ..Diagnostic::error(code, message) }
}

// As much of a trap's text as a diagnostic shows.
const TRAP_LINES_MAX: usize = 12;
