// The fields that a provider's data asks for: their schema (docs/providers.md, "Fields") as inputs, and what is wrong with a value.

// Secrets by their nature, whether the data says so or not.
const SECRETS = ['apiKey', 'password', 'client_secret', 'client_private_key', 'token_secret', 'dev_key', 'privateKey', 'private_key'];
// Keys and certificates have several lines, which an input would join.
const IS_LONG = /private_?key|certificate/i;

const FORMATS = {
    hostname: /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i,
    uri: /^[a-z][a-z0-9+.-]*:\/\/[^\s/]+\S*$/i,
    email: /^[^\s@]+@[^\s@]+$/,
    uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i,
};
const KEYBOARDS = { uri: 'url', hostname: 'url', email: 'email' };

// A list of `{part, name, schema}` in the order in which they are asked for, hidden ones included. `preset` are names of
// connection_config that the session has values for.
function fieldsOf(provider, preset) {
    const declared = Object.entries(provider.credentials ?? {});
    const usual = FORMS[provider.auth_mode]?.fields ?? [];
    const isComplete = declared.some(([name]) => usual.includes(name)) || usual.length === 0;
    const implied = isComplete ? [] : usual.map((name) => [name, { optional: name === 'region' }]);
    const config = Object.entries(provider.connection_config ?? {}).filter(([name]) => !preset.includes(name));
    const signers = Object.entries(provider.assertion_option ?? {});
    const all = [
        ...config.map(([name, schema]) => ({ part: 'connection_config', name, schema })),
        ...[...implied, ...declared].map(([name, schema]) => ({ part: 'credentials', name, schema })),
        ...signers.map(([name, schema]) => ({ part: 'assertion_option', name, schema: { secret: /key/i.test(name), ...schema } })),
    ];
    // As the data says; where it does not, what may be left out comes last.
    const order = ({ schema }) => schema.order ?? (schema.optional ? Number.MAX_SAFE_INTEGER : Number.MAX_SAFE_INTEGER - 1);
    return all.filter(({ schema }) => !schema.automated).sort((a, b) => order(a) - order(b));
}

// One field with its element, or without one when it is not asked for.
class Field {
    constructor({ part, name, schema }, docs) {
        Object.assign(this, { part, name, schema });
        this.label = schema.title ?? texts.fields[name] ?? name;
        if (schema.hidden) return;
        const id = `field-${part}-${name}`;
        this.error = h('p', { id: `${id}-error`, class: 'error', hidden: true });
        this.input = this.#input(id);
        const help = schema.description && h('p', { id: `${id}-help`, class: 'help' }, schema.description);
        const section = schema.doc_section && docs && link(docs + schema.doc_section, texts.whereToFind);
        this.warning = schema.warnings && h('p', { id: `${id}-warning`, class: 'warning', role: 'status' });
        this.input.setAttribute('aria-describedby', `${help ? `${id}-help ` : ''}${id}-affixes ${id}-error`);
        const affixes = h('span', { id: `${id}-affixes`, class: 'only-read' }, [schema.prefix, '…', schema.suffix].filter(Boolean).join(''));
        this.element = h(
            'div',
            { class: 'field' },
            h('label', { for: id }, this.label, schema.optional && h('span', { class: 'optional' }, ` ${texts.optional}`)),
            help,
            this.#row(),
            schema.prefix || schema.suffix ? affixes : null,
            this.warning,
            this.error,
            section && h('p', { class: 'help' }, section),
        );
        this.input.addEventListener('input', () => {
            if (!this.error.hidden) this.complain(this.fault());
            this.#warn();
        });
        this.input.addEventListener('change', () => {
            this.#tidy();
            if (!this.error.hidden) this.complain(this.fault());
        });
        this.#warn();
    }

