//! What every entry has, and why some have not.

use super::*;
use crate::provider::AuthMode;

/// Entries that have all of it, at least.
const COMPLETE_MIN: usize = 60;

/// Entries without `paginate`, by the reason.
const NOT_PAGINATED: &[(&str, &[&str])] = &[
    (
        "lists of one API go on in more than one way, so each request says how its own does",
        &[
            "algolia",
            "amplitude",
            "bamboohr-basic",
            "bill",
            "bill-sandbox",
            "braze",
            "brevo-api-key",
            "clickup",
            "clover",
            "confluence",
            "datadog",
            "docusign",
            "docusign-sandbox",
            "emarsys",
            "figma",
            "help-scout",
            "hibob-service-user",
            "iterable",
            "jira",
            "jira-basic",
            "mixpanel",
            "paypal",
            "paypal-sandbox",
            "pinecone",
            "postmark",
            "quickbooks",
            "quickbooks-sandbox",
            "resend",
            "segment",
            "sendgrid",
            "sentry",
            "sentry-oauth",
            "tiktok-personal",
            "xero",
            "zoho-crm",
        ],
    ),
    (
        "a list goes on after an element of the page before, and not where its answer says",
        &["discord", "stripe", "stripe-api-key", "stripe-app", "trello"],
    ),
    (
        "a list goes on at another path, or in the body of a POST",
        &["apollo", "dropbox", "snowflake", "snowflake-jwt"],
    ),
    ("GraphQL: where a list goes on is in the query", &["linear", "monday"]),
    (
        "MCP: it is its clients that turn pages",
        &["linear-mcp", "mcp-generic", "notion-mcp"],
    ),
    (
        "there are no lists worth the name",
        &[
            "google-analytics",
            "google-docs",
            "google-sheet",
            "elevenlabs",
            "mistral",
            "perplexity",
        ],
    ),
    (
        "it stands for many APIs",
        &[
            "aws-sigv4",
            "crisp-plugin-install",
            "private-api-basic",
            "private-api-bearer",
            "private-api-generic",
            "unauthenticated",
        ],
    ),
];

/// Entries whose credentials nothing proves when they are given, by the reason.
const NOT_VERIFIED: &[(&str, &[&str])] = &[
    (
        "a key may be limited to some endpoints, and none works with every key",
        &[
            "algolia",
            "amplitude",
            "braze",
            "hibob-service-user",
            "resend",
            "stripe-api-key",
        ],
    ),
    (
        "every request with a key is charged for, or does something",
        &["apollo", "perplexity"],
    ),
    (
        "only the customer knows a request",
        &["private-api-basic", "private-api-bearer", "private-api-generic"],
    ),
];

/// Modes in which nothing is obtained from the provider when a connection is made, which would be a proof.
fn needs_proof(provider: &Provider) -> bool {
    matches!(provider.auth_mode, AuthMode::ApiKey | AuthMode::Basic | AuthMode::Tba)
}

fn reason<'a>(table: &[(&'a str, &[&str])], name: &str) -> Option<&'a str> {
    let mut found = table.iter().filter(|(_, names)| names.contains(&name));
    let first = found.next().map(|(reason, _)| *reason);
    assert!(found.next().is_none(), "{name} has two reasons");
    first
}

#[test]
fn every_entry_is_complete_or_says_why_not() {
    let catalogue = Catalogue::shipped().unwrap();
    let mut complete = 0;
    for (name, provider) in &catalogue.providers {
        let entry = &provider.json;
        let proxy = &entry["proxy"];
        assert!(entry["docs"].is_string() && entry["auth_mode"].is_string(), "{name}");
        let is_addressed = proxy["base_url"].is_string();
        assert!(is_addressed || name == "unauthenticated", "{name} has no base URL");
        // Where `retry` does not say otherwise, an answer's `Retry-After` says when to try again.
        assert!(proxy.get("retry").is_none_or(Value::is_object), "{name}");
        let (is_paginated, is_verified) = (proxy["paginate"].is_object(), proxy["verification"].is_object());
        assert_eq!(
            reason(NOT_PAGINATED, name).is_none(),
            is_paginated,
            "{name}: `paginate`, or a reason why not"
        );
        let may_be_unproven = !needs_proof(provider) || is_verified;
        assert_eq!(
            reason(NOT_VERIFIED, name).is_none(),
            may_be_unproven,
            "{name}: `verification`, or a reason why not"
        );
        complete += usize::from(is_addressed && is_paginated && may_be_unproven);
    }
    assert!(complete >= COMPLETE_MIN, "{complete}");
    for (_, names) in NOT_PAGINATED.iter().chain(NOT_VERIFIED) {
        for name in *names {
            assert!(catalogue.get(name).is_some(), "{name} is not shipped");
        }
    }
}
