//! Greets: reads the request header `x-name` and sets `x-greeting`.

use tidegate_guest::{Phases, Plugin, Problem, Problems, Request, Result, Verdict};

/// What stands under `config:`.
#[derive(serde::Deserialize)]
struct Settings {
    greeting: String,
}

struct Hello(Settings);

impl Plugin for Hello {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Problems> {
        if settings.greeting.is_empty() {
            return Err(Problem::at("/greeting", "must be a text").into());
        }
        Ok(Self(settings))
    }

    fn phases(&self) -> Phases {
        Phases::none().request()
    }

    fn on_request(&self, request: Request) -> Result<Verdict> {
        let name = request.header("x-name").unwrap_or_else(|| "stranger".to_owned());
        request.set_header("x-greeting", format!("{}, {name}", self.0.greeting))?;
        Ok(Verdict::Proceed)
    }
}

tidegate_guest::export!(Hello);
