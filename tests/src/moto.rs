//! moto, a server that others wrote and that answers as AWS does. It checks the signature of every request.

use std::process::Command;

use http::Method;

use crate::client::{Client, send};
use crate::process::{Process, loopback_url};
use crate::repository;

/// Requests that are answered whatever their signature: those that make the user below.
const UNCHECKED: usize = 3;

/// A server of its own with one user, who may do everything. Dropping it stops it.
#[derive(Debug)]
pub struct Moto {
    pub url: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    _process: Process,
}

impl Moto {
    /// Starts it and makes the user.
    ///
    /// # Panics
    ///
    /// When `scripts/test-deps` has not brought it, or it does not start.
    pub async fn start() -> Self {
        let program = repository::require(repository::cache().join("moto/bin/moto_server"), "moto");
        let mut command = Command::new(program);
        command
            .args(["--host", "127.0.0.1", "--port", "0"])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", UNCHECKED.to_string())
            .env("PYTHONUNBUFFERED", "1");
        let process = Process::start("moto", &mut command);
        let url = process.wait_for_line(loopback_url);
        let client = Client::new(&url, None);
        let _ = iam(&client, "Action=CreateUser&UserName=tester").await;
        let key = iam(&client, "Action=CreateAccessKey&UserName=tester").await;
        let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
                      %22Action%22%3A%22*%22%2C%22Resource%22%3A%22*%22%7D%5D%7D";
        let put = format!("Action=PutUserPolicy&UserName=tester&PolicyName=all&PolicyDocument={policy}");
        let _ = iam(&client, &put).await;
        Self {
            url,
            access_key_id: element(&key, "AccessKeyId"),
            secret_access_key: element(&key, "SecretAccessKey"),
            _process: process,
        }
    }
}

/// One call of IAM; the signature only says which service is meant.
async fn iam(client: &Client, form: &str) -> String {
    let request = client
        .request(Method::POST, "/")
        .header("content-type", "application/x-www-form-urlencoded")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=none",
        )
        .body(format!("{form}&Version=2010-05-08"));
    let answer = send(request).await;
    assert_eq!(answer.status, 200, "{form}: {}", answer.text());
    answer.text()
}

/// The text of the first element of that name.
fn element(xml: &str, name: &str) -> String {
    let (_, rest) = xml
        .split_once(&format!("<{name}>"))
        .expect("the answer has the element");
    let (text, _) = rest.split_once("</").expect("the element ends");
    text.to_owned()
}
