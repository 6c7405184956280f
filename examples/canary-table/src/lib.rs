//! A canary: a share of the users gets the new version, always the same users, and who asks for a version by cookie gets
//! that one.
//!
//! The table yields two routes. It is asked about every request, and names one of them. Where it does not answer (it
//! trapped, it was too slow), the routes of the document serve: a canary that breaks costs nobody a request.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_guest::{
    Problem, Problems, Result,
    table::{Request, Route, Table, stable},
};

/// What stands under `config:`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The upstream that most users get.
    stable: String,
    /// The upstream that the share gets.
    canary: String,
    /// The share, 0 to 100.
    #[schemars(range(min = 0.0, max = 100.0))]
    percent: f64,
    /// The header that says who a user is; without it, the client's address does.
    #[serde(default)]
    key: Option<String>,
    /// The cookie that decides: `always` or `never`.
    #[serde(default = "cookie")]
    cookie: String,
}

fn cookie() -> String {
    "canary".to_owned()
}

struct Canary(Settings);

impl Table for Canary {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Problems> {
        if !(0.0..=100.0).contains(&settings.percent) {
            return Err(Problem::at("/percent", "must be from 0 to 100").into());
        }
        Ok(Self(settings))
    }

    fn routes(&self) -> Result<Vec<Route>, Problems> {
        Ok(vec![Route::new("stable").upstream(&self.0.stable), Route::new("canary").upstream(&self.0.canary)])
    }

    fn selects(&self) -> bool {
        true
    }

    fn select(&self, request: &Request) -> Result<Option<String>> {
        let canary = match request.cookie(&self.0.cookie).as_deref() {
            Some("always") => true,
            Some("never") => false,
            _ => self.is_in_share(request),
        };
        Ok(Some(if canary { "canary" } else { "stable" }.to_owned()))
    }
}

impl Canary {
    fn is_in_share(&self, request: &Request) -> bool {
        let named = self.0.key.as_ref().and_then(|header| request.header(header));
        let user = named.unwrap_or_else(|| request.client_address());
        // In hundredths of a percent, so that half a percent is a share, too.
        f64::from(stable(&user, 10_000)) < self.0.percent * 100.0
    }
}

tidegate_guest::export!(table Canary);

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(percent: f64) -> Canary {
        let key = Some("x-user".to_owned());
        let settings = Settings { stable: "v1".into(), canary: "v2".into(), percent, key, cookie: cookie() };
        Canary::new(settings).unwrap_or_else(|_| panic!("{percent} is a share"))
    }

    fn request(user: u32) -> Request {
        Request::of("GET", "http://shop.example/").with_header("x-user", format!("user-{user}"))
    }

    fn chosen(canary: &Canary, request: &Request) -> String {
        canary.select(request).ok().flatten().unwrap_or_default()
    }

    #[test]
    fn the_share_is_what_was_asked_for_within_one_percent() {
        for percent in [0.0, 0.5, 10.0, 50.0, 99.0, 100.0] {
            let canary = canary(percent);
            let count = (0..20_000).filter(|user| chosen(&canary, &request(*user)) == "canary").count();
            let share = count as f64 / 200.0;
            assert!((share - percent).abs() <= 1.0, "{percent} % is {share} %");
        }
    }

    #[test]
    fn a_user_stays_where_they_are_and_a_larger_share_takes_nobody_out() {
        let (small, large) = (canary(10.0), canary(20.0));
        for user in 0..2_000 {
            let once = chosen(&small, &request(user));
            assert_eq!(once, chosen(&small, &request(user)));
            assert!(once == "stable" || chosen(&large, &request(user)) == "canary");
        }
    }

    #[test]
    fn a_cookie_decides() {
        for (cookie, expected) in [("canary=always", "canary"), ("a=b; canary=never", "stable")] {
            let all = [canary(0.0), canary(100.0)];
            assert!(all.iter().all(|canary| chosen(canary, &request(1).with_header("cookie", cookie)) == expected));
        }
    }
}
