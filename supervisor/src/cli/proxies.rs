//! Resolves the proxies of a job: from flags, files and, on the command line, the variables that curl reads.

use std::path::Path;

use shared::proxy::{Bypass, PROXIES_MAX, Proxy, ProxySpec, Serves, Sticky};

use super::Environment;
use super::flags::{ProxyFlags, StickyFlag};
use super::problem::Problem;

/// Returns the proxies of a job, and what is reached without one.
pub(super) fn proxies(flags: ProxyFlags, env: &Environment<'_>) -> Result<ProxySpec, Problem> {
    let mut tiers = vec![flags.proxy];
    if let (Some(path), [first, ..]) = (&flags.proxy_file, tiers.as_mut_slice()) {
        first.extend(read(path, "--proxy-file", env)?);
    }
    for path in &flags.proxy_tier {
        tiers.push(read(path, "--proxy-tier", env)?);
    }
    if tiers.iter().all(Vec::is_empty) {
        tiers = vec![from_variables(env)?];
    }
    let mut spec = ProxySpec {
        sticky: match flags.proxy_sticky {
            StickyFlag::None => Sticky::None,
            StickyFlag::Host => Sticky::Host,
            StickyFlag::Session => Sticky::Session,
        },
        ..ProxySpec::default()
    };
    for tier in tiers {
        let before = spec.list.len();
        for proxy in tier {
            // A list that names a proxy twice does not mean twice the load.
            if !spec.list.contains(&proxy) {
                spec.list.push(proxy);
            }
        }
        let added = u16::try_from(spec.list.len() - before).unwrap_or(u16::MAX);
        if added > 0 {
            spec.tiers.push(added);
        }
    }
    if spec.list.len() > PROXIES_MAX {
        return Err(Problem::Usage(format!(
            "{} proxies are given; the most is {PROXIES_MAX}",
            spec.list.len()
        )));
    }
    if !spec.is_empty() {
        spec.bypass = Bypass::parse_list(&variable("NO_PROXY", env).unwrap_or_default());
    }
    Ok(spec)
}

/// Reads a list of proxies.
fn read(path: &Path, flag: &str, env: &Environment<'_>) -> Result<Vec<Proxy>, Problem> {
    let text = env.texts.read(path).map_err(|why| Problem::Impossible(format!("{flag}: {why}")))?;
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let parse = |(number, line): (u32, &str)| {
        line.parse()
            .map_err(|why| Problem::Usage(format!("{flag}: {}, line {number}: {why}", path.display())))
    };
    let list: Vec<Proxy> = lines.map(parse).collect::<Result<_, _>>()?;
    if list.is_empty() {
        return Err(Problem::Usage(format!("{flag}: {} names no proxy", path.display())));
    }
    Ok(list)
}

/// The proxies that the environment names, as curl reads it.
fn from_variables(env: &Environment<'_>) -> Result<Vec<Proxy>, Problem> {
    let named = |name: &str, serves| {
        let Some(text) = variable(name, env) else { return Ok(None) };
        let proxy: Proxy = text.parse().map_err(|why| Problem::Usage(format!("{name}: {why}")))?;
        Ok(Some(Proxy { serves, ..proxy }))
    };
    // A CGI program gets the header `Proxy:` of its client in this variable.
    let is_cgi = (env.variable)("REQUEST_METHOD").is_some();
    let http = if is_cgi { None } else { named("HTTP_PROXY", Serves::Http)? };
    let https = named("HTTPS_PROXY", Serves::Https)?;
    let rest = match (&http, &https) {
        (Some(_), Some(_)) => None,
        (Some(_), None) => named("ALL_PROXY", Serves::Https)?,
        (None, Some(_)) => named("ALL_PROXY", Serves::Http)?,
        (None, None) => named("ALL_PROXY", Serves::All)?,
    };
    let mut list: Vec<Proxy> = [http, https, rest].into_iter().flatten().collect();
    if let [one, other] = list.as_mut_slice()
        && (Proxy { serves: one.serves, ..other.clone() }) == *one
    {
        one.serves = Serves::All;
        list.truncate(1);
    }
    Ok(list)
}

