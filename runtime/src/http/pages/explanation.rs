//! What an error type of the popup means to the customer who reads it. The types are Nango's; clients match on them.

/// A heading and what to do, for an error type; one for all that are not known.
pub fn explanation(error_type: &str) -> (&'static str, &'static str) {
    match error_type {
        "callback_err" => (
            "Access was not granted",
            "The service did not let the connection be made. If you cancelled by mistake, try again.",
        ),
        "state_err" | "state_cookie_err" => (
            "This sign-in is no longer valid",
            "It was used already, took too long, or was started in another browser. Close this window and start again.",
        ),
        "token_err" => (
            "The sign-in could not be completed",
            "The service did not accept the last step. Try again; if it fails again, tell whoever sent you here.",
        ),
        "discovery_err" => (
            "This server cannot be connected",
            "It did not say in a safe way how to log in to it. Close this window and check the address that was entered; if it is right, whoever runs that server can help with the details below.",
        ),
        "client_registration_err" => (
            "The service does not accept this application",
            "It refused to register the application that wants access. Tell whoever sent you here, with the details below.",
        ),
        "url_param_err" => (
            "Something is missing",
            "The service cannot be reached with what was filled in. Close this window, check your entries and try again.",
        ),
        "connection_validation_failed" | "connection_test_failed" => (
            "The connection does not work",
            "Access was granted, but the service refused the first request made with it. Check that your account may do what is needed.",
        ),
        "invalid_connect_session_token_format" | "unknown_connect_session_token" | "missing_connect_session_token" => (
            "This link has expired",
            "Go back to where you came from and open it again.",
        ),
        "integration_not_allowed" | "resource_capped" => (
            "This connection is not available",
            "It cannot be made from here. Tell whoever sent you here.",
        ),
        "auth_mode_err"
        | "grant_type_err"
        | "provider_config_err"
        | "unknown_config_key"
        | "no_provider_config_key"
        | "missing_connection_id"
        | "connection_not_found"
        | "missing_hmac"
        | "invalid_hmac"
        | "account_or_environment_retrieval_err" => (
            "This integration is not set up correctly",
            "You can do nothing about it. Tell whoever sent you here, with the details below.",
        ),
        _ => (
            "The connection was not made",
            "Something went wrong. Close this window and try again; if it fails again, tell whoever sent you here.",
        ),
    }
}
