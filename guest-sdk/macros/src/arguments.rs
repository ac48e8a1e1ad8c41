//! What stands in the parentheses of an attribute.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Ident, LitBool, LitStr, Path, Result, Token, Type, parenthesized};

/// `#[action(name = "…", fetch("…"))]`
#[derive(Default)]
pub(crate) struct ActionArguments {
    pub(crate) name: Option<LitStr>,
    pub(crate) fetch: Option<Vec<LitStr>>,
}

/// `#[on_event(post_connection_creation, checkpoint = …, metadata = …, fetch("…"), name = "…")]`
pub(crate) struct OnEventArguments {
    pub(crate) name: Option<LitStr>,
    /// As the contract has it, for example `post-connection-creation`.
    pub(crate) event: &'static str,
    pub(crate) checkpoint: Option<Type>,
    pub(crate) metadata: Option<Type>,
    pub(crate) fetch: Option<Vec<LitStr>>,
}

const EVENTS: [(&str, &str); 3] = [
    ("validate_connection", "validate-connection"),
    ("post_connection_creation", "post-connection-creation"),
    ("pre_connection_deletion", "pre-connection-deletion"),
];

/// `#[sync(frequency = "…", models(…), checkpoint = …, metadata = …, webhooks("…"), on_webhook = …, fetch("…"),
/// auto_start = …, name = "…")]`
pub(crate) struct SyncArguments {
    pub(crate) name: Option<LitStr>,
    pub(crate) frequency: LitStr,
    pub(crate) models: Vec<Type>,
    pub(crate) checkpoint: Option<Type>,
    pub(crate) metadata: Option<Type>,
    pub(crate) webhooks: Vec<LitStr>,
    pub(crate) on_webhook: Option<Path>,
    pub(crate) fetch: Option<Vec<LitStr>>,
    pub(crate) auto_start: bool,
}

impl Parse for ActionArguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut arguments = Self::default();
        each(input, |key, input| {
            if key == "name" {
                return set(&mut arguments.name, key, name(input)?);
            }
            if key == "fetch" {
                return set(&mut arguments.fetch, key, texts(input)?);
            }
            Err(syn::Error::new(
                key.span(),
                format!("an action has no argument `{key}`; it knows `name` and `fetch`"),
            ))
        })?;
        Ok(arguments)
    }
}

impl Parse for OnEventArguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (mut called, mut event, mut checkpoint, mut metadata, mut fetch) = (None, None, None, None, None);
        each(input, |key, input| {
            if let Some((_, named)) = EVENTS.iter().find(|(word, _)| key == word) {
                if event.replace(*named).is_some() {
                    return Err(syn::Error::new(key.span(), "a function runs for one event"));
                }
                return Ok(());
            }
            if key == "name" {
                return set(&mut called, key, name(input)?);
            }
            if key == "checkpoint" {
                return set(&mut checkpoint, key, value(input)?);
            }
            if key == "metadata" {
                return set(&mut metadata, key, value(input)?);
            }
            if key == "fetch" {
                return set(&mut fetch, key, texts(input)?);
            }
            let known = "an event (`validate_connection`, `post_connection_creation` or `pre_connection_deletion`), `checkpoint`, \
                         `metadata`, `fetch` and `name`";
            Err(syn::Error::new(
                key.span(),
                format!("an on-event function has no argument `{key}`; it knows {known}"),
            ))
        })?;
        let event = event.ok_or_else(|| {
            input.error(
                "an on-event function needs its event: `validate_connection`, `post_connection_creation` or \
                 `pre_connection_deletion`",
            )
        })?;
        Ok(Self {
            name: called,
            event,
            checkpoint,
            metadata,
            fetch,
        })
    }
}

impl Parse for SyncArguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (mut called, mut frequency, mut models) = (None, None, None);
        let (mut checkpoint, mut metadata, mut auto_start) = (None, None, None);
        let (mut webhooks, mut on_webhook, mut fetch) = (None, None, None);
        each(input, |key, input| {
            if key == "models" {
                let content;
                parenthesized!(content in input);
                let types = Punctuated::<Type, Token![,]>::parse_terminated(&content)?;
                return set(&mut models, key, types.into_iter().collect());
            }
            if key == "webhooks" {
                return set(&mut webhooks, key, texts(input)?);
            }
            if key == "fetch" {
                return set(&mut fetch, key, texts(input)?);
            }
            if key == "on_webhook" {
                return set(&mut on_webhook, key, value(input)?);
            }
            if key == "name" {
                return set(&mut called, key, name(input)?);
            }
            if key == "frequency" {
                return set(&mut frequency, key, every(value(input)?)?);
            }
            if key == "checkpoint" {
                return set(&mut checkpoint, key, value(input)?);
            }
            if key == "metadata" {
                return set(&mut metadata, key, value(input)?);
            }
            if key == "auto_start" {
                return set(&mut auto_start, key, value::<LitBool>(input)?.value);
            }
            let known = "`frequency`, `models`, `checkpoint`, `metadata`, `webhooks`, `on_webhook`, `fetch`, `auto_start` and `name`";
            Err(syn::Error::new(
                key.span(),
                format!("a sync has no argument `{key}`; it knows {known}"),
            ))
        })?;
        let frequency =
            frequency.ok_or_else(|| input.error("a sync needs a frequency, as in `frequency = \"every hour\"`"))?;
        let webhooks = webhooks.unwrap_or_default();
        if webhooks.is_empty() != on_webhook.is_none() {
            return Err(input.error("`webhooks(\"event\")` and `on_webhook = handler` need each other"));
        }
        Ok(Self {
            name: called,
            frequency,
            webhooks,
            on_webhook,
            fetch,
            models: models.unwrap_or_default(),
            checkpoint,
            metadata,
            auto_start: auto_start.unwrap_or(true),
        })
    }
}

fn each(input: ParseStream<'_>, mut take: impl FnMut(&Ident, ParseStream<'_>) -> Result<()>) -> Result<()> {
    while !input.is_empty() {
        let key: Ident = input.parse()?;
        take(&key, input)?;
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(())
}

fn value<T: Parse>(input: ParseStream<'_>) -> Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

/// `("…", "…")`
fn texts(input: ParseStream<'_>) -> Result<Vec<LitStr>> {
    let content;
    parenthesized!(content in input);
    let texts = Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?;
    Ok(texts.into_iter().collect())
}

fn set<T>(slot: &mut Option<T>, key: &Ident, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(syn::Error::new(key.span(), format!("`{key}` is given twice")));
    }
    Ok(())
}

fn name(input: ParseStream<'_>) -> Result<LitStr> {
    let name: LitStr = value(input)?;
    let text = name.value();
    if text.is_empty()
        || !text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    {
        return Err(syn::Error::new(
            name.span(),
            "a function's name consists of letters, digits, `-` and `_`",
        ));
    }
    Ok(name)
}

fn every(frequency: LitStr) -> Result<LitStr> {
    let text = frequency.value();
    // A crontab has five fields, and a time zone or not; a deploy says whether it is right.
    let is_crontab = (5..=6).contains(&text.split_whitespace().count());
    if text.starts_with("every ") || is_crontab {
        return Ok(frequency);
    }
    Err(syn::Error::new(
        frequency.span(),
        "a frequency reads like \"every hour\", \"every 30 minutes\" or \"0 9 * * MON-FRI Europe/Berlin\"",
    ))
}
