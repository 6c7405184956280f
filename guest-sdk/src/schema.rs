//! What a plugin's settings look like, for operators: a JSON Schema (2020-12), shown by `tidegate plugin inspect` and
//! merged into the configuration's own, so that editors complete and check what stands under `config:`.
//!
//! Switch the crate's feature `schema` on, add `schemars`, and derive: nothing else is to be done.
//!
//! ```sh
//! cargo add tidegate-guest --features schema
//! cargo add schemars --no-default-features --features derive
//! ```
//!
//! ```
//! # use tidegate_guest::{Phases, Plugin, Problems, Result};
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields, rename_all = "kebab-case")]
//! struct Settings {
//!     /// How many requests a client may make.
//!     requests_max: u32,
//! }
//!
//! struct Limit(Settings);
//!
//! impl Plugin for Limit {
//!     type Settings = Settings;
//! #    fn new(settings: Settings) -> Result<Self, Problems> {
//! #        Ok(Self(settings))
//! #    }
//! #    fn phases(&self) -> Phases {
//! #        Phases::none()
//! #    }
//! }
//!
//! tidegate_guest::export!(Limit);
//!
//! let schema = tidegate_guest::schema::of::<Settings>();
//! assert_eq!(schema["properties"]["requests-max"]["description"], "How many requests a client may make.");
//! ```
//!
//! It costs about 40 KB of module, and nothing while requests are served: the gateway does not ask for it then.

use std::marker::PhantomData;

/// The JSON Schema of a type, as JSON. Needs the feature `schema`.
///
/// ```
/// assert_eq!(tidegate_guest::schema::of::<bool>()["type"], "boolean");
/// ```
#[cfg(feature = "schema")]
pub fn of<S: schemars::JsonSchema>() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    // As they are read, not as they would be written: what has a default may be left out.
    settings.into_generator().into_root_schema_for::<S>().to_value()
}

/// Stands for the settings type `S`, for [`crate::export!`].
#[doc(hidden)]
#[derive(Debug)]
pub struct Of<S>(PhantomData<S>);

impl<S> Of<S> {
    pub const SETTINGS: Self = Self(PhantomData);
}

// Found before the trait's method where `S` derives a schema, and not at all where it does not.
#[cfg(feature = "schema")]
impl<S: schemars::JsonSchema> Of<S> {
    #[doc(hidden)]
    pub fn schema(&self) -> Option<String> {
        Some(of::<S>().to_string())
    }
}

/// The answer for settings that do not derive a schema, for [`crate::export!`].
#[doc(hidden)]
pub trait Undescribed {
    fn schema(&self) -> Option<String> {
        None
    }
}

impl<S> Undescribed for Of<S> {}

#[cfg(all(test, feature = "schema"))]
mod tests {
    use super::*;

    #[derive(schemars::JsonSchema)]
    struct Described {
        #[expect(dead_code, reason = "only described")]
        name: String,
    }

    struct Plain;

    #[test]
    fn settings_are_described_where_they_can_be() {
        assert!(Of::<Described>::SETTINGS.schema().unwrap().contains("\"name\""));
        assert_eq!(Of::<Plain>::SETTINGS.schema(), None);
    }
}
