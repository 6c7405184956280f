;; Guests whose behaviour here is compared with Envoy's: after the name of each the requests that it gets
;; (`;; ask`, as in tests/tables/interfaces.txt), and `;; differs` with the reason where it is known to be another one. What they
;; see they tell in fields, statuses as letters: a is OK, b NOT_FOUND, c BAD_ARGUMENT, and so on. `$note` tells a status or a
;; number, `$bytes` bytes in hexadecimal, `$given-in` what was given last.

;; case first-value
;; ask GET / ; x-many: a ; x-many: b ; x-empty:
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $given-in (i32.const 0) @"x-many-as" (call $get (i32.const 0) @"x-many" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-case-as" (call $get (i32.const 0) @"X-Many" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-none-as" (call $get (i32.const 0) @"x-none" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-empty-as" (call $get (i32.const 0) @"x-empty" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-path-as" (call $get (i32.const 0) @":path" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-method-as" (call $get (i32.const 0) @":method" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-scheme-as" (call $get (i32.const 0) @":scheme" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-authority-as" (call $get (i32.const 0) @":authority" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-host-as" (call $get (i32.const 0) @"host" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-nothing-as" (call $get (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0x8000) (i32.const 0x8004)))
  (i32.const 0))

;; case maps-of-a-request
;; ask GET / ; x-a: 1
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $note @"x-response" (call $get (i32.const 2) @"a" (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-response-set" (call $replace (i32.const 2) @"a" @"b"))
  (call $note @"x-response-add" (call $add (i32.const 2) @"a" @"b"))
  (call $note @"x-response-remove" (call $remove (i32.const 2) @"a"))
  (call $note @"x-response-pairs" (call $pairs (i32.const 2) (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-trailers" (call $get (i32.const 1) @"a" (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-trailers-set" (call $replace (i32.const 1) @"a" @"b"))
  (call $note @"x-call" (call $get (i32.const 6) @"a" (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-call-set" (call $replace (i32.const 6) @"a" @"b"))
  (call $note @"x-none" (call $get (i32.const 9) @"a" (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-size" (call $map_size (i32.const 0) (i32.const 0x8010)))
  (call $note @"x-size-response" (call $map_size (i32.const 2) (i32.const 0x8010)))
  (call $note @"x-remove-none" (call $remove (i32.const 0) @"x-nobody"))
  (i32.const 0))

;; case maps-of-a-response
;; ask GET / ; x-a: 1
(func (export "proxy_on_response_headers") {head} (result i32)
  (call $note2 @"x-status-set" (call $replace (i32.const 2) @":status" @"201"))
  (call $note2 @"x-request-pairs" (call $pairs (i32.const 0) (i32.const 0x8000) (i32.const 0x8004)))
  (call $note2 @"x-trailers" (call $get (i32.const 3) @"a" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 2) @"x-status-as" (call $get (i32.const 2) @":status" (i32.const 0x8000) (i32.const 0x8004)))
  (i32.const 0))

;; case request-seen-later
;; ask GET / ; x-a: 1
;; differs: heads can be read in every callback here; in Envoy they are gone once they went on (BAD_ARGUMENT, over which SDKs trap)
(func (export "proxy_on_response_headers") {head} (result i32)
  (call $note2 @"x-request" (call $get (i32.const 0) @"x-a" (i32.const 0x8000) (i32.const 0x8004)))
  (i32.const 0))

;; case buffers
;; ask GET /
;; ask POST / ; body abcd
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $note @"x-none" (call $buffer (i32.const 9) (i32.const 0) (i32.const 9) (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-body" (call $buffer (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-call" (call $buffer (i32.const 4) (i32.const 0) (i32.const 9) (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-grpc" (call $buffer (i32.const 5) (i32.const 0) (i32.const 9) (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-vm" (call $buffer (i32.const 6) (i32.const 0) (i32.const 9) (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-set-body" (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) @"x"))
  (i32.const 0))

;; case configuration
;; ask GET /
(global $length (mut i32) (i32.const 0)) (global $status (mut i32) (i32.const 0)) (global $past (mut i32) (i32.const 0))
(func (export "proxy_on_configure") (param $root i32) (param $size i32) (result i32)
  (global.set $past (call $buffer (i32.const 7) (i32.const 100) (i32.const 9) (i32.const 0x8000) (i32.const 0x8004)))
  (global.set $status (call $buffer (i32.const 7) (i32.const 1) (i32.const 3) (i32.const 0x8000) (i32.const 0x8004)))
  (memory.copy (i32.const 0x9000) (call $given) (call $given_length))
  (global.set $length (call $given_length))
  (i32.const 1))
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $note @"x-configured" (global.get $status))
  (drop (call $replace (i32.const 0) @"x-part" (i32.const 0x9000) (global.get $length)))
  (call $given-in (i32.const 0) @"x-vm-id" (call $property @"plugin_vm_id" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-root-id" (call $property @"plugin_root_id" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-name" (call $property @"plugin_name" (i32.const 0x8000) (i32.const 0x8004)))
  (i32.const 0))

;; case end-of-a-request
;; ask POST / ; content-length: 4 ; body abcd
;; ask POST / ; body abcd | ef
(global $bytes (mut i32) (i32.const 0)) (global $ends (mut i32) (i32.const 0))
(func (export "proxy_on_request_headers") {head} (result i32)
  (global.set $bytes (i32.const 0)) (global.set $ends (i32.const 0))
  (i32.const 0))
(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (global.set $bytes (i32.add (global.get $bytes) (local.get $size)))
  (global.set $ends (i32.add (global.get $ends) (local.get $end)))
  (i32.const 0))
(func (export "proxy_on_response_headers") {head} (result i32)
  (call $note2 @"x-bytes" (global.get $bytes))
  (call $note2 @"x-ends" (global.get $ends))
  (i32.const 0))

;; case parts-of-a-request
;; ask GET /
;; ask HEAD /
(global $at (mut i32) (i32.const 0x9000))
(func (export "proxy_on_request_headers") {head} (result i32)
  (global.set $at (i32.const 0x9000))
  (call $write (i32.const 104)) (call $write (i32.add (i32.const 48) (local.get $end)))
  (i32.const 0))
(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (call $write (i32.const 98)) (call $write (i32.add (i32.const 48) (local.get $size)))
  (call $write (i32.add (i32.const 48) (local.get $end)))
  (i32.const 0))
(func (export "proxy_on_request_trailers") (param $id i32) (param $fields i32) (result i32)
  (call $write (i32.const 116)) (call $write (i32.add (i32.const 48) (local.get $fields)))
  (i32.const 0))
(func (export "proxy_on_response_headers") {head} (result i32)
  (drop (call $replace (i32.const 2) @"x-parts" (i32.const 0x9000) (i32.sub (global.get $at) (i32.const 0x9000))))
  (i32.const 0))
(func $write (param $letter i32)
  (i32.store8 (global.get $at) (local.get $letter))
  (global.set $at (i32.add (global.get $at) (i32.const 1))))

;; case parts-of-a-response
;; ask GET /bytes/4
;; ask GET /bytes/0
;; ask GET /status/204
;; ask GET /status/304
;; ask GET /status/500
;; ask HEAD /bytes/4
(func (export "proxy_on_response_headers") {head} (result i32)
  (call $note2 @"x-end" (local.get $end))
  (i32.const 0))
(func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (if (local.get $end) (then (call $put (i32.const 0x9000) (local.get $size))))
  (i32.const 0))
(func $put (param i32 i32) (i32.store (local.get 0) (local.get 1)))

;; case trailers-seen
;; over http2
;; ask POST / ; te: trailers ; body ab ; trailer x-end: 1
;; ask GET /chunks/1 ; te: trailers
(func (export "proxy_on_request_trailers") (param $id i32) (param $fields i32) (result i32)
  (call $note-in (i32.const 1) @"x-count" (local.get $fields))
  (call $note-in (i32.const 1) @"x-head" (call $get (i32.const 0) @":path" (i32.const 0x8000) (i32.const 0x8004)))
  (drop (call $add (i32.const 1) @"x-more" @"1"))
  (i32.const 0))
(func (export "proxy_on_response_trailers") (param $id i32) (param $fields i32) (result i32)
  (call $note-in (i32.const 3) @"x-count" (local.get $fields))
  (drop (call $replace (i32.const 3) @"x-more" @"1"))
  (i32.const 0))
;; differs: heads can be read in every callback here; in Envoy they are gone once they went on (BAD_ARGUMENT, over which SDKs trap)

;; case body-prepend-and-append
;; ask POST / ; body one
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $remove (i32.const 0) @"content-length")) (i32.const 0))
(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
  (drop (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) @"<"))
  (drop (call $set_buffer (i32.const 0) (i32.const 100) (i32.const 0) @">"))
  (i32.const 0))

;; case body-replaced-under-a-length
;; ask POST / ; content-length: 3 ; body one
;; differs: a body that changed has its own length here; Envoy sends the one that came with it, and the origin waits or answers 400
(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
  (drop (call $set_buffer (i32.const 0) (i32.const 0) (local.get $size) @"longer"))
  (i32.const 0))

;; case body-of-a-response-replaced
;; ask GET /bytes/10
(func (export "proxy_on_response_headers") {head} (result i32)
  (drop (call $remove (i32.const 2) @"content-length")) (i32.const 0))
(func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
  (drop (call $set_buffer (i32.const 1) (i32.const 0) (local.get $size) @"new"))
  (i32.const 0))

;; case body-emptied
;; ask POST / ; body one
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $remove (i32.const 0) @"content-length")) (i32.const 0))
(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
  (drop (call $set_buffer (i32.const 0) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 0)))
  (i32.const 0))

;; case middle-of-a-body
;; ask POST / ; body abcd
;; differs: any part of a buffer can be replaced here, as the specification has it; Envoy has its ends and the whole alone
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $remove (i32.const 0) @"content-length")) (i32.const 0))
(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
  (drop (call $set_buffer (i32.const 0) (i32.const 1) (i32.const 1) @"x"))
  (i32.const 0))

;; case answer-and-continue
;; ask GET / ; x-a: 1
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $answer (i32.const 403) (i32.const 0) (i32.const 0) @"no" (i32.const 0) (i32.const 0) (i32.const -1)))
  (i32.const 0))
(func (export "proxy_on_response_headers") {head} (result i32)
  (drop (call $replace (i32.const 2) @"x-seen" @"yes")) (i32.const 0))

;; case answer-with-fields
;; ask GET /
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $answer (i32.const 401) (i32.const 0) (i32.const 0) @"{}"
    @"\03\00\00\00\0c\00\00\00\10\00\00\00\06\00\00\00\01\00\00\00\06\00\00\00\01\00\00\00content-type\00application/json\00x-many\001\00x-many\002\00"
    (i32.const -1)))
  (i32.const 1))

