//! Routing tables: modules that yield routes, and may choose among them for each request.
//!
//! A table is a type that implements [`Table`] and is exported with [`export!`](crate::export):
//!
//! ```
//! use tidegate_guest::{Problems, Result, table::{Route, Table}};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     tenants: Vec<String>,
//! }
//!
//! struct Tenants(Settings);
//!
//! impl Table for Tenants {
//!     type Settings = Settings;
//!
//!     fn new(settings: Settings) -> Result<Self, Problems> {
//!         Ok(Self(settings))
//!     }
//!
//!     fn routes(&self) -> Result<Vec<Route>, Problems> {
//!         let route = |tenant: &String| Route::new(tenant).host(format!("{tenant}.example.com")).upstream(tenant);
//!         Ok(self.0.tenants.iter().map(route).collect())
//!     }
//! }
//!
//! tidegate_guest::export!(table Tenants);
//!
//! let table = Tenants::new(Settings { tenants: vec!["a".into()] })?;
//! assert_eq!(table.routes()?[0].definition(), r#"{"host":"a.example.com","upstream":"a"}"#);
//! # Ok::<(), Problems>(())
//! ```

use serde::de::DeserializeOwned;

use crate::{Problems, Result};

/// A routing table with one configuration.
///
/// ```
/// use tidegate_guest::{
///     Problems, Result,
///     table::{Request, Route, Table},
/// };
///
/// /// Who asks for the beta by cookie gets it.
/// struct Beta;
///
/// impl Table for Beta {
///     type Settings = serde_json::Value;
///
///     fn new(_: serde_json::Value) -> Result<Self, Problems> {
///         Ok(Self)
///     }
///
///     fn routes(&self) -> Result<Vec<Route>, Problems> {
///         Ok(vec![Route::new("beta").upstream("v2")])
///     }
///
///     fn selects(&self) -> bool {
///         true
///     }
///
///     fn select(&self, request: &Request) -> Result<Option<String>> {
///         Ok(request.cookie("beta").map(|_| "beta".to_owned()))
///     }
/// }
///
/// let plain = Request::of("GET", "http://shop.example/");
/// assert_eq!(Beta.select(&plain).unwrap(), None);
/// assert_eq!(Beta.select(&plain.with_header("cookie", "beta=1")).unwrap().as_deref(), Some("beta"));
/// ```
pub trait Table: Sized + 'static {
    /// The configuration, as it stands under `config:` in the document. Where there is none, an empty object is read.
    type Settings: DeserializeOwned;

    /// Makes a table of a configuration, when it is loaded, and once in every guest that is to choose.
    ///
    /// # Errors
    /// What is wrong with the configuration; all of it, each with where. The gateway refuses the configuration then.
    fn new(settings: Self::Settings) -> Result<Self, Problems>;

    /// The routes, in order: of two that match equally well, the first serves. The same configuration must yield the
    /// same routes.
    ///
    /// # Errors
    /// As [`Table::new`].
    fn routes(&self) -> Result<Vec<Route>, Problems>;

    /// Whether [`Table::select`] is to be asked about every request. The routes then serve what they are selected for,
    /// and nothing else.
    fn selects(&self) -> bool {
        false
    }

    /// The name of the route that serves a request; `None` leaves it to the routes of documents. The route must match
    /// the request, too.
    ///
    /// # Errors
    /// A failure of the table: logged and counted, and the routes of documents serve.
    fn select(&self, request: &Request) -> Result<Option<String>> {
        let _ = request;
        Ok(None)
    }
}

/// A number below `of` that a text always stands for, spread evenly over texts: what a stable share of users is made
/// with. It is no secret, and who can choose the text can choose the number.
///
/// ```
/// let share = (0..10_000).filter(|user| tidegate_guest::table::stable(&format!("user-{user}"), 100) < 10).count();
/// assert!((900..=1100).contains(&share));
/// ```
pub fn stable(text: &str, of: u32) -> u32 {
    // FNV-1a, and the finish of MurmurHash3, as the low bits of the first alone are not even for short texts.
    let mut hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    let even = hash ^ (hash >> 33);
    u32::try_from((u128::from(even) * u128::from(of)) >> 64).unwrap_or(0)
}

#[doc(hidden)]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
mod exported;
mod host;
mod request;
mod route;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use exported::ExportedTable;

pub use request::Request;
pub use route::Route;

/// Lets the compiler check a table where none is exported.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub const fn is_table<T: Table>() {}
