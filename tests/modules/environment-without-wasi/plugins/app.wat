;; A plugin that is called for every request and does nothing.
(module
  (import "tidegate:plugin/http@0.1.0" "[resource-drop]request" (func $drop (param i32)))
  (import "[export]tidegate:plugin/handler@0.1.0" "[resource-new]plugin" (func $new (param i32) (result i32)))
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 4096))

  ;; Configurations are the only thing that is ever allocated here.
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))

  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (i32.store (i32.const 1028) (call $new (i32.const 0)))
    (i32.const 1024))

  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-request") (param $self i32) (param $request i32) (result i32)
    (call $drop (local.get $request))
    (i32.const 2048)))
