(component
  (instance $handler)
  (export "wasi:http/handler@0.3.0" (instance $handler)))
