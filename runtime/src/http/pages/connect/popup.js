// The window in which a provider asks for access, and how its end is noticed.
const POPUP = { width: 520, height: 680 };
const LOOK_EVERY_MS = 500;
// A page that tells the end may close its window before the message is here.
const CLOSED_GRACE_MS = 1_000;

// Opens the window; null when the browser does not let it. Must be called while a click is handled. `onEnd` is called once
// with `{payload}` or `{error}`; `onClosed` when the window seems closed, which is not always so: a provider whose pages cut the tie
// to their opener looks the same.
function openPopup(key, config, { onEnd, onClosed }) {
    const clientId = crypto.randomUUID();
    const url = `${API}/oauth/connect/${encodeURIComponent(key)}?${sessionQuery(config, { ws_client_id: clientId })}`;
    const left = Math.max(0, screenX + (outerWidth - POPUP.width) / 2);
    const top = Math.max(0, screenY + (outerHeight - POPUP.height) / 2);
    const popup = window.open(url, '_blank', `popup,width=${POPUP.width},height=${POPUP.height},left=${left},top=${top}`);
    if (!popup || popup.closed) return null;

    const channel = new BroadcastChannel('nango-oauth-callback');
    const stopped = new AbortController();
    let closedAtMs = null;
    const timer = setInterval(() => {
        if (!popup.closed) return;
        closedAtMs ??= Date.now();
        if (Date.now() - closedAtMs < CLOSED_GRACE_MS) return;
        clearInterval(timer);
        onClosed();
    }, LOOK_EVERY_MS);
    const stop = () => {
        clearInterval(timer);
        channel.close();
        stopped.abort();
    };
    const end = ({ type, payload = {} }) => {
        const isEnd = type === 'nango_oauth_callback_success' || type === 'nango_oauth_callback_error';
        if (!isEnd || stopped.signal.aborted) return;
        stop();
        // This page says what happened, so the window need not stay.
        popup.postMessage({ type: 'nango_oauth_callback_ack' }, location.origin);
        onEnd(type === 'nango_oauth_callback_success' ? { payload } : { error: payload });
    };
    addEventListener(
        'message',
        (event) => {
            if (event.source === popup && event.origin === location.origin && event.data) end(event.data);
        },
        { signal: stopped.signal },
    );
    // Every tab of this origin hears the channel: only what was started here is ours.
    channel.addEventListener('message', ({ data }) => {
        if (data?.payload?.clientId === clientId) end(data);
    });
    return {
        focus: () => popup.focus(),
        cancel: () => {
            stop();
            popup.close();
        },
    };
}
