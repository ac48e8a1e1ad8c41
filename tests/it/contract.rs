//! The contract grows without breaking guests: one built against the first version runs on the host of today, and one built
//! against the interfaces of today links against interfaces to which functions were added.

use nango_runtime_tests::{guest, repository};
use serde_json::json;
use wasmtime::component::{Component, Linker, ResourceType};
use wasmtime::{Engine, Store};
use wit_parser::{Resolve, TypeDefKind, WorldId, WorldItem};

use crate::fixture::{CONNECTION, INTEGRATION, with_upstream};

/// A function that no guest knows.
const NEW_FUNCTION: &str = "added-later: func(question: string) -> result<string, string>;";

fn contract() -> String {
    std::fs::read_to_string(repository::root().join("wit/functions.wit")).expect("the contract can be read")
}

/// The contract as it was first published. Guests built against it are deployed: this file never changes.
fn first_contract() -> String {
    std::fs::read_to_string(repository::root().join("tests/contract/functions-1.0.0.wit"))
        .expect("the first contract can be read")
}

/// The contract as one of its later versions could be: a function more in each interface, and an interface more.
fn grown(wit: &str) -> String {
    let mut text = String::new();
    for line in wit.lines() {
        let line = if line.starts_with("package nango:functions@") {
            "package nango:functions@1.99.0;"
        } else {
            line
        };
        text.push_str(line);
        text.push('\n');
        if line.starts_with("interface ") {
            text.push_str(NEW_FUNCTION);
        }
        if line.starts_with("world function") {
            text.push_str("import later;\n");
        }
    }
    text.push_str("interface later { anything: func(); }\n");
    text
}

fn add_world(resolve: &mut Resolve, name: &str, wit: &str) -> WorldId {
    let package = resolve
        .push_str(name, wit)
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    resolve
        .select_world(&[package], Some("function"))
        .expect("the package has the world `function`")
}

#[test]
fn the_contract_of_today_is_the_first_one_with_additions() {
    let mut resolve = Resolve::default();
    let first = add_world(&mut resolve, "first.wit", &first_contract());
    let today = add_world(&mut resolve, "today.wit", &contract());
    let world = |id: WorldId| resolve.worlds[id].imports.len();
    assert!(world(today) > world(first), "an interface was added");
    wit_component::semver_check(resolve, first, today).expect("nothing was changed or removed");
}

#[tokio::test]
async fn a_guest_of_the_first_version_runs_on_the_host_of_today() {
    let (_server, client) = with_upstream("http://127.0.0.1:9").await;
    let deployed = client.deploy(INTEGRATION, guest::from_text("first-version")).await.ok();
    assert_eq!(
        deployed["imports"],
        json!(["nango:functions/connection@1.0.0"]),
        "{deployed}"
    );
    let metadata = json!({"since": "the first version"});
    let _ = client
        .set_metadata(INTEGRATION, CONNECTION, metadata.clone())
        .await
        .ok();
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "metadata", json!(null))
        .await;
    assert_eq!(answer.ok(), metadata);
}

#[test]
fn added_functions_are_a_compatible_change() {
    let mut resolve = Resolve::default();
    let today = add_world(&mut resolve, "today.wit", &contract());
    let later = add_world(&mut resolve, "later.wit", &grown(&contract()));
    wit_component::semver_check(resolve, today, later).expect("functions may be added");
}

#[test]
fn the_check_notices_a_changed_function() {
    let changed = grown(&contract()).replace("connection-id: func() -> string;", "connection-id: func() -> u32;");
    let mut resolve = Resolve::default();
    let today = add_world(&mut resolve, "today.wit", &contract());
    let later = add_world(&mut resolve, "later.wit", &changed);
    assert!(
        wit_component::semver_check(resolve, today, later).is_err(),
        "a changed type is no compatible change"
    );
}

/// A host that offers what the grown contract says. Its functions do nothing; what counts is that they are there.
fn host_of_the_grown_contract(engine: &Engine) -> Linker<()> {
    let mut resolve = Resolve::default();
    let world = add_world(&mut resolve, "later.wit", &grown(&contract()));
    let mut linker = Linker::new(engine);
    for item in resolve.worlds[world].imports.values() {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let name = resolve.id_of(*id).expect("an interface of a package has a name");
        let interface = &resolve.interfaces[*id];
        let mut instance = linker.instance(&name).expect("each interface is there once");
        for (name, id) in &interface.types {
            if matches!(resolve.types[*id].kind, TypeDefKind::Resource) {
                instance
                    .resource(name, ResourceType::host::<()>(), |_, _| Ok(()))
                    .expect("each resource is there once");
            }
        }
        for name in interface.functions.keys() {
            let message = format!("{name} does nothing here");
            let call = move |_: wasmtime::StoreContextMut<'_, ()>, _, _: &[_], _: &mut [_]| {
                Err(wasmtime::Error::msg(message.clone()))
            };
            instance.func_new(name, call).expect("each function is there once");
        }
    }
    linker
}

#[test]
fn a_guest_of_today_runs_on_a_later_host() {
    let engine = Engine::default();
    let component = Component::new(&engine, guest::component("basic")).expect("the guest compiles");
    let mut store = Store::new(&engine, ());
    let linker = host_of_the_grown_contract(&engine);
    let instance = linker.instantiate(&mut store, &component).expect("the guest links");
    let describe = instance
        .get_typed_func::<(), (String,)>(&mut store, "describe")
        .expect("a guest describes itself");
    let (description,) = describe.call(&mut store, ()).expect("describing needs no host");
    let description: serde_json::Value = serde_json::from_str(&description).expect("a description is JSON");
    assert!(
        description["functions"]
            .as_array()
            .is_some_and(|functions| !functions.is_empty()),
        "{description}"
    );
}
