;; Counts how exchanges ended, as the metric "ended", and their status as the metric "status".
(module
  (import "tidegate:plugin/metrics@0.1.0" "define"
    (func $define (param i32 i32 i32 i32)))
  (import "tidegate:plugin/metrics@0.1.0" "update"
    (func $update (param i32 i64)))
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

  (data (i32.const 1024) "endedstatus")
  ;; Defines a counter and a gauge, which are 0 and 1 if all is well.
  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (call $define (i32.const 0) (i32.const 1024) (i32.const 5) (i32.const 64))
    (call $define (i32.const 1) (i32.const 1029) (i32.const 6) (i32.const 80))
    (if (i32.eqz (i32.and (i32.load8_u (i32.const 64)) (i32.load8_u (i32.const 80)))) (then (unreachable)))
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (call $new-plugin (i32.const 1)))
    (global.set $heap (i32.const 4096))
    (i32.const 16))
  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-end") (param $plugin i32) (param $status i32) (param i64 i64 i64 i32 i32 i32) (result i32)
    (call $update (i32.const 0) (i64.const 1))
    (call $update (i32.const 1) (i64.extend_i32_u (local.get $status)))
    (global.set $heap (i32.const 4096))
    (i32.const 32))
)
