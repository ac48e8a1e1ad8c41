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
