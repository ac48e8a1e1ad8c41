//! Each layer, each error of the settings.

use super::*;

/// The settings of a file, variables and flags, or the error's text.
fn load_text(file: &str, environment: &[(&str, &str)], flags: Vec<Flag>) -> Result<Settings, String> {
    // The process id keeps parallel test binaries apart, the counter parallel tests.
    static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("nango-runtime-config-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("config.toml");
    std::fs::write(&path, file).unwrap();
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings = load(Some(&path), environment, flags);
    std::fs::remove_dir_all(&folder).unwrap();
    settings.map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
}

fn error_of(file: &str, environment: &[(&str, &str)]) -> String {
    load_text(file, environment, Vec::new()).unwrap_err()
}

#[test]
fn the_defaults_are_valid() {
    let config = Config::default();
    assert_eq!(config.listen.to_string(), "127.0.0.1:3003");
    assert!(config.secret_key.is_none() && config.encryption_key.is_none() && config.database_url.is_none());
    assert_eq!(Limits::default().run_memory_bytes, 128 << 20);
}

#[test]
fn later_layers_override_earlier_ones() {
    let file = "listen = '127.0.0.1:1'\ndata_dir = 'from-file'\n[limits]\nconcurrent_runs = 2\naction_timeout_ms = 5";
    let environment = [
        ("NANGO_DATA_DIR", "from-environment"),
        ("NANGO_LIMITS_CONCURRENT_RUNS", "3"),
        ("NANGO_EGRESS_ALLOW", "10.0.0.0/8, ::1/128"),
        ("NANGO_OVERRIDE_HOSTS", "api.example.com, .example.org"),
        ("NANGO_VERIFY_CONNECTIONS", "false"),
        ("NANGO_LIMITS_PROXY_RATE_LIMIT_RETRIES", "0"),
    ];
    let listen = Flag {
        name: "--listen",
        key: "listen",
        value: "127.0.0.1:9".into(),
    };
    let config = load_text(file, &environment, vec![listen]).unwrap().config;
    assert_eq!(config.listen.port(), 9);
    assert_eq!(config.data_dir, PathBuf::from("from-environment"));
    assert_eq!(config.limits.concurrent_runs, 3);
    assert_eq!(config.limits.action_timeout_ms, 5);
    assert_eq!(config.egress_allow.len(), 2);
    assert!(!config.verify_connections);
    assert_eq!(config.override_hosts, ["api.example.com", ".example.org"]);
    assert_eq!(config.limits.proxy_rate_limit_retries, 0);
}

#[test]
fn browsers_find_the_server() {
    let base = |file: &str| load_text(file, &[], Vec::new()).map(|settings| settings.config.public_base_url());
    for (file, expected) in [
        ("", "http://127.0.0.1:3003"),
        ("listen = '0.0.0.0:80'", "http://localhost:80"),
        ("listen = '[::1]:8080'", "http://[::1]:8080"),
        (
            "public_url = 'https://connect.example.com/'",
            "https://connect.example.com",
        ),
        ("public_url = 'https://example.com/nango/'", "https://example.com/nango"),
    ] {
        assert_eq!(base(file).as_deref(), Ok(expected), "{file}");
    }
    for url in [
        "example.com",
        "ftp://a.test",
        "https://a.test/?x=1",
        "https://a.test/#x",
        "https://u:p@a.test",
    ] {
        let error = base(&format!("public_url = '{url}'")).unwrap_err();
        assert!(
            error.starts_with("the setting `public_url` (in FILE) must be a URL"),
            "{error}"
        );
    }
}

#[test]
fn who_may_frame_the_connect_page() {
    let sources = |value: &str| {
        let settings = load_text(&format!("connect_frame_ancestors = {value}"), &[], vec![]);
        settings.map(|settings| settings.config.connect_frame_ancestors)
    };
    assert_eq!(
        sources(r#"["https://app.example.com", "'self'"]"#).unwrap(),
        ["https://app.example.com", "'self'"]
    );
    for value in [
        "[]",
        r#"[""]"#,
        r#"["https://a.test; script-src *"]"#,
        r#"["https://a.test, *"]"#,
        r#"["https://a.test\n"]"#,
        "'https:'",
    ] {
        let error = sources(value).unwrap_err();
        assert!(error.contains("must be a list of sources such as"), "{value}: {error}");
    }
}

#[test]
fn which_pages_may_wait_for_a_popup() {
    let origins = |value: &str| {
        let settings = load_text(&format!("connect_origins = {value}"), &[], vec![]);
        settings.map(|settings| settings.config.connect_origins)
    };
    assert_eq!(origins("[]").unwrap(), Vec::<String>::new());
    let given = r#"["https://app.example.com", "http://localhost:5173", "capacitor://localhost"]"#;
    assert_eq!(origins(given).unwrap().len(), 3);
    for value in [
        r#"["app.example.com"]"#,
        r#"["https://app.example.com/"]"#,
        r#"["https://app.example.com:443"]"#,
        r#"["https://APP.example.com"]"#,
        r#"["*"]"#,
        "true",
    ] {
        let error = origins(value).unwrap_err();
        assert!(error.contains("must be a list of origins such as"), "{value}: {error}");
    }
}

#[test]
fn loopback_is_a_name_for_both_of_its_networks() {
    let allowed = |value: &str| load_text("", &[("NANGO_EGRESS_ALLOW", value)], vec![]).map(|s| s.config.egress_allow);
    let networks: Vec<ipnet::IpNet> = ["127.0.0.0/8", "::1/128", "10.0.0.0/8"]
        .map(|net| net.parse().unwrap())
        .into();
    assert_eq!(allowed("loopback,10.0.0.0/8").unwrap(), networks);
    assert!(allowed("localhost").is_err());
}

#[test]
fn unknown_keys_are_named() {
    let check = |file, expected| assert_eq!(error_of(file, &[]), expected);
    check(
        "lisen = 'x'",
        "unknown setting `lisen` in FILE; did you mean `listen`?; config.default.toml lists all settings",
    );
    check(
        "concurrent_runs = 3",
        "unknown setting `concurrent_runs` in FILE; did you mean `limits.concurrent_runs`?; config.default.toml lists all settings",
    );
    check(
        "[limts]\nconcurrent_runs = 3",
        "unknown setting `limts.concurrent_runs` in FILE; did you mean `limits.concurrent_runs`?; config.default.toml lists all settings",
    );
    check(
        "[limits]\naction_timeout = 3",
        "unknown setting `limits.action_timeout` in FILE; did you mean `limits.action_timeout_ms`?; config.default.toml lists all settings",
    );
    check(
        "limts = 3",
        "unknown setting `limts` in FILE; did you mean `limits`?; config.default.toml lists all settings",
    );
    check(
        "[colours]\nred = 1",
        "unknown setting `colours.red` in FILE; config.default.toml lists all settings",
    );
}

#[test]
fn unknown_variables_that_resemble_a_setting_are_errors_and_others_are_reported() {
    assert_eq!(
        error_of("", &[("NANGO_LISTEM", "x")]),
        "the environment variable NANGO_LISTEM is no setting; did you mean `NANGO_LISTEN`?; config.default.toml lists all settings"
    );
    // Nothing there is like it, and whose it is is clear.
    assert_eq!(
        error_of("", &[("NANGO_LIMITS_FOO", "7")]),
        "the environment variable NANGO_LIMITS_FOO is no setting; config.default.toml lists all settings"
    );
    let environment = [
        ("NANGO_SERVER_URL", "x"),
        ("NANGO_HOSTPORT", "x"),
        ("NANGO_TEST_X", "x"),
        ("PATH", "x"),
    ];
    let settings = load_text("", &environment, Vec::new()).unwrap();
    assert_eq!(settings.ignored_variables, ["NANGO_SERVER_URL"]);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let settings = load_text("", &[("NANGO_DATA_DIR", ""), ("NANGO_LISTEN", "")], Vec::new()).unwrap();
    assert_eq!(settings.config.data_dir, PathBuf::from("nango-data"));
}

#[test]
fn bad_values_are_refused_with_their_origin() {
    let check = |file, environment: &[(&str, &str)], expected| assert_eq!(error_of(file, environment), expected);
    check(
        "listen = 'localhost'",
        &[],
        "the setting `listen` (in FILE) must be an address and port such as 127.0.0.1:3003, not \"localhost\"",
    );
    check(
        "",
        &[("NANGO_LIMITS_CONCURRENT_RUNS", "many")],
        "the setting `limits.concurrent_runs` (from NANGO_LIMITS_CONCURRENT_RUNS) must be a number from 1 to 10000, not \"many\"",
    );
    check(
        "[limits]\nrun_memory_bytes = 5",
        &[],
        "the setting `limits.run_memory_bytes` (in FILE) must be bytes from 1048576 (1 MiB) to 4294967296 (4 GiB), not 5",
    );
    check(
        "[limits]\naction_timeout_ms = -1",
        &[],
        "the setting `limits.action_timeout_ms` (in FILE) must be milliseconds from 1 to 604800000 (a week), not -1",
    );
    check(
        "egress_allow = ['10.0.0.0/99']",
        &[],
        "the setting `egress_allow` (in FILE) must be a list of networks such as [\"10.0.0.0/8\", \"::1/128\"], or [\"loopback\"], not [\"10.0.0.0/99\"]",
    );
    check(
        "log_format = 'xml'",
        &[],
        "the setting `log_format` (in FILE) must be \"human\" or \"json\", not \"xml\"",
    );
    check(
        "[limits]\nproxy_total_timeout_ms = 10_000\nproxy_connect_timeout_ms = 20_000",
        &[],
        "the setting `limits.proxy_connect_timeout_ms` (in FILE) is 20000, but at most `limits.proxy_total_timeout_ms` = 10000 makes sense",
    );
}

#[test]
fn refused_secrets_are_not_repeated() {
    let check = |name, value: &str| {
        let error = error_of("", &[(name, value)]);
        assert!(!error.contains(value) && error.contains(name), "{error}");
    };
    check("NANGO_SECRET_KEY", "hunter2");
    // Version 1, and version 4 without hyphens.
    check("NANGO_SECRET_KEY", "c232ab00-9414-11ec-b3c8-9f6bdeced846");
    check("NANGO_SECRET_KEY", "4bd5efca1c2a4b8e9a53a1b0d8c9f6e7");
    check("NANGO_ENCRYPTION_KEY", "c2hvcnQ=");
    check("NANGO_DATABASE_URL", "mysql://u:hunter2@db/x");
}

#[test]
fn valid_secrets_are_taken_and_not_shown() {
    let environment = [
        ("NANGO_SECRET_KEY", "4bd5efca-1c2a-4b8e-9a53-a1b0d8c9f6e7"),
        ("NANGO_ENCRYPTION_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("NANGO_DATABASE_URL", "postgres://u:hunter2@db/x"),
    ];
    let config = load_text("", &environment, Vec::new()).unwrap().config;
    assert!(config.secret_key.is_some() && config.encryption_key.is_some() && config.database_url.is_some());
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("4bd5efca") && !shown.contains("AAAA"),
        "{shown}"
    );
}

#[test]
fn syntax_errors_and_missing_files_are_named() {
    assert!(error_of("a = 1\nlisten = ", &[]).starts_with("the config file \"FILE\" is no valid TOML:"));
    assert!(error_of("a = 1\nlisten = ", &[]).ends_with("(line 2)"));
    let error = load(Some(std::path::Path::new("/does/not/exist")), [], Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the config file \"/does/not/exist\" cannot be read");
}
