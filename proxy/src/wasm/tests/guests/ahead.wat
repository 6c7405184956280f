;; Gives fields of the response at the request: sets was-x-set to "new" and appends "2" to was-x-many. Then it returns an
;; error where the request has x-fail, and answers itself, with 403, where it has x-deny.
(module
  (import "tidegate:plugin/http@0.1.0" "[resource-drop]request"
    (func $drop-request (param i32)))
  (import "tidegate:plugin/http@0.1.0" "[method]request.header"
    (func $header (param i32 i32 i32 i32)))
  (import "tidegate:plugin/http@0.1.0" "[method]request.set-response-header"
    (func $set (param i32 i32 i32 i32 i32 i32)))
  (import "tidegate:plugin/http@0.1.0" "[method]request.append-response-header"
    (func $append (param i32 i32 i32 i32 i32 i32)))
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

  (data (i32.const 1024) "was-x-setnew")
  (data (i32.const 1040) "was-x-many2")
  (data (i32.const 1056) "x-failx-deny")
  ;; result<verdict, string>: an error, and ok(respond({status: 403, ..})).
  (data (i32.const 128) "\01\00\00\00\00\02\00\00\0b\00\00\00")
  (data (i32.const 512) "out of luck")
  (data (i32.const 192) "\00\00\00\00\01\00\00\00\93\01\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
  ;; result<plugin, list<problem>>: ok, and the handle of plugin number 1.
  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (call $new-plugin (i32.const 1)))
    (global.set $heap (i32.const 4096))
    (i32.const 16))
  (func $has (param $request i32) (param $name i32) (result i32)
    ;; option<list<u8>> at 64.
    (call $header (local.get $request) (local.get $name) (i32.const 6) (i32.const 64))
    (i32.load8_u (i32.const 64)))
  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-request") (param $plugin i32) (param $request i32) (result i32)
    (local $verdict i32)
    (local.set $verdict (i32.const 32))
    (call $set (local.get $request) (i32.const 1024) (i32.const 9) (i32.const 1033) (i32.const 3) (i32.const 80))
    (call $append (local.get $request) (i32.const 1040) (i32.const 10) (i32.const 1050) (i32.const 1) (i32.const 80))
    (if (call $has (local.get $request) (i32.const 1056)) (then (local.set $verdict (i32.const 128))))
    (if (call $has (local.get $request) (i32.const 1062)) (then (local.set $verdict (i32.const 192))))
    (call $drop-request (local.get $request))
    (global.set $heap (i32.const 4096))
    (local.get $verdict))
)
