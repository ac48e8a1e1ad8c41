//! The code an attribute adds to a function.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprLit, FnArg, Ident, ItemFn, Lit, LitStr, Meta, Result, ReturnType, Type};

use crate::arguments::{ActionArguments, OnEventArguments, SyncArguments};

pub(crate) fn action(arguments: &ActionArguments, item: &ItemFn) -> Result<TokenStream> {
    let signature = Signature::of(item)?;
    let output = &signature.output;
    let ident = &item.sig.ident;
    let (describe_input, call) = match &signature.input {
        Some(input) => (
            quote!(.with_read::<#input>("input")),
            quote!(#ident(nango, ::nango_guest_sdk::__private::read_input::<#input>(input)?)),
        ),
        None => (quote!(), quote!({ let _ = input; #ident(nango) })),
    };
    let fetch = fetch(arguments.fetch.as_deref());
    let describe = quote! {
        #fetch
        #describe_input
        .with_written::<<#output as ::nango_guest_sdk::__private::Outcome>::Output>("output")
    };
    let run = quote! {
        let output = ::nango_guest_sdk::__private::Outcome::outcome(#call)?;
        ::nango_guest_sdk::__private::write_output(&output)
    };
    let methods = Methods {
        run,
        on_webhook: TokenStream::new(),
    };
    Ok(expand(item, arguments.name.as_ref(), "action", &describe, &methods))
}

pub(crate) fn sync(arguments: &SyncArguments, item: &ItemFn) -> Result<TokenStream> {
    let signature = Signature::of(item)?;
    if let Some(input) = &signature.input {
        return Err(Error::new(
            input.span(),
            "a sync has no input; what it needs to know is in the connection's metadata",
        ));
    }
    let SyncArguments {
        frequency,
        models,
        auto_start,
        ..
    } = arguments;
    let schemas = schemas(arguments.checkpoint.as_ref(), arguments.metadata.as_ref());
    let fetch = fetch(arguments.fetch.as_deref());
    let webhooks = &arguments.webhooks;
    let subscriptions =
        (!webhooks.is_empty()).then(|| quote!(.with("webhook_subscriptions", ::std::vec::Vec::from([#(#webhooks),*]))));
    let on_webhook = arguments.on_webhook.as_ref().map(|handler| {
        quote! {
            fn on_webhook(
                nango: &::nango_guest_sdk::Nango,
                webhook: &::nango_guest_sdk::Webhook,
            ) -> ::std::option::Option<::std::result::Result<(), ::nango_guest_sdk::ActionError>> {
                ::std::option::Option::Some(::nango_guest_sdk::__private::Outcome::outcome(#handler(nango, webhook)))
            }
        }
    });
    let describe = quote! {
        .with("frequency", #frequency)
        .with("auto_start", #auto_start)
        #(.with_model::<#models>())*
        #schemas
        #subscriptions
        #fetch
    };
    let methods = Methods {
        run: without_output(&item.sig.ident),
        on_webhook: on_webhook.unwrap_or_default(),
    };
    Ok(expand(item, arguments.name.as_ref(), "sync", &describe, &methods))
}

pub(crate) fn on_event(arguments: &OnEventArguments, item: &ItemFn) -> Result<TokenStream> {
    let signature = Signature::of(item)?;
    if let Some(input) = &signature.input {
        return Err(Error::new(
            input.span(),
            "an on-event function has no input; whom it runs for is in `nango.connection()`",
        ));
    }
    let event = arguments.event;
    let schemas = schemas(arguments.checkpoint.as_ref(), arguments.metadata.as_ref());
    let fetch = fetch(arguments.fetch.as_deref());
    let describe = quote!(.with("event", #event) #schemas #fetch);
    let methods = Methods {
        run: without_output(&item.sig.ident),
        on_webhook: TokenStream::new(),
    };
    Ok(expand(item, arguments.name.as_ref(), "on-event", &describe, &methods))
}

/// Of what is kept for a function and of what it is told of its connection.
fn schemas(checkpoint: Option<&Type>, metadata: Option<&Type>) -> TokenStream {
    let checkpoint = checkpoint
        .into_iter()
        .map(|ty| quote!(.with_written::<#ty>("checkpoint")));
    let metadata = metadata.into_iter().map(|ty| quote!(.with_read::<#ty>("metadata")));
    quote!(#(#checkpoint)* #(#metadata)*)
}

/// The hosts that the function says it fetches from.
fn fetch(hosts: Option<&[LitStr]>) -> TokenStream {
    let hosts = hosts
        .into_iter()
        .map(|hosts| quote!(.with("fetch", ::std::vec::Vec::<&'static str>::from([#(#hosts),*]))));
    quote!(#(#hosts)*)
}

/// The body of `run` of a function that takes nothing and gives nothing.
fn without_output(ident: &Ident) -> TokenStream {
    quote! {
        let _ = input;
        ::nango_guest_sdk::__private::Outcome::outcome(#ident(nango))?;
        ::std::result::Result::Ok(::std::string::String::from("null"))
    }
}

/// The types of a function that can be run.
struct Signature {
    input: Option<Type>,
    output: Type,
}

impl Signature {
    fn of(item: &ItemFn) -> Result<Self> {
        let signature = &item.sig;
        if let Some(token) = &signature.asyncness {
            return Err(Error::new(
                token.span(),
                "a function is not async; `Nango::send_all` and `Nango::start` overlap requests",
            ));
        }
        if !signature.generics.params.is_empty() {
            return Err(Error::new(
                signature.generics.span(),
                "a function has no generic parameters",
            ));
        }
        let mut types = Vec::new();
        for argument in &signature.inputs {
            match argument {
                FnArg::Typed(argument) => types.push((*argument.ty).clone()),
                FnArg::Receiver(receiver) => return Err(Error::new(receiver.span(), "a function has no `self`")),
            }
        }
        let takes = "a function takes `&Nango` and, if it is an action, an input";
        let mut types = types.into_iter();
        match types.next() {
            Some(Type::Reference(_)) => {}
            Some(other) => return Err(Error::new(other.span(), takes)),
            None => return Err(Error::new(signature.ident.span(), takes)),
        }
        let input = types.next();
        if let Some(third) = types.next() {
            return Err(Error::new(third.span(), takes));
        }
        match &signature.output {
            ReturnType::Type(_, output) => Ok(Self {
                input,
                output: (**output).clone(),
            }),
            ReturnType::Default => Err(Error::new(
                signature.ident.span(),
                "a function returns a `Result` with an `ActionError` or `SyncError`",
            )),
        }
    }
}

/// What a function does when it is called.
struct Methods {
    /// The body of `run`.
    run: TokenStream,
    /// All of `on_webhook`, for those that have one.
    on_webhook: TokenStream,
}

fn expand(item: &ItemFn, name: Option<&LitStr>, kind: &str, describe: &TokenStream, methods: &Methods) -> TokenStream {
    let Methods { run, on_webhook } = methods;
    let ident = &item.sig.ident;
    let visibility = &item.vis;
    let name = name.map_or_else(
        || ident.to_string().trim_start_matches("r#").replace('_', "-"),
        LitStr::value,
    );
    let description = doc_comment(&item.attrs);
    let type_ident = format_ident!("{}", ident);
    quote! {
        #item

        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "the type has the name of its function")]
        #visibility struct #type_ident {}

        impl ::nango_guest_sdk::__private::Function for #type_ident {
            const NAME: &'static str = #name;

            fn describe() -> ::nango_guest_sdk::serde_json::Value {
                ::nango_guest_sdk::__private::Description::new(#name, #kind, #description)
                    #describe
                    .into_value()
            }

            fn run(
                nango: &::nango_guest_sdk::Nango,
                input: &str,
            ) -> ::std::result::Result<::std::string::String, ::nango_guest_sdk::ActionError> {
                #run
            }

            #on_webhook
        }
    }
}

/// The lines of the doc comment, without the space that follows the slashes.
fn doc_comment(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        let Meta::NameValue(meta) = &attribute.meta else {
            continue;
        };
        if !meta.path.is_ident("doc") {
            continue;
        }
        if let Expr::Lit(ExprLit {
            lit: Lit::Str(line), ..
        }) = &meta.value
        {
            let line = line.value();
            lines.push(line.strip_prefix(' ').unwrap_or(&line).to_owned());
        }
    }
    lines.join("\n").trim().to_owned()
}