;; case answer-without-a-body
;; ask GET /
;; ask HEAD /
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $answer (i32.const 204) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
  (i32.const 1))

;; case answer-to-grpc
;; over http2
;; ask POST /s/m ; content-type: application/grpc
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $answer (i32.const 403) (i32.const 0) (i32.const 0) @"no, 100%" (i32.const 0) (i32.const 0) (i32.const -1)))
  (i32.const 1))

;; case answer-to-grpc-with-a-status
;; over http2
;; ask POST /s/m ; content-type: application/grpc
(func (export "proxy_on_request_headers") {head} (result i32)
  (drop (call $answer (i32.const 403) (i32.const 0) (i32.const 0) @"no" (i32.const 0) (i32.const 0) (i32.const 8)))
  (i32.const 1))

;; case answer-to-a-body
;; ask POST / ; body one | two
(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
  (drop (call $answer (i32.const 413) (i32.const 0) (i32.const 0) @"much" (i32.const 0) (i32.const 0) (i32.const -1)))
  (i32.const 1))

;; case answer-for-a-response
;; ask GET /
(func (export "proxy_on_response_headers") {head} (result i32)
  (drop (call $answer (i32.const 502) (i32.const 0) (i32.const 0) @"hidden" (i32.const 0) (i32.const 0) (i32.const -1)))
  (i32.const 1))

