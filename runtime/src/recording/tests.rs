//! Fixtures and comparisons without a guest.

use serde_json::json;

use super::*;

fn request(method: &str, path: &str, body: Body) -> Request {
    Request::new(
        method,
        path,
        &[],
        [("Authorization", "Bearer s"), ("X-Page", "1")],
        body,
    )
}

fn answer(text: &str) -> Outcome {
    let exchange = Exchange::new(200, [("content-type", "application/json".to_owned())], text.as_bytes());
    Outcome::Ok(serde_json::to_value(exchange).unwrap())
}

#[test]
fn requests_are_the_same_whatever_their_notation() {
    let mut book = Book::default();
    let body = |text: &str| Body::Text(text.to_owned());
    book.add(request("POST", "/a?b=2&a=1%20", body(r#"{"x":1,"y":2}"#)), answer("1"));
    let same = Request::new(
        "post",
        "a?a=1+",
        &[("b".into(), "2".into())],
        [("x-page", "1")],
        body(r#"{ "y":2, "x":1 }"#),
    );
    assert_eq!(book.answer(&same), Ok(answer("1")));
    assert_eq!(book.answer(&same), Ok(answer("1")), "the last one is given ever after");
    let other = Request::new("POST", "/a?a=1+&b=3", &[], [("x-page", "1")], Body::Empty);
    assert_eq!(
        book.answer(&other).unwrap_err(),
        "POST /a?a=1 &b=3 was not recorded; the nearest recorded request is POST /a?a=1 &b=2: there the query has b=2"
    );
}

#[test]
fn answers_come_in_order() {
    let mut book = Book::default();
    for text in ["1", "2"] {
        book.add(request("GET", "/a", Body::Empty), answer(text));
    }
    let asked = request("GET", "/a", Body::Empty);
    let given: Vec<_> = (0..3).map(|_| book.answer(&asked).unwrap()).collect();
    assert_eq!(given, [answer("1"), answer("2"), answer("2")]);
    assert!(book.unused().is_empty());
}

/// As Nango's own `dryrun --save` writes them.
const NANGOS: &str = r#"{
    "input": {"id": 1},
    "output": {"ok": true},
    "nango": {
        "getConnection": {"connectionId": "c", "provider": "github"},
        "getMetadata": {"owner": "o"},
        "batchSave": {"Issue": [{"id": "1"}]}
    },
    "api": {
        "get": {
            "/user": {"response": {"login": "me"}, "status": 200, "headers": {"content-type": "application/json"}, "hash": "x"},
            "/items": [
                {"response": [1], "request": {"params": {"page": "1"}}},
                {"response": [2], "request": {"params": {"page": 2}, "headers": {"x-a": "b"}}}
            ]
        },
        "post": {"/items": [{"response": "made", "status": 201, "headers": {"content-type": "text/plain"}, "request": {"data": {"n": 1}}}]}
    }
}"#;

#[test]
fn nangos_fixtures_load() {
    let fixture = Fixture::parse(NANGOS).unwrap();
    let recording = fixture.recording("items", FunctionKind::Sync);
    assert_eq!(recording.subject.connection_id, "c");
    assert_eq!(recording.subject.metadata, *json!({"owner": "o"}).as_object().unwrap());
    let mut book = Book::default();
    for call in &recording.calls {
        let request = serde_json::from_value(call.arguments.clone()).unwrap();
        book.add(request, call.result.clone().unwrap());
    }
    let text = |outcome: Outcome| match outcome {
        Outcome::Ok(value) => {
            String::from_utf8(serde_json::from_value::<Exchange>(value).unwrap().body.bytes()).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let get = |path: &str, headers: &[(&'static str, &'static str)]| {
        Request::new("GET", path, &[], headers.iter().copied(), Body::Empty)
    };
    assert_eq!(text(book.answer(&get("/user", &[])).unwrap()), r#"{"login":"me"}"#);
    assert_eq!(
        text(book.answer(&get("/items?page=2", &[("X-A", "b")])).unwrap()),
        "[2]"
    );
    assert_eq!(text(book.answer(&get("/items?page=1", &[])).unwrap()), "[1]");
    let post = Request::new("POST", "/items", &[], [], Body::Text(r#"{"n": 1}"#.into()));
    assert_eq!(text(book.answer(&post).unwrap()), "made");
    assert!(Fixture::parse(r#"{"api": {"get": {"/x": {"status": "no"}}}}"#).is_err());
}

fn run(output: &str, records: &Value) -> Recording {
    let mut recording = Fixture::default().recording("items", FunctionKind::Action);
    recording.output = Ok(output.to_owned());
    recording.calls.push(Call {
        import: import::BATCH_SAVE.into(),
        arguments: json!({"model": "Item", "records": records}),
        result: Some(Outcome::Ok(json!([]))),
        started_us: 0,
        took_us: 0,
    });
    recording
}

#[test]
fn variables_are_in_a_fixture_as_nango_has_them() {
    let mut ran = run("null", &json!([]));
    let mut ask = |import: &'static str, arguments: Value, told: Value| {
        ran.calls.push(Call {
            import: import.into(),
            arguments,
            result: Some(Outcome::Ok(told)),
            started_us: 0,
            took_us: 0,
        });
    };
    ask(import::VARIABLE, json!({"name": "B"}), json!("REDACTED"));
    ask(import::VARIABLE, json!({"name": "C"}), Value::Null);
    ask(
        import::VARIABLES,
        Value::Null,
        json!([["A", "REDACTED"], ["B", "REDACTED"]]),
    );
    let text = Fixture::of(&ran).to_text();
    let fixture = Fixture::parse(&text).unwrap();
    let told = serde_json::to_value(&fixture.nango.get_environment_variables).unwrap();
    let both = json!([{"name": "A", "value": "REDACTED"}, {"name": "B", "value": "REDACTED"}]);
    assert_eq!((told, fixture.runtime.calls.len()), (both, 0));
    let calls = fixture.recording("items", FunctionKind::Action).calls;
    let all = calls.iter().find(|call| call.import == import::VARIABLES).unwrap();
    assert_eq!(
        all.result,
        Some(Outcome::Ok(json!([["A", "REDACTED"], ["B", "REDACTED"]])))
    );
    let without = Fixture::of(&run("null", &json!([])));
    assert_eq!(without.nango.get_environment_variables, None);
}

#[test]
fn what_is_json_stays_json_when_it_is_masked() {
    let mut recording = run(r#"{"n": 12345678, "text": "pin 12345678"}"#, &json!([]));
    recording.subject.input = "no JSON 12345678".to_owned();
    let mask_text = |text: &str| text.replace("12345678", "REDACTED");
    recording.mask(
        |value| {
            if let Some(object) = value.as_object_mut() {
                object.insert("n".into(), json!("REDACTED"));
                object.insert("text".into(), json!("pin REDACTED"));
            }
        },
        mask_text,
    );
    assert_eq!(recording.output.unwrap(), r#"{"n":"REDACTED","text":"pin REDACTED"}"#);
    assert_eq!(recording.subject.input, "no JSON REDACTED");
}

#[test]
fn a_fixture_of_a_run_expects_that_run() {
    let ran = run(r#"{"n":1}"#, &json!([{"id": 1, "title": "a"}]));
    let fixture = Fixture::of(&ran);
    let fixture = Fixture::parse(&fixture.to_text()).unwrap();
    assert_eq!(fixture.verdict(&ran).differences, []);
    let other = run(r#"{"n":2}"#, &json!([{"id": 1, "title": "b"}, {"id": 2}]));
    let places: Vec<String> = fixture
        .verdict(&other)
        .differences
        .into_iter()
        .map(|it| it.place)
        .collect();
    assert_eq!(places, ["output/n", "record Item 1/title", "record Item 2"]);
}

#[test]
fn a_comparison_names_the_first_call_that_differs() {
    let (before, after) = (run("1", &json!([{"id": 1}])), run("1", &json!([{"id": 2}])));
    assert!(Comparison::of(&before, &before).same);
    let comparison = Comparison::of(&before, &after);
    let first = comparison.first_call.unwrap();
    assert_eq!(first.number, 1);
    assert_eq!(
        first.after.as_deref(),
        Some(r#"records.batch-save {"model":"Item","records":[{"id":2}]}"#)
    );
    let places: Vec<String> = comparison.differences.into_iter().map(|it| it.place).collect();
    assert_eq!(places, ["record Item 1", "record Item 2"]);
}

#[test]
fn seeds_survive_being_written() {
    let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 7 % 256).unwrap());
    assert_eq!(Seed::new(bytes).bytes(), bytes);
    assert_eq!(Seed::default().bytes(), [0; 32]);
}
