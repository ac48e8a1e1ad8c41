//! NetSuite's token-based authentication: OAuth 1.0a with HMAC-SHA256 and the account as realm
//! (<https://docs.oracle.com/en/cloud/saas/netsuite/ns-online-help/section_1534941088.html>).

/// The account id as the realm has it: `1234567-sb1` is `1234567_SB1`.
pub(in crate::proxy) fn realm(account_id: &str) -> String {
    account_id.to_uppercase().replacen('-', "_", 1)
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri};

    use super::*;
    use crate::provider::SignatureMethod;
    use crate::signing::oauth1::OAuth1;

    #[test]
    fn sandboxes_are_spelled_with_an_underscore() {
        assert_eq!(realm("1234567"), "1234567");
        assert_eq!(realm("1234567-sb1-x"), "1234567_SB1-X");
    }

    #[test]
    fn the_realm_stands_first_and_is_not_signed() {
        let realm = realm("1234567-sb1");
        let signed = |realm: Option<&str>| {
            let account = OAuth1 {
                client_id: "ck",
                client_secret: "cs",
                token: Some("tk"),
                callback: None,
                verifier: None,
                token_secret: "ts",
                signature_method: SignatureMethod::HmacSha256,
                realm,
                timestamp_s: 1_508_242_306,
                nonce: "fjaLirsIcCGVZWzBX0pg",
            };
            let uri = Uri::from_static(
                "https://1234567-sb1.suitetalk.api.netsuite.com/services/rest/record/v1/customer?limit=2",
            );
            account.authorization(&Method::GET, &uri, None).unwrap()
        };
        let header = signed(Some(&realm));
        assert!(
            header.starts_with("OAuth realm=\"1234567_SB1\", oauth_consumer_key=\"ck\""),
            "{header}"
        );
        assert!(header.contains("oauth_signature_method=\"HMAC-SHA256\""), "{header}");
        assert_eq!(header.replace("realm=\"1234567_SB1\", ", ""), signed(None));
    }
}
