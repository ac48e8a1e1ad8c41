// The connect page in a real browser: runs the scenario $SCENARIO and prints what was seen as JSON. Sessions are opened by the published
// @nangohq/node, and the page is framed by the published @nangohq/frontend.
import { Nango } from '@nangohq/node';
import { application, axe, open, shot } from './browser.mjs';

const host = process.env.NANGO_HOSTPORT;
const nango = new Nango({ host, secretKey: process.env.NANGO_SECRET_KEY });
const session = async (...allowed) => (await nango.createConnectSession({ tags: { plan: 'pro' }, allowed_integrations: allowed })).data;
const heading = (frame) => frame.locator('h1').textContent();
const fill = (frame, label, value) => frame.getByLabel(label, { exact: true }).fill(value);
const press = (frame, name) => frame.getByRole('button', { name, exact: true }).click();
// A press that takes away the page or the frame which would have to say that it was pressed.
const last = (pressing) => pressing.catch(() => undefined);
const arrived = (frame, text) => frame.getByRole('heading', { name: text }).waitFor();

// An application that shows the page in a frame: its page and the frame.
async function framed(browser, token, more = {}) {
    const app = await application();
    const page = await browser.context.newPage();
    await page.goto(app.url);
    await page.waitForFunction(() => window.Nango);
    await page.evaluate(
        ([connectSessionToken, base, more]) => {
            const nango = new window.Nango({ connectSessionToken, host: base });
            window.ui = nango.openConnectUI({ baseURL: `${base}/connect`, apiURL: base, onEvent: (event) => window.events.push(event), ...more });
        },
        [token, host, more],
    );
    const frame = page.frameLocator('#connect-ui');
    await frame.locator('h1').waitFor();
    return { app, page, frame, events: () => page.evaluate(() => window.events) };
}

// The pages of oidc-provider: log in, consent.
async function consent(popup) {
    await popup.locator('[name=login]').fill('user-1');
    await popup.locator('[name=password]').fill('any');
    await popup.locator('[type=submit]').click();
    await popup.getByRole('button', { name: 'Continue' }).click();
}

