;; A plugin that takes no configuration: it says that `/limit` is wrong.
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "/limita limit of less than nothing")
  (global $heap (mut i32) (i32.const 4096))

  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))

  ;; err([{pointer: "/limit", message: "a limit of less than nothing"}])
  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (i32.store (i32.const 2048) (i32.const 0))
    (i32.store (i32.const 2052) (i32.const 6))
    (i32.store (i32.const 2056) (i32.const 6))
    (i32.store (i32.const 2060) (i32.const 28))
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store (i32.const 1028) (i32.const 2048))
    (i32.store (i32.const 1032) (i32.const 1))
    (i32.const 1024)))
