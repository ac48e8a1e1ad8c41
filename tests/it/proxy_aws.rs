//! Requests signed for AWS, in front of a server that checks signatures as AWS does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::moto::Moto;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Answer, Client, Reply, Server, TestRuntime, Upstream};
use serde_json::{Value, json};

const PROVIDERS: &str = "
aws:
  display_name: AWS
  auth_mode: AWS_SIGV4
  proxy:
    base_url: https://${connectionConfig.service}.${connectionConfig.region}.amazonaws.com
aws-roles:
  alias: aws-sigv4
  token_url: ${integrationConfig.sts_endpoint} || STS_URL/
  proxy:
    base_url: ${connectionConfig.base_url}
  connection_config:
    service: {type: string, automated: true}
  integration_config:
    service: {type: string, optional: true}
    defaultRegion: {type: string, optional: true}
    stsMode: {type: string, enum: [builtin, custom], default_value: builtin}
    awsAccessKeyId: {type: string, optional: true}
    awsSecretAccessKey: {type: string, optional: true, secret: true}
    stsEndpointUrl: {type: string, optional: true, pattern: '^http', format: uri}
    stsAuthType: {type: string, enum: [none, api_key, basic], default_value: none}
    stsAuthHeader: {type: string, default_value: x-api-key}
    stsApiKey: {type: string, secret: true, visible_when: {field: stsAuthType, equals: api_key}}
    stsAuthUsername: {type: string, optional: true}
    stsAuthPassword: {type: string, secret: true, visible_when: {field: stsAuthType, equals: basic}}
aws-by-template:
  display_name: AWS with a key pair
  auth_mode: BASIC
  proxy:
    base_url: ${connectionConfig.url}
    headers:
      authorization: ${awsSigV4(${credentials.username}, ${credentials.password}, us-east-1, ${connectionConfig.service})}
      x-amz-date: ${now:YYYYMMDDTHHmmss[Z]}
";

/// A server with a connection for each service, named after it, and `thief` with another secret key.
async fn with_aws(moto: &Moto) -> (Server, Client) {
    let server = TestRuntime::new().egress_loopback().provider_yaml(PROVIDERS).start();
    let client = server.client();
    let _ = client.create_integration("aws", "aws").await.ok();
    let stolen = "x".repeat(moto.secret_access_key.len());
    for (connection, service, secret) in [
        ("s3", "s3", &moto.secret_access_key),
        ("sts", "sts", &moto.secret_access_key),
        ("dynamodb", "dynamodb", &moto.secret_access_key),
        ("thief", "s3", &stolen),
    ] {
        let import = json!({
            "provider_config_key": "aws",
            "connection_id": connection,
            "credentials": {
                "type": "AWS_SIGV4", "region": "us-east-1", "service": service,
                "access_key_id": moto.access_key_id, "secret_access_key": secret,
            },
            "connection_config": {"base_url": moto.url},
        });
        let _ = client.post("/connections", &import).await.ok();
    }
    (server, client)
}

#[tokio::test]
async fn aws_accepts_signed_requests_and_refuses_a_wrong_key() {
    let moto = Moto::start().await;
    let (server, client) = with_aws(&moto).await;
    let key = "/bucket-1/a%20folder/%281%29%2B%C3%A9.txt";

    let made = send(client.proxy(Method::PUT, "aws", "s3", "/bucket-1")).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let put = client
        .proxy(Method::PUT, "aws", "s3", key)
        .header("content-type", "text/plain")
        .body("hello");
    let put = send(put).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let got = client.proxy_get("aws", "s3", key).await;
    assert_eq!((got.status, got.text().as_str()), (200, "hello"));
    let listed = client
        .proxy_get("aws", "s3", "/bucket-1?prefix=a%20folder%2F&list-type=2&delimiter")
        .await;
    assert!(listed.text().contains("<KeyCount>1</KeyCount>"), "{}", listed.text());

    // Too large to be kept, so it is sent as it comes, its bytes unsigned.
    let large = client
        .proxy(Method::PUT, "aws", "s3", "/bucket-1/large")
        .header("content-type", "application/octet-stream")
        .body(vec![7; 3 * 1024 * 1024]);
    let large = send(large).await;
    assert_eq!(large.status, 200, "{}", large.text());
    let back = client.proxy_get("aws", "s3", "/bucket-1/large").await;
    assert_eq!(back.body.len(), 3 * 1024 * 1024);

    let refused = client.proxy_get("aws", "thief", key).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("SignatureDoesNotMatch"), "{}", refused.text());
    assert!(!server.log().contains(&moto.secret_access_key));
    assert!(!client.logs().await.contains(&moto.secret_access_key));
}

