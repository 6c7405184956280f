;; Notes the request field `user`, if there is one, as the attribute `consumer`: in the place of a plugin that
;; authenticates.
(module
  (import "tidegate:plugin/http@0.1.0" "[method]request.header" (func $header (param i32 i32 i32 i32)))
  (import "tidegate:plugin/http@0.1.0" "[resource-drop]request" (func $drop (param i32)))
  (import "tidegate:plugin/exchange@0.1.0" "set-attribute" (func $note (param i32 i32 i32 i32 i32)))
  (import "[export]tidegate:plugin/handler@0.1.0" "[resource-new]plugin" (func $new (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "userconsumer")
  ;; What lies below `base` is configurations; what lies above is one call's, and gone with it.
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
    ;; option<list<u8>> at 3072: whether there is one, where, how long.
    (call $header (local.get $request) (i32.const 0) (i32.const 4) (i32.const 3072))
    (if (i32.load8_u (i32.const 3072))
      (then (call $note (i32.const 4) (i32.const 8)
        (i32.load (i32.const 3076)) (i32.load (i32.const 3080)) (i32.const 3084))))
    (call $drop (local.get $request))
    (i32.const 2048)))
