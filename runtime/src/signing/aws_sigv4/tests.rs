//! The signatures that AWS publishes: its test suite for Signature Version 4, the example of the IAM guide, and those of the
//! S3 guide (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).

use super::*;
use crate::credentials::Secret;
use crate::model::JsonObject;

/// 2015-08-30T12:36:00Z
const SUITE_MS: i64 = 1_440_938_160_000;
/// 2013-05-24T00:00:00Z
const S3_MS: i64 = 1_369_353_600_000;

fn signature(authorization: &str) -> &str {
    authorization.rsplit_once("Signature=").unwrap().1
}

fn suite(service: &str, method: &Method, uri: &str, headers: &[(&'static str, &str)], body: &str) -> String {
    let signer = Signer {
        access_key_id: "AKIDEXAMPLE",
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        region: "us-east-1",
        service,
        now_ms: SUITE_MS,
    };
    let uri: Uri = uri.parse().unwrap();
    let mut signed = vec![("host", host(&uri)), ("x-amz-date", amz_date(SUITE_MS))];
    signed.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
    signer.authorization(&Signed {
        method,
        uri: &uri,
        headers: signed,
        payload: hex(&Sha256::digest(body)),
    })
}

#[test]
fn the_suite_of_aws() {
    let host = "https://example.amazonaws.com";
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    for (path, expected) in [
        // get-vanilla, get-slash, get-slashes, get-relative, get-relative-relative, get-slash-dot-slash
        ("/", vanilla),
        ("//", vanilla),
        ("/example/..", vanilla),
        ("/example1/example2/../..", vanilla),
        ("/./", vanilla),
        // get-vanilla-query-order-key-case
        (
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        ("/?a=b+c&a=%41", &suite_of("/?a=A&a=b%20c")),
    ] {
        let header = suite("service", &Method::GET, &format!("{host}{path}"), &[], "");
        assert_eq!(signature(&header), expected, "{path}");
    }
    let post = suite("service", &Method::POST, &format!("{host}/"), &[], "");
    assert_eq!(
        post,
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, \
         Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
    );
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let post = suite("service", &Method::POST, &format!("{host}/"), &form, "Param1=value1");
    assert_eq!(
        signature(&post),
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
    );
}

fn suite_of(path: &str) -> String {
    let header = suite(
        "service",
        &Method::GET,
        &format!("https://example.amazonaws.com{path}"),
        &[],
        "",
    );
    signature(&header).to_owned()
}

#[test]
fn the_example_of_the_iam_guide() {
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let uri = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08";
    assert_eq!(
        suite("iam", &Method::GET, uri, &form, ""),
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, \
         Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
}

fn aws(service: &str, session_token: Option<&str>) -> AwsCredentials {
    AwsCredentials {
        region: "us-east-1".to_owned(),
        service: service.to_owned(),
        access_key_id: Secret::new("AKIAIOSFODNN7EXAMPLE".to_owned()),
        secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
        session_token: session_token.map(|token| Secret::new(token.to_owned())),
        expires_at_ms: None,
        role_arn: None,
        external_id: None,
        raw: Secret::new(JsonObject::new()),
    }
}

fn s3(method: &Method, target: &str, headers: &[(&'static str, &str)], body: &str) -> HeaderMap {
    let uri: Uri = format!("https://examplebucket.s3.amazonaws.com{target}")
        .parse()
        .unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    sign(
        &aws("s3", None),
        S3_MS,
        method,
        &uri,
        Payload::Bytes(body.as_bytes()),
        &mut map,
    )
    .unwrap();
    map
}

#[test]
fn the_examples_of_the_s3_guide() {
    for (method, target, headers, body, expected) in [
        (
            Method::GET,
            "/test.txt",
            &[("range", "bytes=0-9")][..],
            "",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            Method::PUT,
            "/test%24file.text",
            &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            "Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            Method::GET,
            "/?lifecycle",
            &[],
            "",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            Method::GET,
            "/?max-keys=2&prefix=J",
            &[],
            "",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let signed = s3(&method, target, headers, body);
        let header = signed["authorization"].to_str().unwrap();
        assert_eq!(signature(header), expected, "{method} {target}");
    }
    // The key in its literal spelling is the same key.
    let literal = s3(&Method::GET, "/test$file.text", &[], "");
    assert_eq!(
        literal["authorization"],
        s3(&Method::GET, "/test%24file.text", &[], "")["authorization"]
    );
}

#[test]
fn what_is_not_in_memory_is_sent_unsigned_to_s3_and_to_nobody_else() {
    let uri = Uri::from_static("https://h.test/");
    let mut headers = HeaderMap::new();
    sign(
        &aws("s3", None),
        S3_MS,
        &Method::PUT,
        &uri,
        Payload::Stream,
        &mut headers,
    )
    .unwrap();
    assert_eq!(headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
    let refused = sign(
        &aws("sqs", None),
        S3_MS,
        &Method::PUT,
        &uri,
        Payload::Stream,
        &mut headers,
    );
    assert_eq!(refused, Err(PayloadNeeded));
}

#[test]
fn a_session_token_is_sent_and_signed_and_what_the_caller_signed_is_not() {
    let uri = Uri::from_static("https://sqs.us-east-1.amazonaws.com/");
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer mine".parse().unwrap());
    headers.insert("x-amz-security-token", "mine".parse().unwrap());
    headers.insert("user-agent", "anything".parse().unwrap());
    sign(
        &aws("sqs", Some("session")),
        S3_MS,
        &Method::GET,
        &uri,
        Payload::Bytes(b""),
        &mut headers,
    )
    .unwrap();
    assert_eq!(headers["x-amz-security-token"], "session");
    let header = headers["authorization"].to_str().unwrap();
    assert!(
        header.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"),
        "{header}"
    );
    assert!(headers["authorization"].is_sensitive() && headers["x-amz-security-token"].is_sensitive());
}

#[test]
fn paths_are_encoded_once_for_s3_and_twice_for_others() {
    let path = |service: &str, path: &str| {
        let aws = aws(service, None);
        let signer = Signer {
            access_key_id: "",
            secret_access_key: "",
            region: &aws.region,
            service: &aws.service,
            now_ms: 0,
        };
        signer.canonical_path(path)
    };
    assert_eq!(path("s3", "/a%20b/(c)//.."), "/a%20b/%28c%29//..");
    assert_eq!(path("execute-api", "/a%20b/(c)//d/"), "/a%2520b/%28c%29/d/");
    assert_eq!(path("execute-api", "/"), "/");
    // get-utf8 and get-space of the suite, which start from a path that is not encoded yet.
    assert_eq!(path("service", "/ሴ"), "/%E1%88%B4");
    assert_eq!(path("service", "/example space/"), "/example%20space/");
}
