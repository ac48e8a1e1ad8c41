//! Which functions of its host a component imports: all it can do.

use std::collections::BTreeSet;

use wit_component::{DecodedWasm, decode};
use wit_parser::{Resolve, WorldId, WorldItem};

/// Functions of interfaces of the package `nango:functions`, as in `nango.get`. Components import those only that they call, when their
/// language's linker leaves out what nobody calls. A component whose types cannot be read gives none: nothing can be said of it.
#[must_use]
pub fn imported_functions(component: &[u8]) -> Option<BTreeSet<String>> {
    match decode(component) {
        Ok(DecodedWasm::Component(resolve, world)) => Some(functions_of(&resolve, world)),
        Ok(DecodedWasm::WitPackage(..)) | Err(_) => None,
    }
}

fn functions_of(resolve: &Resolve, world: WorldId) -> BTreeSet<String> {
    let Some(world) = resolve.worlds.get(world) else {
        return BTreeSet::new();
    };
    let mut functions = BTreeSet::new();
    for item in world.imports.values() {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let Some(interface) = resolve.interfaces.get(*id) else {
            continue;
        };
        let name = interface.name.as_deref().unwrap_or_default();
        functions.extend(interface.functions.keys().map(|function| format!("{name}.{function}")));
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_imported() {
        let component = wat::parse_str(
            r#"(component
                (import "nango:functions/clock@1.0.0" (instance (export "now-us" (func (result u64))) (export "monotonic-us" (func (result u64)))))
                (import "nango:functions/sleep@1.0.0" (instance (export "sleep-ms" (func (param "duration" u64))))))"#,
        )
        .unwrap();
        let functions: Vec<String> = imported_functions(&component).unwrap().into_iter().collect();
        assert_eq!(functions, ["clock.monotonic-us", "clock.now-us", "sleep.sleep-ms"]);
        assert_eq!(imported_functions(b"nope"), None);
    }
}
