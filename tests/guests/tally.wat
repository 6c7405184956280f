;; A plugin that counts requests in its key-value space.
(module
  (import "tidegate:plugin/kv@0.1.0" "add" (func $add (param i32 i32 i64 i32 i64 i32)))
  (import "tidegate:plugin/http@0.1.0" "[method]request.set-header" (func $set (param i32 i32 i32 i32 i32 i32)))
  (import "tidegate:plugin/http@0.1.0" "[resource-drop]request" (func $drop (param i32)))
  (import "[export]tidegate:plugin/handler@0.1.0" "[resource-new]plugin" (func $new (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-totalrequests")
  (data (i32.const 128) "0123456789abcdef")
  (global $heap (mut i32) (i32.const 4096))

  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))

  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (i32.store (i32.const 1028) (call $new (i32.const 0)))
    (i32.const 1024))

  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-request") (param $self i32) (param $request i32) (result i32)
    ;; add("requests", 1, none) -> result<s64, kv-error>, at 3072, the sum 8 bytes in
    (call $add (i32.const 7) (i32.const 8) (i64.const 1) (i32.const 0) (i64.const 0) (i32.const 3072))
    (if (i32.load8_u (i32.const 3072)) (then unreachable))
    (call $hexadecimal (i32.wrap_i64 (i64.load (i32.const 3080))))
    (call $set (local.get $request) (i32.const 0) (i32.const 7) (i32.const 256) (i32.const 8) (i32.const 3088))
    (call $drop (local.get $request))
    (i32.const 2048))

  ;; Eight digits at 256.
  (func $hexadecimal (param $number i32)
    (local $at i32)
    (local.set $at (i32.const 263))
    (loop $digit
      (i32.store8 (local.get $at) (i32.load8_u offset=128 (i32.and (local.get $number) (i32.const 15))))
      (local.set $number (i32.shr_u (local.get $number) (i32.const 4)))
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (br_if $digit (i32.ge_u (local.get $at) (i32.const 256))))))