;; case heads-changed
;; ask GET /path?a=b ; x-a: 1
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $note @"x-1" (call $replace (i32.const 0) @":path" @"/other?c"))
  (call $note @"x-2" (call $replace (i32.const 0) @":method" @"PUT"))
  (call $note @"x-3" (call $replace (i32.const 0) @":authority" @"else.test"))
  (call $note @"x-4" (call $replace (i32.const 0) @"X-Upper" @"Value"))
  (call $note @"x-5" (call $add (i32.const 0) @"x-a" @"2"))
  (call $note @"x-6" (call $remove (i32.const 0) @"user-agent"))
  (call $note @"x-7" (call $replace (i32.const 0) @"x-blank" (i32.const 0) (i32.const 0)))
  (i32.const 0))
(func (export "proxy_on_response_headers") {head} (result i32)
  (drop (call $replace (i32.const 2) @":status" @"299"))
  (drop (call $remove (i32.const 2) @"content-type"))
  (drop (call $add (i32.const 2) @"x-origin" @"more"))
  (i32.const 0))

;; case all-pairs-set
;; ask GET / ; x-a: 1
(func (export "proxy_on_response_headers") {head} (result i32)
  (call $put (i32.const 0x9000) (call $set_pairs (i32.const 2)
    @"\02\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00:status\00202\00x-new\001\00"))
  (i32.const 0))
