// Debian's Chromium, driven by playwright-core; accessibility checks by axe-core; screenshots for people to look at.
import { mkdtemp, mkdir, rm, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);
const AXE = require.resolve('axe-core/axe.min.js');
const SDK = dirname(require.resolve('@nangohq/frontend'));

// A browser of its own. `settings` are playwright's for a context, such as colorScheme and viewport.
export async function open(settings = {}) {
    const profile = await mkdtemp(join(tmpdir(), 'nango-runtime-browser-'));
    const context = await chromium.launchPersistentContext(profile, {
        executablePath: process.env.CHROMIUM,
        // The sandbox needs rights that not every machine gives to root; what is shown is our own.
        args: [
            '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
            '--disable-component-update', '--disable-sync',
        ],
        viewport: { width: 1000, height: 760 },
        ...settings,
    });
    context.setDefaultTimeout(20_000);
    const faults = [];
    context.on('weberror', (error) => faults.push(String(error.error())));
    context.on('console', (message) => {
        // What an API refuses is logged by the browser itself.
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) faults.push(message.text());
    });
    const requested = [];
    context.on('request', (request) => requested.push(request.url()));
    return {
        context,
        // Uncaught errors and refused scripts, styles and requests.
        faults,
        requested,
        close: async () => {
            await context.close();
            await rm(profile, { recursive: true, force: true });
        },
    };
}

// What axe-core finds wrong in the page or frame as it is now: `rule: elements`.
export async function axe(frame) {
    await frame.evaluate(await readFile(AXE, 'utf8'));
    const { violations } = await frame.evaluate(() =>
        globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }),
    );
    return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
}

export async function shot(page, name) {
    const folder = process.env.SCREENSHOTS;
    await mkdir(folder, { recursive: true });
    await page.screenshot({ path: join(folder, `${name}.png`) });
}

// An application of another site than the runtime's (localhost, not 127.0.0.1), with the published SDK in its page.
export async function application() {
    const page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Application</title>
<body><h1>An application</h1><p>Text of the application behind the connect page.</p><button id="connect">Connect</button>
<script type="module">import Nango from '/sdk/index.js'; window.Nango = Nango; window.events = [];</script></body></html>`;
    const server = createServer(async (request, response) => {
        const file = /^\/sdk\/([a-zA-Z]+\.js)$/.exec(request.url)?.[1];
        response.setHeader('content-type', file ? 'text/javascript' : 'text/html');
        response.end(file ? await readFile(join(SDK, file)) : page);
    });
    await new Promise((resolve) => server.listen(0, 'localhost', resolve));
    return { url: `http://localhost:${server.address().port}/`, close: () => server.close() };
}
