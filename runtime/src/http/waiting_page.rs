//! The WebSocket at which Nango's frontend SDK waits for the outcome of a popup. It is told its id, gives that to the popup as
//! `ws_client_id`, and is told the outcome, once. Nothing is taken from it.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::error::ApiError;
use crate::authorize::{Outcome, UNUSED_WAIT_MS, WAIT_MS, Waiter};
use crate::runtime::Runtime;

/// How often the page is asked whether it is there; without an answer until the next time it is taken for gone.
const PING_INTERVAL_MS: u64 = 25_000;
/// How long a page may take to take a message.
const SEND_TIMEOUT_MS: u64 = 10_000;
/// What a page may send: nothing but the protocol's own messages, which are shorter.
const MESSAGE_BYTES_MAX: usize = 256;

/// Wait for the outcome of a popup.
#[utoipa::path(
    get, path = "/", tag = "connect", security(()),
    responses(
        (status = 101, description = "A WebSocket: `{message_type: connection_ack, ws_client_id}`, and after an authorization with that `ws_client_id` one of `{message_type: success, provider_config_key, connection_id, is_pending}` and `{message_type: error, error_type, error_desc}`"),
        (status = 403, description = "Not from this origin", body = super::error::ErrorEnvelope),
        (status = 503, description = "Too many wait", body = super::error::ErrorEnvelope),
    ),
)]
pub async fn wait(
    State(runtime): State<Runtime>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return super::no_such_route(method, uri).await.into_response();
    };
    let origin = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
    if !may_wait(&runtime.config().connect_origins, origin) {
        let message =
            "Pages of this origin may not wait for connections; the setting `connect_origins` names those that may";
        return ApiError::new(StatusCode::FORBIDDEN, "forbidden", message).into_response();
    }
    let Some(waiter) = runtime.wait_for_outcome() else {
        let message = "Too many pages wait for a connection at the moment; try again";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_request", message).into_response();
    };
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(|socket| attend(socket, waiter))
}

/// Programs that are no browsers name no origin.
fn may_wait(allowed: &[String], origin: Option<&str>) -> bool {
    allowed.is_empty() || origin.is_none_or(|origin| allowed.iter().any(|known| known == origin))
}

/// To the outcome, the end of the time, or that of the page.
async fn attend(mut socket: WebSocket, mut waiter: Waiter) {
    let welcome = json!({"message_type": "connection_ack", "ws_client_id": waiter.id});
    if !send(&mut socket, Message::text(welcome.to_string())).await {
        return;
    }
    let ms = Duration::from_millis;
    let unused = tokio::time::sleep(ms(UNUSED_WAIT_MS));
    let end = tokio::time::sleep(ms(WAIT_MS));
    tokio::pin!(unused, end);
    let mut ping = tokio::time::interval(ms(PING_INTERVAL_MS));
    let (mut is_there, mut is_checked) = (true, false);
    let (code, reason) = loop {
        tokio::select! {
            biased;
            outcome = &mut waiter.outcome => {
                if let Ok(outcome) = outcome {
                    let _ = send(&mut socket, Message::text(message(&outcome).to_string())).await;
                }
                break (close_code::NORMAL, "done");
            }
            () = &mut unused, if !is_checked => {
                is_checked = true;
                if !*waiter.begun.borrow() {
                    break (close_code::AWAY, "no authorization was begun");
                }
            }
            () = &mut end => break (close_code::AWAY, "the authorization took too long"),
            _ = ping.tick() => {
                if !is_there || !send(&mut socket, Message::Ping(bytes::Bytes::new())).await {
                    return;
                }
                is_there = false;
            }
            // Last: a page that sends without end does not outlive its time.
            received = socket.recv() => match received {
                Some(Ok(Message::Pong(_))) => is_there = true,
                // Answered by the protocol's implementation.
                Some(Ok(Message::Ping(_))) => {}
                Some(Ok(Message::Text(_) | Message::Binary(_))) => break (close_code::POLICY, "nothing is expected here"),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        }
    };
    let reason = reason.into();
    let _ = send(&mut socket, Message::Close(Some(CloseFrame { code, reason }))).await;
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    let sent = tokio::time::timeout(Duration::from_millis(SEND_TIMEOUT_MS), socket.send(message)).await;
    matches!(sent, Ok(Ok(())))
}

/// As Nango's frontend SDK reads it.
fn message(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Connected {
            provider_config_key,
            connection_id,
            is_pending,
        } => json!({
            "message_type": "success", "provider_config_key": provider_config_key, "connection_id": connection_id,
            "is_pending": is_pending,
        }),
        Outcome::Failed { error_type, message } => json!({
            "message_type": "error", "error_type": error_type, "error_desc": message,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let only = ["https://app.test".to_owned()];
        for (allowed, origin, expected) in [
            (&[][..], Some("https://any.test"), true),
            (&only, Some("https://app.test"), true),
            (&only, Some("https://app.test.evil.test"), false),
            (&only, Some("null"), false),
            (&only, None, true),
        ] {
            assert_eq!(may_wait(allowed, origin), expected, "{origin:?}");
        }
    }
}
