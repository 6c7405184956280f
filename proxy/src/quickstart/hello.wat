;; The quickstart's plugin, by hand: it sets `x-tidegate-plugin: hello` on every response.
;;
;; A plugin is a component; this core module becomes one when it is loaded, because it imports `tidegate:*`. What it
;; imports and exports are the functions of `proxy/wit/plugin.wit` under the component model's canonical names. A
;; phase that a module does not export is a phase that it is not called for. Authors write Rust or another language
;; instead (docs/plugins.md); this one shows that no toolchain is needed.
(module
  (import "tidegate:plugin/http@0.1.0" "[method]response.set-header"
    (func $set-header (param $response i32) (param $name i32) (param $name-length i32)
      (param $value i32) (param $value-length i32) (param $result i32)))
  (import "tidegate:plugin/http@0.1.0" "[resource-drop]response" (func $drop (param i32)))
  (import "[export]tidegate:plugin/handler@0.1.0" "[resource-new]plugin"
    (func $new (param i32) (result i32)))

  (memory (export "memory") 1)
  ;; "x-tidegate-plugin" is 17 bytes at 0, "hello" 5 bytes at 17.
  (data (i32.const 0) "x-tidegate-pluginhello")

  ;; The gateway asks for room for what it passes in (the configuration); nothing here is ever given back.
  (global $heap (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap
      (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))

  ;; create: static func(config: string) -> result<plugin, list<problem>>
  ;; The result is at 1024: tag 0 (ok), then the new plugin's handle.
  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (i32.store (i32.const 1028) (call $new (i32.const 0)))
    (i32.const 1024))

  ;; on-response: func(response: borrow<response>) -> result<verdict, string>
  ;; The result is at 2048, all zero: ok(proceed).
  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-response")
    (param $self i32) (param $response i32) (result i32)
    (call $set-header (local.get $response) (i32.const 0) (i32.const 17) (i32.const 17) (i32.const 5) (i32.const 3072))
    (call $drop (local.get $response))
    (i32.const 2048)))
