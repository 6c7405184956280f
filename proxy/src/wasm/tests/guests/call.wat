;; Calls GET /check of the upstream "auth", for 200 ms, and sets x-auth to the body of its answer, or to "refused".
(module
  (import "tidegate:plugin/http@0.1.0" "[resource-drop]request"
    (func $drop-request (param i32)))
  (import "tidegate:plugin/http@0.1.0" "[method]request.set-header"
    (func $set-header (param i32 i32 i32 i32 i32 i32)))
  (import "tidegate:plugin/upstream@0.1.0" "call"
    (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
  (import "[export]tidegate:plugin/handler@0.1.0" "[resource-new]plugin"
    (func $new-plugin (param i32) (result i32)))

  (memory (export "memory") 4)
  ;; What the gateway hands in is allocated from 4096 upwards, and forgotten when the call returns.
  (global $heap (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))

  (data (i32.const 1024) "auth")
  (data (i32.const 1032) "GET")
  (data (i32.const 1040) "/check")
  (data (i32.const 1048) "x-auth")
  (data (i32.const 1056) "refused")
  ;; result<plugin, list<problem>>: ok, and the handle of plugin number 1.
  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (call $new-plugin (i32.const 1)))
    (global.set $heap (i32.const 4096))
    (i32.const 16))
  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-request") (param $plugin i32) (param $request i32) (result i32)
    ;; upstream, then the request: method, target, no authority, no fields, no body, 200 ms; the answer goes to 64.
    (call $call
      (i32.const 1024) (i32.const 4)
      (i32.const 1032) (i32.const 3)
      (i32.const 1040) (i32.const 6)
      (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0)
      (i32.const 1) (i64.const 200)
      (i32.const 64))
    (if (i32.load8_u (i32.const 64))
      (then (call $set-header (local.get $request) (i32.const 1048) (i32.const 6)
        (i32.const 1056) (i32.const 7) (i32.const 96)))
      ;; {status, fields, body} from 68: the body's place is at 80.
      (else (call $set-header (local.get $request) (i32.const 1048) (i32.const 6)
        (i32.load (i32.const 80)) (i32.load (i32.const 84)) (i32.const 96))))
    (call $drop-request (local.get $request))
    (global.set $heap (i32.const 4096))
    (i32.const 32))
)
