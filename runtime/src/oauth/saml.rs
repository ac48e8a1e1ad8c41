//! Assertions of SAML 2.0 that a token is asked for with (RFC 7522), signed by enveloped XML signatures with RSA and SHA-256. Pure, but
//! for RSA's blinding, which does not show.
//!
//! What is signed is the exclusive canonical form (<https://www.w3.org/TR/xml-exc-c14n/>), so the assertion is written in that form to
//! begin with: no elements without an end tag, attributes in their order, namespaces where they are first used, nothing between elements.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::RefreshError;
use super::jwt::{Algorithm, SecretEncoding, SigningKey};
use super::values::{Moment, TokenValues, text};
use super::xml::{XmlError, escape};
use crate::connections::Target;
use crate::credentials::{Secret, pem_certificate};
use crate::model::JsonObject;

const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
const SIGNATURE: &str = "http://www.w3.org/2000/09/xmldsig#";
/// Clocks differ: an assertion is good from a minute before it was made.
const EARLY_MS: i64 = 60_000;

/// The assertion that `description` describes, in base64.
pub(super) fn assertion(
    target: &Target,
    moment: Moment,
    description: &'static str,
    key: &Secret<String>,
    lifetime_ms: i64,
) -> Result<Secret<String>, RefreshError> {
    let provider = || target.provider.name.clone();
    let values = TokenValues::new(target, moment);
    let said = values.object(&target.provider.json, description)?;
    let assertion = Assertion::new(&said, moment, lifetime_ms);
    let assertion = assertion.map_err(|source| RefreshError::Xml {
        provider: provider(),
        key: description,
        source,
    })?;
    let signed = SigningKey::from_text(Algorithm::Rs256, key.expose(), SecretEncoding::Utf8)
        .and_then(|signing_key| assertion.signed(&signing_key, pem_certificate(key.expose()).as_deref()));
    let signed = signed.map_err(|source| RefreshError::Jwt {
        provider: provider(),
        source,
    })?;
    Ok(Secret::new(STANDARD.encode(signed.expose())))
}

/// An assertion in canonical form, in two pieces: the signature belongs between them.
struct Assertion {
    id: String,
    before: String,
    after: String,
}

impl Assertion {
    fn new(said: &JsonObject, moment: Moment, lifetime_ms: i64) -> Result<Self, XmlError> {
        let word = |name: &str| escaped(said.get(name).map(text).unwrap_or_default().as_str(), name);
        let hex: String = moment.random.iter().map(|byte| format!("{byte:02x}")).collect();
        // A name may not begin with a digit.
        let id = format!("_{hex}");
        let now = instant(moment.now_ms);
        let from = instant(moment.now_ms.saturating_sub(EARLY_MS));
        let until = instant(moment.now_ms.saturating_add(lifetime_ms));
        let before = format!(
            "<saml2:Assertion xmlns:saml2=\"{ASSERTION}\" ID=\"{id}\" IssueInstant=\"{now}\" Version=\"2.0\">\
             <saml2:Issuer>{}</saml2:Issuer>",
            word("issuer")?
        );
        let recipient = match said.get("recipient") {
            Some(_) => format!(" Recipient=\"{}\"", word("recipient")?),
            None => String::new(),
        };
        let session = match said.get("sessionIndex") {
            Some(_) => format!(" SessionIndex=\"{}\"", word("sessionIndex")?),
            None => String::new(),
        };
        let after = format!(
            "<saml2:Subject>\
             <saml2:NameID Format=\"urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified\">{}</saml2:NameID>\
             <saml2:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">\
             <saml2:SubjectConfirmationData NotOnOrAfter=\"{until}\"{recipient}></saml2:SubjectConfirmationData>\
             </saml2:SubjectConfirmation></saml2:Subject>\
             <saml2:Conditions NotBefore=\"{from}\" NotOnOrAfter=\"{until}\">{}</saml2:Conditions>\
             <saml2:AuthnStatement AuthnInstant=\"{now}\"{session}><saml2:AuthnContext>\
             <saml2:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml2:AuthnContextClassRef>\
             </saml2:AuthnContext></saml2:AuthnStatement>{}</saml2:Assertion>",
            word("nameIdentifier")?,
            audiences(said.get("audiences"))?,
            attributes(said.get("attributes"))?,
        );
        Ok(Self { id, before, after })
    }

