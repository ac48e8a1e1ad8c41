// `nango.auth()` of the published @nangohq/frontend in a real browser, in a page of another site: it opens the popup itself and waits at
// the server's WebSocket. Runs the scenario $SCENARIO and prints what was seen as JSON.
import { Nango } from '@nangohq/node';
import { application, open } from './browser.mjs';

const host = process.env.NANGO_HOSTPORT;
const nango = new Nango({ host, secretKey: process.env.NANGO_SECRET_KEY });

async function page(browser) {
    const { token } = (await nango.createConnectSession({ tags: { plan: 'pro' } })).data;
    const app = await application();
    const page = await browser.context.newPage();
    const sockets = [];
    page.on('websocket', (socket) => {
        const seen = { url: socket.url(), messages: [], isClosed: false };
        sockets.push(seen);
        socket.on('framereceived', ({ payload }) => seen.messages.push(JSON.parse(payload)));
        socket.on('close', () => (seen.isClosed = true));
    });
    await page.goto(app.url);
    await page.waitForFunction(() => window.Nango);
    return { page, app, token, sockets };
}

// Begins, and gives the popup and the end of it: what the SDK's promise comes to.
async function begin({ page, token }, key, options = {}) {
    const opened = page.waitForEvent('popup');
    const ended = page.evaluate(
        ([connectSessionToken, host, key, options]) => {
            window.heard ??= [];
            addEventListener('message', ({ data }) => data?.type?.startsWith('nango_oauth') && window.heard.push(data.type));
            const asked = new window.Nango({ connectSessionToken, host }).auth(key, options);
            return asked.then(
                (connected) => ({ connected }),
                (error) => ({ type: error.type, message: error.message }),
            );
        },
        [token, host, key, options],
    );
    // Whoever awaits it sees why; a page that is closed because something else failed is no news.
    ended.catch(() => {});
    return { popup: await opened, ended };
}

async function consent(popup) {
    await popup.locator('[name=login]').fill('user-1');
    await popup.locator('[name=password]').fill('any');
    await popup.locator('[type=submit]').click();
    await popup.getByRole('button', { name: 'Continue' }).click();
}

const scenarios = {
    async connects(browser) {
        const seen = await page(browser);
        const { popup, ended } = await begin(seen, 'oidc', { params: { own: 'yes' } });
        await consent(popup);
        const outcome = await ended;
        if (!popup.isClosed()) await popup.waitForEvent('close');
        // The page's own socket is told, and let go.
        await seen.page.waitForFunction(() => window.heard.length > 0);
        const heard = await seen.page.evaluate(() => window.heard);
        const types = seen.sockets.map(({ messages }) => messages.map(({ message_type }) => message_type));
        seen.app.close();
        return { outcome, heard, types, address: seen.sockets[0].url };
    },

    async is_refused(browser) {
        const seen = await page(browser);
        const { popup, ended } = await begin(seen, 'oidc');
        await popup.getByText('Cancel').click();
        const refused = await ended;
        seen.app.close();
        // Before anybody is asked: the popup shows why, and the page is told.
        const other = await page(browser);
        const unknown = await (await begin(other, 'nothing')).ended;
        other.app.close();
        return { refused, unknown };
    },

    // Two at once, in two pages: each is told of its own.
    async two(browser) {
        const pages = [await page(browser), await page(browser)];
        const first = await begin(pages[0], 'oidc');
        const second = await begin(pages[1], 'older');
        await second.popup.locator('button[value=yes]').waitFor();
        await consent(first.popup);
        const one = await first.ended;
        const isSecondWaiting = pages[1].sockets[0].messages.length === 1;
        await second.popup.locator('button[value=yes]').click();
        const two = await second.ended;
        for (const { app } of pages) app.close();
        return { one, two, isSecondWaiting };
    },
};

const browser = await open();
let failure = null;
try {
    const seen = await scenarios[process.env.SCENARIO](browser);
    console.log(JSON.stringify({ ...seen, browserFaults: browser.faults }));
} catch (error) {
    const texts = browser.context.pages().map((page) => page.evaluate(() => document.body.innerText).catch(() => ''));
    failure = `${error.stack}\n${(await Promise.all(texts)).join('\n---\n')}\nthe browser said: ${browser.faults.join('\n')}`;
}
await browser.close();
if (failure) console.error(failure);
// Servers of a scenario that failed would keep the process.
process.exit(failure ? 1 : 0);