(func $put (param i32 i32) (i32.store (local.get 0) (local.get 1)))

;; case trap-on-a-request
;; ask GET /
(func (export "proxy_on_request_headers") {head} (result i32) unreachable)

;; case trap-on-a-response
;; ask GET /
(func (export "proxy_on_response_headers") {head} (result i32) unreachable)

;; case refused-states
;; ask GET /
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $note @"x-effective" (call $effective (i32.const 7777)))
  (call $note @"x-done" (call $done))
  (call $note @"x-foreign" (call $foreign @"nobody" (i32.const 0) (i32.const 0) (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-property" (call $property @"nobody" (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-property-in" (call $property @"request\00nobody" (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-resolve" (call $resolve @"vm" @"nobody" (i32.const 0x8010)))
  (call $note @"x-enqueue" (call $enqueue (i32.const 4242) @"x"))
  (call $note @"x-dequeue" (call $dequeue (i32.const 4242) (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-call-nobody" (call $http_call @"nobody" @"\00\00\00\00" (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 500) (i32.const 0x8010)))
  (call $note @"x-call-headless" (call $http_call @"side" @"\00\00\00\00" (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 500) (i32.const 0x8010)))
  (call $note @"x-memory" (call $get (i32.const 0) (i32.const -8) (i32.const 100) (i32.const 0x8000) (i32.const 0x8004)))
  (i32.const 0))

;; case metrics
;; ask GET /
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $note @"x-define" (call $define (i32.const 0) @"c" (i32.const 0x7f00)))
  (call $note @"x-define-gauge" (call $define (i32.const 1) @"g" (i32.const 0x7f04)))
  (call $note @"x-define-histogram" (call $define (i32.const 2) @"h" (i32.const 0x7f08)))
  (call $note @"x-define-other" (call $define (i32.const 3) @"o" (i32.const 0x7f0c)))
  (call $note @"x-count" (call $increment (i32.load (i32.const 0x7f00)) (i64.const 2)))
  (call $note @"x-count-none" (call $increment (i32.load (i32.const 0x7f00)) (i64.const 0)))
  (call $note @"x-count-down" (call $increment (i32.load (i32.const 0x7f00)) (i64.const -1)))
  (call $note @"x-record-count" (call $record (i32.load (i32.const 0x7f00)) (i64.const 3)))
  (call $note @"x-read-count" (call $metric (i32.load (i32.const 0x7f00)) (i32.const 0x7f10)))
  (call $note @"x-counted" (i32.wrap_i64 (i64.load (i32.const 0x7f10))))
  (call $note @"x-record" (call $record (i32.load (i32.const 0x7f04)) (i64.const 9)))
  (call $note @"x-lower" (call $increment (i32.load (i32.const 0x7f04)) (i64.const -4)))
  (call $note @"x-read" (call $metric (i32.load (i32.const 0x7f04)) (i32.const 0x7f10)))
  (call $note @"x-gauge" (i32.wrap_i64 (i64.load (i32.const 0x7f10))))
  (call $note @"x-observe" (call $record (i32.load (i32.const 0x7f08)) (i64.const 9)))
  (call $note @"x-increment-histogram" (call $increment (i32.load (i32.const 0x7f08)) (i64.const 9)))
  (call $note @"x-read-histogram" (call $metric (i32.load (i32.const 0x7f08)) (i32.const 0x7f10)))
  (i32.const 0))

;; case shared-data
;; ask GET /
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $note @"x-none" (call $shared @"k" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008)))
  (call $note @"x-new" (call $share @"k" @"1" (i32.const 0)))
  (call $given-in (i32.const 0) @"x-value" (call $shared @"k" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008)))
  (call $note @"x-right" (call $share @"k" @"2" (i32.load (i32.const 0x8008))))
  (call $note @"x-wrong" (call $share @"k" @"3" (i32.load (i32.const 0x8008))))
  (call $note @"x-any" (call $share @"k" @"4" (i32.const 0)))
  (call $given-in (i32.const 0) @"x-last" (call $shared @"k" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008)))
  (call $note @"x-other" (call $share @"l" @"1" (i32.const 77)))
  (call $note @"x-blank" (call $share @"k" (i32.const 0) (i32.const 0) (i32.const 0)))
  (call $given-in (i32.const 0) @"x-blank-as" (call $shared @"k" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008)))
  (i32.const 0))

