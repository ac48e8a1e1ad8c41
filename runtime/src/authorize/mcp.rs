//! What the authorization of an MCP server needs before the customer is sent there: where that is, and as which client. After it, it
//! is one as every other.

use super::client_metadata::{described, document_url, is_readable, with_params};
use super::pending::Client;
use super::{Authorize, FlowError};
use crate::connections::Applicant;
use crate::oauth::{AuthorizationServer, ClientAuth, DISCOVERED_FIELDS, Registration, SERVER_FIELD};
use crate::provider::{AuthMode, ClientRegistration};

/// As whom the customer is sent, and what is known of the server.
#[derive(Default)]
pub(super) struct Prepared {
    /// None when the integration's own client is taken.
    pub(super) client: Option<Client>,
    /// RFC 9207.
    pub(super) issuer: Option<String>,
    /// Whether the answer must say whose it is.
    pub(super) tells_issuer: bool,
}

impl Authorize {
    /// Finds out all of it, and writes what later requests for tokens need into the connection_config.
    ///
    /// # Errors
    /// A server that cannot be used, or that registers no client.
    pub(super) async fn prepare(&self, applicant: &mut Applicant, own: Option<Client>) -> Result<Prepared, FlowError> {
        // These say where secrets are sent, so nobody else may fill them in.
        for field in DISCOVERED_FIELDS {
            applicant.target.connection_config.remove(field);
        }
        match applicant.target.provider.auth_mode {
            AuthMode::McpOAuth2Generic => self.generic(applicant, own).await,
            _ => self.described_by_data(applicant, own).await,
        }
    }

    /// The provider's data says where everything is.
    async fn described_by_data(&self, applicant: &mut Applicant, own: Option<Client>) -> Result<Prepared, FlowError> {
        let provider = &applicant.target.provider;
        if applicant.scopes.is_empty() {
            applicant.scopes = provider.default_scopes().into_iter().map(str::to_owned).collect();
        }
        // Whoever gave a client means it.
        if own.is_some() || applicant.target.client.is_some() {
            return Ok(Prepared {
                client: own,
                ..Prepared::default()
            });
        }
        let (client, auth) = match provider.client_registration {
            ClientRegistration::Static => return Ok(Prepared::default()),
            ClientRegistration::Cimd => {
                let authorization = super::start::authorization(&self.0, applicant)?;
                let id = document_url(&self.0, applicant)?;
                if !is_readable(&id, &authorization.url) {
                    return Err(FlowError::Unreachable { document: id });
                }
                (without_secret(id), ClientAuth::None)
            }
            ClientRegistration::Dynamic => {
                let endpoint = self.0.oauth.registration_url(&applicant.target)?;
                let metadata = described(&self.0, &applicant.about, ClientAuth::None);
                let registration = Registration {
                    endpoint,
                    metadata: with_params(metadata, &provider.json),
                };
                self.registered(&applicant.target.integration.id, "", registration)
                    .await?
            }
        };
        auth.remember(&client.id, &mut applicant.target.connection_config);
        Ok(Prepared {
            client: Some(client),
            ..Prepared::default()
        })
    }

    /// The server says where everything is.
    async fn generic(&self, applicant: &mut Applicant, own: Option<Client>) -> Result<Prepared, FlowError> {
        let address = applicant.target.connection_config.get(SERVER_FIELD);
        let address = address
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let discovered = self.0.oauth.discover(&address).await?;
        discovered.remember(&mut applicant.target.connection_config);
        let server = &discovered.authorization_server;
        let (client, auth) = self.client_for(applicant, server, own).await?;
        auth.remember(&client.id, &mut applicant.target.connection_config);
        if applicant.scopes.is_empty() {
            applicant.scopes.clone_from(&discovered.scopes);
        }
        Ok(Prepared {
            client: Some(client),
            issuer: Some(server.issuer.clone()),
            tells_issuer: server.tells_issuer,
        })
    }

    /// The customer's own client; else one that the server reads about, else one that registers itself, else the integration's.
    async fn client_for(
        &self,
        applicant: &Applicant,
        server: &AuthorizationServer,
        own: Option<Client>,
    ) -> Result<(Client, ClientAuth), FlowError> {
        if let Some(own) = own {
            let auth = match own.secret.as_str() {
                "" => ClientAuth::None,
                _ => with_secret(server),
            };
            return Ok((own, auth));
        }
        let document = document_url(&self.0, applicant)?;
        if server.takes_metadata_urls && is_readable(&document, &server.authorization_endpoint) {
            return Ok((without_secret(document), ClientAuth::None));
        }
        if let Some(endpoint) = &server.registration_endpoint {
            let auth = ClientAuth::preferred(server.auth_methods.as_deref());
            let metadata = described(&self.0, &applicant.about, auth);
            let registration = Registration {
                endpoint: endpoint.clone(),
                metadata: with_params(metadata, &applicant.target.provider.json),
            };
            let integration_id = &applicant.target.integration.id;
            return self.registered(integration_id, &server.issuer, registration).await;
        }
        // Its secret stays here: which server it would be sent to is the customer's to say.
        match &applicant.target.client {
            Some(client) => Ok((without_secret(client.client_id.clone()), ClientAuth::None)),
            None => Err(FlowError::NoRegistration {
                issuer: server.issuer.clone(),
                redirect_uri: self.0.callback_url.clone(),
            }),
        }
    }
}

fn without_secret(id: String) -> Client {
    Client {
        id,
        secret: String::new(),
    }
}

fn with_secret(server: &AuthorizationServer) -> ClientAuth {
    match ClientAuth::preferred(server.auth_methods.as_deref()) {
        ClientAuth::None | ClientAuth::Post => ClientAuth::Post,
        ClientAuth::Basic => ClientAuth::Basic,
    }
}
