;; Reads the header x-in and sets x-out to its value, or to "none".
(module
  (import "tidegate:plugin/http@0.1.0" "[resource-drop]request"
    (func $drop-request (param i32)))
  (import "tidegate:plugin/http@0.1.0" "[method]request.header"
    (func $header (param i32 i32 i32 i32)))
  (import "tidegate:plugin/http@0.1.0" "[method]request.set-header"
    (func $set-header (param i32 i32 i32 i32 i32 i32)))
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

  (data (i32.const 1024) "x-inx-outnone")
  ;; result<plugin, list<problem>>: ok, and the handle of plugin number 1.
  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (call $new-plugin (i32.const 1)))
    (global.set $heap (i32.const 4096))
    (i32.const 16))
  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-request") (param $plugin i32) (param $request i32) (result i32)
    ;; option<list<u8>> at 64: whether, where, how long.
    (call $header (local.get $request) (i32.const 1024) (i32.const 4) (i32.const 64))
    (if (i32.load8_u (i32.const 64))
      (then (call $set-header (local.get $request) (i32.const 1028) (i32.const 5)
        (i32.load (i32.const 68)) (i32.load (i32.const 72)) (i32.const 80)))
      (else (call $set-header (local.get $request) (i32.const 1028) (i32.const 5)
        (i32.const 1033) (i32.const 4) (i32.const 80))))
    (call $drop-request (local.get $request))
    (global.set $heap (i32.const 4096))
    (i32.const 32))
)
