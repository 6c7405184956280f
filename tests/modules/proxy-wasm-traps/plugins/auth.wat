(module
  (func (export "proxy_abi_version_0_1_0"))
  (func (export "_start") unreachable))
