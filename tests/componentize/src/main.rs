//! `componentize IN.wasm OUT.wasm`: wraps a core module that holds its WIT as a component.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use wit_component::ComponentEncoder;

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, output] = arguments.as_slice() else {
        bail!("usage: componentize IN.wasm OUT.wasm")
    };
    let core = std::fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
    let component = encode(&core).with_context(|| format!("{} cannot become a component", input.display()))?;
    std::fs::write(output, component).with_context(|| format!("cannot write {}", output.display()))
}

/// The component of a core module. The module's custom section `component-type` says what it imports and exports.
fn encode(core: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default().validate(true).module(core)?.encode()
}