;; case queues
;; ask GET /
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $note @"x-register" (call $register @"q" (i32.const 0x8010)))
  (call $note @"x-empty" (call $dequeue (i32.load (i32.const 0x8010)) (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-resolve" (call $resolve @"queues" @"q" (i32.const 0x8014)))
  (call $note @"x-same" (i32.ne (i32.load (i32.const 0x8010)) (i32.load (i32.const 0x8014))))
  (call $note @"x-enqueue" (call $enqueue (i32.load (i32.const 0x8010)) @"item"))
  (call $given-in (i32.const 0) @"x-item" (call $dequeue (i32.load (i32.const 0x8010)) (i32.const 0x8000) (i32.const 0x8004)))
  (i32.const 0))

;; case own-properties
;; ask GET /
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $note @"x-set" (call $set_property @"mine" @"set"))
  (call $given-in (i32.const 0) @"x-mine" (call $property @"mine" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-by-state" (call $property @"filter_state\00wasm.mine" (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-twice" (call $set_property @"mine" @"again"))
  (call $given-in (i32.const 0) @"x-again" (call $property @"mine" (i32.const 0x8000) (i32.const 0x8004)))
  (i32.const 0))

;; case call
;; ask GET /
(global $stream (mut i32) (i32.const 0))
(func (export "proxy_on_request_headers") {head} (result i32)
  (global.set $stream (local.get $id))
  (drop (call $http_call @"side"
        @"\04\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\0a\00\00\00\0a\00\00\00\06\00\00\00\03\00\00\00\01\00\00\00:method\00POST\00:path\00/chunks/1?\00:authority\00a.test\00x-a\001\00"
        @"body" (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 0x8010)))
  (i32.const 1))
(func (export "proxy_on_http_call_response")
  (param $root i32) (param $token i32) (param $fields i32) (param $bytes i32) (param $trailers i32)
  (drop (call $effective (global.get $stream)))
  (call $note @"x-bytes" (local.get $bytes))
  (call $given-in (i32.const 0) @"x-status" (call $get (i32.const 6) @":status" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-body" (call $buffer (i32.const 4) (i32.const 2) (i32.const 4) (i32.const 0x8000) (i32.const 0x8004)))
  (call $note @"x-set" (call $replace (i32.const 6) @"a" @"b"))
  (call $note @"x-code" (call $status (i32.const 0x8010) (i32.const 0x8014) (i32.const 0x8018)))
  (call $note @"x-code-is" (i32.load (i32.const 0x8010)))
  (drop {go-on}))

;; case call-that-nobody-answers
;; ask GET /
(global $stream (mut i32) (i32.const 0))
(func (export "proxy_on_request_headers") {head} (result i32)
  (global.set $stream (local.get $id))
  (call $note @"x-called" (call $http_call @"closed"
        @"\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\06\00\00\00:method\00GET\00:path\00/\00:authority\00a.test\00"
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 0x8010)))
  (i32.const 1))
(func (export "proxy_on_http_call_response")
  (param $root i32) (param $token i32) (param $fields i32) (param $bytes i32) (param $trailers i32)
  (drop (call $effective (global.get $stream)))
  (call $note @"x-headless" (i32.eqz (local.get $fields)))
  (call $given-in (i32.const 0) @"x-status" (call $get (i32.const 6) @":status" (i32.const 0x8000) (i32.const 0x8004)))
  (drop {go-on}))

;; case call-that-is-late
;; ask GET /
(global $stream (mut i32) (i32.const 0))
(func (export "proxy_on_request_headers") {head} (result i32)
  (global.set $stream (local.get $id))
  (call $note @"x-called" (call $http_call @"side"
        @"\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\05\00\00\00\0a\00\00\00\06\00\00\00:method\00GET\00:path\00/late\00:authority\00a.test\00"
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 0x8010)))
  (i32.const 1))
(func (export "proxy_on_http_call_response")
  (param $root i32) (param $token i32) (param $fields i32) (param $bytes i32) (param $trailers i32)
  (drop (call $effective (global.get $stream)))
  (call $note @"x-headless" (i32.eqz (local.get $fields)))
  (call $given-in (i32.const 0) @"x-status" (call $get (i32.const 6) @":status" (i32.const 0x8000) (i32.const 0x8004)))
  (call $given-in (i32.const 0) @"x-body" (call $buffer (i32.const 4) (i32.const 0) (i32.const 99) (i32.const 0x8000) (i32.const 0x8004)))
  (drop {go-on}))

;; case properties-of-a-request
;; ask GET /a/b?c=d ; x-a: 1 ; user-agent: me ; referer: r ; x-request-id: 7
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $shown @"x-path" @"request\00path")
  (call $shown @"x-url-path" @"request\00url_path")
  (call $shown @"x-query" @"request\00query")
  (call $shown @"x-host" @"request\00host")
  (call $shown @"x-scheme" @"request\00scheme")
  (call $shown @"x-method" @"request\00method")
  (call $shown @"x-referer" @"request\00referer")
  (call $shown @"x-useragent" @"request\00useragent")
  (call $shown @"x-protocol" @"request\00protocol")
  (call $shown @"x-field" @"request\00headers\00x-a")
  (call $shown @"x-field-none" @"request\00headers\00x-none")
  (call $shown @"x-size" @"request\00size")
  (call $known @"x-time" @"request\00time")
  (call $known @"x-total" @"request\00total_size")
  (call $known @"x-fields" @"request\00headers")
  (call $known @"x-code" @"response\00code")
  (call $known @"x-code-details" @"response\00code_details")
  (call $known @"x-flags" @"response\00flags")
  (call $known @"x-source" @"source\00address")
  (call $known @"x-source-port" @"source\00port")
  (call $known @"x-destination" @"destination\00address")
  (call $known @"x-destination-port" @"destination\00port")
  (call $known @"x-upstream" @"upstream\00address")
  (call $shown @"x-mtls" @"connection\00mtls")
  (call $known @"x-connection-id" @"connection\00id")
  (call $known @"x-connection-id-alone" @"connection_id")
  (call $known @"x-sni" @"connection\00requested_server_name")
  (call $known @"x-tls" @"connection\00tls_version")
  (call $shown @"x-xds-route" @"xds\00route_name")
  (call $shown @"x-cluster" @"cluster_name")
  (call $shown @"x-xds-direction" @"xds\00listener_direction")
  (call $known @"x-metadata" @"metadata")
  (call $shown @"x-metadata-in" @"metadata\00filter_metadata\00nobody\00key")
  (call $shown @"x-route-metadata" @"route_metadata")
  (call $shown @"x-cluster-metadata" @"cluster_metadata")
  (call $shown @"x-host-metadata" @"upstream_host_metadata")
  (call $shown @"x-listener-metadata" @"listener_metadata")
  (call $shown @"x-listener-metadata-in" @"listener_metadata\00filter_metadata\00a\00b")
  (call $shown @"x-xds-route-metadata" @"xds\00route_metadata")
  (call $shown @"x-node-metadata" @"node\00metadata\00NAME")
  (call $shown @"x-state" @"filter_state\00nobody")
  (i32.const 0))

