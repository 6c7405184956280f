//! What an operator writes, and what is wrong with it. Knows no request.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_guest::{Problem, Problems};

use crate::step::{Step, StepSettings};

/// The settings of `json-transform`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Changes to request bodies, in order.
    #[serde(default)]
    request: Vec<StepSettings>,
    /// Changes to response bodies, in order.
    #[serde(default)]
    response: Vec<StepSettings>,
    /// Bodies up to this many bytes are read. The gateway's `buffer-bytes-max` bounds them too, and a body takes up to 30
    /// times its size of the guest's `memory-bytes-max`.
    #[serde(default = "body_bytes_max")]
    #[schemars(range(min = 1))]
    body_bytes_max: u32,
    /// What becomes of larger ones.
    #[serde(default)]
    on_large: Otherwise,
    /// What becomes of bodies that say they are JSON and cannot be read: compressed, a part, not UTF-8, not JSON, over 128
    /// levels deep.
    #[serde(default)]
    on_unreadable: Otherwise,
}

/// What becomes of a body that the steps cannot be applied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Otherwise {
    /// The exchange ends: 400, 413 or 415 for a request, 502 for a response. Nothing that a step should have removed or
    /// masked gets out.
    #[default]
    Refuse,
    /// It passes as it is.
    Pass,
}

/// Settings that are in order.
pub(crate) struct Checked {
    pub(crate) request: Vec<Step>,
    pub(crate) response: Vec<Step>,
    pub(crate) body_bytes_max: u32,
    pub(crate) on_large: Otherwise,
    pub(crate) on_unreadable: Otherwise,
}

const STEPS_MAX: usize = 256;

const fn body_bytes_max() -> u32 {
    512 << 10
}

impl Settings {
    /// The steps.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn check(self) -> Result<Checked, Problems> {
        let mut problems = Problems::default();
        if self.request.is_empty() && self.response.is_empty() {
            problems.push(Problem::at("", "changes nothing: it needs steps under `request` or `response`"));
        }
        if self.body_bytes_max == 0 {
            problems.push(Problem::at("/body-bytes-max", "must be above 0"));
        }
        let mut steps = |name: &str, steps: Vec<StepSettings>| {
            if steps.len() > STEPS_MAX {
                problems.push(Problem::at(format!("/{name}"), format!("has more than {STEPS_MAX} steps")));
            }
            let numbered = steps.into_iter().enumerate();
            let check = |(index, step): (usize, StepSettings)| step.check(&format!("/{name}/{index}"), &mut problems);
            numbered.filter_map(check).collect()
        };
        let (request, response) = (steps("request", self.request), steps("response", self.response));
        let (on_large, on_unreadable) = (self.on_large, self.on_unreadable);
        problems.or(Checked { request, response, body_bytes_max: self.body_bytes_max, on_large, on_unreadable })
    }
}
