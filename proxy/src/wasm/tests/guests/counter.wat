;; Counts requests under the key "n" and answers with the sum, 8 bytes, as the header x-count.
(module
  (import "tidegate:plugin/http@0.1.0" "[resource-drop]request"
    (func $drop-request (param i32)))
  (import "tidegate:plugin/http@0.1.0" "[method]request.set-header"
    (func $set-header (param i32 i32 i32 i32 i32 i32)))
  (import "tidegate:plugin/kv@0.1.0" "add"
    (func $add (param i32 i32 i64 i32 i64 i32)))
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

  (data (i32.const 1024) "nx-count")
  (global $digits (mut i32) (i32.const 0))
  ;; result<plugin, list<problem>>: ok, and the handle of plugin number 1.
  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (call $new-plugin (i32.const 1)))
    (global.set $heap (i32.const 4096))
    (i32.const 16))
  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-request") (param $plugin i32) (param $request i32) (result i32)
    (local $n i64)
    ;; result<s64, kv-error> at 64: whether an error, and from 72 the sum.
    (call $add (i32.const 1024) (i32.const 1) (i64.const 1) (i32.const 0) (i64.const 0) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (unreachable)))
    (local.set $n (i64.load (i32.const 72)))
    ;; In decimal, backwards from 2048.
    (global.set $digits (i32.const 2048))
    (loop $digit
      (global.set $digits (i32.sub (global.get $digits) (i32.const 1)))
      (i32.store8 (global.get $digits) (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10)))))
      (local.set $n (i64.div_u (local.get $n) (i64.const 10)))
      (br_if $digit (i64.ne (local.get $n) (i64.const 0))))
    (call $set-header (local.get $request) (i32.const 1025) (i32.const 7)
      (global.get $digits) (i32.sub (i32.const 2048) (global.get $digits)) (i32.const 80))
    (call $drop-request (local.get $request))
    (global.set $heap (i32.const 4096))
    (i32.const 32))
)