/// Returns a variable that is set and not empty, in lower case if there is one.
fn variable(name: &str, env: &Environment<'_>) -> Option<String> {
    let get = |name: &str| (env.variable)(name).and_then(|value| value.into_string().ok());
    get(&name.to_ascii_lowercase()).or_else(|| get(name)).filter(|value| !value.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::Texts;
    use super::*;

    fn resolve(flags: ProxyFlags, variables: &[(&str, &str)]) -> Result<ProxySpec, String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let env = Environment {
            variable: &variable,
            config: Path::new(""),
            stdin_is_terminal: true,
            isolates_lists: false,
            readable: None,
            headers_max: 0,
            texts: Texts::default(),
        };
        proxies(flags, &env).map_err(|problem| match problem {
            Problem::Usage(why) | Problem::Impossible(why) | Problem::Short(why) => why,
        })
    }

    fn none() -> ProxyFlags {
        let (proxy, proxy_tier) = Default::default();
        ProxyFlags { proxy, proxy_file: None, proxy_tier, proxy_sticky: StickyFlag::None }
    }

    fn shown(spec: &ProxySpec) -> Vec<(String, Serves)> {
        spec.list.iter().map(|proxy| (proxy.to_string(), proxy.serves)).collect()
    }

    #[test]
    fn variables_name_proxies_as_for_curl() {
        let proxy = |name: &str, serves| (format!("http://{name}:1"), serves);
        for (variables, proxies) in [
            (&[][..], vec![]),
            (&[("http_proxy", "a:1")], vec![proxy("a", Serves::Http)]),
            (&[("HTTP_PROXY", "a:1"), ("http_proxy", "b:1")], vec![proxy("b", Serves::Http)]),
            (&[("HTTP_PROXY", "a:1"), ("REQUEST_METHOD", "GET")], vec![]),
            (
                &[("https_proxy", "a:1"), ("all_proxy", "b:1")],
                vec![proxy("a", Serves::Https), proxy("b", Serves::Http)],
            ),
            (&[("http_proxy", "a:1"), ("https_proxy", "http://a:1")], vec![proxy("a", Serves::All)]),
            (&[("ALL_PROXY", "a:1"), ("HTTP_PROXY", "")], vec![proxy("a", Serves::All)]),
        ] {
            assert_eq!(shown(&resolve(none(), variables).unwrap()), proxies, "{variables:?}");
        }
        let error = resolve(none(), &[("all_proxy", "ftp://u:secret@h")]).unwrap_err();
        assert_eq!(error, "ALL_PROXY: scheme ftp: give http, https, socks5 or socks5h");
    }

    #[test]
    fn flags_replace_the_proxies_of_variables_and_keep_no_proxy() {
        let flags = ProxyFlags { proxy: vec!["b:1".parse().unwrap(); 2], ..none() };
        let spec = resolve(flags, &[("http_proxy", "a:1"), ("no_proxy", "x")]).unwrap();
        assert_eq!(shown(&spec), [("http://b:1".to_owned(), Serves::All)]);
        assert_eq!((spec.tiers, spec.bypass), (vec![1], Bypass::parse_list("x")));
    }

    #[test]
    fn files_hold_a_proxy_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (cheap, dear) = (file("cheap", "# mine\n\n a:1 \nsocks5://b\n"), file("dear", "c:1\na:1\n"));
        let flags = ProxyFlags {
            proxy: vec!["z:1".parse().unwrap()],
            proxy_file: Some(cheap),
            proxy_tier: vec![dear],
            ..none()
        };
        let spec = resolve(flags, &[]).unwrap();
        let names: Vec<String> = shown(&spec).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["http://z:1", "http://a:1", "socks5://b:1080", "http://c:1"]);
        assert_eq!(spec.tiers, [3, 1]);
        for (text, says) in [("a:1\nx y", "line 2: "), ("# none\n", "names no proxy")] {
            let flags = ProxyFlags { proxy_file: Some(file("bad", text)), ..none() };
            let error = resolve(flags, &[]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
