//! Paths and their normal forms, under each treatment.

use proptest::prelude::*;

use super::*;

fn all(treatment: Treatment) -> PathPolicy {
    PathPolicy {
        dot_segments: treatment,
        empty_segments: treatment,
        encoded_slashes: treatment,
        encoded_controls: treatment,
    }
}

#[test]
fn paths_have_one_form() {
    // Path; then the result by default, when everything is normalized, and when everything is kept. `!` is refused.
    let cases = [
        ("/", "/", "/", "/"),
        ("/a/b.c/d", "/a/b.c/d", "/a/b.c/d", "/a/b.c/d"),
        ("/a/", "/a/", "/a/", "/a/"),
        ("/a/./b", "/a/b", "/a/b", "/a/./b"),
        ("/a/../b", "/b", "/b", "/a/../b"),
        ("/a/%2e%2E/b", "/b", "/b", "/a/%2E%2E/b"),
        ("/a/.%2e/b", "/b", "/b", "/a/.%2E/b"),
        ("/../../a", "/a", "/a", "/../../a"),
        ("/a/..", "/", "/", "/a/.."),
        ("/a/.", "/a/", "/a/", "/a/."),
        ("/.", "/", "/", "/."),
        ("/a/b/../", "/a/", "/a/", "/a/b/../"),
        ("/..;/a", "!", "!", "/..;/a"),
        ("/.;x=1/a", "!", "!", "/.;x=1/a"),
        ("/...", "/...", "/...", "/..."),
        ("/.well-known/x", "/.well-known/x", "/.well-known/x", "/.well-known/x"),
        ("//a", "/a", "/a", "//a"),
        ("//", "/", "/", "//"),
        ("/a//b///c", "/a/b/c", "/a/b/c", "/a//b///c"),
        ("/a//../b", "/b", "/b", "/a//../b"),
        ("/a//", "/a/", "/a/", "/a//"),
        ("/a%2fb", "!", "/a/b", "/a%2Fb"),
        ("/a%5Cb", "!", "/a/b", "/a%5Cb"),
        ("/a\\b", "!", "/a/b", "/a\\b"),
        ("/a/..%2fb", "!", "/b", "/a/..%2Fb"),
        ("/a/..\\b", "!", "/b", "/a/..\\b"),
        ("/a%00b", "!", "/a%00b", "/a%00b"),
        ("/a%0d%0ab", "!", "/a%0D%0Ab", "/a%0D%0Ab"),
        ("/a%7f", "!", "/a%7F", "/a%7F"),
        ("/%61%7e%2D%5f", "/a~-_", "/a~-_", "/a~-_"),
        ("/%c3%a9", "/%C3%A9", "/%C3%A9", "/%C3%A9"),
        ("/a%20b", "/a%20b", "/a%20b", "/a%20b"),
        ("/%252e%252e/x", "/%252e%252e/x", "/%252e%252e/x", "/%252e%252e/x"),
        ("/%3Fa%23", "/%3Fa%23", "/%3Fa%23", "/%3Fa%23"),
        ("/%", "!", "!", "!"),
        ("/%4", "!", "!", "!"),
        ("/%zz", "!", "!", "!"),
        ("/%+1", "!", "!", "!"),
        ("/é", "!", "!", "!"),
    ];
    for (path, default, normalized, kept) in cases {
        let policies = [PathPolicy::default(), all(Treatment::Normalize), all(Treatment::Keep)];
        for (policy, expected) in policies.iter().zip([default, normalized, kept]) {
            let result = normalize(path, policy);
            assert_eq!(result.as_deref().unwrap_or("!"), expected, "{path} under {policy:?}");
        }
    }
}

#[test]
fn what_is_rejected_is_named() {
    let policy = all(Treatment::Reject);
    for path in ["/a/./b", "/a/%2e%2e", "//a", "/a%2fb", "/a\\b", "/%00"] {
        assert!(normalize(path, &policy).is_err(), "{path}");
    }
    assert!(matches!(normalize("/a/b.c", &policy), Ok(Cow::Borrowed("/a/b.c"))));
}

proptest! {
    #[test]
    fn a_normal_form_is_its_own_normal_form(path in "/([a-c./\\\\%;]|%2[eEfF]|%5c|%4[16]|%00){0,24}") {
        for policy in [PathPolicy::default(), all(Treatment::Normalize), all(Treatment::Keep)] {
            if let Ok(once) = normalize(&path, &policy) {
                prop_assert!(once.starts_with('/'));
                let twice = normalize(&once, &policy).unwrap();
                prop_assert_eq!(&twice, &once);
            }
        }
    }
}
