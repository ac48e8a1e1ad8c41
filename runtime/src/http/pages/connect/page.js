// The page itself: what is shown when. Each view is made anew, takes the place of the one before, and gets the focus on its heading.
const card = document.getElementById('card');
const view = document.getElementById('view');
const backButton = document.getElementById('back');
const closeButton = document.getElementById('close');
const SEARCH_FROM = 8;

// `session` of the API, and its integrations with their providers.
let session = null;
let integrations = [];
let popup = null;

// An element; children are text or elements, never markup.
function h(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (value === true) element.setAttribute(name, '');
        else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false && child !== ''));
    return element;
}

function button(text, onClick, kind = 'primary') {
    const element = h('button', { type: 'button', class: kind }, text);
    element.addEventListener('click', onClick);
    return element;
}

// A link out, unless the data holds something else than a web address.
function link(url, text) {
    if (!/^https?:\/\//i.test(url)) return null;
    const attributes = { href: url, target: '_blank', rel: 'noopener noreferrer' };
    return h('a', attributes, text, h('span', { class: 'only-read' }, ` ${texts.newWindow}`));
}

function icon(kind) {
    return document.getElementById(`icon-${kind}`).content.cloneNode(true);
}

function show(title, ...children) {
    const heading = h('h1', { id: 'title', tabindex: '-1' }, title);
    view.replaceChildren(...children.map((child) => (child === HEADING ? heading : child)).filter(Boolean));
    if (!heading.isConnected) view.prepend(heading);
    document.title = title;
    backButton.hidden = true;
    heading.focus({ preventScroll: true });
    card.scrollTop = 0;
}
const HEADING = Symbol('where the heading stands');

const avatar = (name) => h('div', { class: 'avatar', 'aria-hidden': 'true' }, [...name.trim()][0]?.toUpperCase() ?? '?');
const nameOf = (integration) => integration.display_name || integration.provider;

function showLoading() {
    view.replaceChildren(h('p', { class: 'loading', role: 'status' }, h('span', { class: 'spinner', 'aria-hidden': 'true' }), texts.loading));
}

function showList() {
    const items = integrations.map((integration) => {
        const name = nameOf(integration);
        const open = h('button', { type: 'button', class: 'choice' }, avatar(name), h('span', null, name), icon('next'));
        open.addEventListener('click', () => choose(integration));
        return { name: `${name} ${integration.provider}`.toLowerCase(), element: h('li', null, open) };
    });
    const list = h('ul', { class: 'choices' }, ...items.map(({ element }) => element));
    const count = h('p', { class: 'only-read', role: 'status' });
    const input = h('input', { type: 'search', id: 'search', autocomplete: 'off', placeholder: texts.search });
    input.addEventListener('input', () => {
        const wanted = input.value.trim().toLowerCase();
        for (const { name, element } of items) element.hidden = !name.includes(wanted);
        count.textContent = texts.found(items.filter(({ element }) => !element.hidden).length);
    });
    const search = h('div', { class: 'field search' }, h('label', { for: 'search', class: 'only-read' }, texts.search), h('div', { class: 'input' }, input));
    const isLong = items.length >= SEARCH_FROM;
    show(texts.chooseTitle, HEADING, h('p', { class: 'lead' }, items.length ? texts.choose : texts.nothing), isLong && search, isLong && count, list);
}

async function choose(integration) {
    showLoading();
    try {
        integration.entry ??= await read(`/providers/${encodeURIComponent(integration.provider)}`);
        showForm(integration);
    } catch (error) {
        showFailure(error, () => choose(integration));
    }
}

// The form of one integration, or just its button when nothing is to be filled in.
function showForm(integration) {
    const { entry: provider, unique_key: key } = integration;
    const name = nameOf(integration);
    const isForm = formOf(provider) !== null;
    const isOutbound = provider.installation === 'outbound';
    const docs = session.overrides?.[key]?.docs_connect ?? provider.docs_connect;
    const preset = Object.keys(session.integrations_config_defaults?.[key]?.connection_config ?? {});
    const fields = fieldsOf(provider, preset)
        .filter(({ part }) => isForm || part === 'connection_config')
        .map((field) => new Field(field, docs));
    const asked = fields.filter(({ element }) => element);
    const lead = isOutbound ? texts.outbound : isForm ? (asked.length ? texts.enterDetails : texts.confirm) : asked.length ? texts.enterFirst : texts.signIn;
    const alert = h('div', { class: 'alert', role: 'alert', tabindex: '-1', hidden: true });
    const label = isForm ? (session.isReconnecting ? texts.reconnect : texts.connect) : texts.continueTo(name);
    const submit = h('button', { type: 'submit', class: 'primary' }, label);
    // Who sets up the role needs it before he can name the role here.
    const externalId = provider.auth_mode === 'AWS_SIGV4' && !preset.includes('external_id') && session.external_id;
    const told = externalId && h('p', { class: 'help' }, texts.externalId, ' ', h('code', null, externalId));
    const guide = docs && link(docs, texts.guide(name));
    const form = h(
        'form',
        { novalidate: true, 'aria-labelledby': 'title' },
        alert,
        told || null,
        ...asked.map(({ element }) => element),
        submit,
    );
    const follow = () => asked.forEach((field) => field.follow(fields));
    form.addEventListener('input', follow);
    follow();

    const complain = (error) => {
        const sentence = error.sentence ?? (texts.errors[error.code] ?? (error.status === 400 && isForm ? texts.errors.refused : texts.errors.other))(name);
        alert.replaceChildren(h('p', null, sentence), detailsOf(error));
        alert.hidden = false;
        for (const { message, path = [] } of error.faults ?? []) {
            const field = asked.find((field) => path.join('.') === `${field.part}.${field.name}`);
            field?.complain(message);
        }
        alert.focus();
        tell('error', { errorType: error.code, errorMessage: error.message || sentence });
    };
    const succeed = (result) => {
        const { connectionId, providerConfigKey, isPending = false } = result;
        tell('connect', { providerConfigKey, connectionId, isPending });
        showSuccess(integration, isPending, isOutbound);
    };

    form.addEventListener('submit', async (event) => {
        event.preventDefault();
        if (submit.getAttribute('aria-disabled') === 'true') return;
        alert.hidden = true;
        asked.forEach((field) => field.complain(field.fault()));
        const wrong = asked.find((field) => !field.error.hidden);
        if (wrong) return wrong.input.focus();
        const valuesOf = (part) => Object.fromEntries(fields.filter((field) => field.part === part && field.value !== undefined).map((field) => [field.name, field.value]));
        const config = valuesOf('connection_config');
        if (!isForm) return authorize(integration, config, { complain, succeed, back: () => { restore(); submit.focus(); } });
        submit.setAttribute('aria-disabled', 'true');
        submit.replaceChildren(h('span', { class: 'spinner', 'aria-hidden': 'true' }), h('span', { role: 'status' }, texts.connecting));
        try {
            const signer = valuesOf('assertion_option');
            const credentials = { ...valuesOf('credentials'), ...(Object.keys(signer).length > 0 && { assertionOption: signer }) };
            succeed(await create(key, provider, credentials, config));
        } catch (error) {
            if (error.isExpired) return showFailure(error);
            complain(error);
        } finally {
            submit.removeAttribute('aria-disabled');
            submit.replaceChildren(label);
        }
    });

    const title = session.isReconnecting ? texts.reconnectTitle(name) : texts.connectTitle(name);
    const restore = () => {
        show(title, avatar(name), HEADING, h('p', { class: 'lead' }, lead(name)), guide && h('p', { class: 'guide' }, guide), form);
        backButton.hidden = integrations.length < 2;
    };
    restore();
}

// Through the window of the provider. While it is open, the page says so.
function authorize(integration, config, { complain, succeed, back }) {
    const name = nameOf(integration);
    const closed = h('p', { class: 'warning', role: 'status' });
    const again = button(texts.openAgain, () => {
        popup?.cancel();
        popup = null;
        authorize(integration, config, { complain, succeed, back });
    });
    again.hidden = true;
    const end = () => {
        popup = null;
    };
    popup = openPopup(integration.unique_key, config, {
        onEnd: ({ payload, error }) => {
            end();
            if (payload) return succeed({ providerConfigKey: integration.unique_key, ...payload });
            back();
            complain({ code: error.errorType, message: error.message, sentence: error.title && `${error.title}. ${error.advice}` });
        },
        onClosed: () => {
            if (query.get('detectClosedAuthWindow') === 'true') {
                popup?.cancel();
                end();
                back();
                return complain({ code: 'window_closed', message: texts.windowClosed });
            }
            closed.textContent = texts.closedEarly;
            again.hidden = false;
            focusButton.hidden = true;
        },
    });
    if (!popup) {
        back();
        return complain({ code: 'blocked_by_browser', message: 'Modal blocked by browser', sentence: texts.blocked(name) });
    }
    const focusButton = button(texts.showWindow, () => popup?.focus());
    const cancel = button(texts.cancel, () => { popup?.cancel(); end(); back(); }, 'plain');
    show(
        texts.waitingTitle(name),
        h('div', { class: 'avatar waiting', 'aria-hidden': 'true' }, h('span', { class: 'spinner' })),
        HEADING,
        h('p', { class: 'lead', role: 'status' }, texts.waiting(name)),
        closed,
        h('div', { class: 'actions' }, focusButton, again, cancel),
    );
}

function showSuccess(integration, isPending, isOutbound) {
    const name = nameOf(integration);
    const canLeave = host || isFramed;
    show(
        isOutbound ? texts.outboundTitle(name) : isPending ? texts.pendingTitle : texts.connectedTitle(name),
        h('div', { class: 'mark good', 'aria-hidden': 'true' }, icon('good')),
        HEADING,
        h('p', { class: 'lead', role: 'status' }, isOutbound ? texts.outboundNext(name) : isPending ? texts.pending(name) : texts.connected),
        h('div', { class: 'actions' }, canLeave && button(texts.finish, leave), integrations.length > 1 && button(texts.another, showList, 'plain')),
    );
}

// What keeps the whole page from being used.
function showFailure(error, retry) {
    const title = error.isExpired ? texts.expiredTitle : texts.failedTitle;
    const sentence = error.isExpired ? texts.expired : (texts.errors[error.code] ?? texts.errors.other)('');
    const again = retry && !error.isExpired && button(texts.tryAgain, retry);
    show(
        title,
        h('div', { class: 'mark bad', 'aria-hidden': 'true' }, icon('bad')),
        HEADING,
        h('p', { class: 'lead', role: 'alert' }, sentence),
        h('div', { class: 'actions' }, again, isFramed && button(texts.close, leave, again ? 'plain' : 'primary')),
        detailsOf(error),
    );
    tell('error', { errorType: error.code, errorMessage: error.message });
}

function detailsOf({ code, message }) {
    return h('details', null, h('summary', null, texts.details), h('p', null, h('code', null, code)), message && h('p', null, message));
}

async function start() {
    showLoading();
    try {
        [session, integrations] = await Promise.all([read('/connect/session'), read('/integrations')]);
        integrations.sort((a, b) => nameOf(a).localeCompare(nameOf(b), language));
    } catch (error) {
        return showFailure(error, start);
    }
    applyTheme(session.connectUISettings);
    if (integrations.length === 1) return choose(integrations[0]);
    showList();
}

// Settings of Nango's shape; `theme` in the address, which the SDK's `themeOverride` is, wins.
function applyTheme(settings) {
    const theme = query.get('theme') ?? settings?.defaultTheme;
    if (['light', 'dark'].includes(theme)) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    for (const scheme of ['light', 'dark']) {
        const color = settings?.theme?.[scheme]?.primary;
        if (!/^#[0-9a-f]{6}$/i.test(color ?? '')) continue;
        document.documentElement.style.setProperty(`--brand-${scheme}`, color);
        document.documentElement.style.setProperty(`--on-brand-${scheme}`, inkOn(color));
    }
}

// Black or white, whichever can be read on `color` (WCAG 2.2, relative luminance).
function inkOn(color) {
    const [red, green, blue] = [1, 3, 5].map((at) => {
        const part = parseInt(color.slice(at, at + 2), 16) / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? '#000000' : '#ffffff';
}

backButton.setAttribute('aria-label', texts.back);
backButton.addEventListener('click', showList);
closeButton.setAttribute('aria-label', texts.close);
closeButton.addEventListener('click', leave);
if (isFramed) {
    document.documentElement.dataset.framed = '';
    card.setAttribute('role', 'dialog');
    card.setAttribute('aria-modal', 'true');
    // The page around cannot be made inert from in here, but the focus need not wander off into it.
    addEventListener('keydown', (event) => {
        if (event.key !== 'Tab') return;
        const stops = [...card.querySelectorAll('a[href], button, input, select, textarea, summary')].filter((stop) => stop.offsetParent);
        const [first, last] = [stops[0], stops.at(-1)];
        const leaves = event.shiftKey ? document.activeElement === first || !stops.includes(document.activeElement) : document.activeElement === last;
        if (!leaves) return;
        event.preventDefault();
        (event.shiftKey ? last : first).focus();
    });
}
closeButton.hidden = !host;
addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && host && !event.defaultPrevented) leave();
});

applyTheme(null);
hear('session_token', ({ sessionToken }, origin) => {
    if (typeof sessionToken !== 'string') return;
    hostOrigin = usableOrigin(origin);
    if (sessionToken === token && session) return;
    keepToken(sessionToken);
    start();
});
hear('settings_changed', ({ payload }) => applyTheme(payload));
if (token) start();
else if (host) showLoading();
else show(texts.noSessionTitle, HEADING, h('p', { class: 'lead' }, texts.noSession));
tell('ready');
