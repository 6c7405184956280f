//! What authors of Tidegate plugins write against.
//!
//! A plugin is a type that implements [`Plugin`] and is exported with [`export!`]:
//!
//! ```
//! use tidegate_guest::{Phases, Plugin, Problems, Request, Result, Verdict};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     name: String,
//! }
//!
//! struct Greeter(Settings);
//!
//! impl Plugin for Greeter {
//!     type Settings = Settings;
//!
//!     fn new(settings: Settings) -> Result<Self, Problems> {
//!         Ok(Self(settings))
//!     }
//!
//!     fn phases(&self) -> Phases {
//!         Phases::none().request()
//!     }
//!
//!     fn on_request(&self, request: Request) -> Result<Verdict> {
//!         request.set_header("x-greeting", &self.0.name)?;
//!         Ok(Verdict::Proceed)
//!     }
//! }
//!
//! tidegate_guest::export!(Greeter);
//!
//! // A plugin's tests run on the machine that builds it, without a gateway and without Wasm.
//! use tidegate_guest::testing::{ClientRequest, Host, json};
//!
//! let greeter = Host::new().load::<Greeter>(json!({ "name": "you" })).unwrap();
//! let exchange = greeter.send(ClientRequest::get("/"));
//! assert_eq!(exchange.forwarded.unwrap().header("x-greeting"), Some("you"));
//! ```
//!
//! Built for `wasm32-unknown-unknown` as a `cdylib`, what cargo writes is what the gateway takes. Plugins keep nothing
//! in statics from one call to the next: any guest may serve any phase of an exchange. What a plugin wants to remember
//! it gives to [`exchange::keep`], or to its key-value space, [`kv`].
//!
//! On any other target the same code talks to the test host, [`testing`]; nothing has to be switched on for it.

#[cfg(any(test, all(target_arch = "wasm32", feature = "allocator")))]
mod allocator;
mod chunks;
pub mod clock;
pub mod exchange;
#[cfg(target_arch = "wasm32")]
mod export;
pub mod fields;
mod headers;
mod host;
pub mod kv;
pub mod log;
pub mod metrics;
mod period;
mod plugin;
pub mod random;
mod request;
mod response;
mod result;
pub mod schema;
pub mod table;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod upstream;

#[doc(hidden)]
pub mod bindings;
pub use chunks::{Chunk, Chunks};
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use export::Configured;
pub use period::Period;
pub use plugin::{BodyVerdict, Outcome, Phases, Plugin, Verdict};
pub use request::Request;
pub use response::{LocalResponse, Response};
pub use result::{Error, Problem, Problems, Refused, Result};

/// Exports a [`Plugin`], or with `table` before it a [`table::Table`]: the one thing that a crate has to call, once.
///
/// Where the crate's feature `schema` is on and the settings derive `schemars::JsonSchema`, their description
/// is exported too; see [`schema`].
///
/// ```
/// use tidegate_guest::{Phases, Plugin, Problems, Result};
///
/// struct Nothing;
///
/// impl Plugin for Nothing {
///     type Settings = ();
///
///     fn new((): ()) -> Result<Self, Problems> {
///         Ok(Self)
///     }
///
///     fn phases(&self) -> Phases {
///         Phases::none()
///     }
/// }
///
/// tidegate_guest::export!(Nothing);
/// ```
#[macro_export]
macro_rules! export {
    (table $table:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[allow(unused_imports, reason = "used where the settings derive no schema")]
            use $crate::schema::Undescribed as _;
            use $crate::table::bindings::{
                exports::tidegate::table::{routing, settings},
                tidegate::table::types,
            };

            struct TidegateExported;

            impl routing::Guest for TidegateExported {
                fn table(config: String) -> Result<types::Definition, Vec<types::Problem>> {
                    <$crate::table::ExportedTable<$table> as routing::Guest>::table(config)
                }

                fn select() -> Result<Option<String>, String> {
                    <$crate::table::ExportedTable<$table> as routing::Guest>::select()
                }
            }

            impl settings::Guest for TidegateExported {
                fn schema() -> Option<String> {
                    $crate::schema::Of::<<$table as $crate::table::Table>::Settings>::SETTINGS.schema()
                }
            }

    $crate::table::bindings::export_table!(TidegateExported with_types_in $crate::table::bindings);
        };
        // Nobody calls it there; the compiler checks it all the same.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = $crate::table::is_table::<$table>();
    };
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[allow(unused_imports, reason = "used where the settings derive no schema")]
            use $crate::schema::Undescribed as _;

            struct TidegateExported;

            impl $crate::bindings::exports::tidegate::plugin::handler::Guest for TidegateExported {
                type Plugin = $crate::Configured<$plugin>;
            }

            impl $crate::bindings::exports::tidegate::plugin::settings::Guest for TidegateExported {
                fn schema() -> Option<String> {
                    $crate::schema::Of::<<$plugin as $crate::Plugin>::Settings>::SETTINGS.schema()
                }
            }

    $crate::bindings::export_plugin!(TidegateExported with_types_in $crate::bindings);
        };
        // Nobody calls it there; the compiler checks it all the same.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = $crate::testing::is_plugin::<$plugin>();
    };
}

// What the guide says in Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/tables.md")]
struct GuideToTables;
