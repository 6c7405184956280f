//! Tenants: a host for each, all of them built from one list. What a plan means (headers, limits, authentication) stays
//! in the document, as a middleware of the plan's name.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_guest::{
    Problem, Problems, Result,
    table::{Route, Table},
};

/// What stands under `config:`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Every tenant is a host below it.
    domain: String,
    /// The plans there are, each the name of a middleware.
    plans: Vec<String>,
    /// By name.
    tenants: BTreeMap<String, Tenant>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tenant {
    /// `HOST:PORT`.
    address: String,
    /// One of the plans.
    plan: String,
}

struct Tenants(Settings);

impl Table for Tenants {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        for (name, tenant) in &settings.tenants {
            if !settings.plans.contains(&tenant.plan) {
                let message = format!("there is no plan `{}`; there are {}", tenant.plan, settings.plans.join(", "));
                problems.push(Problem::at(format!("/tenants/{name}/plan"), message));
            }
        }
        problems.or(Self(settings))
    }

    fn routes(&self) -> Result<Vec<Route>, Problems> {
        let route = |(name, tenant): (&String, &Tenant)| {
            Route::new(name)
                .host(format!("{name}.{}", self.0.domain))
                .middleware(&tenant.plan)
                .field("target", tenant.address.as_str())
        };
        Ok(self.0.tenants.iter().map(route).collect())
    }
}

tidegate_guest::export!(table Tenants);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(plan: &str) -> Settings {
        let acme = Tenant { address: "127.0.0.1:9".into(), plan: plan.into() };
        let tenants = BTreeMap::from([("acme".to_owned(), acme)]);
        Settings { domain: "example.com".into(), plans: vec!["gold".into()], tenants }
    }

    #[test]
    fn a_tenant_is_a_host_with_its_plan() {
        let routes = Tenants::new(settings("gold")).and_then(|table| table.routes()).unwrap_or_default();
        let expected = r#"{"host":"acme.example.com","middleware":"gold","target":"127.0.0.1:9"}"#;
        assert_eq!((routes[0].name(), routes[0].definition().as_str()), ("acme", expected));
    }

    #[test]
    fn an_unknown_plan_is_pointed_at() {
        assert!(Tenants::new(settings("silver")).is_err());
    }
}
