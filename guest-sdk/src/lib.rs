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
//! ```
//!
//! Built for `wasm32-unknown-unknown` as a `cdylib`, what cargo writes is what the gateway takes. Plugins keep nothing
//! in statics from one call to the next: any guest may serve any phase of an exchange. What a plugin wants to remember
//! it gives to [`exchange::keep`], or to its key-value space, [`kv`].

pub mod clock;
pub mod exchange;
mod export;
pub mod kv;
pub mod log;
pub mod metrics;
mod plugin;
pub mod random;
mod request;
mod response;
mod result;
pub mod upstream;

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub use export::Exported;
pub use plugin::{BodyVerdict, Outcome, Phases, Plugin, Verdict};
pub use request::Request;
pub use response::{LocalResponse, Response};
pub use result::{Error, Problem, Problems, Refused, Result};
