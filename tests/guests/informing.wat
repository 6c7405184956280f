;; A component of wasi:http, less its types (`informing.wit`): sends two interim responses, and then answers with 200; with 500
;; where the second was refused.
(module
  (import "wasi:http/types@0.2.4" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.4" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.4" "[method]outgoing-response.set-status-code" (func $status (param i32 i32) (result i32)))
  (import "wasi:http/types@0.2.4" "[method]response-outparam.send-informational" (func $inform (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.4" "[static]response-outparam.set"
    (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 4096))

  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))

  (func (export "wasi:http/incoming-handler@0.2.4#handle") (param $request i32) (param $out i32)
    (local $answer i32)
    (call $inform (local.get $out) (i32.const 103) (call $fields) (i32.const 1024))
    (call $inform (local.get $out) (i32.const 103) (call $fields) (i32.const 1024))
    (local.set $answer (call $response (call $fields)))
    (if (i32.load8_u (i32.const 1024))
      (then (drop (call $status (local.get $answer) (i32.const 500)))))
    (call $set (local.get $out) (i32.const 0) (local.get $answer)
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
