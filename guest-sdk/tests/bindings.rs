//! The bindings in `src/bindings.rs` are those of the repository's WIT.
//!
//! They are checked in because the generator would more than double the time every function takes to compile. After a
//! change of the WIT: `UPDATE_BINDINGS=1 cargo test -p nango-guest-sdk --test bindings`.

use std::fs;
use std::path::Path;

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator as _};
use wit_bindgen_rust::Opts;

#[test]
fn bindings_are_those_of_the_wit() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generated = generate(&package.join("../wit"));
    let file = package.join("src/bindings.rs");
    if std::env::var_os("UPDATE_BINDINGS").is_some() {
        fs::write(&file, &generated).expect("src/bindings.rs can be written");
    }
    let present = fs::read_to_string(&file).expect("src/bindings.rs can be read");
    assert!(
        present == generated,
        "src/bindings.rs is not that of wit/; run this test with UPDATE_BINDINGS=1"
    );
}

fn generate(wit: &Path) -> String {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).expect("the WIT can be parsed");
    let world = resolve
        .select_world(&[package], Some("function"))
        .expect("the WIT has the world");
    let options = Opts {
        format: true,
        pub_export_macro: true,
        default_bindings_module: Some("nango_guest_sdk::bindings".to_owned()),
        ..Opts::default()
    };
    let mut files = Files::default();
    options
        .build()
        .generate(&mut resolve, world, &mut files)
        .expect("bindings can be generated");
    let (_, contents) = files.iter().next().expect("there is one file");
    String::from_utf8(contents.to_vec()).expect("Rust source is UTF-8")
}
