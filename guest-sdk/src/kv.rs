//! The middleware's key-value space: shared by all workers and routes, kept through reloads, bounded by the operator's
//! `kv-bytes-max`.

use std::{fmt, time::Duration};

use crate::{Result, host::kv as host};

/// A value, and the version of it for [`compare_and_set`].
///
/// ```
/// # use tidegate_guest::{kv, testing::Host};
/// # Host::new().run(|| {
/// kv::set("seen", b"1", None)?;
/// let entry = kv::get("seen").unwrap();
/// assert!(entry.value == b"1" && entry.version > 0);
/// # Ok::<(), kv::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// Never 0.
    pub version: u64,
}

/// Why nothing was written.
///
/// ```
/// # use tidegate_guest::{kv, testing::Host};
/// # Host::new().run(|| {
/// assert_eq!(kv::set("", b"1", None), Err(kv::Error::TooLarge));
/// assert_eq!(kv::compare_and_set("seen", 7, b"1", None), Err(kv::Error::Conflict));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The space is full.
    Full,
    /// The entry is not what was expected: of another version, or not a number.
    Conflict,
    /// A key over 1 KiB or empty, or a value over 1 MiB.
    TooLarge,
}

/// A value.
///
/// ```
/// # use tidegate_guest::{kv, testing::Host};
/// # Host::new().run(|| {
/// assert_eq!(kv::get("seen"), None);
/// # });
/// ```
pub fn get(key: &str) -> Option<Entry> {
    host::get(key).map(|entry| Entry { value: entry.value, version: entry.version })
}

/// Sets a value, which expires after `ttl`.
///
/// # Errors
/// [`Error::Full`] and [`Error::TooLarge`].
///
/// ```
/// # use std::time::Duration;
/// # use tidegate_guest::{kv, testing::Host};
/// # let host = Host::new();
/// # host.run(|| kv::set("token", b"abc", Some(Duration::from_secs(60)))).unwrap();
/// host.advance(Duration::from_secs(61));
/// assert_eq!(host.run(|| kv::get("token")), None);
/// ```
pub fn set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), Error> {
    Ok(host::set(key, value, milliseconds(ttl))?)
}

/// Removes an entry; answers whether there was one.
///
/// ```
/// # use tidegate_guest::{kv, testing::Host};
/// # Host::new().run(|| {
/// kv::set("seen", b"1", None)?;
/// assert!(kv::delete("seen"));
/// assert!(!kv::delete("seen"));
/// # Ok::<(), kv::Error>(()) }).unwrap();
/// ```
pub fn delete(key: &str) -> bool {
    host::delete(key)
}

/// Sets a value if the entry still has this version, 0 meaning that there is none. Answers with the new version.
///
/// # Errors
/// [`Error::Conflict`] where somebody else was first: read again, and decide again.
///
/// ```
/// # use tidegate_guest::{kv, testing::Host};
/// # Host::new().run(|| {
/// let version = kv::compare_and_set("leader", 0, b"me", None)?;
/// assert_eq!(kv::compare_and_set("leader", 0, b"you", None), Err(kv::Error::Conflict));
/// kv::compare_and_set("leader", version, b"you", None)?;
/// # Ok::<(), kv::Error>(()) }).unwrap();
/// ```
pub fn compare_and_set(key: &str, version: u64, value: &[u8], ttl: Option<Duration>) -> Result<u64, Error> {
    Ok(host::compare_and_set(key, version, value, milliseconds(ttl))?)
}

/// Adds to a number, 0 where there is none, and answers with the sum. `ttl` counts from when the entry is made, and is
/// not renewed: a number that expires each second counts what happens in a second.
///
/// # Errors
/// [`Error::Conflict`] where the entry is not a number.
///
/// ```
/// # use tidegate_guest::{kv, testing::Host};
/// # Host::new().run(|| {
/// assert_eq!(kv::add("requests", 1, None)?, 1);
/// assert_eq!(kv::add("requests", 2, None)?, 3);
/// # Ok::<(), kv::Error>(()) }).unwrap();
/// ```
pub fn add(key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, Error> {
    Ok(host::add(key, by, milliseconds(ttl))?)
}

fn milliseconds(ttl: Option<Duration>) -> Option<u64> {
    ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

impl From<host::KvError> for Error {
    fn from(error: host::KvError) -> Self {
        match error {
            host::KvError::Full => Self::Full,
            host::KvError::Conflict => Self::Conflict,
            host::KvError::TooLarge => Self::TooLarge,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the key-value space is full",
            Self::Conflict => "the entry is not what was expected",
            Self::TooLarge => "the key or value is too large",
        })
    }
}

impl std::error::Error for Error {}
