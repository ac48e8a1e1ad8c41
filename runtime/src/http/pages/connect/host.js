// The application that shows this page in a frame, or opened it in a window: the messages of `@nangohq/frontend`.
//
// It sends `session_token` and `settings_changed`, and hears `ready`, `close`, `connect` and `error`. Anybody may frame the page, as far as
// `connect_frame_ancestors` lets them; so what carries data is addressed to the origin that the session's token came from, and the
// browser delivers it to no other. Where the token came in the address, it is the origin that the browser itself names as the
// embedder, or as the page that the link was on.
const isFramed = window.parent !== window;
const host = isFramed ? window.parent : window.opener;
let hostOrigin = embedderOrigin();

function embedderOrigin() {
    if (isFramed && location.ancestorOrigins?.length) return usableOrigin(location.ancestorOrigins[0]);
    try {
        return usableOrigin(new URL(document.referrer).origin);
    } catch {
        return null;
    }
}

// An opaque origin cannot be addressed.
function usableOrigin(origin) {
    return origin === 'null' ? null : origin;
}

function tell(type, payload) {
    if (!host) return;
    if (payload === undefined) host.postMessage({ type }, '*');
    else if (hostOrigin) host.postMessage({ type, payload }, hostOrigin);
}

// Calls `handle` with the fields of the message, for each of the given type that the host sends.
function hear(type, handle) {
    addEventListener('message', (event) => {
        if (!host || event.source !== host || event.data?.type !== type) return;
        handle(event.data, event.origin);
    });
}

// The page is done: the SDK takes the frame away, a window closes itself, a tab stays.
function leave() {
    tell('close');
    if (!isFramed) window.close();
}
