//! `wasi:keyvalue` in its two drafts that are in use, on the plugin's own key-value space: a bucket is a name before its keys.
//! What is kept lives as long as the process, for all workers, within `kv-bytes-max`.

use std::time::Instant;

use wasmtime::{
    Result, StoreContextMut,
    component::{ComponentType, Linker, LinkerInstance, Lower, Resource, ResourceType},
};

use super::data::Data;
use crate::state::kv::{Refused, Space};

/// What came first, as wasmCloud has it.
const FIRST: &str = "0.2.0-draft";
/// What Spin has.
const SECOND: &str = "0.2.0-draft2";
const INTERFACES: [&str; 3] = ["store", "atomics", "batch"];
/// Keys that are listed at a time.
const KEYS_MAX: usize = 1000;
// Between the name of a bucket and a key.
const SEPARATOR: char = '\u{1f}';

/// Whether an interface is one of these.
pub(super) fn has(interface: &str) -> bool {
    let Some((name, version)) = interface.strip_prefix("wasi:keyvalue/").and_then(|rest| rest.split_once('@')) else {
        return false;
    };
    INTERFACES.contains(&name) && [FIRST, SECOND].contains(&version)
}

/// A bucket: what its keys begin with.
struct Bucket(String);

/// A key, as it was when it was looked at.
struct Cas {
    key: String,
    version: u64,
    value: Option<Vec<u8>>,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "a bucket is there when it is named, and the plugin's own")]
enum Error {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Keys<C> {
    keys: Vec<String>,
    cursor: Option<C>,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum CasError {
    #[component(name = "store-error")]
    Store(Error),
    #[component(name = "cas-failed")]
    Failed(Resource<Cas>),
}

type Answer<T> = Result<(std::result::Result<T, Error>,)>;
type Store<'a> = StoreContextMut<'a, Data>;

/// Both drafts.
pub(super) fn add(linker: &mut Linker<Data>) -> Result<()> {
    for version in [FIRST, SECOND] {
        store(&mut linker.instance(&format!("wasi:keyvalue/store@{version}"))?, version)?;
        atomics(&mut linker.instance(&format!("wasi:keyvalue/atomics@{version}"))?, version)?;
        batch(&mut linker.instance(&format!("wasi:keyvalue/batch@{version}"))?, version)?;
    }
    Ok(())
}

fn store(instance: &mut LinkerInstance<'_, Data>, version: &str) -> Result<()> {
    instance.resource("bucket", ResourceType::host::<Bucket>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<Bucket>::new_own(rep))?;
        Ok(())
    })?;
    instance.func_wrap("open", |mut store: Store<'_>, (name,): (String,)| -> Answer<Resource<Bucket>> {
        Ok((Ok(store.data_mut().table.push(Bucket(format!("{name}{SEPARATOR}")))?),))
    })?;
    instance.func_wrap(
        "[method]bucket.get",
        |store: Store<'_>, at: (Resource<Bucket>, String)| -> Answer<Option<Vec<u8>>> {
            let key = key(&store, &at.0, &at.1)?;
            Ok((Ok(space(&store).get(&key, Instant::now()).map(|(value, _)| value)),))
        },
    )?;
    instance.func_wrap(
        "[method]bucket.exists",
        |store: Store<'_>, at: (Resource<Bucket>, String)| -> Answer<bool> {
            let key = key(&store, &at.0, &at.1)?;
            Ok((Ok(space(&store).get(&key, Instant::now()).is_some()),))
        },
    )?;
    instance.func_wrap(
        "[method]bucket.set",
        |store: Store<'_>, at: (Resource<Bucket>, String, Vec<u8>)| -> Answer<()> {
            let key = key(&store, &at.0, &at.1)?;
            Ok((set(space(&store), &key, at.2),))
        },
    )?;
    instance.func_wrap("[method]bucket.delete", |store: Store<'_>, at: (Resource<Bucket>, String)| -> Answer<()> {
        let key = key(&store, &at.0, &at.1)?;
        space(&store).delete(&key, Instant::now());
        Ok((Ok(()),))
    })?;
    if version == FIRST {
        instance.func_wrap(
            "[method]bucket.list-keys",
            |store: Store<'_>, at: (Resource<Bucket>, Option<u64>)| -> Answer<Keys<u64>> {
                let from = usize::try_from(at.1.unwrap_or(0)).unwrap_or(usize::MAX);
                let (keys, more) = page(listed(&store, &at.0)?.into_iter().skip(from));
                let cursor = more.then(|| (from + keys.len()) as u64);
                Ok((Ok(Keys { keys, cursor }),))
            },
        )
    } else {
        instance.func_wrap(
            "[method]bucket.list-keys",
            |store: Store<'_>, at: (Resource<Bucket>, Option<String>)| -> Answer<Keys<String>> {
                let after = at.1;
                let rest =
                    listed(&store, &at.0)?.into_iter().filter(|key| after.as_ref().is_none_or(|after| key > after));
                let (keys, more) = page(rest);
                let cursor = keys.last().filter(|_| more).cloned();
                Ok((Ok(Keys { keys, cursor }),))
            },
        )
    }
}

