//! The quickstart: what `tidegate run` serves without a configuration. One listener, one plugin, one demo origin; no
//! file, no guest toolchain. Holds texts only.

use crate::source::memory::MemorySource;

/// The quickstart's configuration.
pub const CONFIGURATION: &str = include_str!("gateway.yaml");

/// The quickstart's plugin, WebAssembly text against the native ABI.
pub const PLUGIN: &str = include_str!("hello.wat");

/// What to type next.
pub const NEXT: &str = "\
No configuration was given: this is the built-in quickstart.

  curl -i http://127.0.0.1:8080/          a request through one plugin to a demo origin
  tidegate status                         what serves
  tidegate config render                  the configuration that does it

To run your own: tidegate run --config gateway.yaml
";

/// The quickstart as a source.
pub fn source() -> MemorySource {
    let entries = [("gateway.yaml", CONFIGURATION), ("hello.wat", PLUGIN)];
    let (source, _handle) = MemorySource::new("quickstart", entries);
    source
}