;; case properties-that-there-are-more-of
;; ask GET /
;; differs: of the attributes by their old names (route_name, cluster_name, listener_direction, node) Envoy 1.40 has none any more, older ones had them, as here; durations and the request are told here whenever they are asked for
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $known @"x-duration" @"request\00duration")
  (call $known @"x-direction" @"listener_direction")
  (call $known @"x-route" @"route_name")
  (call $known @"x-node-id" @"node\00id")
  (i32.const 0))
(func (export "proxy_on_response_headers") {head} (result i32)
  (call $known2 @"x-cluster" @"cluster_name")
  (call $known2 @"x-path" @"request\00path")
  (call $known2 @"x-backend" @"response\00backend_latency")
  (i32.const 0))

;; case properties-that-there-are-fewer-of
;; ask GET /
;; differs: routes have no virtual hosts here, sockets to upstreams no address that is told, and the upstream is known once the request went there
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $known @"x-xds-cluster" @"xds\00cluster_name")
  (i32.const 0))
(func (export "proxy_on_response_headers") {head} (result i32)
  (call $known2 @"x-xds-host" @"xds\00virtual_host_name")
  (call $known2 @"x-upstream-local" @"upstream\00local_address")
  (i32.const 0))

;; case properties-of-a-response
;; ask GET /
;; ask GET /status/404
(func (export "proxy_on_response_headers") {head} (result i32)
  (call $shown2 @"x-cluster" @"xds\00cluster_name")
  (call $shown2 @"x-code" @"response\00code")
  (call $shown2 @"x-details" @"response\00code_details")
  (call $shown2 @"x-flags" @"response\00flags")
  (call $shown2 @"x-grpc" @"response\00grpc_status")
  (call $shown2 @"x-field" @"response\00headers\00x-origin")
  (call $shown2 @"x-trailers" @"response\00trailers\00x")
  (call $shown2 @"x-request-size" @"request\00size")
  (call $known2 @"x-upstream" @"upstream\00address")
  (call $known2 @"x-upstream-port" @"upstream\00port")
  (call $known2 @"x-failure" @"upstream\00transport_failure_reason")
  (call $shown2 @"x-attempts" @"upstream\00request_attempt_count")
  (call $shown2 @"x-protocol" @"request\00protocol")
  (i32.const 0))

