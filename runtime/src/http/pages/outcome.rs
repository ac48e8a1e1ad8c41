//! What the popup of an authorisation ends with. The page tells whoever opened it, in the messages that Nango's pages send, and says
//! it in words to whom nobody closes the window for.
//!
//! Who may hear what:
//!
//! - Pages of this origin (the connect page) hear everything. The browser delivers these messages to no other origin: the target
//!   origin of `postMessage` is our own, and a `BroadcastChannel` never leaves its origin. The channel is needed when the provider's
//!   pages cut the tie to the opener (`Cross-Origin-Opener-Policy`).
//! - The opener, when it is of any other origin, hears that it is over and the error's type: a word of a fixed list. Applications that
//!   open the popup themselves wait for that, and which origins they have nobody has told us; so nothing is in it that an origin
//!   which we do not know may not have: no connection-id, no word that came from the provider. Those who made the connect session
//!   learn them from the auth webhook, or from the API.

use std::sync::LazyLock;

use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::document::{Document, escaped};
use super::explanation::explanation;

static DOCUMENT: LazyLock<Document> =
    LazyLock::new(|| Document::new(include_str!("outcome.css"), include_str!("outcome.js"), "'none'"));

/// Nobody may show it in a frame.
const NO_FRAME: &str = "'none'";

/// Longer messages of a provider are cut for the page.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// A connection that was made.
#[derive(Clone, Copy, Debug)]
pub struct Connected<'a> {
    pub provider_config_key: &'a str,
    pub connection_id: &'a str,
    /// The integration's name as people know it.
    pub display_name: &'a str,
    /// Somebody else must approve before it works.
    pub is_pending: bool,
    /// What the one who opened the popup called itself (`ws_client_id` at the start of the flow), given back so that it
    /// tells this outcome from that of another tab.
    pub client_id: Option<&'a str>,
}

/// A connection that was not made.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// One of Nango's types, for example `state_err`; clients match on it.
    pub error_type: &'a str,
    /// What exactly was wrong. May quote the provider; it is shown as text, folded away.
    pub message: &'a str,
    /// None when it failed before the integration was known.
    pub provider_config_key: Option<&'a str>,
    pub client_id: Option<&'a str>,
}

/// The page after a success: tells the opener, and closes itself half a second later.
pub fn connected(outcome: &Connected<'_>) -> Response {
    let (title, text) = if outcome.is_pending {
        (
            "Waiting for approval",
            "has to be approved before it works. You can close this window.",
        )
    } else {
        ("Connected", "is connected. You can close this window.")
    };
    let name = escaped(outcome.display_name);
    let body = format!(
        "<main class=\"outcome\">\n<div class=\"mark good\" aria-hidden=\"true\">{CHECK}</div>\n<h1>{title}</h1>\n\
         <p role=\"status\"><strong>{name}</strong> {text}</p>\n</main>\n"
    );
    let data = json!({
        "type": "nango_oauth_callback_success",
        "payload": {
            "connectionId": outcome.connection_id,
            "providerConfigKey": outcome.provider_config_key,
            "isPending": outcome.is_pending,
            "clientId": outcome.client_id,
        },
        "closes": true,
    });
    DOCUMENT.answer(StatusCode::OK, title, &body, &data, NO_FRAME)
}

/// The page after a failure: tells the opener, and stays.
pub fn failed(outcome: &Failed<'_>) -> Response {
    let (title, advice) = explanation(outcome.error_type);
    let message: String = outcome.message.chars().take(MESSAGE_CHARS_MAX).collect();
    let body = format!(
        "<main class=\"outcome\">\n<div class=\"mark bad\" aria-hidden=\"true\">{CROSS}</div>\n<div role=\"alert\">\n<h1>{title}</h1>\n\
         <p>{advice}</p>\n</div>\n<button type=\"button\" class=\"primary\" id=\"close\" hidden>Close window</button>\n\
         <details>\n<summary>Details</summary>\n<p><code>{}</code></p>\n<p>{}</p>\n</details>\n</main>\n",
        escaped(outcome.error_type),
        escaped(&message),
    );
    let data = json!({
        "type": "nango_oauth_callback_error",
        "payload": {
            "errorType": outcome.error_type,
            "message": message,
            "title": title,
            "advice": advice,
            "providerConfigKey": outcome.provider_config_key,
            "clientId": outcome.client_id,
        },
        // For openers of other origins.
        "public": { "errorType": outcome.error_type, "message": title },
        "closes": false,
    });
    DOCUMENT.answer(StatusCode::BAD_REQUEST, title, &body, &data, NO_FRAME)
}

const CHECK: &str = "<svg viewBox=\"0 0 24 24\" focusable=\"false\"><path d=\"M5 12.5l4.5 4.5L19 7.5\"/></svg>";
const CROSS: &str = "<svg viewBox=\"0 0 24 24\" focusable=\"false\"><path d=\"M12 6.5v7.5M12 17.4v.1\"/></svg>";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    /// What comes between the styles and the script.
    fn changing(html: &str) -> &str {
        let from = html.find("<body>").unwrap();
        &html[from..html.find("<script type=\"module\">").unwrap()]
    }

    #[tokio::test]
    async fn a_success() {
        let response = connected(&Connected {
            provider_config_key: "github",
            connection_id: "0c5e1b1e-1111-4222-8333-444455556666",
            display_name: "R&D <GitHub>",
            is_pending: false,
            client_id: None,
        });
        assert_eq!(response.status(), 200);
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let html = text(response).await;
        let shown = changing(&html);
        assert!(
            shown.contains("<strong>R&amp;D &lt;GitHub&gt;</strong> is connected."),
            "{shown}"
        );
        assert!(
            shown.contains(r#""connectionId":"0c5e1b1e-1111-4222-8333-444455556666""#),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn a_failure_with_a_hostile_text() {
        let response = failed(&Failed {
            error_type: "callback_err",
            message: "</script><script>alert(1)</script> \u{202e}<img src=x onerror=alert(1)>",
            provider_config_key: Some("github"),
            client_id: Some("\"><b>"),
        });
        assert_eq!(response.status(), 400);
        let html = text(response).await;
        let shown = changing(&html);
        assert!(shown.contains("&lt;/script&gt;&lt;script&gt;alert(1)"), "{shown}");
        assert!(shown.contains(r#""clientId":"\"\u003e\u003cb\u003e""#), "{shown}");
        assert!(!shown.contains("<img"), "{shown}");
        assert_eq!(html.matches("<script").count(), 2, "the data and the program");
    }

    #[tokio::test]
    async fn long_messages_are_cut() {
        let message = "ä".repeat(MESSAGE_CHARS_MAX * 2);
        let failed = failed(&Failed {
            error_type: "token_err",
            message: &message,
            provider_config_key: None,
            client_id: None,
        });
        assert_eq!(
            text(failed).await.matches('ä').count(),
            2 * MESSAGE_CHARS_MAX,
            "shown once and sent once"
        );
    }
}