fn atomics(instance: &mut LinkerInstance<'_, Data>, version: &str) -> Result<()> {
    if version == FIRST {
        return instance.func_wrap(
            "increment",
            |store: Store<'_>, at: (Resource<Bucket>, String, u64)| -> Answer<u64> {
                let key = key(&store, &at.0, &at.1)?;
                let by = i64::try_from(at.2).unwrap_or(i64::MAX);
                Ok((add_to(space(&store), &key, by).map(|sum| u64::try_from(sum).unwrap_or(0)),))
            },
        );
    }
    instance.func_wrap("increment", |store: Store<'_>, at: (Resource<Bucket>, String, i64)| -> Answer<i64> {
        let key = key(&store, &at.0, &at.1)?;
        Ok((add_to(space(&store), &key, at.2),))
    })?;
    instance.resource("cas", ResourceType::host::<Cas>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<Cas>::new_own(rep))?;
        Ok(())
    })?;
    instance.func_wrap(
        "[static]cas.new",
        |mut store: Store<'_>, at: (Resource<Bucket>, String)| -> Answer<Resource<Cas>> {
            let key = key(&store, &at.0, &at.1)?;
            Ok((Ok(look(&mut store, key)?),))
        },
    )?;
    instance.func_wrap(
        "[method]cas.current",
        |store: Store<'_>, (cas,): (Resource<Cas>,)| -> Answer<Option<Vec<u8>>> {
            Ok((Ok(store.data().table.get(&cas)?.value.clone()),))
        },
    )?;
    instance.func_wrap("swap", swap)
}

type Swapped = Result<(std::result::Result<(), CasError>,)>;

fn swap(mut store: Store<'_>, (cas, value): (Resource<Cas>, Vec<u8>)) -> Swapped {
    let Cas { key, version, .. } = store.data_mut().table.delete(cas)?;
    let swapped = space(&store).compare_and_set(&key, version, value, None, Instant::now());
    Ok((match swapped {
        Ok(_) => Ok(()),
        Err(Refused::Conflict) => Err(CasError::Failed(look(&mut store, key)?)),
        Err(refused) => Err(CasError::Store(told(refused))),
    },))
}

type Pair = (String, Vec<u8>);

