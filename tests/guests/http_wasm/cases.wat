;; The guests of tests/tables/interfaces.txt for http-wasm, each after its name. See prelude.wat for what they call; a
;; handler that a guest does not have is added to it.

;; case add
(func $start (drop (call $features (i32.const 2)))) (start $start)
(func (export "handle_request") (result i64)
  (call $add (i32.const 0) @"x-many" @"1")
  (call $add (i32.const 0) @"x-many" @"2")
  (i64.const 1))
(func (export "handle_response") (param $context i32) (param $error i32)
  (call $add (i32.const 1) @"x-origin" @"guest"))

;; case replace
(func $start (drop (call $features (i32.const 2)))) (start $start)
(func (export "handle_request") (result i64)
  (call $set (i32.const 0) @"x-many" @"one")
  (i64.const 1))
(func (export "handle_response") (param $context i32) (param $error i32)
  (call $set (i32.const 1) @"x-origin" @"guest"))

;; case remove
(func $start (drop (call $features (i32.const 2)))) (start $start)
(func (export "handle_request") (result i64)
  (call $remove (i32.const 0) @"x-many")
  (i64.const 1))
(func (export "handle_response") (param $context i32) (param $error i32)
  (call $remove (i32.const 1) @"x-origin"))

;; case list
;; Names come each with a zero byte behind it; so do the values of one.
(func (export "handle_request") (result i64)
  (local $at i32) (local $end i32) (local $from i32)
  (local.set $at (i32.const 0x8400))
  (local.set $end (i32.add (local.get $at)
    (call $length (call $names (i32.const 0) (i32.const 0x8400) (i32.const 0x800)))))
  (block $done
    (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $from (local.get $at))
      (loop $letter
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $letter (i32.load8_u (local.get $at))))
      (if (call $same (local.get $from) (i32.sub (local.get $at) (local.get $from)) @"x-many")
        (then (call $show (i32.const 0) @"x-listed" (i32.sub
          (call $length (call $values (i32.const 0) @"x-many" (i32.const 0x8000) (i32.const 64))) (i32.const 1)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
  (i64.const 1))

;; case deny
(func (export "handle_request") (result i64)
  (call $set_status (i32.const 403))
  (call $write (i32.const 1) @"denied")
  (i64.const 0))

;; case answer
(func (export "handle_request") (result i64)
  (call $set_status (i32.const 418))
  (call $set (i32.const 1) @"x-by" @"guest")
  (call $add (i32.const 1) @"x-many" @"1")
  (call $add (i32.const 1) @"x-many" @"2")
  (call $write (i32.const 1) @"teapot")
  (i64.const 0))

;; case rewrite
(func (export "handle_request") (result i64)
  (call $set_uri @"/other?b=2")
  (i64.const 1))

;; case facts
(func (export "handle_request") (result i64)
  (call $show (i32.const 0) @"x-method" (call $method (i32.const 0x8000) (i32.const 64)))
  (call $show (i32.const 0) @"x-target" (call $uri (i32.const 0x8000) (i32.const 64)))
  (i64.const 1))

;; case connection
(func (export "handle_request") (result i64)
  (call $show (i32.const 0) @"x-protocol" (call $version (i32.const 0x8000) (i32.const 64)))
  (call $show (i32.const 0) @"x-client" (call $source (i32.const 0x8000) (i32.const 64)))
  (i64.const 1))

;; case read
(func $start (drop (call $features (i32.const 1)))) (start $start)
(func (export "handle_request") (result i64)
  (call $set (i32.const 1) @"x-read" (i32.const 0x10000) (call $read_all (i32.const 0) (i32.const 4)))
  (i64.const 1))

;; case replace-request-body
(func (export "handle_request") (result i64)
  (call $write (i32.const 0) @"replaced")
  (i64.const 1))

;; case replace-response-body
(func $start (drop (call $features (i32.const 2)))) (start $start)
(func (export "handle_response") (param $context i32) (param $error i32)
  (call $write (i32.const 1) @"replaced"))

;; case append-request
(func $start (drop (call $features (i32.const 1)))) (start $start)
(func (export "handle_request") (result i64)
  (call $write (i32.const 0) (i32.const 0x10000) (call $read_all (i32.const 0) (i32.const 4)))
  (call $write (i32.const 0) @"+guest")
  (i64.const 1))

;; case append-response
(func $start (drop (call $features (i32.const 2)))) (start $start)
(func (export "handle_response") (param $context i32) (param $error i32)
  (call $write (i32.const 1) (i32.const 0x10000) (call $read_all (i32.const 1) (i32.const 4)))
  (call $write (i32.const 1) @"+guest"))

;; case request-trailers
(func $start (drop (call $features (i32.const 5)))) (start $start)
(func (export "handle_request") (result i64)
  (drop (call $read_all (i32.const 0) (i32.const 64)))
  (if (i32.ne (call $count (call $values (i32.const 2) @"x-end" (i32.const 0) (i32.const 0))) (i32.const 1))
    (then unreachable))
  (call $add (i32.const 2) @"x-more" @"guest")
  (i64.const 1))

;; case response-trailers
(func $start (drop (call $features (i32.const 6)))) (start $start)
(func (export "handle_response") (param $context i32) (param $error i32)
  (call $add (i32.const 3) @"x-more" @"guest"))

;; case keep
(global $bytes (mut i32) (i32.const 0))
(func $start (drop (call $features (i32.const 2)))) (start $start)
(func (export "handle_request") (result i64)
  (global.set $bytes (i32.sub
    (call $length (call $values (i32.const 0) @"x-name" (i32.const 0x9000) (i32.const 64))) (i32.const 1)))
  (i64.const 1))
(func (export "handle_response") (param $context i32) (param $error i32)
  (call $set (i32.const 1) @"x-kept" (i32.const 0x9000) (global.get $bytes)))

;; case trap
(func (export "handle_request") (result i64)
  (if (call $asked) (then unreachable))
  (i64.const 1))

;; case loop
(func (export "handle_request") (result i64)
  (if (call $asked) (then (loop $on (br $on))))
  (i64.const 1))

;; case bomb
(func (export "handle_request") (result i64)
  (if (call $asked)
    (then
      (loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      unreachable))
  (i64.const 1))
