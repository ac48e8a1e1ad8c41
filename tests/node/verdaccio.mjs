// Runs verdaccio on a free port of loopback and prints its URL: `node verdaccio.mjs FOLDER`.
import { runServer } from 'verdaccio';

const folder = process.argv[2];
const registry = await runServer({
    self_path: folder,
    configPath: folder,
    storage: `${folder}/storage`,
    auth: { htpasswd: { file: `${folder}/htpasswd`, max_users: 10 } },
    uplinks: {},
    packages: { '**': { access: '$authenticated', publish: '$authenticated', unpublish: '$authenticated' } },
    log: { type: 'stdout', format: 'pretty', level: 'warn' },
    web: { enable: true },
});
registry.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${registry.address().port}`));
