//! Requests signed for AWS, in front of a server that checks signatures as AWS does.

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::moto::Moto;
use nango_runtime_tests::{Client, Server, TestRuntime};
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
  connection_config: {}
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
    let custom = json!({"access_key_id": moto.access_key_id, "secret_access_key": secret_access_key});
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
