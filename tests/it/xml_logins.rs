//! Logins in XML, and with assertions of SAML, by the entries of Nango's published file with an upstream here in the place of the vendors.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nango_runtime::provider::Catalogue;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Reply, TestRuntime, Upstream, node, repository};
use serde_json::{Value, json};

/// An entry of Nango's file, changed.
fn entry(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let file = repository::root().join("tests/node/node_modules/@nangohq/providers/providers.yaml");
    let file = repository::require(file, "node");
    let catalogue = Catalogue::load(&[file]).expect("the file loads");
    let mut json = catalogue.get(name).expect("the entry is there").json.clone();
    change(&mut json);
    // What is written by the loader is not in the file; here, order is lost, so it stays.
    json!({ name: json }).to_string()
}

fn sage(request: &Received) -> Reply {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let xml = |text: &str| {
        Reply::status(200)
            .header("content-type", "text/xml; charset=UTF-8")
            .body(text.to_owned())
    };
    if body.contains("<password>p&lt;ss &amp; wörd</password>") {
        return xml(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><response><control><status>success</status></control><operation>\
             <authentication><status>success</status><sessiontimeout>2999-01-01T00:00:00+00:00</sessiontimeout></authentication>\
             <result><status>success</status><data><api><sessionid>sage-session-token..</sessionid></api></data></result>\
             </operation></response>",
        );
    }
    xml(
        "<response><operation><authentication><status>failure</status></authentication><errormessage><error><errorno>XL03000006</errorno>\
         <description></description><description2>Sign-in information is incorrect</description2></error></errormessage></operation></response>",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_in_xml_is_in_the_order_of_the_file_and_escaped() {
    let upstream = Upstream::handling(sage).await;
    let yaml = entry("sage-intacct", |entry| {
        entry["token_url"] = format!("{}/xmlgw.phtml", upstream.url()).into();
        entry["proxy"]["base_url"] = upstream.url().into();
    });
    let server = TestRuntime::new().egress_loopback().provider_yaml(&yaml).start();
    let client = server.client();
    let _ = client.create_integration("sage", "sage-intacct").await.ok();
    let given = |password: &str| {
        json!({"type": "TWO_STEP", "senderId": "sender", "senderPassword": "the-senders-password", "userId": "u",
            "companyId": "c</companyid><admin>", "userPassword": password})
    };
    let refused = client.import_connection("sage", "c", given("a-wrong-password")).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    let text = refused.text();
    assert!(text.contains("XL03000006 (Sign-in information is incorrect)"), "{text}");
    let _ = client.import_connection("sage", "c", given("p<ss & wörd")).await.ok();
    let shown = client.get("/connections/c?provider_config_key=sage").await.ok();
    assert_eq!(shown["credentials"]["token"], "sage-session-token..", "{shown}");
    assert_eq!(
        shown["credentials"]["expires_at"], "2999-01-01T00:00:00.000Z",
        "{shown}"
    );
    let asked = upstream.received().pop().expect("a request");
    assert_eq!(asked.header("content-type"), "application/xml");
    let body = String::from_utf8_lossy(&asked.body).into_owned();
    let (before, rest) = body.split_once("<controlid>").expect("a control");
    let (_now, after) = rest.split_once("</controlid>").expect("a control");
    assert_eq!(
        before,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><request><control><senderid>sender</senderid><password>the-senders-password</password>"
    );
    assert_eq!(
        after,
        "<uniqueid>false</uniqueid><dtdversion>3.0</dtdversion><includewhitespace>false</includewhitespace></control><operation>\
         <authentication><login><userid>u</userid><companyid>c&lt;/companyid&gt;&lt;admin&gt;</companyid><password>p&lt;ss &amp; wörd</password></login></authentication>\
         <content><function controlid=\"{{$guid}}\"><getAPISession></getAPISession></function></content></operation></request>"
    );
}

/// What the assertion says, once another implementation has verified it.
fn verified(assertion: &str, public: &str) -> Value {
    let python = repository::require(repository::cache().join("oauth1/bin/python"), "oauth1");
    let mut command = Command::new(python);
    command
        .arg(repository::root().join("tests/oauth1/verify_saml.py"))
        .env("PUBLIC_KEY", public)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("python can be started");
    let mut input = child.stdin.take().expect("an input");
    input.write_all(assertion.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saml_assertion_is_signed_and_kept_without_its_key() {
    let assertions = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&assertions);
    let upstream = Upstream::handling(move |request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let form = reqwest::Url::parse(&format!("http://form.test/?{body}")).expect("a form");
        let form: Vec<(String, String)> = form.query_pairs().into_owned().collect();
        let named = |name: &str| {
            form.iter()
                .find(|(found, _)| found == name)
                .map(|(_, value)| value.clone())
        };
        if named("grant_type").as_deref() != Some("urn:ietf:params:oauth:grant-type:saml2-bearer") {
            return Reply::json(200, &json!({"asked_by": request.header("authorization")}));
        }
        noted.lock().expect("no poison").extend(named("assertion"));
        Reply::json(
            200,
            &json!({"access_token": "a-token-for-saml-41", "expires_in": 86_400, "token_type": "Bearer"}),
        )
    })
    .await;
    let yaml = entry("sap-success-factors", |entry| {
        entry["token_url"] = format!("{}/oauth/token", upstream.url()).into();
        entry["proxy"]["base_url"] = upstream.url().into();
        entry["assertion"]["recipient"] = "https://${connectionConfig.apiServer}/oauth/token?a=1&b=2".into();
    });
    let server = TestRuntime::new().egress_loopback().provider_yaml(&yaml).start();
    let client = server.client();
    let _ = client.create_integration("sap", "sap-success-factors").await.ok();
    let keys = node::run(&server, "jwt.mjs", &[]);
    let (private, public) = (&keys["rsa"]["private"], keys["rsa"]["public"].as_str().expect("a key"));
    let certificate = include_str!("../../runtime/src/egress/test_certificates/client.pem");
    let with_certificate = format!("{}{certificate}", private.as_str().expect("a key"));
    let import = |user: &str, key: &Value| {
        json!({
            "provider_config_key": "sap", "connection_id": "c",
            "connection_config": {"apiServer": "api41preview.sapsf.com", "companyId": "SFSALES012345"},
            "credentials": {"type": "TWO_STEP", "apiKey": "YzA4MTVhMTQzZTUzMjc3NTk0ZDY2Nzc1ZmVkOA",
                "assertionOption": {"userName": user, "privateKey": key}},
        })
    };
    let _ = client.post("/connections", &import("j&d ö'1", private)).await.ok();
    let asked = client.proxy_get("sap", "c", "/odata/v2/User").await.ok();
    assert_eq!(asked["asked_by"], "Bearer a-token-for-saml-41");
    let last = || {
        assertions
            .lock()
            .expect("no poison")
            .last()
            .cloned()
            .expect("an assertion")
    };
    let assertion = last();
    let said = verified(&assertion, public);
    let expected = json!({
        "issuer": "www.successfactors.com", "name": "j&d ö'1", "recipient": "https://api41preview.sapsf.com/oauth/token?a=1&b=2",
        "audiences": ["www.successfactors.com"], "has_session": true, "certificate": null,
        "attributes": {"api_key": ["YzA4MTVhMTQzZTUzMjc3NTk0ZDY2Nzc1ZmVkOA"], "use_username": ["true"], "use_email": ["false"],
            "external_user": ["false"]},
        "before": said["before"], "until": said["until"],
    });
    assert_eq!(said, expected);

    // The key is not kept; the next token is asked for with the same assertion.
    let shown = client
        .get("/connections/c?provider_config_key=sap&force_refresh=true")
        .await
        .ok();
    assert!(!shown.to_string().contains("PRIVATE KEY"), "{shown}");
    assert_eq!(assertions.lock().expect("no poison").len(), 2);
    assert_eq!(last(), assertion);

    // With the certificate of the key, where its text has it.
    let with_certificate = Value::from(with_certificate);
    let _ = client
        .post("/connections", &import("ann", &with_certificate))
        .await
        .ok();
    let said = verified(&last(), public);
    let packed: String = certificate.lines().filter(|line| !line.starts_with("-----")).collect();
    assert_eq!(said["certificate"], packed);
    // A name that two canonical spellings exist of is refused, and told of without its value.
    let refused = client.post("/connections", &import("a\"b", private)).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(
        refused.text().contains("`nameIdentifier` holds a character"),
        "{}",
        refused.text()
    );
}