    /// With the signature over the rest, and the certificate of its key where there is one.
    fn signed(&self, key: &SigningKey, certificate: Option<&[u8]>) -> Result<Secret<String>, super::jwt::JwtError> {
        let Self { id, before, after } = self;
        let digest = Sha256::new().chain_update(before).chain_update(after).finalize();
        let inner = format!(
            "<ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></ds:CanonicalizationMethod>\
             <ds:SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256\"></ds:SignatureMethod>\
             <ds:Reference URI=\"#{id}\"><ds:Transforms>\
             <ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"></ds:Transform>\
             <ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></ds:Transform></ds:Transforms>\
             <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"></ds:DigestMethod>\
             <ds:DigestValue>{}</ds:DigestValue></ds:Reference></ds:SignedInfo>",
            STANDARD.encode(digest)
        );
        // Alone it names its namespace itself; within the signature that is done already.
        let alone = format!("<ds:SignedInfo xmlns:ds=\"{SIGNATURE}\">{inner}");
        let signature = STANDARD.encode(key.signature(alone.as_bytes())?);
        let certificate = certificate.map_or_else(String::new, |der| {
            let text = STANDARD.encode(der);
            format!(
                "<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{text}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
            )
        });
        Ok(Secret::new(format!(
            "{before}<ds:Signature xmlns:ds=\"{SIGNATURE}\"><ds:SignedInfo>{inner}\
             <ds:SignatureValue>{signature}</ds:SignatureValue>{certificate}</ds:Signature>{after}"
        )))
    }
}

/// One, or a list of them.
fn audiences(said: Option<&Value>) -> Result<String, XmlError> {
    let several = match said {
        None => return Ok(String::new()),
        Some(Value::Array(several)) => several.clone(),
        Some(one) => vec![one.clone()],
    };
    let audiences = several.iter().map(|audience| {
        let audience = escaped(&text(audience), "audiences")?;
        Ok(format!("<saml2:Audience>{audience}</saml2:Audience>"))
    });
    let audiences: String = audiences.collect::<Result<_, XmlError>>()?;
    Ok(format!(
        "<saml2:AudienceRestriction>{audiences}</saml2:AudienceRestriction>"
    ))
}

fn attributes(said: Option<&Value>) -> Result<String, XmlError> {
    let Some(Value::Object(said)) = said else {
        return Ok(String::new());
    };
    let attributes = said.iter().map(|(name, value)| {
        let values = match value {
            Value::Array(several) => several.clone(),
            one => vec![one.clone()],
        };
        let values = values.iter().map(|value| {
            let value = escaped(&text(value), "attributes")?;
            Ok(format!("<saml2:AttributeValue>{value}</saml2:AttributeValue>"))
        });
        let values: String = values.collect::<Result<_, XmlError>>()?;
        let name = escaped(name, "attributes")?;
        Ok(format!("<saml2:Attribute Name=\"{name}\">{values}</saml2:Attribute>"))
    });
    let attributes: String = attributes.collect::<Result<_, XmlError>>()?;
    Ok(format!(
        "<saml2:AttributeStatement>{attributes}</saml2:AttributeStatement>"
    ))
}

/// As the canonical form has both texts and attributes. What it writes one way in the one and another way in the other is refused: no
/// name, key or address has it.
fn escaped(value: &str, path: &str) -> Result<String, XmlError> {
    if value.contains(['\t', '\n', '\r', '"', '>']) {
        return Err(XmlError::Character { path: path.to_owned() });
    }
    let mut escaped = String::new();
    escape(value, path, &mut escaped)?;
    Ok(escaped.replace("&apos;", "'"))
}

/// To the second, as in the examples of the standard.
fn instant(at_ms: i64) -> String {
    let at = jiff::Timestamp::from_second(at_ms.div_euclid(1_000)).unwrap_or_default();
    at.to_string()
}
