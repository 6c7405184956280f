;; The guests of tests/tables/interfaces.txt for Proxy-Wasm, each after its name; `{head}` are the parameters of a head's
;; callback, which the first version has two of and the others three, `{go-on}` goes on with a paused request and
;; `{go-back}` with a paused response. See prelude.wat for what they call.

;; case add
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $add (i32.const 0) @"x-many" @"1"))
  (drop (call $add (i32.const 0) @"x-many" @"2"))
  (i32.const 0))
(func (export "proxy_on_response_headers") {head} (result i32)
  (drop (call $add (i32.const 2) @"x-origin" @"guest"))
  (i32.const 0))

;; case replace
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $replace (i32.const 0) @"x-many" @"one"))
  (i32.const 0))
(func (export "proxy_on_response_headers") {head} (result i32)
  (drop (call $replace (i32.const 2) @"x-origin" @"guest"))
  (i32.const 0))

;; case remove
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $remove (i32.const 0) @"x-many"))
  (i32.const 0))
(func (export "proxy_on_response_headers") {head} (result i32)
  (drop (call $remove (i32.const 2) @"x-origin"))
  (i32.const 0))

;; case list
;; Pairs are a count, two lengths for each, and then names and values, each with a zero byte behind it.
(func (export "proxy_on_request_headers") {head} (result i32)
  (local $left i32) (local $lengths i32) (local $at i32) (local $out i32)
  (drop (call $pairs (i32.const 0) (i32.const 0x8000) (i32.const 0x8004)))
  (local.set $left (i32.load (call $given)))
  (local.set $lengths (i32.add (call $given) (i32.const 4)))
  (local.set $at (i32.add (local.get $lengths) (i32.mul (local.get $left) (i32.const 8))))
  (local.set $out (i32.const 0x9000))
  (block $end
    (loop $next
      (br_if $end (i32.eqz (local.get $left)))
      ;; Six letters: x-ma and ny.
      (if (i32.and (i32.eq (i32.load (local.get $lengths)) (i32.const 6))
            (i32.and (i32.eq (i32.load (local.get $at)) (i32.const 0x616d2d78))
              (i32.eq (i32.load16_u offset=4 (local.get $at)) (i32.const 0x796e))))
        (then
          (if (i32.gt_u (local.get $out) (i32.const 0x9000))
            (then (i32.store8 (local.get $out) (i32.const 44))
              (local.set $out (i32.add (local.get $out) (i32.const 1)))))
          (memory.copy (local.get $out) (i32.add (local.get $at) (i32.const 7)) (i32.load offset=4 (local.get $lengths)))
          (local.set $out (i32.add (local.get $out) (i32.load offset=4 (local.get $lengths))))))
      (local.set $at (i32.add (i32.add (local.get $at) (i32.const 2))
        (i32.add (i32.load (local.get $lengths)) (i32.load offset=4 (local.get $lengths)))))
      (local.set $lengths (i32.add (local.get $lengths) (i32.const 8)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $next)))
  (drop (call $replace (i32.const 0) @"x-listed" (i32.const 0x9000) (i32.sub (local.get $out) (i32.const 0x9000))))
  (i32.const 0))

;; case deny
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $answer (i32.const 403) (i32.const 0) (i32.const 0) @"denied" (i32.const 0) (i32.const 0) (i32.const -1)))
  (i32.const 1))

;; case answer
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $answer (i32.const 418) (i32.const 0) (i32.const 0) @"teapot"
    @"\03\00\00\00\04\00\00\00\05\00\00\00\06\00\00\00\01\00\00\00\06\00\00\00\01\00\00\00x-by\00guest\00x-many\001\00x-many\002\00"
    (i32.const -1)))
  (i32.const 1))

;; case rewrite
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $replace (i32.const 0) @":path" @"/other?b=2"))
  (i32.const 0))

;; case facts
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $show (i32.const 0) @"x-method" (call $property @"request\00method" (i32.const 0x8000) (i32.const 0x8004)))
  (call $show (i32.const 0) @"x-target" (call $property @"request\00path" (i32.const 0x8000) (i32.const 0x8004)))
  (i32.const 0))

;; case connection
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $show (i32.const 0) @"x-protocol" (call $property @"request\00protocol" (i32.const 0x8000) (i32.const 0x8004)))
  (call $show (i32.const 0) @"x-client" (call $property @"source\00address" (i32.const 0x8000) (i32.const 0x8004)))
  (i32.const 0))

;; case read
(global $bytes (mut i32) (i32.const 0))
(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
  (drop (call $buffer (i32.const 0) (i32.const 0) (local.get $size) (i32.const 0x8000) (i32.const 0x8004)))
  (memory.copy (i32.const 0x9000) (call $given) (call $given_length))
  (global.set $bytes (call $given_length))
  (i32.const 0))
(func (export "proxy_on_response_headers") {head} (result i32)
  (drop (call $replace (i32.const 2) @"x-read" (i32.const 0x9000) (global.get $bytes)))
  (i32.const 0))

