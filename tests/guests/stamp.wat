;; A plugin that tells who it is: its module's number, its configuration, and how many requests this guest has seen.
(module
  (import "tidegate:plugin/http@0.1.0" "[method]request.set-header" (func $set (param i32 i32 i32 i32 i32 i32)))
  (import "tidegate:plugin/http@0.1.0" "[resource-drop]request" (func $drop (param i32)))
  (import "[export]tidegate:plugin/handler@0.1.0" "[resource-new]plugin" (func $new (param i32) (result i32)))
  (memory (export "memory") 16)
  (data (i32.const 0) "x-modulex-configx-count")
  (data (i32.const 64) "00000000")
  (data (i32.const 128) "0123456789abcdef")
  (global $heap (mut i32) (i32.const 4096))
  (global $count (mut i32) (i32.const 0))

  ;; Configurations are the only thing that is ever allocated here.
  (func $allocate (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))

  ;; What stands for a plugin is where its configuration's place and length are kept.
  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param $at i32) (param $length i32) (result i32)
    (local $self i32)
    (local.set $self (call $allocate (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 8)))
    (i32.store (local.get $self) (local.get $at))
    (i32.store offset=4 (local.get $self) (local.get $length))
    (i32.store (i32.const 1028) (call $new (local.get $self)))
    (i32.const 1024))

  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-request") (param $self i32) (param $request i32) (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (call $hexadecimal (global.get $count))
    (call $set (local.get $request) (i32.const 0) (i32.const 8) (i32.const 64) (i32.const 8) (i32.const 3072))
    (call $set (local.get $request) (i32.const 8) (i32.const 8)
      (i32.load (local.get $self)) (i32.load offset=4 (local.get $self)) (i32.const 3072))
    (call $set (local.get $request) (i32.const 16) (i32.const 7) (i32.const 256) (i32.const 8) (i32.const 3072))
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