#[tokio::test]
async fn services_whose_bodies_are_signed() {
    let moto = Moto::start().await;
    let (_server, client) = with_aws(&moto).await;
    let identity = client
        .proxy(Method::POST, "aws", "sts", "/")
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body("Action=GetCallerIdentity&Version=2011-06-15");
    let identity = send(identity).await;
    assert!(identity.text().contains("user/tester"), "{}", identity.text());

    let tables = client
        .proxy(Method::POST, "aws", "dynamodb", "/")
        .header("nango-proxy-x-amz-target", "DynamoDB_20120810.ListTables")
        .header("content-type", "application/x-amz-json-1.0")
        .body("{}");
    assert_eq!(send(tables).await.ok(), json!({"TableNames": []}));

    let large = client
        .proxy(Method::POST, "aws", "dynamodb", "/")
        .header("content-type", "application/x-amz-json-1.0")
        .body(vec![b' '; 2 * 1024 * 1024]);
    let large = send(large).await;
    assert_eq!(
        (large.status, large.error_code().as_str()),
        (413, "request_body_too_large")
    );
}

#[tokio::test]
async fn a_provider_may_sign_by_template() {
    let moto = Moto::start().await;
    let server = TestRuntime::new().egress_loopback().provider_yaml(PROVIDERS).start();
    let client = server.client();
    let _ = client.create_integration("aws", "aws-by-template").await.ok();
    let import = json!({
        "provider_config_key": "aws",
        "connection_id": "iam",
        "credentials": {"type": "BASIC", "username": moto.access_key_id, "password": moto.secret_access_key},
        "connection_config": {"url": moto.url, "service": "iam"},
    });
    let _ = client.post("/connections", &import).await.ok();
    let users = client
        .proxy(Method::POST, "aws", "iam", "/")
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body("Action=ListUsers&Version=2010-05-08");
    let users = send(users).await;
    assert!(users.text().contains("<UserName>tester</UserName>"), "{}", users.text());
    let shown: Value = client.get("/connections/iam?provider_config_key=aws").await.ok();
    assert_eq!(shown["credentials"]["username"], moto.access_key_id.as_str());
}

const ROLE: &str = "arn:aws:iam::123456789012:role/integration";
const CALLERS: usize = 50;