;; case replace-request-body
(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
  (drop (call $set_buffer (i32.const 0) (i32.const 0) (local.get $size) @"replaced"))
  (i32.const 0))

;; case replace-response-body
(func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
  (drop (call $set_buffer (i32.const 1) (i32.const 0) (local.get $size) @"replaced"))
  (i32.const 0))

;; case append-request
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $remove (i32.const 0) @"content-length"))
  (i32.const 0))
(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (if (local.get $end)
    (then (drop (call $set_buffer (i32.const 0) (local.get $size) (i32.const 0) @"+guest"))))
  (i32.const 0))

;; case append-response
(func (export "proxy_on_response_headers") {head} (result i32)
  (drop (call $remove (i32.const 2) @"content-length"))
  (i32.const 0))
(func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (if (local.get $end)
    (then (drop (call $set_buffer (i32.const 1) (local.get $size) (i32.const 0) @"+guest"))))
  (i32.const 0))

;; case request-trailers
(func (export "proxy_on_request_trailers") (param $id i32) (param $fields i32) (result i32)
  (drop (call $add (i32.const 1) @"x-more" @"guest"))
  (i32.const 0))

;; case response-trailers
(func (export "proxy_on_response_trailers") (param $id i32) (param $fields i32) (result i32)
  (drop (call $add (i32.const 3) @"x-more" @"guest"))
  (i32.const 0))

;; case call
(global $stream (mut i32) (i32.const 0))
(func (export "proxy_on_request_headers") {head} (result i32)
  (global.set $stream (local.get $id))
  (if (call $http_call @"side"
        @"\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\07\00\00\00\0a\00\00\00\04\00\00\00:method\00GET\00:path\00/called\00:authority\00side\00"
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 0x8010))
    (then unreachable))
  (i32.const 1))
(func (export "proxy_on_http_call_response")
  (param $root i32) (param $token i32) (param $fields i32) (param $bytes i32) (param $trailers i32)
  (drop (call $effective (global.get $stream)))
  (call $show (i32.const 0) @"x-called" (call $get (i32.const 6) @"x-origin" (i32.const 0x8000) (i32.const 0x8004)))
  (drop {go-on}))

;; case keep
(global $bytes (mut i32) (i32.const 0))
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $get (i32.const 0) @"x-name" (i32.const 0x8000) (i32.const 0x8004)))
  (memory.copy (i32.const 0x9000) (call $given) (call $given_length))
  (global.set $bytes (call $given_length))
  (i32.const 0))
(func (export "proxy_on_response_headers") {head} (result i32)
  (drop (call $replace (i32.const 2) @"x-kept" (i32.const 0x9000) (global.get $bytes)))
  (i32.const 0))

;; case count
(func (export "proxy_on_response_headers") {head} (result i32)
  (loop $again
    (i32.store (i32.const 0x8008) (i32.const 0))
    (i32.store (i32.const 0x8300) (i32.const 0))
    (if (i32.eqz (call $shared @"count" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008)))
      (then (i32.store (i32.const 0x8300) (i32.load (call $given)))))
    (i32.store (i32.const 0x8300) (i32.add (i32.load (i32.const 0x8300)) (i32.const 1)))
    (br_if $again (call $share @"count" (i32.const 0x8300) (i32.const 4) (i32.load (i32.const 0x8008)))))
  (drop (call $replace (i32.const 2) @"x-count" (call $digits (i32.load (i32.const 0x8300)))))
  (i32.const 0))

;; case share-write
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $share @"note" @"note" (i32.const 0)))
  (i32.const 0))

;; case share-read
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $show (i32.const 0) @"x-shared" (call $shared @"note" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008)))
  (i32.const 0))

;; case tick
(global $stream (mut i32) (i32.const 0))
(func (export "proxy_on_configure") (param $root i32) (param $size i32) (result i32)
  (i32.eqz (call $ticks (i32.const 5))))
(func (export "proxy_on_response_headers") {head} (result i32)
  (global.set $stream (local.get $id))
  (i32.const 1))
(func (export "proxy_on_tick") (param $root i32)
  (if (global.get $stream)
    (then
      (drop (call $effective (global.get $stream)))
      (drop (call $replace (i32.const 2) @"x-ticked" @"yes"))
      (drop {go-back})
      (global.set $stream (i32.const 0)))))

;; case metrics
(func (export "proxy_on_configure") (param $root i32) (param $size i32) (result i32)
  (i32.eqz (call $define (i32.const 0) @"seen" (i32.const 0x7ff0))))
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $increment (i32.load (i32.const 0x7ff0)) (i64.const 1)))
  (i32.const 0))

;; case trap
(func (export "proxy_on_request_headers") {head} (result i32)
  (if (call $asked) (then unreachable))
  (i32.const 0))

;; case loop
(func (export "proxy_on_request_headers") {head} (result i32)
  (if (call $asked) (then (loop $on (br $on))))
  (i32.const 0))

;; case bomb
(func (export "proxy_on_request_headers") {head} (result i32)
  (if (call $asked)
    (then
      (loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      unreachable))
  (i32.const 0))