;; case go-on-when-nothing-waits
;; ask GET /
;; differs: a head can be changed until the callback returns; in Envoy it is gone with proxy_continue_stream
(func (export "proxy_on_request_headers") {head} (result i32)
  (call $note @"x-request" (call $go_on (i32.const 0)))
  (call $note @"x-connection" (call $go_on (i32.const 2)))
  (call $note @"x-nobody" (call $go_on (i32.const 9)))
  (i32.const 0))

;; case pause-and-tick
;; ask GET /
(global $stream (mut i32) (i32.const 0))
(func (export "proxy_on_configure") (param $root i32) (param $size i32) (result i32)
  (i32.eqz (call $ticks (i32.const 10))))
(func (export "proxy_on_request_headers") {head} (result i32)
  (global.set $stream (local.get $id)) (i32.const 1))
(func (export "proxy_on_tick") (param $root i32)
  (if (global.get $stream) (then
    (drop (call $effective (global.get $stream)))
    (call $note @"x-ticked" (call $replace (i32.const 0) @"x-late" @"yes"))
    (drop {go-on})
    (global.set $stream (i32.const 0)))))

;; case answer-by-a-tick
;; ask GET /
(global $stream (mut i32) (i32.const 0))
(func (export "proxy_on_configure") (param $root i32) (param $size i32) (result i32)
  (i32.eqz (call $ticks (i32.const 10))))
(func (export "proxy_on_request_headers") {head} (result i32)
  (global.set $stream (local.get $id)) (i32.const 1))
(func (export "proxy_on_tick") (param $root i32)
  (if (global.get $stream) (then
    (drop (call $effective (global.get $stream)))
    (drop (call $answer (i32.const 429) (i32.const 0) (i32.const 0) @"slow" (i32.const 0) (i32.const 0) (i32.const -1)))
    (global.set $stream (i32.const 0)))))
