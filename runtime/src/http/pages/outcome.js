// Tells who waits for this popup how it ended. outcome.rs says who may hear what.
const { type, payload, public: publicPayload, closes } = JSON.parse(document.getElementById('data').textContent);
const CLOSE_AFTER_MS = 500;

// The code and the state are used up; the address bar and the history need not keep them.
history.replaceState(null, '', location.pathname);

const channel = new BroadcastChannel('nango-oauth-callback');
channel.postMessage({ type, payload });
channel.close();
if (window.opener) {
    // The browser delivers this one only when the opener is a page of ours. It comes first, so that such a page has the details.
    window.opener.postMessage({ type, payload }, location.origin);
    window.opener.postMessage(publicPayload ? { type, payload: publicPayload } : { type }, '*');
    addEventListener('message', (event) => {
        if (event.source === window.opener && event.data?.type === 'nango_oauth_callback_ack') window.close();
    });
}

if (closes) setTimeout(() => window.close(), CLOSE_AFTER_MS);
const button = document.getElementById('close');
if (button && window.opener) {
    // Only windows that a script opened can be closed by one.
    button.hidden = false;
    button.addEventListener('click', () => window.close());
}