    #input(id) {
        const { schema, name } = this;
        const common = { id, name: `${this.part}.${name}`, required: !schema.optional, autocomplete: 'off' };
        if (schema.enum) {
            const choices = schema.enum.map((value) => h('option', { value }, value));
            const first = schema.optional ? texts.noChoice : texts.choosePrompt;
            const select = h('select', common, h('option', { value: '' }, first), ...choices);
            select.value = schema.default_value ?? '';
            return select;
        }
        const isSecret = schema.secret || SECRETS.includes(name);
        const isLong = IS_LONG.test(name);
        const plain = {
            ...common, spellcheck: 'false', autocapitalize: 'none', autocorrect: 'off',
            // Password managers would offer what belongs to this address, which is not what is asked for.
            'data-1p-ignore': '', 'data-lpignore': 'true', 'data-bwignore': '',
            class: isSecret && isLong ? 'masked' : null,
        };
        if (!isSecret && schema.example) plain.placeholder = texts.example(schema.example);
        const input = isLong
            ? h('textarea', { ...plain, rows: 4 })
            : h('input', { ...plain, type: isSecret ? 'password' : 'text', inputmode: KEYBOARDS[schema.format] });
        input.value = schema.default_value ?? '';
        if (isSecret) this.reveal = this.#reveal(input);
        return input;
    }

    #reveal(input) {
        const button = h('button', { type: 'button', class: 'reveal', 'aria-pressed': 'false', 'aria-label': texts.showField(this.label) }, texts.show);
        button.addEventListener('click', () => {
            const shows = button.getAttribute('aria-pressed') === 'false';
            if (input.type !== 'textarea') input.type = shows ? 'text' : 'password';
            input.classList.toggle('masked', input.type === 'textarea' && !shows);
            button.setAttribute('aria-pressed', String(shows));
            button.textContent = shows ? texts.hide : texts.show;
        });
        return button;
    }

    #row() {
        const affix = (text) => text && h('span', { class: 'affix', 'aria-hidden': 'true' }, text);
        return h('div', { class: 'input' }, affix(this.schema.prefix), this.input, affix(this.schema.suffix), this.reveal);
    }

    #warn() {
        if (this.warning) this.warning.textContent = this.schema.warnings[this.input.value] ?? '';
    }

    // Who pastes the whole address means the part that is asked for.
    #tidy() {
        const { prefix, suffix, format } = this.schema;
        let value = this.input.value.trim();
        const shared = prefix ?? (format === 'hostname' ? 'https://' : null);
        if (shared && value.startsWith(shared)) value = value.slice(shared.length);
        if (prefix || suffix || format === 'hostname') value = value.replace(/\/+$/, '');
        if (suffix && value.endsWith(suffix)) value = value.slice(0, -suffix.length);
        if (this.name !== 'password') this.input.value = value;
    }

    // What is sent: text, or undefined when there is nothing to send.
    get value() {
        if (!this.input) return this.schema.default_value;
        if (this.element.hidden) return undefined;
        const value = this.name === 'password' ? this.input.value : this.input.value.trim();
        return value === '' && this.schema.optional ? undefined : value;
    }

    // Whether it is asked for depends on the value of another.
    follow(others) {
        const condition = this.schema.visible_when;
        if (!condition || !this.element) return;
        const value = others.find(({ part, name }) => part === this.part && name === condition.field)?.value;
        this.element.hidden = ![condition.equals].flat().includes(value);
    }

    // What is wrong with its value, as a sentence, or null.
    fault() {
        const { schema, value } = this;
        if (!this.input || this.element.hidden || value === undefined) return null;
        if (value === '') {
            return schema.enum ? texts.mustChoose(this.label) : texts.required(this.label);
        }
        if (schema.format && FORMATS[schema.format] && !FORMATS[schema.format].test(value)) return texts.formats[schema.format];
        if (schema.pattern && !matches(schema.pattern, value)) return texts.mismatch(schema.example);
        return null;
    }

    complain(message) {
        this.error.textContent = message ?? '';
        this.error.hidden = !message;
        if (message) this.input.setAttribute('aria-invalid', 'true');
        else this.input.removeAttribute('aria-invalid');
    }
}

// A pattern that this browser does not understand is left to the server.
function matches(pattern, value) {
    try {
        return new RegExp(pattern, 'u').test(value);
    } catch {
        return true;
    }
}
