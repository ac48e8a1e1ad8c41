//! Rust types and traits of the contract in `wit/`, generated. What never waits is a plain function: it needs no future.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "function",
    imports: {
        "nango:functions/nango.[method]response.status": trappable,
        "nango:functions/nango.[method]response.headers": trappable,
        "nango:functions/nango.[method]response.header": trappable,
        "nango:functions/nango.[method]response.text": trappable,
        "nango:functions/nango.[method]response.bytes": trappable,
        "nango:functions/nango.[method]response.json-pointer": trappable,
        "nango:functions/nango.[drop]response": trappable,
        "nango:functions/nango.[drop]pending": trappable,
        "nango:functions/nango.start": trappable,
        "nango:functions/connection.connection-id": trappable,
        "nango:functions/connection.provider-config-key": trappable,
        "nango:functions/connection.provider": trappable,
        "nango:functions/connection.environment": trappable,
        "nango:functions/log": trappable,
        "nango:functions/clock": trappable,
        "nango:functions/random": trappable,
        "nango:functions/lifecycle": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    with: {
        "nango:functions/nango.response": super::response::Response,
        "nango:functions/nango.pending": super::sender::Pending,
    },
    trappable_error_type: { "nango:functions/types.error" => super::fault::Fault },
});
