//! What is kept from one exchange to the next, in both drafts of `wasi:keyvalue`.

mod first {
    //! As wasmCloud has it.
    #![allow(missing_docs, reason = "generated")]

    wit_bindgen::generate!({
        inline: "
            package wasi:keyvalue@0.2.0-draft;
            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<u64> }
                open: func(identifier: string) -> result<bucket, error>;
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    list-keys: func(cursor: option<u64>) -> result<key-response, error>;
                }
            }
            interface atomics {
                use store.{bucket, error};
                increment: func(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>;
            }
            interface batch {
                use store.{bucket, error};
                get-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<list<option<tuple<string, list<u8>>>>, error>;
            }
            world keeping { import store; import atomics; import batch; }
        ",
    });
}

mod second {
    //! As Spin has it.
    #![allow(missing_docs, reason = "generated")]

    wit_bindgen::generate!({
        inline: "
            package wasi:keyvalue@0.2.0-draft2;
            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<string> }
                open: func(identifier: string) -> result<bucket, error>;
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<string>) -> result<key-response, error>;
                }
            }
            interface atomics {
                use store.{bucket, error};
                resource cas {
                    new: static func(bucket: borrow<bucket>, key: string) -> result<cas, error>;
                    current: func() -> result<option<list<u8>>, error>;
                }
                variant cas-error { store-error(error), cas-failed(cas) }
                increment: func(bucket: borrow<bucket>, key: string, delta: s64) -> result<s64, error>;
                swap: func(cas: cas, value: list<u8>) -> result<_, cas-error>;
            }
            interface batch {
                use store.{bucket, error};
                get-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<list<tuple<string, option<list<u8>>>>, error>;
                set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>) -> result<_, error>;
                delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
            }
            world keeping { import store; import atomics; import batch; }
        ",
    });
}

use first::wasi::keyvalue as one;
use second::wasi::keyvalue::{atomics, batch, store};

/// Does what `rest` says, and says what came of it.
pub(crate) fn keep(rest: &str) -> String {
    let bucket = store::open("default").expect("every bucket is there");
    let (does, key) = rest.split_once('/').unwrap_or((rest, ""));
    let text = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
    match does {
        "set" => format!("{:?}", bucket.set(key, b"kept").map_err(|error| error.to_string())),
        "get" => format!("{:?} {:?}", bucket.get(key).map(text).ok().flatten(), bucket.exists(key).ok()),
        "elsewhere" => {
            let other = store::open("other").expect("every bucket is there");
            format!("{:?}", other.exists(key).ok())
        }
        "delete" => format!("{:?}", bucket.delete(key).is_ok()),
        "count" => {
            let second = atomics::increment(&bucket, key, -1).expect("a number");
            let first = one::store::open("default").expect("every bucket is there");
            format!("{second} {}", one::atomics::increment(&first, key, 3).expect("a number"))
        }
        "swap" => swap(&bucket, key),
        "many" => many(&bucket),
        _ => "no such thing".into(),
    }
}

fn swap(bucket: &store::Bucket, key: &str) -> String {
    let cas = |key| atomics::Cas::new(bucket, key).expect("a look");
    let (stale, fresh) = (cas(key), cas(key));
    assert!(fresh.current().expect("a look").is_none());
    atomics::swap(fresh, b"one").expect("nobody was faster");
    match atomics::swap(stale, b"two") {
        Err(atomics::CasError::CasFailed(again)) => {
            let seen = again.current().expect("a look").unwrap_or_default();
            atomics::swap(again, b"three").expect("nobody was faster");
            let now = bucket.get(key).expect("a look").unwrap_or_default();
            format!("{} {}", String::from_utf8_lossy(&seen), String::from_utf8_lossy(&now))
        }
        other => format!("{}", other.is_ok()),
    }
}

fn many(bucket: &store::Bucket) -> String {
    let pairs: Vec<_> = (0..1_001).map(|number| (format!("key-{number:04}"), b"v".to_vec())).collect();
    batch::set_many(bucket, &pairs).expect("there is room");
    let page = bucket.list_keys(None).expect("a list");
    let rest = bucket.list_keys(page.cursor.as_deref()).expect("a list");
    let first = one::store::open("default").expect("every bucket is there");
    let counted = first.list_keys(Some(1_000)).expect("a list");
    let names = ["key-0000", "none"].map(str::to_owned);
    let found = batch::get_many(bucket, &names).expect("a list");
    let before = one::batch::get_many(&first, &names).expect("a list");
    let keys: Vec<_> = pairs.into_iter().map(|(key, _)| key).collect();
    batch::delete_many(bucket, &keys).expect("they go");
    format!(
        "{}+{} {} {:?} {:?} {}",
        page.keys.len(),
        rest.keys.len(),
        counted.keys.concat(),
        found.iter().map(|(key, value)| (key.as_str(), value.is_some())).collect::<Vec<_>>(),
        before.iter().map(Option::is_some).collect::<Vec<_>>(),
        bucket.list_keys(None).expect("a list").keys.len()
    )
}
