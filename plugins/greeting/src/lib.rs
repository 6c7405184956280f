//! Greets: sets a response header to a text of the operator's. `{name}` in the text stands for a query parameter, and
//! the request's own id goes with it, so that an answer can be found in the logs.
//!
//! The plugin to read first: settings that are checked, both phases of a head, something kept between them, and a
//! metric.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_guest::{
    Phases, Plugin, Problem, Problems, Request, Response, Result, Verdict, exchange,
    fields::{is_reserved, is_token},
    metrics::Counter,
};

/// The settings of `greeting`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// What the header says. `{name}` stands for the query parameter `name`, or for `stranger`.
    #[schemars(length(min = 1))]
    text: String,
    /// The header's name.
    #[serde(default = "default_header")]
    header: String,
}

fn default_header() -> String {
    "x-greeting".to_owned()
}

/// What stands for the query parameter.
const NAME: &str = "{name}";

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
        if !is_token(&settings.header) {
            problems.push(Problem::at("/header", "must be a header name: letters, digits and `-`"));
        } else if is_reserved(&settings.header) {
            problems.push(Problem::at("/header", "is not a plugin's to set"));
        }
        problems.or(())?;
        Ok(Self { settings, greeted: Counter::new("greeted") })
    }

    fn phases(&self) -> Phases {
        // What is not declared costs nothing.
        let phases = Phases::none().response();
        if self.settings.text.contains(NAME) { phases.request() } else { phases }
    }

    fn on_request(&self, request: Request) -> Result<Verdict> {
        if let Some(name) = request.query().as_deref().and_then(name) {
            exchange::keep(name.as_bytes())?;
        }
        Ok(Verdict::Proceed)
    }

    fn on_response(&self, response: Response) -> Result<Verdict> {
        if self.settings.text.contains(NAME) {
            let name = exchange::kept().and_then(|name| String::from_utf8(name).ok());
            let text = self.settings.text.replace(NAME, name.as_deref().unwrap_or("stranger"));
            response.set_header(&self.settings.header, text)?;
        } else {
            response.set_header(&self.settings.header, &self.settings.text)?;
        }
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

#[cfg(test)]
mod tests {
    use tidegate_guest::testing::{ClientRequest, Host, json};

    use super::*;

    #[test]
    fn a_name_in_the_query_is_greeted_and_a_stranger_otherwise() {
        let host = Host::new();
        let greeting = host.load::<Greeting>(json!({ "text": "good morning, {name}" })).unwrap();
        for (target, text) in [
            ("/?name=jane", "good morning, jane"),
            ("/?a=b&name=joe", "good morning, joe"),
            ("/?name=%4a", "good morning, stranger"),
            ("/", "good morning, stranger"),
        ] {
            assert_eq!(greeting.send(ClientRequest::get(target)).header("x-greeting"), Some(text), "{target}");
        }
        assert_eq!(host.counter("greeted"), 4);
    }

    #[test]
    fn a_text_without_a_name_is_said_as_it_is_and_no_request_is_looked_at() {
        let host = Host::new();
        let greeting = host.load::<Greeting>(json!({ "text": "good morning", "header": "x-hello" })).unwrap();
        assert!(!format!("{:?}", greeting.plugin().phases()).contains("request: true"));
        let exchange = greeting.send(ClientRequest::get("/?name=jane"));
        assert_eq!((exchange.header("x-hello"), exchange.header("x-greeting")), (Some("good morning"), None));
        assert!(exchange.header("x-request-id").is_some());
    }

    #[test]
    fn what_is_wrong_with_the_settings_is_said_all_at_once_and_where() {
        let problems = Host::new().load::<Greeting>(json!({ "text": "", "header": "a b" })).err().unwrap();
        assert_eq!([&*problems[0].pointer, &*problems[1].pointer], ["/text", "/header"]);
        let problems = Host::new().load::<Greeting>(json!({ "text": "a", "header": "Connection" })).err().unwrap();
        assert_eq!(problems[0].pointer, "/header");
    }
}
