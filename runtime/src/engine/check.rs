//! What can be said of uploaded bytes before any time is spent on compiling them. Reads the outermost sections only; whether
//! types fit is for the linker, whether the code is valid for the compiler.

use wasmparser::{ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload};

/// The package every import must come from.
const PACKAGE: &str = "nango:functions/";
/// The functions of the world that must be exported.
const EXPORTS: [&str; 2] = ["describe", "run"];
const WASM_MAGIC: &[u8] = b"\0asm";
/// Imports a message lists; a component built for another host may have hundreds.
const LISTED_IMPORTS_MAX: usize = 10;

/// Why a component cannot be deployed or run.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    #[error("this is no WebAssembly: {0}")]
    NotWasm(String),
    #[error(
        "this is a core WebAssembly module, not a component: encode it with `nango-runtime build`, or `wasm-tools component new`"
    )]
    CoreModule,
    #[error("the component has {bytes} bytes; at most {bytes_max} are allowed (limits.component_bytes)")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error(
        "the component imports {}: this runtime provides nothing but the package nango:functions. A function reaches the world through \
         its `nango` imports; build it without WASI",
        imports.join(", ")
    )]
    ForeignImports { imports: Vec<String> },
    #[error("the component does not export {}: a function exports `describe` and `run` of the world nango:functions/function", missing.join(" and "))]
    MissingExports { missing: Vec<&'static str> },
    #[error("the component does not fit the world nango:functions/function: {reason}")]
    WrongTypes { reason: String },
    #[error("the component is not valid: {reason}")]
    Invalid { reason: String },
    #[error("`describe` failed: {reason}")]
    Describe { reason: String },
    #[error("`describe` gave no manifest in JSON: at `{path}`: {reason}")]
    Manifest { path: String, reason: String },
    #[error("the component {digest} is not in the store")]
    Missing { digest: String },
    #[error("the component {digest} cannot be loaded: {reason}")]
    Unavailable { digest: String, reason: String },
}

impl ComponentError {
    /// Stable and machine-readable.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotWasm(_) => "not_wasm",
            Self::CoreModule => "core_module",
            Self::TooLarge { .. } => "component_too_large",
            Self::ForeignImports { .. } => "foreign_imports",
            Self::MissingExports { .. } => "missing_exports",
            Self::WrongTypes { .. } => "wrong_types",
            Self::Invalid { .. } => "invalid_component",
            Self::Describe { .. } => "describe_failed",
            Self::Manifest { .. } => "invalid_manifest",
            Self::Missing { .. } => "component_missing",
            Self::Unavailable { .. } => "component_unavailable",
        }
    }
}

/// What a component asks of its host and offers to it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Surface {
    /// Interfaces it imports, without the ones that only name types: all it can do.
    pub imports: Vec<String>,
}

/// Checks the outside of a component.
///
/// # Errors
///
/// When it is too large, no component, imports what is not provided, or lacks an export.
pub fn check(component: &[u8], bytes_max: usize) -> Result<Surface, ComponentError> {
    if component.len() > bytes_max {
        return Err(ComponentError::TooLarge {
            bytes: component.len(),
            bytes_max,
        });
    }
    if !component.starts_with(WASM_MAGIC) {
        return Err(ComponentError::NotWasm(look_of(component)));
    }
    let (imports, exports) = outline(component)?;
    let mut foreign: Vec<String> = imports
        .iter()
        .filter(|name| !name.starts_with(PACKAGE))
        .cloned()
        .collect();
    if !foreign.is_empty() {
        let left_off = foreign.len().saturating_sub(LISTED_IMPORTS_MAX);
        foreign.truncate(LISTED_IMPORTS_MAX);
        if left_off > 0 {
            foreign.push(format!("{left_off} more"));
        }
        return Err(ComponentError::ForeignImports { imports: foreign });
    }
    let missing: Vec<_> = EXPORTS
        .into_iter()
        .filter(|name| !exports.iter().any(|export| export == name))
        .collect();
    if !missing.is_empty() {
        return Err(ComponentError::MissingExports { missing });
    }
    let imports = imports
        .into_iter()
        .filter(|name| !name.starts_with("nango:functions/types@"))
        .collect();
    Ok(Surface { imports })
}

/// Names of imports and of exported functions.
fn outline(component: &[u8]) -> Result<(Vec<String>, Vec<String>), ComponentError> {
    let invalid = |error: wasmparser::BinaryReaderError| ComponentError::Invalid {
        reason: error.to_string(),
    };
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    // Modules and components inside of this one are sections to their parents; what they import is not for us.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding, .. } => {
                if depth == 0 && encoding == Encoding::Module {
                    return Err(ComponentError::CoreModule);
                }
                depth = depth.saturating_add(1);
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    let import = import.map_err(invalid)?;
                    // A name for a type gives no power; `use` in a world makes such imports.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    if export.kind == ComponentExternalKind::Func {
                        exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

/// What bytes that are no WebAssembly look like, for somebody who picked the wrong file.
fn look_of(bytes: &[u8]) -> String {
    let start = bytes.get(..bytes.len().min(16)).unwrap_or_default();
    if bytes.is_empty() {
        return "it is empty".to_owned();
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let trimmed = text.trim_start();
        if trimmed.starts_with("(component") || trimmed.starts_with("(module") {
            return "it is WebAssembly text; deploy the binary".to_owned();
        }
    }
    format!(
        "a component begins with \"\\0asm\", this with \"{}\"",
        start.escape_ascii()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    fn fault(wat: &str) -> String {
        check(&wat::parse_str(wat).unwrap(), MAX).unwrap_err().to_string()
    }

    const EXPORTED: &str = r#"
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (export "describe" (func $f))
        (export "run" (func $f))"#;

    #[test]
    fn tells_what_is_no_component() {
        let of = |bytes: &[u8]| check(bytes, MAX).unwrap_err().to_string();
        assert_eq!(of(b""), "this is no WebAssembly: it is empty");
        assert_eq!(
            of(b"#!/bin/sh\n\xff"),
            "this is no WebAssembly: a component begins with \"\\0asm\", this with \"#!/bin/sh\\n\\xff\""
        );
        assert_eq!(
            of(b" (component)"),
            "this is no WebAssembly: it is WebAssembly text; deploy the binary"
        );
        assert!(of(b"\0asm\x0d\0\x01").starts_with("the component is not valid: "));
        assert!(matches!(
            check(&[0; 9], 8),
            Err(ComponentError::TooLarge { bytes: 9, bytes_max: 8 })
        ));
        assert!(fault("(module)").starts_with("this is a core WebAssembly module, not a component: encode it with"));
    }

    #[test]
    fn names_what_is_foreign_and_what_is_missing() {
        let foreign =
            format!(r#"(component (import "wasi:cli/environment@0.2.6" (instance)) (import "x" (func)) {EXPORTED})"#);
        assert!(
            fault(&foreign)
                .starts_with("the component imports wasi:cli/environment@0.2.6, x: this runtime provides nothing")
        );
        assert!(fault("(component)").starts_with("the component does not export describe and run: "));
    }

    #[test]
    fn gives_what_is_imported() {
        let wat = format!(
            r#"(component (import "nango:functions/types@1.0.0" (instance)) (import "nango:functions/log@1.0.0" (instance))
                (type $text string) (import "name" (type (eq $text)))
                (component $inner (import "anything" (func))) {EXPORTED})"#
        );
        let surface = check(&wat::parse_str(wat).unwrap(), MAX).unwrap();
        assert_eq!(surface.imports, ["nango:functions/log@1.0.0"]);
    }
}
