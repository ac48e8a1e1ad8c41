//! {{name}}: one on-event function, to begin with.

use nango_guest_sdk::prelude::*;

/// Whose account was connected.
#[derive(Deserialize)]
struct Account {
    id: String,
    name: String,
}

/// Keeps in the connection's metadata whose account it is. Others run at `validate_connection` and `pre_connection_deletion`.
#[on_event(post_connection_creation)]
fn {{ident}}(nango: &Nango) -> Result<(), ActionError> {
    // The host adds the connection's credentials to the request, and asks again when the provider fails for a moment.
    let account: Account = nango.get("/account").retries(3).send()?.json()?;
    nango.connection().update_metadata(&json!({"account_id": account.id}))?;
    nango.info(format!("{} is connected", account.name));
    Ok(())
}

nango_guest_sdk::functions!({{ident}});