/// A server that assumes roles with the keys of moto's user, and a role there that may do everything.
async fn with_role(moto: &Moto, secret_access_key: &str) -> (Server, Client) {
    let providers = PROVIDERS.replace("STS_URL", &moto.url);
    let server = TestRuntime::new().egress_loopback().provider_yaml(&providers).start();
    let client = server.client();
    let _ = client.create_integration("aws", "aws").await.ok();
    let import = json!({
        "provider_config_key": "aws", "connection_id": "iam",
        "credentials": {
            "type": "AWS_SIGV4", "region": "us-east-1", "service": "iam",
            "access_key_id": moto.access_key_id, "secret_access_key": moto.secret_access_key,
        },
        "connection_config": {"base_url": moto.url},
    });
    let _ = client.post("/connections", &import).await.ok();
    let anything = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
                    %22Action%22%3A%22*%22%2C%22Resource%22%3A%22*%22%7D%5D%7D";
    for form in [
        format!("Action=CreateRole&RoleName=integration&AssumeRolePolicyDocument={anything}"),
        format!("Action=PutRolePolicy&RoleName=integration&PolicyName=all&PolicyDocument={anything}"),
    ] {
        let request = client
            .proxy(Method::POST, "aws", "iam", "/")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(format!("{form}&Version=2010-05-08"));
        let answer = send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let custom = json!({"awsAccessKeyId": moto.access_key_id, "awsSecretAccessKey": secret_access_key, "service": "s3",
        "defaultRegion": "us-east-1"});
    let integration = json!({"unique_key": "roles", "provider": "aws-roles", "custom": custom});
    let _ = client.post("/integrations", &integration).await.ok();
    (server, client)
}

fn of_role(moto: &Moto, service: &str, more: Value) -> Value {
    let mut credentials = json!({
        "type": "AWS_SIGV4", "region": "us-east-1", "service": service, "role_arn": ROLE, "external_id": "customer-7",
    });
    if let (Value::Object(credentials), Value::Object(mut more)) = (&mut credentials, more) {
        credentials.append(&mut more);
    }
    json!({
        "provider_config_key": "roles", "connection_id": service, "credentials": credentials,
        "connection_config": {"base_url": moto.url},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_role_are_obtained_and_replaced_once_for_all_callers() {
    let moto = Moto::start().await;
    let (server, client) = with_role(&moto, &moto.secret_access_key).await;
    let _ = client.post("/connections", &of_role(&moto, "s3", json!({}))).await.ok();
    let made = send(client.proxy(Method::PUT, "roles", "s3", "/bucket-of-role")).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let shown = client.get("/connections/s3?provider_config_key=roles").await.ok();
    let credentials = &shown["credentials"];
    assert!(
        credentials["session_token"].is_string() && credentials["expires_at"].is_string(),
        "{credentials}"
    );
    assert_ne!(credentials["access_key_id"], moto.access_key_id.as_str());
    assert_eq!(credentials["external_id"], "customer-7");

    // Keys that have ended are replaced before they are used: once.
    let ended = json!({
        "access_key_id": "ASIAENDED", "secret_access_key": "ended", "session_token": "ended", "expires_at": "2020-01-01T00:00:00Z",
    });
    let _ = client.post("/connections", &of_role(&moto, "sts", ended)).await.ok();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let request = client
            .proxy(Method::POST, "roles", "sts", "/")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body("Action=GetCallerIdentity&Version=2011-06-15");
        calls.spawn(send(request));
    }
    for answer in calls.join_all().await {
        assert!(answer.text().contains("assumed-role/integration"), "{}", answer.text());
    }
    let refreshes = client
        .get("/logs/operations?limit=100&type=auth:refresh_token")
        .await
        .ok();
    assert_eq!(refreshes["data"].as_array().map(Vec::len), Some(1), "{refreshes}");
    let forced = client
        .get("/connections/sts?provider_config_key=roles&force_refresh=true")
        .await
        .ok();
    let secret = forced["credentials"]["secret_access_key"]
        .as_str()
        .expect("there is a key")
        .to_owned();
    assert_ne!(secret, "ended");
    for secret in [&secret, &moto.secret_access_key] {
        assert!(!server.log().contains(secret) && !client.logs().await.contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_not_given_makes_no_connection() {
    let moto = Moto::start().await;
    let stolen = "x".repeat(moto.secret_access_key.len());
    let (_server, client) = with_role(&moto, &stolen).await;
    let refused = client.post("/connections", &of_role(&moto, "s3", json!({}))).await;
    assert_eq!(
        (refused.status, refused.error_code().as_str()),
        (502, "aws_sigv4_sts_request_failed"),
        "{}",
        refused.text()
    );
    assert!(refused.text().contains("SignatureDoesNotMatch"), "{}", refused.text());
    assert!(!refused.text().contains(&stolen), "{}", refused.text());
    assert_eq!(
        client.get("/connections/s3?provider_config_key=roles").await.status,
        404
    );
    // Neither keys nor a role.
    let neither = json!({"role_arn": null});
    assert_eq!(
        client.post("/connections", &of_role(&moto, "s3", neither)).await.status,
        400
    );
}

/// A session of a customer, and what is asked with it.
async fn by_session(client: &Client, session: Value, integration: &str, body: Value) -> Answer {
    let path = if session.get("connection_id").is_some() {
        "/connect/sessions/reconnect"
    } else {
        "/connect/sessions"
    };
    let opened = client.post(path, &session).await.ok();
    let token = opened["data"]["token"].as_str().expect("a session has a token");
    let path = format!("/auth/aws-sigv4/{integration}?connect_session_token={token}");
    client.with_key(None).post(&path, &body).await
}

async fn shown(client: &Client, integration: &str, connection_id: &str) -> Value {
    let path = format!("/connections/{connection_id}?provider_config_key={integration}&refresh_token=true");
    client.get(&path).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_gives_a_role_and_the_rest_is_decided_for_him() {
    let moto = Moto::start().await;
    let (_server, client) = with_role(&moto, &moto.secret_access_key).await;
    let session = json!({"end_user": {"id": "u1"}, "integrations_config_defaults": {
        "roles": {"connection_config": {"base_url": moto.url}}}});
    let made = by_session(&client, session.clone(), "roles", json!({"role_arn": ROLE}))
        .await
        .ok();
    let id = made["connectionId"].as_str().expect("an id").to_owned();
    let first = shown(&client, "roles", &id).await;
    let credentials = &first["credentials"];
    assert_eq!(
        (&credentials["region"], &credentials["service"]),
        (&json!("us-east-1"), &json!("s3"))
    );
    assert_eq!(
        first["connection_config"]["service"], "s3",
        "addresses may be made of it"
    );
    let external_id = credentials["external_id"].as_str().expect("there is one").to_owned();
    assert_eq!(external_id.len(), 36, "a UUID: {external_id}");
    let put = send(client.proxy(Method::PUT, "roles", &id, "/bucket-of-a-customer")).await;
    assert_eq!(put.status, 200, "{}", put.text());

    // He was told beforehand, in this session and in the next; nobody else was.
    let told = async |session: Value| {
        let opened = client.post("/connect/sessions", &session).await.ok();
        let token = opened["data"]["token"].as_str().expect("a token").to_owned();
        let shown = client.with_key(Some(&token)).get("/connect/session").await.ok();
        shown["data"]["external_id"].as_str().expect("it is told").to_owned()
    };
    assert_eq!(told(session.clone()).await, external_id);
    assert_ne!(told(json!({"end_user": {"id": "u2"}})).await, external_id);
    assert_ne!(
        told(json!({"tags": {"a": "b"}})).await,
        told(json!({"tags": {"a": "b"}})).await
    );

    // Authorised anew it keeps both.
    let again = json!({"connection_id": id, "integration_id": "roles", "integrations_config_defaults": {
        "roles": {"connection_config": {"base_url": moto.url}}}});
    let other = json!({"role_arn": ROLE, "region": "eu-west-1"});
    let refused = by_session(&client, again.clone(), "roles", other).await;
    assert_eq!(
        (refused.status, refused.error_code().as_str()),
        (400, "invalid_body"),
        "{}",
        refused.text()
    );
    assert!(refused.text().contains("credentials.region"), "{}", refused.text());
    let _ = by_session(&client, again, "roles", json!({"role_arn": ROLE}))
        .await
        .ok();
    let second = shown(&client, "roles", &id).await;
    for field in ["external_id", "region", "service"] {
        assert_eq!(second["credentials"][field], credentials[field]);
    }
    assert_ne!(second["credentials"]["session_token"], credentials["session_token"]);

    // An import without one gets one, which the next import keeps.
    let import = json!({"provider_config_key": "roles", "connection_id": "imported",
        "credentials": {"type": "AWS_SIGV4", "role_arn": ROLE}, "connection_config": {"base_url": moto.url}});
    let first = client.post("/connections", &import).await.ok()["credentials"]["external_id"].clone();
    assert_eq!(first.as_str().map(str::len), Some(36), "{first}");
    let second = client.post("/connections", &import).await.ok()["credentials"]["external_id"].clone();
    assert_eq!(first, second);
}

const ENDPOINT_KEY: &str = "key-of-the-endpoint-7d21";
const ENDPOINT_PASSWORD: &str = "password-of-the-endpoint-7d21";

#[tokio::test]
async fn keys_of_a_role_come_from_an_endpoint_of_ones_own() {
    let upstream = Upstream::handling(|request: &Received| {
        if !request.target.starts_with("/assume") {
            return Reply::json(200, &json!({}));
        }
        let basic = format!("Basic {}", STANDARD.encode(format!("nango:{ENDPOINT_PASSWORD}")));
        if request.header("x-own-key") != ENDPOINT_KEY && request.header("authorization") != basic {
            return Reply::json(
                403,
                &json!({"error": "access_denied", "error_description": format!("{:?}", request.headers)}),
            );
        }
        let keys = json!({"accessKeyId": "ASIAFROMENDPOINT", "secretAccessKey": "secret-from-the-endpoint",
            "sessionToken": "session-from-the-endpoint"});
        match request.target.as_str() {
            "/assume/wrapped" => Reply::json(200, &json!({"credentials": keys})),
            "/assume/nothing" => Reply::json(200, &json!({"credentials": {}})),
            _ => Reply::json(200, &keys),
        }
    })
    .await;
    let server = TestRuntime::new().egress_loopback().provider_yaml(PROVIDERS).start();
    let client = server.client();
    let of = |unique_key: &str, path: &str, mut custom: Value| {
        custom["stsMode"] = json!("custom");
        custom["service"] = json!("s3");
        custom["defaultRegion"] = json!("eu-central-1");
        custom["stsEndpointUrl"] = json!(format!("{}{path}", upstream.url()));
        json!({"unique_key": unique_key, "provider": "aws-roles", "custom": custom})
    };
    let by_key = json!({"stsAuthType": "api_key", "stsAuthHeader": "x-own-key", "stsApiKey": ENDPOINT_KEY});
    let by_password = json!({"stsAuthType": "basic", "stsAuthUsername": "nango", "stsAuthPassword": ENDPOINT_PASSWORD});
    let session = || {
        json!({"end_user": {"id": "u1"}, "integrations_config_defaults": {
            "key": {"connection_config": {"base_url": upstream.url()}}, "basic": {"connection_config": {"base_url": upstream.url()}}}})
    };
    for integration in [
        of("key", "/assume", by_key.clone()),
        of("basic", "/assume/wrapped", by_password),
        of(
            "wrong",
            "/assume",
            json!({"stsAuthType": "api_key", "stsAuthHeader": "x-own-key", "stsApiKey": "another-key-of-somebody"}),
        ),
        of("nothing", "/assume/nothing", by_key.clone()),
    ] {
        let _ = client.post("/integrations", &integration).await.ok();
    }
    for integration in ["key", "basic"] {
        let made = by_session(&client, session(), integration, json!({"role_arn": ROLE}))
            .await
            .ok();
        let id = made["connectionId"].as_str().expect("an id").to_owned();
        let credentials = shown(&client, integration, &id).await["credentials"].clone();
        assert_eq!(credentials["access_key_id"], "ASIAFROMENDPOINT");
        assert!(
            credentials["expires_at"].is_string(),
            "an hour, unless it says otherwise: {credentials}"
        );
        let asked = upstream.received();
        let asked = asked.last().expect("it was asked");
        let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
        assert_eq!(
            body,
            json!({"role_arn": ROLE, "external_id": credentials["external_id"], "region": "eu-central-1", "service": "s3"})
        );
        assert_eq!(client.proxy_get(integration, &id, "/bucket").await.status, 200);
        let signed = upstream.received();
        let signed = signed.last().expect("it was sent");
        assert_eq!(signed.header("x-amz-security-token"), "session-from-the-endpoint");
        let path = format!("/connections/{id}?provider_config_key={integration}&force_refresh=true");
        let _ = client.get(&path).await.ok();
    }
    for integration in ["wrong", "nothing"] {
        let refused = by_session(&client, session(), integration, json!({"role_arn": ROLE})).await;
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (502, "aws_sigv4_sts_request_failed"),
            "{}",
            refused.text()
        );
        assert!(
            !refused.text().contains("another-key-of-somebody"),
            "{}",
            refused.text()
        );
    }
    for (unique_key, custom, code) in [
        (
            "no-service",
            json!({"defaultRegion": "eu-west-1"}),
            "missing_aws_sigv4_service",
        ),
        ("no-region", json!({"service": "s3"}), "missing_aws_sigv4_region"),
        (
            "no-keys",
            json!({"service": "s3", "defaultRegion": "eu-west-1"}),
            "missing_aws_sigv4_builtin_credentials",
        ),
        (
            "no-endpoint",
            json!({"service": "s3", "defaultRegion": "eu-west-1", "stsMode": "custom"}),
            "missing_aws_sigv4_sts_endpoint",
        ),
    ] {
        let integration = json!({"unique_key": unique_key, "provider": "aws-roles", "custom": custom});
        let _ = client.post("/integrations", &integration).await.ok();
        let refused = by_session(&client, session(), unique_key, json!({"role_arn": ROLE})).await;
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (400, code),
            "{}",
            refused.text()
        );
    }
    let secretless =
        json!({"unique_key": "x", "provider": "aws-roles", "custom": {"stsMode": "custom", "stsAuthType": "api_key"}});
    let refused = client.post("/integrations", &secretless).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("custom.stsApiKey"), "{}", refused.text());
}