fn batch(instance: &mut LinkerInstance<'_, Data>, version: &str) -> Result<()> {
    if version == FIRST {
        instance.func_wrap(
            "get-many",
            |store: Store<'_>, at: (Resource<Bucket>, Vec<String>)| -> Answer<Vec<Option<Pair>>> {
                let found = found(&store, &at.0, at.1)?;
                Ok((Ok(found.into_iter().map(|(key, value)| Some((key, value?))).collect()),))
            },
        )?;
    } else {
        instance.func_wrap(
            "get-many",
            |store: Store<'_>, at: (Resource<Bucket>, Vec<String>)| -> Answer<Vec<(String, Option<Vec<u8>>)>> {
                Ok((Ok(found(&store, &at.0, at.1)?),))
            },
        )?;
    }
    instance.func_wrap("set-many", |store: Store<'_>, at: (Resource<Bucket>, Vec<Pair>)| -> Answer<()> {
        for (name, value) in at.1 {
            let key = key(&store, &at.0, &name)?;
            if let Err(error) = set(space(&store), &key, value) {
                return Ok((Err(error),));
            }
        }
        Ok((Ok(()),))
    })?;
    instance.func_wrap("delete-many", |store: Store<'_>, at: (Resource<Bucket>, Vec<String>)| -> Answer<()> {
        for name in at.1 {
            let key = key(&store, &at.0, &name)?;
            space(&store).delete(&key, Instant::now());
        }
        Ok((Ok(()),))
    })
}

fn space<'a>(store: &'a Store<'_>) -> &'a Space {
    &store.data().shared.plugin.kv
}

fn key(store: &Store<'_>, bucket: &Resource<Bucket>, key: &str) -> Result<String> {
    let Bucket(prefix) = store.data().table.get(bucket)?;
    Ok(format!("{prefix}{key}"))
}

fn look(store: &mut Store<'_>, key: String) -> Result<Resource<Cas>> {
    let (value, version) =
        space(store).get(&key, Instant::now()).map_or((None, 0), |(value, version)| (Some(value), version));
    Ok(store.data_mut().table.push(Cas { key, version, value })?)
}

fn found(store: &Store<'_>, bucket: &Resource<Bucket>, keys: Vec<String>) -> Result<Vec<(String, Option<Vec<u8>>)>> {
    let find = |name: String| {
        let value = space(store).get(&key(store, bucket, &name)?, Instant::now()).map(|(value, _)| value);
        Ok((name, value))
    };
    keys.into_iter().map(find).collect()
}

fn listed(store: &Store<'_>, bucket: &Resource<Bucket>) -> Result<Vec<String>> {
    let Bucket(prefix) = store.data().table.get(bucket)?;
    let mut keys = space(store).keys(prefix, Instant::now());
    keys.sort_unstable();
    Ok(keys)
}

// As many as are listed at a time, and whether there are more.
fn page(mut keys: impl Iterator<Item = String>) -> (Vec<String>, bool) {
    let page: Vec<_> = keys.by_ref().take(KEYS_MAX).collect();
    let more = keys.next().is_some();
    (page, more)
}

fn set(space: &Space, key: &str, value: Vec<u8>) -> std::result::Result<(), Error> {
    space.set(key, value, None, Instant::now()).map(drop).map_err(told)
}

fn add_to(space: &Space, key: &str, by: i64) -> std::result::Result<i64, Error> {
    space.add(key, by, None, Instant::now()).map_err(told)
}

fn told(refused: Refused) -> Error {
    Error::Other(match refused {
        Refused::Full => "the plugin's key-value space is full (`limits: {kv-bytes-max: …}`)".into(),
        Refused::Conflict => "the value is not a number: what `increment` made has 8 bytes, little-endian".into(),
        Refused::TooLarge => "a key with the name of its bucket has 1 KiB at most, a value 1 MiB".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_drafts_are_known_by_name() {
        assert!(has("wasi:keyvalue/store@0.2.0-draft") && has("wasi:keyvalue/batch@0.2.0-draft2"));
        assert!(!has("wasi:keyvalue/watcher@0.2.0-draft2") && !has("wasi:keyvalue/store@0.3.0"));
    }

    #[test]
    fn keys_come_page_by_page() {
        let keys = |count: usize| (0..count).map(|number| number.to_string());
        assert!(!page(keys(KEYS_MAX)).1);
        let (first, more) = page(keys(KEYS_MAX + 1));
        assert_eq!((first.len(), more), (KEYS_MAX, true));
    }
}
