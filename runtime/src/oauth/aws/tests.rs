//! Requests for keys of roles, and the answers of AWS.

use http::StatusCode;

use super::super::testing::{moment, target};
use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/integration";

fn role(entry: Value) -> Target {
    let credentials = json!({
        "type": "AWS_SIGV4", "role_arn": ROLE, "region": "eu-central-1", "service": "s3", "external_id": "customer 7",
    });
    let mut target = target(entry, &credentials);
    for (name, value) in [("awsAccessKeyId", "AKIDEXAMPLE"), ("awsSecretAccessKey", "own-secret")] {
        target.integration_config.insert(name.to_owned(), value.into());
    }
    target
}

fn built(target: &Target) -> Result<TokenRequest, RefreshError> {
    let Credentials::AwsSigV4(aws) = &target.credentials else {
        panic!("credentials of AWS")
    };
    let KeySource::Sts {
        access_key_id,
        secret_access_key,
    } = KeySource::of(&target.integration_config)?
    else {
        panic!("keys of its own")
    };
    let signer = AwsCredentials {
        service: "sts".to_owned(),
        access_key_id,
        secret_access_key,
        ..AwsCredentials::clone(aws)
    };
    build(target, aws, ROLE, &signer, moment())
}

fn read(status: u16, body: &str) -> Result<Credentials, RefreshError> {
    let target = role(json!({}));
    let Credentials::AwsSigV4(aws) = &target.credentials else {
        panic!("credentials of AWS")
    };
    let answer = RawAnswer {
        host: "sts.test".to_owned(),
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Secret::new(body.as_bytes().to_vec()),
    };
    credentials(aws, &answer, moment())
}

#[test]
fn the_regions_service_is_asked_for_the_role_with_the_integrations_keys() {
    let request = built(&role(json!({}))).unwrap();
    assert_eq!(request.url.as_str(), "https://sts.eu-central-1.amazonaws.com/");
    let body = request.body.expose();
    for part in [
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fintegration",
        "&RoleSessionName=nango-",
        "&DurationSeconds=3600&ExternalId=customer+7",
    ] {
        assert!(body.contains(part), "{part} in {body}");
    }
    let authorization = request.headers[header::AUTHORIZATION].to_str().unwrap();
    assert!(
        authorization.contains("Credential=AKIDEXAMPLE/20270115/eu-central-1/sts/aws4_request"),
        "{authorization}"
    );
    assert!(!format!("{request:?}").contains("own-secret"));
    let elsewhere = json!({"token_url": "https://vpce.test/${credentials.region}", "token_expires_in_ms": 60_000});
    let request = built(&role(elsewhere)).unwrap();
    assert_eq!(request.url.as_str(), "https://vpce.test/eu-central-1");
    assert!(request.body.expose().contains("DurationSeconds=900"));
}

#[test]
fn without_keys_of_its_own_an_integration_assumes_no_role() {
    let mut target = role(json!({}));
    target.integration_config.remove("awsSecretAccessKey");
    assert!(matches!(built(&target), Err(RefreshError::Aws(_))));
    assert!(target.credentials.lacks_token());
}

#[test]
fn answers_are_read() {
    let keys = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
                <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/integration/x</Arn></AssumedRoleUser>\
                <Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s/+1</SecretAccessKey>\
                <SessionToken>t==</SessionToken><Expiration>2027-01-15T09:00:00Z</Expiration></Credentials>\
                </AssumeRoleResult></AssumeRoleResponse>";
    let fresh = read(200, keys).unwrap();
    assert_eq!(fresh.expires_at_ms(), Some(1_800_003_600_000));
    assert!(!fresh.lacks_token());
    let shown = fresh.to_public_json(true);
    for (name, value) in [
        ("access_key_id", "ASIA1"),
        ("secret_access_key", "s/+1"),
        ("session_token", "t=="),
        ("role_arn", ROLE),
        ("external_id", "customer 7"),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    // What is stored can be opened again.
    super::super::answer::readable(&fresh).unwrap();

    let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not &amp; never</Message></Error></ErrorResponse>";
    let error = read(403, denied).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token endpoint at \"sts.test\" answered 403: AccessDenied (not & never)"
    );
    for other in [
        "",
        "{}",
        "<a/>",
        &keys.replace("2027-01-15T09:00:00Z", "soon"),
        &keys[..200],
    ] {
        assert!(matches!(read(200, other), Err(RefreshError::NotXml { .. })), "{other}");
    }
    assert!(matches!(
        read(500, "oops"),
        Err(RefreshError::Status { status: 500, .. })
    ));
}
