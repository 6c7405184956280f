(component
  (import "wasi:blobstore/blobstore@0.2.0-draft" (instance (export "create-container" (func (param "name" string)))))
  (import "wasi:sockets/network@0.2.3" (instance))
  (instance $handler)
  (export "wasi:http/incoming-handler@0.2.3" (instance $handler)))