const scenarios = {
    // As a link: nothing filled in, a key that the provider refuses, the right one.
    async link(browser) {
        const { connect_link } = await session('keyed');
        const page = await browser.context.newPage();
        await page.goto(connect_link);
        await arrived(page, 'Connect Keyed');
        const address = page.url();
        await press(page, 'Connect');
        const missing = await page.locator('.error:visible').allTextContents();
        const focused = await page.evaluate(() => document.activeElement.name);
        await fill(page, 'API key', 'wrong-key');
        await press(page, 'Connect');
        await page.getByRole('alert').waitFor();
        const refusal = await page.getByRole('alert').locator('> p').textContent();
        const isAlertFocused = await page.evaluate(() => document.activeElement.getAttribute('role'));
        await page.locator('summary').click();
        const details = await page.locator('details').innerText();
        await shot(page, 'refused');
        await page.reload();
        await arrived(page, 'Connect Keyed');
        await fill(page, 'API key', ' right-key ');
        await press(page, 'Connect');
        await arrived(page, 'Keyed is connected');
        await shot(page, 'connected');
        return { address, missing, focused, refusal, isAlertFocused, details, heading: await heading(page) };
    },

    // In a frame of an application of another site, chosen from a list.
    async frame(browser) {
        const { token } = await session('keyed', 'shop', 'open');
        const { page, frame, events, app } = await framed(browser, token, { apiURL: 'https://elsewhere.test' });
        await arrived(frame, 'Connect an account');
        await shot(page, 'frame-list');
        const choices = await frame.locator('.choice').allTextContents();
        const title = await page.frames()[1].title();
        await press(frame, 'Shop & Söhne <b>');
        await fill(frame, 'Subdomain', 'https://acme.shop.test/');
        await fill(frame, 'API key', 'right-key');
        await shot(page, 'frame-form');
        await press(frame, 'Connect');
        await arrived(frame, 'is connected');
        await last(press(frame, 'Finish'));
        await page.locator('#connect-ui').waitFor({ state: 'detached' });
        const said = await events();
        app.close();
        return { choices, title, events: said };
    },

    // The provider's own pages, in a window.
    async oauth(browser) {
        const { token } = await session('oidc');
        const { page, frame, events, app } = await framed(browser, token);
        await arrived(frame, 'Connect OIDC');
        await shot(page, 'oauth');
        const [popup] = await Promise.all([page.waitForEvent('popup'), press(frame, 'Continue to OIDC')]);
        await arrived(frame, 'Continue with OIDC');
        await shot(page, 'oauth-waiting');
        await consent(popup);
        await arrived(frame, 'OIDC is connected');
        if (!popup.isClosed()) await popup.waitForEvent('close');
        const said = await events();
        app.close();
        return { events: said };
    },

    // A provider that the customer goes to by himself.
    async outbound(browser) {
        const defaults = { sentry: { connection_config: { actor: '1234567' } } };
        const opened = await nango.createConnectSession({ tags: {}, allowed_integrations: ['sentry'], integrations_config_defaults: defaults });
        const { page, frame, events, app } = await framed(browser, opened.data.token);
        await arrived(frame, 'Connect Sentry');
        const lead = await frame.locator('.lead').textContent();
        const labels = await frame.locator('label').allTextContents();
        await frame.getByLabel('Host', { exact: true }).selectOption('de.sentry.io');
        await shot(page, 'outbound');
        await press(frame, 'Connect');
        await arrived(frame, 'Now install our app at Sentry');
        await shot(page, 'outbound-next');
        const said = await events();
        app.close();
        return { lead, labels, events: said };
    },

    // A server that the customer names: none, one that is not safe, and one that is.
    async oauth_named(browser) {
        const { token } = await session('mcp-any');
        const { page, frame, events, app } = await framed(browser, token);
        await arrived(frame, 'Connect Any server');
        await press(frame, 'Continue to Any server');
        const missing = await frame.locator('.error:visible').allTextContents();
        const example = await frame.getByLabel('Server', { exact: true }).getAttribute('placeholder');
        const [address] = example.match(/http\S+/);
        await fill(frame, 'Server', 'http://mcp.example.com/mcp');
        const [first] = await Promise.all([page.waitForEvent('popup'), press(frame, 'Continue to Any server')]);
        await frame.getByRole('alert').waitFor();
        const refusal = await frame.getByRole('alert').locator('> p').textContent();
        await shot(page, 'named-refused');
        if (!first.isClosed()) await first.waitForEvent('close');
        await fill(frame, 'Server', address);
        const [popup] = await Promise.all([page.waitForEvent('popup'), press(frame, 'Continue to Any server')]);
        await consent(popup);
        await arrived(frame, 'Any server is connected');
        const said = await events();
        app.close();
        return { missing, refusal, events: said };
    },

    // The provider says no; its message does not reach an opener of another origin; the window says why to who opens it alone.
    async oauth_refused(browser) {
        const { token } = await session('oidc');
        const { page, frame, events, app } = await framed(browser, token);
        const [popup] = await Promise.all([page.waitForEvent('popup'), press(frame, 'Continue to OIDC')]);
        await popup.locator('[name=login]').waitFor();
        await popup.getByText('Cancel').click();
        await frame.getByRole('alert').waitFor();
        const refusal = await frame.getByRole('alert').locator('> p').textContent();
        await shot(page, 'oauth-refused');
        const said = await events();

        // Opened by the application itself, as other user interfaces do.
        const url = `${host}/oauth/connect/oidc?connect_session_token=${token}`;
        const [second] = await Promise.all([
            page.waitForEvent('popup'),
            page.evaluate((url) => {
                window.heard = [];
                addEventListener('message', ({ data }) => data?.type?.startsWith('nango_oauth') && window.heard.push(data));
                window.open(url, '_blank', 'popup,width=500,height=600');
            }, url),
        ]);
        await second.getByText('Cancel').click();
        await second.getByRole('button', { name: 'Close window' }).waitFor();
        const address = second.url();
        await second.locator('summary').click();
        const text = await second.locator('main').innerText();
        const faults = await axe(second.mainFrame());
        await shot(second, 'popup-failed');
        const heard = await page.evaluate(() => window.heard);
        await Promise.all([second.waitForEvent('close'), last(press(second, 'Close window'))]);
        app.close();
        return { refusal, events: said, heard, text, address, faults };
    },

    // The window is closed, first where that may be for other reasons, then where the application wants it to count.
    async oauth_closed(browser) {
        const { token } = await session('oidc');
        const first = await framed(browser, token);
        let [popup] = await Promise.all([first.page.waitForEvent('popup'), press(first.frame, 'Continue to OIDC')]);
        await popup.locator('[name=login]').waitFor();
        await popup.close();
        await first.frame.getByText('Is the window closed?').waitFor();
        await shot(first.page, 'oauth-closed');
        [popup] = await Promise.all([first.page.waitForEvent('popup'), press(first.frame, 'Open it again')]);
        await popup.locator('[name=login]').waitFor();
        await press(first.frame, 'Cancel');
        await arrived(first.frame, 'Connect OIDC');
        first.app.close();

        const second = await framed(browser, token, { detectClosedAuthWindow: true });
        [popup] = await Promise.all([second.page.waitForEvent('popup'), press(second.frame, 'Continue to OIDC')]);
        await popup.locator('[name=login]').waitFor();
        await popup.close();
        await second.frame.getByRole('alert').waitFor();
        const said = await second.events();
        second.app.close();

        const third = await framed(browser, token);
        await third.page.frames()[1].evaluate(() => { window.open = () => null; });
        await press(third.frame, 'Continue to OIDC');
        await third.frame.getByRole('alert').waitFor();
        const blocked = await third.events();
        third.app.close();
        return { events: said, blocked, open: browser.context.pages().filter((page) => page.url().includes('/interaction/')).length };
    },

    // A session that is over, from the start and while the form is open; and a page without any.
    async expired(browser) {
        const { token, connect_link } = await session('keyed');
        const { page, frame, events, app } = await framed(browser, token);
        await arrived(frame, 'Connect Keyed');
        await fetch(`${host}/connect/session`, { method: 'DELETE', headers: { authorization: `Bearer ${token}` } });
        await fill(frame, 'API key', 'right-key');
        await press(frame, 'Connect');
        await arrived(frame, 'This link has expired');
        const said = await events();
        // The application opens another session.
        const { token: fresh } = await session('keyed');
        await page.evaluate((token) => window.ui.setSessionToken(token), fresh);
        await arrived(frame, 'Connect Keyed');
        app.close();
        const alone = await browser.context.newPage();
        await alone.goto(connect_link);
        await arrived(alone, 'This link has expired');
        await shot(alone, 'expired');
        await alone.goto(`${host}/connect`);
        await alone.evaluate(() => history.replaceState(null, ''));
        await alone.goto(`${host}/connect?lang=xx`);
        return { events: said, without: await heading(alone) };
    },

    // Everything by keyboard.
    async keyboard(browser) {
        const { token } = await session('keyed', 'open');
        const { page, frame, events, app } = await framed(browser, token);
        await arrived(frame, 'Connect an account');
        const focus = () => page.frames()[1].evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent ?? '');
        const stops = [await focus()];
        for (let count = 0; count < 4; count += 1) {
            await page.keyboard.press('Tab');
            stops.push(await focus());
        }
        // Past the last comes the first again, which is the button that closes; one further is the first choice.
        await page.keyboard.press('Tab');
        await page.keyboard.press('Enter');
        await arrived(frame, 'Connect');
        const headings = [await heading(frame)];
        await page.keyboard.press('Tab');
        await page.keyboard.type('right-key');
        await page.keyboard.press('Enter');
        await arrived(frame, 'is connected');
        headings.push(await heading(frame), await focus());
        void last(page.keyboard.press('Escape'));
        await page.locator('#connect-ui').waitFor({ state: 'detached' });
        const said = await events();
        app.close();
        return { stops, headings, events: said };
    },

    // Every kind of field: what is shown when, what is said of a value, what is sent.
    async fields(browser) {
        const { connect_link } = await session('every-field');
        const page = await browser.context.newPage();
        await page.goto(connect_link);
        await arrived(page, 'Connect Every field');
        const labels = await page.locator('label').allTextContents();
        await press(page, 'Connect');
        const missing = await page.locator('.error:visible').allTextContents();
        await page.getByLabel('Region').selectOption('eu');
        const warning = await page.locator('.warning:visible').textContent();
        await fill(page, 'EU tenant', 'not a tenant');
        await fill(page, 'Host', 'https://files.example.com/');
        await page.getByLabel('Host', { exact: true }).blur();
        const tidied = await page.getByLabel('Host', { exact: true }).inputValue();
        await fill(page, 'Secret', 'right-key');
        const hidden = await page.getByLabel('Secret', { exact: true }).getAttribute('type');
        await press(page, 'Show Secret');
        const shown = await page.getByLabel('Secret', { exact: true }).getAttribute('type');
        await fill(page, 'Private key optional', '-----BEGIN KEY-----\nabc\n-----END KEY-----');
        await press(page, 'Connect');
        const wrong = await page.locator('.error:visible').allTextContents();
        await shot(page, 'fields');
        await fill(page, 'EU tenant', 'eu-12');
        const [request] = await Promise.all([page.waitForRequest((request) => request.method() === 'POST'), press(page, 'Connect')]);
        await arrived(page, 'Every field is connected');
        const { searchParams } = new URL(request.url());
        searchParams.delete('connect_session_token');
        const links = await page.evaluate(() => [...document.querySelectorAll('a')].map((a) => a.href));
        return { labels, missing, warning, tidied, hidden, shown, wrong, links, sent: { params: Object.fromEntries(searchParams), body: request.postDataJSON() } };
    },

    // What axe-core finds in each view, in light and dark, at the width of a small phone; and whether anything is cut off.
    async accessibility(browser) {
        const found = {};
        const page = await browser.context.newPage();
        for (const colorScheme of ['light', 'dark']) {
            await page.emulateMedia({ colorScheme });
            for (const [width, size] of [[1000, 'wide'], [320, 'narrow']]) {
                await page.setViewportSize({ width, height: 700 });
                const look = async (view) => {
                    const name = `${view}-${colorScheme}-${size}`;
                    await shot(page, name);
                    const faults = await axe(page.mainFrame());
                    const overflow = await page.evaluate(() => {
                        const card = document.getElementById('card');
                        return Math.max(card.scrollWidth - card.clientWidth, document.documentElement.scrollWidth - innerWidth);
                    });
                    if (overflow > 0) faults.push(`${overflow} pixels wider than the window`);
                    found[name] = faults;
                };
                await page.goto((await nango.createConnectSession({ tags: { a: 'b' } })).data.connect_link);
                await arrived(page, 'Connect an account');
                await look('list');
                await page.goto((await session('every-field')).connect_link);
                await arrived(page, 'Connect Every field');
                await look('form');
                await press(page, 'Connect');
                await look('form-errors');
                await page.goto((await session('oidc')).connect_link);
                await arrived(page, 'Connect OIDC');
                await look('oauth');
                await page.goto((await session('keyed')).connect_link);
                await fill(page, 'API key', 'wrong-key');
                await press(page, 'Connect');
                await page.getByRole('alert').waitFor();
                await look('refused');
                await fill(page, 'API key', 'right-key');
                await press(page, 'Connect');
                await arrived(page, 'Keyed is connected');
                await look('connected');
                await page.goto(`${host}/connect?session_token=nango_connect_session_${'0'.repeat(64)}`);
                await arrived(page, 'This link has expired');
                await look('expired');
            }
        }
        return { found };
    },
};

const browser = await open();
let failure = null;
try {
    const seen = await scenarios[process.env.SCENARIO](browser);
    const origins = [...new Set(browser.requested.map((url) => new URL(url).origin))];
    console.log(JSON.stringify({ ...seen, browserFaults: browser.faults, origins }));
} catch (error) {
    for (const [index, page] of browser.context.pages().entries()) await shot(page, `failed-${process.env.SCENARIO}-${index}`).catch(() => {});
    const frames = await Promise.all(browser.context.pages().flatMap((page) => page.frames()).map((frame) => frame.evaluate(() => document.body.innerText).catch(() => '')));
    failure = `${error.stack}\n${frames.join('\n---\n')}\nthe browser said: ${browser.faults.join('\n')}`;
}
await browser.close();
if (failure) console.error(failure);
// Servers of a scenario that failed would keep the process.
process.exit(failure ? 1 : 0);
