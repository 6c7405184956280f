//! Greets: sets a response header to a text of the operator's. `{name}` in the text stands for a query parameter, and
//! the request's own id goes with it, so that an answer can be found in the logs.
//!
//! The plugin to read first: settings that are checked, both phases of a head, something kept between them, and a
//! metric.

use serde::Deserialize;
use tidegate_guest::{
    Phases, Plugin, Problem, Problems, Request, Response, Result, Verdict, exchange, metrics::Counter,
};

/// See the README.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    text: String,
    #[serde(default = "default_header")]
    header: String,
}

fn default_header() -> String {
    "x-greeting".to_owned()
}

struct Greeting {
    settings: Settings,
    greeted: Counter,
}

impl Plugin for Greeting {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if settings.text.is_empty() || settings.text.chars().any(char::is_control) {
            problems.push(Problem::at("/text", "must be a text of one line"));
        }
        if settings.header.is_empty()
            || !settings.header.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            problems.push(Problem::at("/header", "must be a header name: letters, digits and `-`"));
        }
        problems.or(())?;
        Ok(Self { settings, greeted: Counter::new("greeted") })
    }

    fn phases(&self) -> Phases {
        Phases::none().request().response()
    }

    fn on_request(&self, request: Request) -> Result<Verdict> {
        if let Some(name) = request.query().as_deref().and_then(name) {
            exchange::keep(name.as_bytes())?;
        }
        Ok(Verdict::Proceed)
    }

    fn on_response(&self, response: Response) -> Result<Verdict> {
        let name = exchange::kept().and_then(|name| String::from_utf8(name).ok());
        let text = self.settings.text.replace("{name}", name.as_deref().unwrap_or("stranger"));
        response.set_header(&self.settings.header, text)?;
        response.set_header("x-request-id", exchange::trace_id())?;
        self.greeted.add(1);
        Ok(Verdict::Proceed)
    }
}

// A header has no room for what is percent-encoded, so only plain names are taken.
fn name(query: &str) -> Option<&str> {
    let name = query.split('&').find_map(|parameter| parameter.strip_prefix("name="))?;
    let plain = !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then_some(name)
}

tidegate_guest::export!(Greeting);
