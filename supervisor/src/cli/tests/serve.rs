//! The service: it runs if there is no command, and its default paths.

use std::path::Path;

use super::*;

#[test]
fn without_a_command_it_is_the_service() {
    let bench = Bench::new().set("HOME", "/home/u");
    for line in ["", "--workers auto", "serve", "--queue-max 10000", "serve --workers auto"] {
        let config = bench.service(line);
        assert_eq!(config.state_dir, Path::new("/home/u/.local/state/muster"), "{line}");
        assert_eq!((config.workers, config.queue_max), (None, 10_000), "{line}");
        assert_eq!(config.keep_for, Duration::from_secs(7 * 24 * 3600));
        assert_eq!(config.keep_bytes, 10 << 30);
        assert_eq!(config.api.body_bytes_max, 1 << 30);
    }
    assert_eq!(bench.service("--workers 3").workers, std::num::NonZeroU32::new(3));
    bench.write("muster.toml", "jobs-max = 4\nallow-path = [\"/srv\"]\ntimeout = \"5s\"");
    let config = bench.service("");
    assert_eq!((config.jobs_max.get(), config.allowed.paths), (4, vec![Path::new("/srv").to_owned()]));
}

#[test]
fn things_are_where_systemd_or_the_user_has_them() {
    let check = |variables: &[(&str, &str)], line: &str, state: &str, socket: Option<&str>| {
        let bench = variables.iter().fold(Bench::new(), |bench, (name, value)| bench.set(name, value));
        let config = bench.service(line);
        assert_eq!(config.state_dir, Path::new(state), "{line}");
        assert_eq!(config.api.socket.as_deref(), socket.map(Path::new), "{line}");
    };
    let home = ("HOME", "/home/u");
    let state = "/home/u/.local/state/muster";
    check(&[home], "", state, Some("/home/u/.local/state/muster/api.sock"));
    check(&[home, ("XDG_RUNTIME_DIR", "/run/user/7")], "", state, Some("/run/user/7/muster/api.sock"));
    check(&[home, ("XDG_STATE_HOME", "/s")], "", "/s/muster", Some("/s/muster/api.sock"));
    let systemd = [("STATE_DIRECTORY", "/var/lib/muster:/x"), ("RUNTIME_DIRECTORY", "/run/muster")];
    check(&systemd, "", "/var/lib/muster", Some("/run/muster/api.sock"));
    check(&systemd, "serve --state-dir /d --socket /s.sock", "/d", Some("/s.sock"));
    check(&[home], "serve --socket none --listen 127.0.0.1:0", state, None);
}

#[test]
fn what_makes_no_sense_for_a_service_is_refused() {
    let bench = Bench::new().set("HOME", "/home/u");
    bench.refused("serve --mode both", 2, &["does not take --mode"]);
    bench.refused("serve --socket none", 2, &["nobody can reach it"]);
    bench.refused("serve --tls-cert a.pem", 2, &["--tls-cert needs --tls-key"]);
    bench.refused("serve --keep-for soon", 2, &["give a time such as 7d"]);
    bench.refused("serve --listen nowhere", 2, &["--listen"]);
    bench.refused("serve --listen 0.0.0.0:1", 2, &["other machines", "--token-file", "--tls-cert"]);
    bench.refused("serve --listen [::]:1 --token-file t", 2, &["--tls-cert"]);
    Bench::new().refused("serve", 2, &["--state-dir"]);
}

#[test]
fn trusted_proxies_are_addresses_and_networks() {
    let bench = Bench::new().set("HOME", "/home/u");
    let proxies =
        |line: &str| bench.service(line).api.trusted_proxies.iter().map(ToString::to_string).collect();
    let none: Vec<String> = proxies("serve");
    assert_eq!(none, [""; 0]);
    let line = "serve --trusted-proxy 10.0.0.7 --trusted-proxy 192.0.2.0/24 --trusted-proxy 2001:db8::/32 \
                --trusted-proxy ::ffff:10.0.0.8 --trusted-proxy ::ffff:10.0.0.9/128 --trusted-proxy ::ffff:10.1.0.0/112";
    let some: Vec<String> = proxies(line);
    assert_eq!(
        some,
        ["10.0.0.7/32", "192.0.2.0/24", "2001:db8::/32", "10.0.0.8/32", "10.0.0.9/32", "10.1.0.0/16",]
    );
    for bad in ["proxy.example", "10.0.0.0/33", "10.0.0", "10.0.0.1:80", ""] {
        bench.refused(&format!("serve --trusted-proxy={bad}"), 2, &["10.0.0.7 or 10.0.0.0/8"]);
    }
    for (loose, strict) in [
        ("10.0.0.7/8", "give 10.0.0.0/8 or 10.0.0.7"),
        ("::ffff:10.0.0.7/104", "give 10.0.0.0/8 or 10.0.0.7"),
        ("2001:db8::1/32", "give 2001:db8::/32 or 2001:db8::1"),
    ] {
        bench.refused(&format!("serve --trusted-proxy={loose}"), 2, &["is not the first address", strict]);
    }
    bench.write("muster.toml", "trusted-proxy = [\"::1\"]");
    let of_file: Vec<String> = proxies("");
    assert_eq!(of_file, ["::1/128"]);
}
