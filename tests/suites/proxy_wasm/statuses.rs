//! What host functions answer to what is none of their business: the statuses of the specification, one call a row, as
//! letters (`a` is 0).

use tidegate_tests::proxy_wasm::{CONTINUE, on_request};

use super::scene;

const CASES: [(&str, &str); 27] = [
    // Nothing of what is not there.
    ("(call $get (i32.const 0) @\"x-none\" (i32.const 0x8000) (i32.const 0x8004))", "b"),
    ("(call $remove (i32.const 0) @\"x-none\")", "a"),
    ("(call $pairs (i32.const 2) (i32.const 0x8000) (i32.const 0x8004))", "a"),
    ("(call $buffer (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 0x8000) (i32.const 0x8004))", "a"),
    ("(call $buffer (i32.const 4) (i32.const 0) (i32.const 9) (i32.const 0x8000) (i32.const 0x8004))", "b"),
    ("(call $property @\"nothing\" (i32.const 0x8000) (i32.const 0x8004))", "b"),
    ("(call $shared @\"none\" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008))", "b"),
    ("(call $resolve @\"vm\" @\"q\" (i32.const 0x8010))", "b"),
    ("(call $enqueue (i32.const 999) @\"x\")", "b"),
    ("(call $dequeue (i32.const 999) (i32.const 0x8000) (i32.const 0x8004))", "b"),
    ("(call $record (i32.const 999) (i64.const 1))", "b"),
    ("(call $foreign @\"no_such\" (i32.const 0) (i32.const 0) (i32.const 0x8000) (i32.const 0x8004))", "b"),
    ("(call $done)", "b"),
    // Arguments that are none.
    ("(call $get (i32.const 8) @\"a\" (i32.const 0x8000) (i32.const 0x8004))", "c"),
    ("(call $get (i32.const 2) @\"x-none\" (i32.const 0x8000) (i32.const 0x8004))", "c"),
    ("(call $get (i32.const 4) @\"x-none\" (i32.const 0x8000) (i32.const 0x8004))", "c"),
    ("(call $add (i32.const 2) @\"a\" @\"b\")", "c"),
    ("(call $remove (i32.const 2) @\"a\")", "c"),
    ("(call $replace (i32.const 0) @\"a b\" @\"c\")", "c"),
    ("(call $replace (i32.const 0) @\"a\" @\"b\\0d\\0ac\")", "c"),
    ("(call $buffer (i32.const 9) (i32.const 0) (i32.const 9) (i32.const 0x8000) (i32.const 0x8004))", "c"),
    ("(call $buffer (i32.const 7) (i32.const 2) (i32.const -1) (i32.const 0x8000) (i32.const 0x8004))", "c"),
    ("(call $define (i32.const 3) @\"m\" (i32.const 0x8010))", "c"),
    ("(call $effective (i32.const 77))", "c"),
    ("(call $log (i32.const 6) @\"text\")", "c"),
    ("(call $set_pairs (i32.const 0) @\"\\ff\\00\\00\\00\\00\")", "e"),
    // A queue that is there and has nothing in it.
    (
        "(block (result i32) (drop (call $register @\"q\" (i32.const 0x8010)))
           (call $dequeue (i32.load (i32.const 0x8010)) (i32.const 0x8000) (i32.const 0x8004)))",
        "h",
    ),
];

#[tokio::test]
async fn a_misuse_is_answered_with_the_status_of_the_specification() {
    let mut does = String::new();
    for (number, (call, _)) in CASES.iter().enumerate() {
        does += &format!("(call $tell @\"x-{number}\" {call})\n");
    }
    let (_origin, _dir, gateway) = scene(&on_request(&(does + CONTINUE)), "").await;
    let answer = gateway.http1().await.get("/").await;
    for (number, (call, expected)) in CASES.iter().enumerate() {
        assert_eq!(answer.echoed(&format!("x-{number}")), [*expected], "{call}");
    }
}
