;; Makes bodies upper case as they pass, both ways: one call a body, which asks for chunk after chunk.
(module
  (import "[export]tidegate:plugin/handler@0.1.0" "[resource-new]plugin"
    (func $new-plugin (param i32) (result i32)))
  (import "tidegate:plugin/body@0.1.0" "replace" (func $replace (param i32 i32)))
  (import "tidegate:plugin/body@0.1.0" "next" (func $next-chunk (param i32)))

  (memory (export "memory") 4)
  ;; What the gateway hands in is allocated from 4096 upwards, and forgotten when the call returns.
  (global $heap (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))

  ;; Makes ASCII letters from $at on upper case.
  (func $upper (param $at i32) (param $length i32)
    (local $end i32) (local $byte i32)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $byte (i32.load8_u (local.get $at)))
        (if (i32.and (i32.ge_u (local.get $byte) (i32.const 97)) (i32.le_u (local.get $byte) (i32.const 122)))
          (then (i32.store8 (local.get $at) (i32.sub (local.get $byte) (i32.const 32)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next))))
  ;; The whole body, from its first chunk on. result<body-verdict, string> at 64: ok(pass).
  (func $all (param $at i32) (param $length i32) (result i32)
    (block $ended
      (loop $again
        (call $upper (local.get $at) (local.get $length))
        (call $replace (local.get $at) (local.get $length))
        (global.set $heap (i32.const 4096))
        ;; result<option<chunk>, string> at 32.
        (call $next-chunk (i32.const 32))
        (br_if $ended (i32.load8_u (i32.const 32)))
        (br_if $ended (i32.eqz (i32.load8_u (i32.const 36))))
        (local.set $at (i32.load (i32.const 40)))
        (local.set $length (i32.load (i32.const 44)))
        (br $again)))
    (i64.store (i32.const 64) (i64.const 0))
    (global.set $heap (i32.const 4096))
    (i32.const 64))
  ;; result<plugin, list<problem>>: ok, and the handle of plugin number 1.
  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (call $new-plugin (i32.const 1)))
    (global.set $heap (i32.const 4096))
    (i32.const 16))
  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-request-chunk") (param $plugin i32) (param $at i32) (param $length i32) (param $last i32) (result i32)
    (call $all (local.get $at) (local.get $length)))
  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-response-chunk") (param $plugin i32) (param $at i32) (param $length i32) (param $last i32) (result i32)
    (call $all (local.get $at) (local.get $length)))
)
