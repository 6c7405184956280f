;; A plugin that calls the upstream `held` for each request, and waits for the answer.
(module
  (import "tidegate:plugin/http@0.1.0" "[resource-drop]request" (func $drop (param i32)))
  ;; Upstream, method, target, authority, fields, body, timeout; where the answer is put.
  (import "tidegate:plugin/upstream@0.1.0" "call"
    (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
  (import "[export]tidegate:plugin/handler@0.1.0" "[resource-new]plugin" (func $new (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "heldGET/")
  (global $base (mut i32) (i32.const 4096))
  (global $heap (mut i32) (i32.const 4096))

  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))

  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (global.set $base (global.get $heap))
    (i32.store (i32.const 1028) (call $new (i32.const 0)))
    (i32.const 1024))

  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-request") (param $self i32) (param $request i32) (result i32)
    (global.set $heap (global.get $base))
    (call $drop (local.get $request))
    (call $call (i32.const 0) (i32.const 4) (i32.const 4) (i32.const 3) (i32.const 7) (i32.const 1)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i64.const 0) (i32.const 3072))
    ;; An error would not be waiting.
    (if (i32.load8_u (i32.const 3072)) (then unreachable))
    (i32.const 2048)))
